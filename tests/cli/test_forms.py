"""One model as diffusers directories and as single files: the same picture, byte by byte."""
import gzip
import json
import subprocess

import cn_torch
from cn_cli import DATA, EDGES, SOURCES, Case, main, os

CROSS = ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
NET = dict(block_out_channels=[32, 64, 96, 96], cross_attention_dim=64, layers_per_block=2,
           attention_head_dim=8, norm_num_groups=32, down_block_types=CROSS, in_channels=4)

CONFIGS = {
    "tiny15/unet/config.json": dict(
        NET, _class_name="UNet2DConditionModel", sample_size=64, out_channels=4,
        up_block_types=["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3),
    "tiny15/vae/config.json": dict(
        _class_name="AutoencoderKL", block_out_channels=[32, 64, 96, 96], layers_per_block=2,
        latent_channels=4, norm_num_groups=32, sample_size=512,
        down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4),
    "tiny15/text_encoder/config.json": dict(
        model_type="clip_text_model", vocab_size=49408, hidden_size=64, intermediate_size=256,
        num_attention_heads=1, num_hidden_layers=2, bos_token_id=49406, eos_token_id=49407,
        pad_token_id=49407, hidden_act="quick_gelu"),
    "tiny15/scheduler/scheduler_config.json": dict(
        _class_name="PNDMScheduler", beta_start=0.00085, beta_end=0.012,
        beta_schedule="scaled_linear", num_train_timesteps=1000, set_alpha_to_one=False,
        skip_prk_steps=True, steps_offset=1),
    "tiny15/model_index.json": dict(
        _class_name="StableDiffusionPipeline", scheduler=["diffusers", "PNDMScheduler"],
        text_encoder=["transformers", "CLIPTextModel"], tokenizer=["transformers", "CLIPTokenizer"],
        unet=["diffusers", "UNet2DConditionModel"], vae=["diffusers", "AutoencoderKL"]),
    "tiny15-control/config.json": dict(
        NET, _class_name="ControlNetModel", conditioning_embedding_out_channels=[8, 16, 24, 32]),
}


def write_tokenizer(folder):
    """The standard vocabulary as the files that a diffusers directory has."""
    with gzip.open(os.path.join(SOURCES, "data/clip/bpe_simple_vocab_16e6.txt.gz"), "rt",
                   encoding="utf-8") as f:
        merges = f.read().split("\n")[1:49152 - 256 - 2 + 1]
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(b) for b in keep] + [chr(256 + i) for i in range(256 - len(keep))]
    words = symbols + [s + "</w>" for s in symbols] + [m.replace(" ", "") for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    os.makedirs(folder)
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as f:
        json.dump({word: i for i, word in enumerate(words)}, f, ensure_ascii=False)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("\n".join(["#version: 0.2", *merges, ""]))


class Forms(Case):
    def setUp(self):
        super().setUp()
        for name, config in CONFIGS.items():
            os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
            with open(self.path(name), "w") as f:
                json.dump(config, f)
        write_tokenizer(self.path("tiny15/tokenizer"))
        subprocess.run([os.path.abspath("tests/cli/make_models"),
                        os.path.join(DATA, "golden/ldm-keys.tsv"), self.dir], check=True)

    def picture(self, model, control=None):
        control = ["-C", "%s=%s" % (self.path(control), EDGES)] if control else []
        self.run_cli("generate", "-m", self.path(model), "-p", "A red apple, caf\u00e9 \u732b", "-n",
                     "blurry", "-W", "64", "-H", "64", "-s", "2", "-S", "3", "--threads", "1", "-q",
                     "-o", "x.png", *control)
        with open(self.path("x.png"), "rb") as f:
            return f.read()

    def test_pictures(self):
        controls = ["tiny15-control", "single-control.safetensors", "single-difference.safetensors"]
        free = self.picture("tiny15")
        want = self.picture("tiny15", controls[0])
        self.assertNotEqual(free, want)
        self.assertEqual(free, self.picture("single.safetensors"))
        for control in controls:
            self.assertEqual(want, self.picture("single.safetensors", control), control)
        for control in controls[1:]:
            self.assertEqual(want, self.picture("tiny15", control), control)
        self.inspect()
        self.pickled(want)

    def pickled(self, want):
        """The same weights as torch.save() writes them: files, and directories with .bin files."""
        cn_torch.convert(self.path("single.safetensors"), self.path("single.ckpt"), global_step=5)
        cn_torch.convert(self.path("single-control.safetensors"), self.path("control.pth"))
        for part, old, new in (
                ("tiny15/unet", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
                ("tiny15/vae", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"),
                ("tiny15/text_encoder", "model.safetensors", "pytorch_model.bin"),
                ("tiny15-control", "diffusion_pytorch_model.safetensors",
                 "diffusion_pytorch_model.bin")):
            old = self.path(os.path.join(part, old))
            if part.endswith("vae"):
                self.shards(old, self.path(part))
            else:
                cn_torch.convert(old, self.path(os.path.join(part, new)))
            os.unlink(old)
        self.assertEqual(want, self.picture("single.ckpt", "control.pth"))
        self.assertEqual(want, self.picture("tiny15", "tiny15-control"))
        self.both(want)
        self.parts(want)

    def both(self, want):
        """The first ControlNets were published together with the model that they belong to."""
        cn_torch.write([*cn_torch.read_safetensors(self.path("single.safetensors")),
                        *cn_torch.read_safetensors(self.path("single-control.safetensors"))],
                       self.path("control_sd15_x.pth"))
        self.assertEqual(want, self.picture("single.ckpt", "control_sd15_x.pth"))
        m, = json.loads(self.run_cli("inspect", "--json", "control_sd15_x.pth").text)
        self.assertEqual(m["file"]["what"], "a ControlNet together with a base model")
        p = self.run_cli("generate", "-m", self.path("control_sd15_x.pth"), "-p", "x", "-o", "x.png",
                         status=2)
        self.assertIn("is a ControlNet, not a base model", p.message)

    def parts(self, want):
        """A model without its VAE, which lies beside it under the names of published VAE files."""
        prefix = "first_stage_model."
        tensors = cn_torch.read_safetensors(self.path("single.safetensors"))
        cn_torch.write([t for t in tensors if not t[0].startswith(prefix)], self.path("novae.ckpt"))
        p = self.run_cli("generate", "-m", self.path("novae.ckpt"), "-p", "x", "-o", "x.png", status=1)
        self.assertIn("has no vae: put one beside it as vae.safetensors", p.message)
        cn_torch.write([(t[0][len(prefix):], *t[1:]) for t in tensors if t[0].startswith(prefix)],
                       self.path("novae.vae.pt"))
        self.assertEqual(want, self.picture("novae.ckpt", "single-control.safetensors"))
        m, = json.loads(self.run_cli("inspect", "--json", "novae.ckpt").text)
        self.assertTrue(m["components"]["vae"]["file"].endswith("novae.vae.pt"))
        self.assertIn("from novae.vae.pt\n", self.run_cli("inspect", "novae.ckpt").text)

    def shards(self, source, folder):
        tensors = cn_torch.read_safetensors(source)
        names = ["diffusion_pytorch_model-0000%d-of-00002.bin" % (i + 1) for i in range(2)]
        for i, name in enumerate(names):
            cn_torch.write(tensors[i::2], os.path.join(folder, name))
        with open(os.path.join(folder, "diffusion_pytorch_model.bin.index.json"), "w") as f:
            json.dump({"weight_map": {t[0]: names[i % 2] for i, t in enumerate(tensors)}}, f)

    def inspect(self):
        names = ["tiny15", "tiny15-control", "single.safetensors", "single-control.safetensors",
                 "single-difference.safetensors"]
        p = self.run_cli("inspect", "--json", *names)
        base, net, single, single_net, difference = json.loads(p.text)
        for a, b in ((base, single), (net, single_net), (net, difference)):
            self.assertTrue(a["good"] and b["good"])
            self.assertEqual(a["family"], b["family"])
            for name, part in a["components"].items():
                same = b["components"][name]
                self.assertEqual(part["parameters"], same["parameters"])
                self.assertEqual(part["config"], same["config"], name)
        self.assertEqual(difference["fits"], ["tiny15", "single.safetensors"])
        self.assertEqual([m["difference"] for m in (net, single_net, difference)],
                         [False, False, True])


if __name__ == "__main__":
    main()
