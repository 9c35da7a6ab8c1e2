"""Good models, and models broken in every way that a download can be."""
import json
import shutil
import struct

from cn_cli import MODELS, Case, main, os, read


def header(path):
    data = read(path)
    n, = struct.unpack("<Q", data[:8])
    return json.loads(data[8:8 + n]), data[8 + n:]


def write(path, tensors, data):
    text = json.dumps(tensors).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


class Inspect(Case):
    def inspect(self, *paths, status=0):
        return json.loads(self.run_cli("inspect", "--json", *paths, status=status).text)

    def copy(self, name):
        return shutil.copytree(os.path.join(MODELS, name), self.path(name))

    def test_good(self):
        names = sorted(os.listdir(MODELS))
        paths = [os.path.join(MODELS, name) for name in names]
        all_of_them = dict(zip(names, self.inspect(*paths)))
        tiny, net = all_of_them["tiny"], all_of_them["tiny-control-a"]
        self.assertTrue(all(m["good"] and not m["findings"] for m in all_of_them.values()))
        self.assertEqual((tiny["kind"], tiny["family"]),
                         ("diffusers pipeline", "unet-12-20-28-x36"))
        self.assertEqual(set(tiny["components"]), {"text_encoder", "unet", "vae"})
        self.assertEqual(tiny["components"]["unet"]["parameters"], 217936)
        self.assertEqual(tiny["components"]["unet"]["type"], "F16")
        self.assertEqual(tiny["tokenizer"]["tokens"], 768)
        self.assertEqual(tiny["schedule"]["spacing"], "leading")
        self.assertEqual(net["fits"], [os.path.join(MODELS, "tiny")])
        self.assertEqual(all_of_them["tiny9"]["components"]["unet"]["config"]["encoder"]["in_channels"],
                         9)

    def test_text(self):
        text = self.run_cli("inspect", *[os.path.join(MODELS, n) for n in ("tiny", "tiny2")]).text
        self.assertIn("diffusers pipeline, family unet-12-20-28-x36", text)
        self.assertRegex(text, r"unet +217,936 parameters in 326 tensors, F16, 435.9 kB")

    def test_truncated(self):
        path = os.path.join(self.copy("tiny"), "unet/diffusion_pytorch_model.safetensors")
        size = os.path.getsize(path)
        for length in (0, 4, 1000, size // 2, size - 1):
            os.truncate(path, length) if length else open(path, "wb").close()
            m, = self.inspect("tiny", status=1)
            self.assertFalse(m["good"])
            self.assertIn("unet/diffusion_pytorch_model.safetensors", m["problems"][0])
            with open(path, "ab") as f:
                f.truncate(size)
        text = self.run_cli("inspect", "tiny", status=1).text
        self.assertIn("  ! ", text)
        self.assertNotIn("parameters", text)

    def test_tensors(self):
        path = os.path.join(self.copy("tiny"), "vae/diffusion_pytorch_model.safetensors")
        tensors, data = header(path)
        tensors["decoder.conv_in.weights"] = tensors.pop("decoder.conv_in.weight")
        bias = tensors["decoder.conv_out.bias"]
        bias["shape"], bias["dtype"] = [6], "F16"
        self.assertEqual(bias["data_offsets"][1] - bias["data_offsets"][0], 12)
        tensors["encoder.conv_out.bias"]["dtype"] = "U32"
        write(path, tensors, data)
        m, = self.inspect("tiny", status=1)
        found = {(f["kind"], f["tensor"]) for f in m["findings"]}
        self.assertEqual(found, {("missing", "decoder.conv_in.weight"),
                                 ("unexpected", "decoder.conv_in.weights"),
                                 ("wrong shape", "decoder.conv_out.bias"),
                                 ("unsupported type", "encoder.conv_out.bias")})
        text = self.run_cli("inspect", "tiny", status=1).text
        self.assertIn("! vae: wrong shape decoder.conv_out.bias [6], needed: [3]", text)
        self.assertIn("- vae: 1 tensors unexpected", text)
        self.assertIn("unexpected decoder.conv_in.weights",
                      self.run_cli("inspect", "--all", "tiny", status=1).text)

    def test_superfluous_tensors_are_no_fault(self):
        path = os.path.join(self.copy("tiny-control-a"), "diffusion_pytorch_model.safetensors")
        tensors, data = header(path)
        tensors["more"] = {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}
        write(path, tensors, data + b"\0\0\0\0")
        m, = self.inspect("tiny-control-a")
        self.assertTrue(m["good"])
        self.assertEqual(m["components"]["controlnet"]["unexpected"], 1)

    def test_parts_that_are_missing(self):
        for part, says in (("tokenizer", "tokenizer"), ("vae", "vae"),
                           ("model_index.json", "model_index.json")):
            folder = self.copy("tiny")
            path = os.path.join(folder, part)
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            m, = self.inspect("tiny", status=1)
            self.assertIn(says, " ".join(m["problems"]))
            shutil.rmtree(folder)

    def test_no_model(self):
        with open(self.path("x.safetensors"), "wb") as f:
            f.write(os.urandom(100))
        with open(self.path("x.ckpt"), "wb") as f:
            f.write(b"PK")
        for path in ("nowhere", "x.safetensors", "x.ckpt", "."):
            self.assertEqual(len(self.inspect(path, status=1)[0]["problems"]), 1)

    def test_other_files_are_named(self):
        header = json.dumps({"lora_unet_x_attn2_to_k.lora_down.weight":
                             {"dtype": "F16", "shape": [4, 2048], "data_offsets": [0, 16384]}})
        with open(self.path("x.safetensors"), "wb") as f:
            f.write(len(header).to_bytes(8, "little") + header.encode() + bytes(16384))
        m, = self.inspect("x.safetensors", status=1)
        self.assertEqual(m["file"], {
            "kind": "lora", "family": "sdxl", "what": "a LoRA for SDXL", "tensors": 1,
            "parameters": 8192, "bytes": 16384, "types": {"F16": 1}})
        self.assertIn("none of its 1 tensors is understood as an adapter's", m["problems"][0])
        text = self.run_cli("inspect", self.path("x.safetensors"), status=1).text
        self.assertIn(": a LoRA for SDXL\n", text)
        self.assertIn("1, 8,192 numbers", text.replace("8192", "8,192"))
        models = json.loads(self.run_cli("models", "--models", self.dir, "--json").text)
        self.assertIn("a LoRA for SDXL", models[0]["passed_over"])
        p = self.run_cli("generate", "--models", self.dir, "-m", "x", "-p", "x", "-o",
                         "x.png", status=1)
        self.assertIn("a LoRA for SDXL", p.message)

    def test_adapters(self):
        data = os.path.dirname(MODELS)
        lora = os.path.join(data, "adapters/locon.safetensors")
        peft = os.path.join(data, "adapters/peft-dir")
        tiny, other = os.path.join(MODELS, "tiny"), os.path.join(MODELS, "tiny2")
        list_ = json.loads(self.run_cli("inspect", "--json", lora, peft, tiny, other).text)
        a = list_[0]["adapter"]
        self.assertTrue(list_[0]["good"])
        self.assertEqual((a["forms"], a["rank_min"], a["rank_max"], a["layers"]), ("LoRA", 4, 4, 7))
        self.assertEqual([(f["model"], f["fits"], f["tensors"], f["applied"]) for f in a["fits"]],
                         [(tiny, True, 21, 21), (other, False, 21, 0)])
        self.assertIn("0 of its 21 tensors fit this model", a["fits"][1]["why"])
        self.assertEqual(list_[1]["adapter"]["rank_max"], 3)
        self.assertNotIn("adapter", list_[2])
        text = self.run_cli("inspect", lora, tiny).text
        self.assertIn("LoRA of rank 4, 7 layers of UNet and text encoder", text)
        self.assertIn("all 21 tensors", text)

    def test_list_has_folders_and_the_cache(self):
        snapshot = self.path("models--org--edges/snapshots/1f")
        os.makedirs(os.path.dirname(snapshot))
        shutil.move(self.copy("tiny-control-a"), snapshot)
        m, = self.inspect("models--org--edges")
        self.assertIn("controlnet", m["components"])
        os.makedirs(self.path("sub folder"))
        shutil.move(self.copy("tiny-control-b"), self.path("sub folder/edges"))
        models = json.loads(self.run_cli("models", "--models", self.dir, "--json").text)
        self.assertEqual([m["name"] for m in models if "broken" not in m or not m["broken"]],
                         ["edges", "sub folder--edges"])

    def test_list_says_what_is_broken(self):
        os.unlink(os.path.join(self.copy("tiny"), "unet/config.json"))
        self.copy("tiny-control-b")
        models = {m["name"]: m for m in json.loads(
            self.run_cli("models", "--models", self.dir, "--json").text)}
        self.assertIn("unet/config.json", models["tiny"]["broken"])
        self.assertEqual(models["tiny-control-b"]["kind"], "controlnet")
        text = self.run_cli("models", "--models", self.dir).text
        self.assertRegex(text, r"(?m)^tiny +- +cannot be used: ")
        self.assertRegex(text, r"(?m)^tiny-control-b +controlnet +unet-12-20-28-x36 ")


main()
