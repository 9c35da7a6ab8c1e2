"""The daemon with the real worker on the small random models: pictures, bad input, ends."""
import base64
import json
import os
import shutil
import signal
import struct
import tempfile
import time
import urllib.parse
import zlib

from cn_e2e import DATA, ENGINE, Aside, Case, Daemon, main, multipart, png_size, sanitized

MODELS = os.path.join(DATA, "models")
SIZE = {"width": 40, "height": 48, "steps": 3, "seed": 11, "model": "tiny", "metadata": False}
EDGES = open(os.path.join(DATA, "golden", "images", "tiny", "edges-40x48.png"), "rb").read()


def daemon(*args, models=MODELS):
    return Daemon("--models", models, *args, worker=ENGINE)


def control(model, image=EDGES, **more):
    return dict({"model": model, "image": base64.b64encode(image).decode()}, **more)


def png_header(width, height, depth=8, colour=2):
    """A PNG that claims a size and has no pixels."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I",
                                                                        zlib.crc32(kind + body))
    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


def rss(pid):
    with open("/proc/%d/status" % pid) as f:
        for line in f:
            if line.startswith("VmRSS"):
                return int(line.split()[1])


class Pictures(Case):
    @classmethod
    def setUpClass(cls):
        cls.d = daemon()

    @classmethod
    def tearDownClass(cls):
        cls.d.__exit__(None, None, None)

    def picture(self, spec, **more):
        r = self.d.images(dict(SIZE, prompt="a red apple", **spec), **more)
        self.assertEqual(r.status, 200, r.body)
        return r.body

    def test_same_request_same_bytes(self):
        one = self.picture({})
        self.assertEqual(png_size(one), (40, 48))
        self.assertEqual(self.picture({}), one)
        self.assertNotEqual(self.picture({"seed": 12}), one)

    def test_multipart_is_json(self):
        c = control("tiny-control-a")
        spec = dict(SIZE, prompt="a red apple", controls=[dict(c, image="part:edge")])
        body, headers = multipart([("params", json.dumps(spec).encode()), ("edge", EDGES)])
        r = self.d.request("POST", "/v1/images", body, headers)
        self.assertEqual(r.status, 200, r.body)
        self.assertEqual(r.body, self.picture({"controls": [c]}))

    def test_zero_convolutions_change_nothing(self):
        plain = self.picture({})
        self.assertEqual(self.picture({"controls": [control("tiny-control-zero")]}), plain)
        self.assertEqual(self.picture({"controls": [control("tiny-control-a", strength=0)]}), plain)
        self.assertNotEqual(self.picture({"controls": [control("tiny-control-a")]}), plain)

    def test_image_i_has_seed_plus_i(self):
        r = self.d.images(dict(SIZE, prompt="a red apple", n=3), "application/json")
        images = json.loads(r.body)["images"]
        self.assertEqual([i["seed"] for i in images], [11, 12, 13])
        self.assertEqual(base64.b64decode(images[2]["data"]), self.picture({"seed": 13}))

    def test_every_sampler(self):
        names = json.loads(self.d.get("/v1/samplers").body)["samplers"]
        self.assertEqual(len(names), 21)
        # below 20 steps restart is heun
        seen = {self.picture({"sampler": name, "steps": 20 if name == "restart" else 4})
                for name in names}
        self.assertEqual(len(seen), len(names))

    def test_weights_windows_and_annotators(self):
        levels = 7
        plain = self.picture({})
        for more in ({"weights": "soft"}, {"weights": "resolution"}, {"weights": [0.5] * levels},
                     {"branch": "cond"}, {"end": 0.5}, {"annotator": "canny"},
                     {"annotator": "scribble", "resize": "pad"}):
            self.assertNotEqual(self.picture({"controls": [control("tiny-control-a", **more)]}),
                                plain, more)
        zero = control("tiny-control-a", weights=[0] * levels)
        self.assertEqual(self.picture({"controls": [zero]}), plain)

    def test_formats(self):
        self.assertEqual(self.picture({"format": "jpeg"})[:2], b"\xff\xd8")
        self.assertEqual(self.picture({"format": "webp"})[8:12], b"WEBP")

    # ---- bad input: named, and nothing is lost ----

    def test_a_small_job_does_not_wait_for_a_large_one(self):
        done = []

        def draw(name, **spec):
            r = self.d.images(dict(SIZE, prompt=name, **spec), "application/json")
            done.append((name, r.status, len(json.loads(r.body)["images"])))

        steps = self.d.metric("controlnetd_batch_images_count")
        large = Aside(lambda: draw("large", steps=150, n=6, sampler="ddim"))
        self.d.until(lambda: self.d.metric("controlnetd_batch_images_count") > steps)
        draw("small", guidance_scale=1, sampler="euler_a", controls=[control("tiny-control-a")])
        self.assertEqual(done, [("small", 200, 1)])
        large.result()
        self.assertEqual(done[1], ("large", 200, 6))

    # ---- warnings ----

    def test_a_prompt_that_is_cut_is_told_in_every_answer(self):
        spec = dict(SIZE, prompt="a red apple " * 40, eta=0.5)
        codes = [("no-effect", "/eta"), ("prompt-truncated", "/prompt")]
        field = 'no-effect;pointer="/eta", prompt-truncated;pointer="/prompt"'

        def told(doc):
            return [(w["code"], w["pointer"]) for w in doc["warnings"]]

        r = self.d.images(spec)
        self.assertEqual((r.status, r.getheader("Controlnetd-Warnings")), (200, field))
        r = self.d.images(spec, "application/json")
        self.assertEqual(told(json.loads(r.body)), codes)
        self.assertIn("75 tokens of text", json.loads(r.body)["warnings"][1]["detail"])
        r = self.d.images(dict(spec, n=2), "multipart/mixed")
        parts = r.body.split(b"--" + r.getheader("Content-Type").split("=")[1].encode())[1:-1]
        self.assertEqual([p.count(b"image/png") for p in parts], [1, 1, 0])
        self.assertEqual(told(json.loads(parts[2].split(b"\r\n\r\n", 1)[1])), codes)

        accepted = self.d.jobs(spec)
        self.assertEqual(told(json.loads(accepted.body))[:1], codes[:1])  # what is known by then
        id = json.loads(accepted.body)["id"]
        self.assertEqual(told(self.d.wait_job(id)), codes)
        done = [data for name, _, data in self.d.stream("/v1/jobs/%s/events" % id)
                if name == "done"]
        self.assertEqual(told(done[0]), codes)
        ends = [e for e in self.d.events("job.end") if e["job_id"] == id]
        self.assertEqual(ends[0]["warnings"], "no-effect:/eta,prompt-truncated:/prompt")
        self.assertEqual(ends[0]["kind"], "draw")

        r = self.d.images(dict(SIZE, prompt="a red apple"))
        self.assertEqual((r.status, r.getheader("Controlnetd-Warnings")), (200, None))

    def refused(self, pointer, **spec):
        r = self.d.images(dict(SIZE, prompt="x", **spec))
        self.assertIn(r.status, (400, 413, 422), r.body)
        doc = json.loads(r.body)
        self.assertEqual(doc["errors"][0]["pointer"], pointer, doc)
        return doc["errors"][0]["detail"]

    def test_images_that_are_none(self):
        bad = {"text": b"hello", "empty": b"", "cut": EDGES[:len(EDGES) // 2],
               "bomb": png_header(65535, 65535, 1, 0), "huge": png_header(20000, 20000),
               "gif": b"GIF89a" + bytes(64), "no pixels": png_header(40, 48)}
        for name, data in bad.items():
            with self.subTest(name):
                self.refused("/controls/0/image", controls=[control("tiny-control-a", data)])
                if data:
                    self.refused("/init_image", init_image=base64.b64encode(data).decode())
        self.assertEqual(png_size(self.picture({})), (40, 48))

    def test_models_that_do_not_fit(self):
        r = self.d.images(dict(SIZE, prompt="x", model="nosuch"))
        self.assertEqual(json.loads(r.body)["errors"][0]["pointer"], "/model")
        r = self.d.images(dict(SIZE, prompt="x", model="tiny-control-a"))
        self.assertEqual(json.loads(r.body)["errors"][0]["pointer"], "/model")
        self.refused("/controls/0/model", controls=[control("tiny2-control")])
        self.refused("/controls/0/model", controls=[control("tiny")])
        self.refused("/controls/0/weights", controls=[control("tiny-control-a", weights=[1] * 3)])

    def test_fields_out_of_range(self):
        spec = dict(SIZE, prompt="x")
        for field, value in (("steps", 0), ("steps", 10 ** 9), ("width", 12), ("n", -1),
                             ("clip_skip", 12), ("sampler", "nosuch"), ("denoise", 0),
                             ("nonsense", 1)):
            r = self.d.images(dict(spec, **{field: value}))
            self.assertIn(r.status, (400, 422), (field, value))
            self.assertEqual(json.loads(r.body)["errors"][0]["pointer"], "/" + field)


class Lives(Case):
    def test_cancel_when_the_client_goes(self):
        with daemon() as d:
            c = d.connect()
            c.request("POST", "/v1/images", json.dumps(dict(SIZE, prompt="x", steps=150, n=16)),
                      {"Content-Type": "application/json", "Accept": "application/json"})
            d.until(lambda: d.metric("controlnetd_worker_busy") == 1)
            c.close()
            d.until(lambda: d.metric("controlnetd_worker_busy") == 0, 30)
            self.assertEqual(d.metric("controlnetd_jobs_finished_total", outcome="cancelled"), 1)
            self.assertEqual(d.images(dict(SIZE, prompt="x")).status, 200)

    def test_worker_killed_between_jobs(self):
        with daemon() as d:
            first = d.images(dict(SIZE, prompt="x")).body
            os.kill(d.worker_pid(), signal.SIGKILL)
            d.until(lambda: d.metric("controlnetd_worker_up") == 0)
            d.until(lambda: d.get("/readyz").status == 200, 20)
            self.assertEqual(d.images(dict(SIZE, prompt="x")).body, first)

    def test_memory_is_flat(self):
        spec = dict(SIZE, prompt="x", steps=2, controls=[control("tiny-control-a")])
        with daemon() as d:
            for i in range(50):
                self.assertEqual(d.images(dict(spec, seed=i)).status, 200)
                if i == 9:
                    before = rss(d.worker_pid())
            grown = rss(d.worker_pid()) - before
        if not sanitized():  # a sanitizer keeps what is freed for a while
            self.assertLess(grown, 2048, "kB over 40 pictures")


    def test_models_come_and_go(self):
        """The budget has room for one of the two models."""
        with daemon("--set", "worker.memory_mb=5") as d:
            for i in range(6):
                spec = dict(SIZE, prompt="x", model="tiny2" if i % 2 else "tiny")
                self.assertEqual(d.images(spec).status, 200)


class BrokenModels(Case):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="cn-models-")
        shutil.copytree(os.path.join(MODELS, "tiny"), os.path.join(self.dir, "tiny"))

    def tearDown(self):
        shutil.rmtree(self.dir)

    def test_any_file_name_is_listed_and_can_be_used(self):
        """Names that are not UTF-8 or hold control characters are escaped; long ones fit."""
        names = {b"caf\xe9": "caf%E9", b"\xff" * 255: None, ("\u732b" * 45).encode(): "\u732b" * 45,
                 b"l" * 140: "l" * 140, b"l" * 255: "l" * 255, b"new\nline": "new%0Aline",
                 b"50%": "50%"}
        for raw in names:
            os.symlink("tiny", os.path.join(os.fsencode(self.dir), raw))
        with daemon(models=self.dir) as d:
            r = d.get("/v1/models")
            self.assertEqual(r.status, 200, r.body)
            listed = [m["name"] for m in json.loads(r.body)["models"]]
            self.assertEqual(len(listed), 1 + len(names))
            for name in names.values():
                self.assertIn(name or next(n for n in listed if n.startswith("%FF")), listed)
            for name in listed:
                answer = d.images(dict(SIZE, model=name, prompt="x", steps=1))
                self.assertEqual(answer.status, 200, (name, answer.body[:200]))
                path = "/v1/models/%s/unload" % urllib.parse.quote(name, safe="")
                self.assertEqual(d.request("POST", path).status, 204, name)

    def test_a_broken_file_of_any_name_is_listed(self):
        for raw in (b"caf\xe9.safetensors", b"x" * 140 + b".safetensors"):
            with open(os.path.join(os.fsencode(self.dir), raw), "wb") as f:
                f.write(b"nothing")
        with daemon(models=self.dir) as d:
            models = {m["name"]: m for m in json.loads(d.get("/v1/models").body)["models"]}
            self.assertEqual(sorted(models), sorted(["caf%E9", "tiny", "x" * 140]))
            self.assertIn("too few", models["caf%E9"]["broken"])
            self.assertIn("too few", models["x" * 140]["broken"])
            self.assertEqual(d.images(dict(SIZE, prompt="x")).status, 200)

    def test_a_file_that_was_cut_short_fails_the_job_that_reads_it(self):
        """The encoder's weights are read by the first job with an initial image."""
        vae = os.path.join(self.dir, "tiny", "vae", "diffusion_pytorch_model.safetensors")
        text = dict(SIZE, prompt="x")
        with daemon(models=self.dir) as d:
            self.assertEqual(d.images(text).status, 200)
            worker = d.worker_pid()
            os.chmod(vae, 0o644)
            os.truncate(vae, 4096)
            answer = d.images(dict(text, init_image=base64.b64encode(EDGES).decode(), denoise=0.5))
            self.assertEqual(answer.status, 500, answer.body)
            self.assertIn("vae/diffusion_pytorch_model.safetensors\\\" was made shorter", d.log())
            self.assertIn('cannot read tensor \\\"encoder.', d.log())
            self.assertEqual(d.images(text).status, 200)
            self.assertEqual(d.worker_pid(), worker)

    def test_others_go_on(self):
        """A broken model is listed with the reason; the sound ones are served."""
        cut = os.path.join(self.dir, "cut")
        shutil.copytree(os.path.join(MODELS, "tiny"), cut)
        weights = os.path.join(cut, "unet", "diffusion_pytorch_model.safetensors")
        os.chmod(weights, 0o644)
        os.truncate(weights, os.path.getsize(weights) - 100)
        with daemon(models=self.dir) as d:
            models = {m["name"]: m for m in json.loads(d.get("/v1/models").body)["models"]}
            self.assertEqual(sorted(models), ["cut", "tiny"])
            self.assertNotIn("broken", models["tiny"])
            self.assertIn("cut/unet/diffusion_pytorch_model.safetensors", models["cut"]["broken"])
            self.assertNotIn(self.dir, models["cut"]["broken"])
            answer = d.images(dict(SIZE, model="cut", prompt="x"))
            self.assertEqual(answer.status, 422)
            self.assertIn("diffusion_pytorch_model.safetensors", answer.body.decode())
            self.assertIn("diffusion_pytorch_model.safetensors", d.log())
            self.assertEqual(d.images(dict(SIZE, prompt="x")).status, 200)

    def test_embeddings(self):
        """They are listed, used in both syntaxes, and those that do not fit are told of."""
        folder = os.path.join(os.path.dirname(MODELS), "embeddings")
        with daemon("--set", "models.embeddings=" + folder, models=self.dir) as d:
            listed = {e["name"]: e for e in json.loads(d.get("/v1/models").body)["embeddings"]}
            self.assertEqual(listed["my-style"], {"name": "my-style", "token": "style-token",
                                                  "vectors": 3, "widths": [36]})
            self.assertIn("has 2 tensors", listed["broken"]["broken"])
            self.assertNotIn(folder, listed["broken"]["broken"])
            self.assertIn("broken.safetensors", d.log())
            files = [d.images(dict(SIZE, prompt=p, seed=1, **more)).body for p, more in (
                ("a MY-STYLE", {"prompt_syntax": "a1111"}), ("a style-token", {}), ("a x", {}))]
            self.assertEqual(files[0], files[1])
            self.assertNotEqual(files[0], files[2])
            r = d.images(dict(SIZE, prompt="wide"))
            self.assertIn('no-effect;pointer="/prompt"', r.getheader("Controlnetd-Warnings"))
        with Daemon("--models", self.dir, "--set", "models.embeddings=/nonexistent", worker=ENGINE,
                    wait=False) as d:
            d.until(lambda: "directory of embeddings" in d.log(), 20)

    def test_another_autoencoder(self):
        with tempfile.TemporaryDirectory() as top:
            for name in ("tiny", "tiny2"):
                shutil.copytree(os.path.join(MODELS, name), os.path.join(top, name))
            os.mkdir(os.path.join(top, "VAE"))
            for name, model in (("same", "tiny"), ("other", "tiny2")):
                shutil.copytree(os.path.join(MODELS, model, "vae"), os.path.join(top, "VAE", name))
            with daemon(models=top) as d:
                kinds = {m["name"]: m["kind"] for m in json.loads(d.get("/v1/models").body)["models"]}
                self.assertEqual(kinds, {"tiny": "base", "tiny2": "base", "same": "vae", "other": "vae"})
                spec = dict(SIZE, prompt="a")
                plain, same = d.images(spec), d.images(dict(spec, vae="same"))
                self.assertEqual((plain.status, same.status), (200, 200), same.body)
                self.assertEqual(plain.body, same.body)
                for vae, text in (("sane", '"same"'), ("other", "latents of 4 channels"), ("tiny", "autoencoder")):
                    r = d.images(dict(spec, vae=vae))
                    self.assertEqual(r.status, 422, r.body)
                    doc = json.loads(r.body)
                    self.assertEqual(doc["errors"][0]["pointer"], "/vae", doc)
                    self.assertIn(text, doc["detail"] + doc["errors"][0]["detail"])
                self.the_web_ui_names_it(d)
            keys = os.path.join(top, "keys")
            with open(keys, "w") as f:
                f.write("anna:key-of-anna-0000 models=tiny\nbert:key-of-bert-0000 models=tiny,same\n")
            with daemon("--set", "auth.keys_file=" + keys, models=top) as d:
                for key, status in (("key-of-anna-0000", 403), ("key-of-bert-0000", 200)):
                    r = d.images(dict(spec, vae="same"), headers={"X-Api-Key": key})
                    self.assertEqual(r.status, status, r.body)
                    if status == 403:
                        self.problem(r, 403, "forbidden", "/vae")

    def the_web_ui_names_it(self, d):
        def post(path, doc, status=200):
            r = d.request("POST", "/sdapi/v1/" + path, json.dumps(doc), {"Content-Type": "application/json"})
            self.assertEqual(r.status, status, r.body)
            return json.loads(r.body)

        def named(**spec):
            doc = post("txt2img", dict(SIZE, prompt="a", steps=1, seed=1, **spec))
            return json.loads(doc["info"])["sd_vae_name"]

        self.assertEqual({v["model_name"] for v in json.loads(d.get("/sdapi/v1/sd-vae").body)}, {"same", "other"})
        self.assertIsNone(named())
        self.assertEqual(named(override_settings={"sd_vae": "SAME"}), "same")
        post("txt2img", {"override_settings": {"sd_vae": "nope"}}, 422)
        post("options", {"sd_vae": "nope"}, 422)
        self.assertIsNone(post("options", {"sd_vae": "same"}))
        self.assertEqual(json.loads(d.get("/sdapi/v1/options").body)["sd_vae"], "same")
        self.assertEqual(named(), "same")
        self.assertIsNone(named(override_settings={"sd_vae": "Automatic"}))
        post("options", {"sd_vae": "Automatic"})
        self.assertIsNone(named())

    def test_default_model(self):
        with daemon("--set", "models.default_model=tiny9",
                    "--models", "/nonexistent") as d:
            models = json.loads(d.get("/v1/models").body)["models"]
            self.assertEqual([m["name"] for m in models if m.get("default")], ["tiny9"])
        with Daemon("--models", self.dir, "--set", "models.default_model=nosuch", worker=ENGINE,
                    wait=False) as d:
            d.until(lambda: 'no model \\"nosuch\\"' in d.log() or 'no model "nosuch"' in d.log(), 20)

    def test_missing_tokenizer(self):
        shutil.rmtree(os.path.join(self.dir, "tiny", "tokenizer"))
        with Daemon("--models", self.dir, worker=ENGINE, wait=False) as d:
            d.until(lambda: "tokenizer" in d.log(), 20)
            self.assertEqual(d.get("/readyz").status, 503)
            self.assertEqual(d.get("/healthz").status, 200)


if __name__ == "__main__":
    main()
