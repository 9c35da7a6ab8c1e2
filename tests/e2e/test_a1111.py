"""Clients of AUTOMATIC1111's web UI and of its ControlNet extension, as they speak."""
import base64
import json
import os
import shutil
import tempfile

from test_annotate import b64, pixels, png

from cn_e2e import DATA, ENGINE, Aside, Case, Daemon, main, png_rows, png_size

EDGES = base64.b64encode(open(os.path.join(DATA, "golden", "images", "tiny", "edges-40x48.png"),
                              "rb").read()).decode()
SMALL = {"prompt": "x", "width": 64, "height": 64, "steps": 2}


def post(d, path, body=None, **headers):
    r = d.request("POST", path, None if body is None else json.dumps(body),
                  dict({"Content-Type": "application/json"}, **headers))
    r.doc = json.loads(r.body)
    return r


def get(d, path, **headers):
    r = d.get(path, headers)
    r.doc = json.loads(r.body)
    return r


class WebUi(Case):
    @classmethod
    def setUpClass(cls):
        cls.d = Daemon(fake="capacity=4")

    @classmethod
    def tearDownClass(cls):
        cls.d.__exit__(None, None, None)

    def draw(self, body, kind="txt2img", status=200):
        r = post(self.d, "/sdapi/v1/" + kind, body)
        self.assertEqual(r.status, status, r.body[:500])
        return r.doc

    def refused(self, body, field, kind="txt2img", status=422):
        doc = self.draw(body, kind, status)
        self.assertTrue(doc["detail"].startswith(field + ":"), doc)
        self.assertEqual(doc["errors"], doc["detail"])
        return doc

    def test_pictures_and_info(self):
        doc = self.draw(dict(SMALL, seed=7, n_iter=2, batch_size=2, negative_prompt="n"))
        info = json.loads(doc["info"])
        self.assertEqual(len(doc["images"]), 4)
        self.assertEqual(info["all_seeds"], [7, 8, 9, 10])
        self.assertEqual(info["seed"], 7)
        self.assertEqual(info["sd_model_hash"], "")  # strict clients want a text
        self.assertEqual(len(info["infotexts"]), 4)
        self.assertEqual(info["all_negative_prompts"], ["n"] * 4)
        self.assertEqual(doc["parameters"]["cfg_scale"], 7.0)
        self.assertEqual(doc["parameters"]["n_iter"], 2)
        self.assertEqual(doc["warnings"], [])

    def test_a_body_may_be_loose(self):
        doc = self.draw({"width": "64", "height": 64.0, "steps": "2", "send_images": "true",
                         "sampler_name": "", "script_name": None, "styles": [], "tiling": False,
                         "seed": "-1", "nonsense": 1, "alwayson_scripts": {},
                         "override_settings": {"samples_format": "jpg"}})
        self.assertEqual([w["pointer"] for w in doc["warnings"]], ["/nonsense"])
        self.assertTrue(base64.b64decode(doc["images"][0]))
        for body, kind in ((b"", None), (b"{}", "text/plain")):
            headers = {} if kind is None else {"Content-Type": kind}
            r = self.d.request("POST", "/sdapi/v1/txt2img", body, headers)
            self.assertEqual(r.status, 200, r.body[:200])

    def test_no_images(self):
        self.assertEqual(self.draw(dict(SMALL, send_images=False))["images"], [])

    def test_samplers(self):
        for name, schedule in (("Euler a", ""), ("DPM++ 2M Karras", ""), ("k_dpmpp_2m", "karras"),
                               ("DDIM", "automatic"), ("UniPC", None), ("euler", "SGM Uniform")):
            self.draw(dict(SMALL, sampler_name=name, scheduler=schedule))
        self.refused(dict(SMALL, sampler_name="Nope"), "sampler_name")
        self.refused(dict(SMALL, scheduler="Nope"), "scheduler")
        for s in get(self.d, "/sdapi/v1/samplers").doc:
            self.draw(dict(SMALL, sampler_name=s["name"]))
            for alias in s["aliases"]:
                self.draw(dict(SMALL, sampler_name=alias))

    def test_what_is_refused(self):
        self.refused(dict(SMALL, steps="many"), "steps")
        self.refused(dict(SMALL, width=65), "width")
        self.refused(dict(SMALL, cfg_scale=[]), "cfg_scale")
        self.refused(dict(SMALL, script_name="X/Y/Z plot"), "script_name")
        self.refused(dict(SMALL, tiling=True), "tiling")
        self.refused(dict(SMALL, subseed_strength=1.5), "subseed_strength")
        self.refused(dict(SMALL, subseed=0.5), "subseed")
        self.refused(dict(SMALL, force_task_id="t" * 64), "force_task_id")
        for path in ("/sdapi/v1/nothing", "/controlnet/nothing", "/internal/nothing"):
            r = get(self.d, path)
            self.assertEqual((r.status, r.doc["error"]), (404, "HTTPException"))
            self.assertTrue(r.doc["detail"])
        self.assertIn("problem", get(self.d, "/v1/nothing").getheader("Content-Type"))
        self.refused(dict(SMALL, override_settings={"sd_model_checkpoint": "nope"}),
                     "override_settings.sd_model_checkpoint")
        self.assertEqual(self.draw({}, "img2img", 404)["detail"], "Init image not found")
        self.assertEqual(self.d.get("/sdapi/v1/txt2img").status, 405)
        for path in ("extra-single-image", "interrogate"):
            self.assertEqual(post(self.d, "/sdapi/v1/" + path, {}).status, 422)

    def test_units(self):
        unit = {"model": "emoji-canny [d14c016b]", "image": EDGES, "save_detected_map": False}
        good = [unit, dict(unit, enabled=False, model="nope"), dict(unit, module="canny"),
                dict(unit, control_mode=2, resize_mode=0), dict(unit, guidance=0.5),
                dict(unit, control_mode="My prompt is more important",
                     resize_mode="Envelope (Outer Fit)"),
                dict(unit, image={"image": EDGES, "mask": None}), dict(unit, image=[EDGES]),
                dict(unit, pixel_perfect=True, processor_res=99999, threshold_a=-1),
                dict(unit, advanced_weighting=[0.5] * 13), dict(unit, nonsense=1)]
        for u in good:
            for name in ("ControlNet", "controlnet"):
                self.draw(dict(SMALL, alwayson_scripts={name: {"args": [u]}}))
        bad = [(dict(unit, model="nope"), "model"), (dict(unit, module="nope"), "module"),
               (dict(unit, control_mode="x"), "control_mode"), (dict(unit, weight=3), "weight"),
               (dict(unit, guidance_start=0.8, guidance_end=0.2), "guidance"),
               (dict(unit, effective_region_mask=EDGES), "effective_region_mask")]
        for u, field in bad:
            with self.subTest(field):
                doc = self.draw(dict(SMALL, alwayson_scripts={"controlnet": {"args": [u]}}),
                                status=422)
                self.assertIn(".args.0." + field, doc["detail"])
        self.assertEqual(self.draw(dict(SMALL, alwayson_scripts={"controlnet": {"args": [
            {"model": "emoji-canny"}]}}), status=422)["error"], "HTTPException")
        self.draw(dict(SMALL, init_images=[EDGES], alwayson_scripts={"controlnet": {"args": [
            {"model": "emoji-canny"}]}}), "img2img")
        self.draw(dict(SMALL, alwayson_scripts={"controlnet": {"args": [
            dict(unit, image="/etc/passwd")]}}), status=422)

    def test_lists_are_well_formed(self):
        for name in ("sd-models", "samplers", "schedulers", "sd-vae", "loras", "upscalers",
                     "latent-upscale-modes", "prompt-styles", "face-restorers", "hypernetworks",
                     "realesrgan-models", "script-info", "extensions"):
            r = get(self.d, "/sdapi/v1/" + name)
            self.assertEqual(r.status, 200)
            self.assertIsInstance(r.doc, list)
        self.assertEqual(set(get(self.d, "/sdapi/v1/embeddings").doc), {"loaded", "skipped"})
        self.assertEqual(get(self.d, "/internal/ping").doc, {})
        self.assertEqual(get(self.d, "/controlnet/version").doc, {"version": 3})
        self.assertIn("emoji-canny", get(self.d, "/controlnet/model_list").doc["model_list"])
        for path in ("/controlnet/module_list?alias_names=", "/sdapi/v1/progress?skip_current_image="):
            self.assertEqual([self.d.get(path + v).status for v in ("True", "0", "null", "")],
                             [200, 200, 400, 400])
        modules = get(self.d, "/controlnet/module_list").doc
        self.assertEqual(set(modules["module_list"]), set(modules["module_detail"]))
        for name in ("checkpoints", "vae", "loras", "embeddings"):
            self.assertIsNone(post(self.d, "/sdapi/v1/refresh-" + name).doc)

    def test_options(self):
        whole = get(self.d, "/sdapi/v1/options").doc
        self.assertIsNone(post(self.d, "/sdapi/v1/options",
                               dict(whole, CLIP_stop_at_last_layers=2)).doc)
        self.assertEqual(get(self.d, "/sdapi/v1/options").doc["CLIP_stop_at_last_layers"], 2)
        self.assertEqual(json.loads(self.draw(SMALL)["info"])["clip_skip"], 2)
        post(self.d, "/sdapi/v1/options", whole)
        r = post(self.d, "/sdapi/v1/options", {"sd_model_checkpoint": "nope"})
        self.assertEqual((r.status, "model 'nope' not found" in r.doc["detail"]), (422, True))
        r = post(self.d, "/sdapi/v1/options", {"CLIP_stop_at_last_layers": 42})
        self.assertEqual((r.status, "CLIP_stop_at_last_layers" in json.dumps(r.doc)), (422, True))
        self.assertEqual(json.loads(self.draw(SMALL)["info"])["clip_skip"], 1)

    def test_progress_and_interrupt(self):
        self.assertEqual(get(self.d, "/sdapi/v1/progress").doc["progress"], 0)
        job = Aside(post, self.d, "/sdapi/v1/txt2img",
                    dict(SMALL, prompt="step=20", steps=50, n_iter=16, force_task_id="t"))
        progress = {}

        def drawn():
            progress.update(get(self.d, "/sdapi/v1/progress").doc)
            return progress["state"]["job_no"] >= 2

        self.d.until(drawn, 60)
        self.assertTrue(0 < progress["progress"] < 1, progress)
        self.assertEqual(progress["state"]["job_count"], 16)
        self.assertEqual(progress["state"]["sampling_steps"], 50)
        self.assertTrue(post(self.d, "/internal/progress", {"id_task": "t"}).doc["active"])
        self.assertEqual(post(self.d, "/sdapi/v1/interrupt").doc, {})
        r = job.result()
        self.assertEqual(r.status, 200, r.body[:300])
        self.assertTrue(1 <= len(r.doc["images"]) < 16, len(r.doc["images"]))
        self.assertEqual(get(self.d, "/sdapi/v1/progress").doc["progress"], 0)
        doc = post(self.d, "/internal/progress", {"id_task": "t"}).doc
        self.assertEqual((doc["active"], doc["completed"]), (False, True))

    def test_png_info(self):
        doc = post(self.d, "/sdapi/v1/png-info", {"image": EDGES}).doc
        self.assertEqual(set(doc), {"info", "items", "parameters"})
        self.assertEqual(post(self.d, "/sdapi/v1/png-info", {}).status, 422)


class Keys(Case):
    def test_basic_carries_a_key_and_jobs_are_the_tenants_own(self):
        with Daemon(fake="capacity=2") as d:
            keys = os.path.join(d.dir, "keys")
            with open(keys, "w") as f:
                f.write("anna:anna-key-anna-key tenant=a\nbert:bert-key-bert-key tenant=b\n")
            d.stop()
            d.command += ["--set", "auth.keys_file=" + keys]
            d.start()

            def basic(text):
                return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}

            anna, bert = basic("user:anna-key-anna-key"), basic("x:bert-key-bert-key")
            r = d.get("/sdapi/v1/options")
            self.assertEqual(r.status, 401)
            self.assertTrue(r.getheader("WWW-Authenticate").startswith("Basic"))
            self.assertEqual(d.get("/sdapi/v1/options", anna).status, 200)
            job = Aside(lambda: post(d, "/sdapi/v1/txt2img",
                                     dict(SMALL, prompt="step=20", steps=100), **anna))
            d.until(lambda: get(d, "/sdapi/v1/progress", **anna).doc["state"]["job_count"] == 1)
            self.assertEqual(get(d, "/sdapi/v1/progress", **bert).doc["state"]["job_count"], 0)
            post(d, "/sdapi/v1/interrupt", **bert)
            post(d, "/sdapi/v1/options", {"CLIP_stop_at_last_layers": 3}, **bert)
            self.assertEqual(get(d, "/sdapi/v1/options", **anna)
                             .doc["CLIP_stop_at_last_layers"], 1)
            self.assertEqual(get(d, "/sdapi/v1/progress", **anna).doc["state"]["job_count"], 1)
            post(d, "/sdapi/v1/interrupt", **anna)
            self.assertEqual(job.result().status, 200)


class Engine(Case):
    """The real worker: pictures, and the map of an annotator."""

    def test_pictures(self):
        with Daemon("--models", os.path.join(DATA, "models"), worker=ENGINE) as d:
            small = {"prompt": "x", "width": 40, "height": 48, "steps": 2, "seed": 3,
                     "override_settings": {"sd_model_checkpoint": "tiny"}}
            one = post(d, "/sdapi/v1/txt2img", small)
            self.assertEqual(one.status, 200, one.body[:400])
            self.assertEqual(png_size(base64.b64decode(one.doc["images"][0])), (40, 48))
            again = post(d, "/sdapi/v1/txt2img", dict(small, seed=2, batch_size=2)).doc
            self.assertEqual(again["images"][1], one.doc["images"][0])
            for name in ("png", "jpg", "webp"):
                settings = dict(small["override_settings"], samples_format=name)
                picture = post(d, "/sdapi/v1/txt2img", dict(small, override_settings=settings))
                said = post(d, "/sdapi/v1/png-info", {"image": picture.doc["images"][0]}).doc
                self.assertEqual(said["parameters"].get("Seed"), "3", (name, said))
            edges = post(d, "/controlnet/detect",
                         {"controlnet_module": "canny", "controlnet_input_images": [EDGES]})
            self.assertEqual(edges.status, 200, edges.body[:300])
            self.assertEqual(edges.doc["info"], "Success")
            self.assertEqual(edges.doc["images"], post(d, "/controlnet/detect", {
                "controlnet_module": "canny", "controlnet_images": [EDGES]}).doc["images"])
            self.assertEqual(len(edges.doc["images"]), 1)


    SMALL = {"prompt": "x", "width": 40, "height": 48, "steps": 2, "seed": 3,
             "override_settings": {"sd_model_checkpoint": "tiny"}}

    def test_only_the_masked_part(self):
        """inpaint_full_res: as large as the init image, and outside of the mask as it was."""
        photo = png(90, 70, 3, lambda x, y: (x * 2, y * 3, (x * y) % 256))
        mask = png(90, 70, 1, lambda x, y: (255 if 30 <= x < 50 and 20 <= y < 40 else 0,))
        seen = []
        with Daemon("--models", os.path.join(DATA, "models"), worker=ENGINE) as d:
            for fill in (0, 1, 2, 3):
                r = post(d, "/sdapi/v1/img2img", dict(
                    self.SMALL, init_images=[b64(photo)], mask=b64(mask), inpainting_fill=fill,
                    inpaint_full_res_padding=8, mask_blur=0, denoising_strength=0.8))
                self.assertEqual(r.status, 200, r.body[:300])
                self.assertEqual(r.doc["warnings"], [])
                w, h, c, was = pixels(photo)
                data = base64.b64decode(r.doc["images"][0])
                self.assertEqual(pixels(data)[:3], (w, h, c))
                now = pixels(data)[3]
                for i in range(w * h):
                    if not (30 <= i % w < 50 and 20 <= i // w < 40):
                        self.assertEqual(now[3 * i:3 * i + 3], was[3 * i:3 * i + 3], i)
                seen.append(now)
                text = post(d, "/sdapi/v1/png-info", {"image": r.doc["images"][0]}).doc
                self.assertEqual(text["parameters"]["Masked area padding"], "8")
            self.assertEqual(len(set(seen)), 4)
            blank = png(90, 70, 1, lambda x, y: (0,))
            r = post(d, "/sdapi/v1/img2img", dict(self.SMALL, init_images=[b64(photo)],
                                                  mask=b64(blank)))
            self.assertEqual(png_size(base64.b64decode(r.doc["images"][0])), (40, 48))

    def test_variations(self):
        with Daemon("--models", os.path.join(DATA, "models"), worker=ENGINE) as d:
            plain = post(d, "/sdapi/v1/txt2img", self.SMALL).doc["images"][0]
            vary = dict(self.SMALL, subseed=7, subseed_strength=0.3, batch_size=2)
            doc = post(d, "/sdapi/v1/txt2img", vary).doc
            info = json.loads(doc["info"])
            self.assertEqual((info["all_seeds"], info["all_subseeds"]), ([3, 3], [7, 8]))
            self.assertIn("Variation seed: 8, Variation seed strength: 0.3", info["infotexts"][1])
            self.assertEqual(len({plain, *doc["images"]}), 3)
            one = post(d, "/sdapi/v1/txt2img", dict(vary, subseed=8, batch_size=1)).doc
            self.assertEqual(one["images"][0], doc["images"][1])
            drawn = post(d, "/sdapi/v1/txt2img", dict(vary, subseed=-1, batch_size=1)).doc
            self.assertGreaterEqual(json.loads(drawn["info"])["subseed"], 0)
            resized = post(d, "/sdapi/v1/txt2img", dict(self.SMALL, seed_resize_from_w=24,
                                                        seed_resize_from_h=32)).doc
            self.assertNotEqual(resized["images"][0], plain)
            self.assertIn("Seed resize from: 24x32", json.loads(resized["info"])["infotexts"][0])


class Loras(Case):
    """The real worker with adapters: the list, tags of prompts, and files that come."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="cn-loras-")
        self.copy("locon")

    def tearDown(self):
        shutil.rmtree(self.dir)

    def copy(self, name):
        name += ".safetensors"
        shutil.copy(os.path.join(DATA, "adapters", name), os.path.join(self.dir, name))

    def daemon(self, *args):
        return Daemon("--models", os.path.join(DATA, "models"), "--set",
                      "models.adapters=" + self.dir, "--set", "models.settle_s=0", *args,
                      worker=ENGINE)

    @staticmethod
    def ask(d, prompt, kind="txt2img", **more):
        return post(d, "/sdapi/v1/" + kind, dict(
            {"prompt": prompt, "width": 40, "height": 48, "steps": 2, "seed": 3,
             "override_settings": {"sd_model_checkpoint": "tiny"}}, **more))

    def draw(self, d, *args, **more):
        r = self.ask(d, *args, **more)
        self.assertEqual(r.status, 200, r.body[:400])
        self.assertEqual(r.doc["warnings"], [])
        return r.doc

    def test_tags_of_prompts(self):
        with self.daemon() as d:
            for kind, more in (("txt2img", {}), ("img2img", {"init_images": [EDGES],
                                                             "denoising_strength": 0.8})):
                with self.subTest(kind):
                    # Of pictures, not of files: the prompt stands in the file as it was written.
                    more = dict(more, override_settings={"sd_model_checkpoint": "tiny"})
                    plain = self.pixels(self.draw(d, "x", kind, **more))
                    tagged = self.draw(d, "x<lora:locon:0.8>", kind, **more)
                    self.assertNotEqual(self.pixels(tagged), plain)
                    self.assertIn("<lora:locon:0.8>", json.loads(tagged["info"])["infotexts"][0])
                    self.assertEqual(self.pixels(self.draw(d, "x<lora:locon:0>", kind, **more)),
                                     plain)
                    r = self.ask(d, "x <lora:nobody:1>", kind, **more)
                    self.assertEqual(r.status, 422, r.body[:400])
                    self.assertEqual(r.doc["detail"], 'prompt: there is no adapter "nobody"')
                    r = self.ask(d, "x <hypernet:locon:1>", kind, **more)
                    self.assertEqual(r.status, 422, r.body[:400])
                    self.assertIn("prompt: tags <hypernet:", r.doc["detail"])

    @staticmethod
    def pixels(doc):
        return png_rows(base64.b64decode(doc["images"][0]))

    def test_list_and_refresh(self):
        with self.daemon() as d:
            self.assertEqual(get(d, "/sdapi/v1/loras").doc,
                             [{"name": "locon", "alias": "locon", "path": "locon",
                               "metadata": {}}])
            self.copy("loha")
            self.assertIsNone(post(d, "/sdapi/v1/refresh-loras").doc)
            self.assertEqual({x["name"] for x in get(d, "/sdapi/v1/loras").doc},
                             {"locon", "loha"})


if __name__ == "__main__":
    main()
