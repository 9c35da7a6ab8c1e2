"""The directories of models change while the daemon serves, with the real worker."""
import base64
import json
import os
import shutil
import signal
import struct
import tempfile
import threading

from cn_e2e import DATA, ENGINE, Case, Daemon, main

MODELS = os.path.join(DATA, "models")
SPEC = {"prompt": "a red apple", "width": 16, "height": 16, "steps": 2, "seed": 11, "model": "tiny"}
UNET = os.path.join("unet", "diffusion_pytorch_model.safetensors")
EDGES = base64.b64encode(open(os.path.join(
    DATA, "golden", "images", "tiny", "edges-40x48.png"), "rb").read()).decode()


def negated(data, tensor):
    """A file of other weights: the signs of one tensor are changed."""
    n, = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8:8 + n])[tensor]
    size = {"F32": 4, "F16": 2, "BF16": 2}[entry["dtype"]]
    out = bytearray(data)
    for at in range(8 + n + entry["data_offsets"][0] + size - 1, 8 + n + entry["data_offsets"][1], size):
        out[at] ^= 0x80
    return bytes(out)


class Refresh(Case):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="cn-models-")
        self.models = os.path.join(self.dir, "models")
        os.mkdir(self.models)
        self.copy("tiny")

    def tearDown(self):
        shutil.rmtree(self.dir)

    def copy(self, name, to=None):
        shutil.copytree(os.path.join(MODELS, name), os.path.join(self.models, to or name))

    def remove(self, name):
        """As a careful person does: out of the folder first, so that nobody sees half of it."""
        os.rename(os.path.join(self.models, name), os.path.join(self.dir, name + ".gone"))
        shutil.rmtree(os.path.join(self.dir, name + ".gone"))

    def replace(self, name, tensor):
        """Another UNet, by a rename: whoever has the old file open keeps it."""
        path = os.path.join(self.models, name, UNET)
        with open(path, "rb") as f:
            data = negated(f.read(), tensor)
        with open(os.path.join(self.dir, "new"), "wb") as f:
            f.write(data)
        os.rename(os.path.join(self.dir, "new"), path)

    def daemon(self, settle_s, *args):
        return Daemon("--models", self.models, "--set", "models.settle_s=%d" % settle_s, *args,
                      worker=ENGINE)

    @staticmethod
    def listed(d):
        return {m["name"]: m for m in json.loads(d.get("/v1/models").body)["models"]}

    def refresh(self, d):
        r = d.request("POST", "/v1/models/refresh")
        self.assertEqual(r.status, 200, r.body)
        return json.loads(r.body)

    def test_the_last_model_goes(self):
        """A server that can draw nothing says so, and draws again when there is something."""
        with self.daemon(0) as d:
            self.copy("tiny-control-a")
            self.remove("tiny")
            self.refresh(d)
            r = d.get("/readyz")
            self.assertEqual((r.status, r.body), (503, b"there is no base model that can be used\n"))
            doc = json.loads(d.get("/readyz?verbose").body)
            self.assertEqual([c["name"] for c in doc["checks"] if not c["ok"]], ["model"])
            self.assertEqual(d.metric("controlnetd_ready"), 0)
            self.copy("tiny")
            self.refresh(d)
            self.assertEqual(d.get("/readyz").status, 200)
            self.assertEqual(d.images(SPEC).status, 200)

    def test_when_asked(self):
        with self.daemon(0) as d:
            self.assertEqual(d.images(SPEC).status, 200)
            self.assertEqual(sorted(self.listed(d)), ["tiny"])
            self.copy("tiny2")
            with open(os.path.join(self.models, "notes.txt"), "w") as f:
                f.write("not a model")
            os.mkdir(os.path.join(self.models, "empty"))
            with open(os.path.join(self.models, "half.safetensors"), "wb") as f:
                f.write(struct.pack("<Q", 100) + b"{")
            header = json.dumps({"lora_unet_x_attn2_to_k.lora_down.weight":
                                 {"dtype": "F16", "shape": [4, 768], "data_offsets": [0, 6144]}})
            with open(os.path.join(self.models, "lora.safetensors"), "wb") as f:
                f.write(struct.pack("<Q", len(header)) + header.encode() + bytes(6144))
            self.problem(d.images(dict(SPEC, model="tiny2")), 422, "validation", "/model")
            doc = self.refresh(d)
            models = {m["name"]: m for m in doc["models"]}
            self.assertEqual(sorted(models), ["half", "tiny", "tiny2"])
            self.assertEqual(models["half"]["state"], "broken")
            self.assertIn("half", models["half"]["broken"])
            self.assertNotIn(self.dir, json.dumps(doc))
            passed = {p["name"]: p["reason"] for p in doc["passed_over"]}
            self.assertEqual(sorted(passed), ["empty", "lora.safetensors", "notes.txt"])
            self.assertEqual(passed["lora.safetensors"], "a LoRA for SD 1.x")
            r = self.problem(d.images(dict(SPEC, model="lora")), 422, "validation", "/model")
            self.assertEqual(r["detail"], '"lora" is no model: a LoRA for SD 1.x')
            self.assertIn("model_index.json", passed["empty"])
            self.assertIn("safetensors", passed["notes.txt"])
            self.assertEqual(json.loads(d.get("/v1/models").body), doc)
            self.assertEqual(d.images(dict(SPEC, model="tiny2")).status, 200)
            self.remove("tiny2")
            os.unlink(os.path.join(self.models, "half.safetensors"))
            self.assertEqual([m["name"] for m in self.refresh(d)["models"]], ["tiny"])
            self.problem(d.images(dict(SPEC, model="tiny2")), 422, "validation", "/model")
            self.copy("tiny-control-a")
            d.proc.send_signal(signal.SIGHUP)  # the other way to ask
            d.until(lambda: "tiny-control-a" in self.listed(d), 20)
            told = [(e["added"], e["changed"], e["removed"]) for e in d.events("worker.models")]
            self.assertEqual(told, [(2, 0, 0), (0, 0, 2), (1, 0, 0)])

    def test_by_itself(self):
        """A model that is copied piece by piece is taken when it is complete, a broken one when it is
        repaired, and one that goes is gone."""
        with self.daemon(1) as d:
            path = os.path.join(self.models, "tiny2")
            shutil.copytree(os.path.join(MODELS, "tiny2"), path)
            d.until(lambda: "tiny2" in self.listed(d), 30)
            self.assertEqual(d.images(dict(SPEC, model="tiny2")).status, 200)
            os.truncate(os.path.join(path, UNET), 1000)
            d.until(lambda: self.listed(d)["tiny2"]["state"] == "broken", 30)
            self.problem(d.images(dict(SPEC, model="tiny2")), 422, "validation", "/model")
            shutil.copy(os.path.join(MODELS, "tiny2", UNET), os.path.join(path, UNET))
            d.until(lambda: self.listed(d)["tiny2"]["state"] != "broken", 30)
            self.assertEqual(d.images(dict(SPEC, model="tiny2")).status, 200)
            shutil.rmtree(path)
            d.until(lambda: "tiny2" not in self.listed(d), 30)

    def test_a_directory_that_comes_later(self):
        later = os.path.join(self.dir, "later")
        with self.daemon(1, "--models", later) as d:
            os.mkdir(later)
            shutil.copytree(os.path.join(MODELS, "tiny-control-a"), os.path.join(later, "edges"))
            d.until(lambda: "edges" in self.listed(d), 30)
            os.makedirs(os.path.join(later, "of", "others"))
            os.symlink("..", os.path.join(later, "of", "circle"))
            shutil.copytree(os.path.join(MODELS, "tiny-control-b"),
                            os.path.join(later, "of", "others", "lines"))
            d.until(lambda: "lines" in self.listed(d), 30)
            shutil.rmtree(os.path.join(later, "of"))
            d.until(lambda: "lines" not in self.listed(d), 30)

    def test_another_version_draws_another_picture(self):
        with self.daemon(0) as d:
            before = d.images(SPEC).body
            self.replace("tiny", "conv_out.weight")
            self.assertEqual(d.images(SPEC).body, before)  # nobody has looked
            self.refresh(d)
            after = d.images(SPEC).body
            self.assertNotEqual(after, before)
            self.replace("tiny", "conv_out.weight")
            self.refresh(d)
            self.assertEqual(d.images(SPEC).body, before)
            first = self.listed(d)["tiny"]["resident_bytes"]
            for _ in range(3):  # what was replaced leaves the memory
                self.replace("tiny", "conv_out.weight")
                self.refresh(d)
                d.images(SPEC)
            self.assertLess(self.listed(d)["tiny"]["resident_bytes"], 1.5 * first)
            with open("/proc/%d/maps" % d.worker_pid()) as f:
                self.assertNotIn("safetensors", f.read())
            fds = [os.readlink("/proc/%d/fd/%s" % (d.worker_pid(), n))
                   for n in os.listdir("/proc/%d/fd" % d.worker_pid())]
            self.assertEqual([f for f in fds if f.endswith("(deleted)") and "models" in f], [])

    def test_jobs_that_wait_for_a_model_that_goes(self):
        self.copy("tiny2")
        self.copy("tiny-control-a")
        with self.daemon(0, "--set", "worker.lanes=1") as d:
            def submit(**more):
                r = d.jobs(dict(SPEC, **more))
                self.assertEqual(r.status, 202, r.body)
                return json.loads(r.body)["id"]

            first = submit(steps=150, n=16, width=64, height=64)
            d.until(lambda: d.job(first)["state"] == "running", 20)
            doomed = submit(model="tiny2")
            edges = submit(controls=[{"model": "tiny-control-a", "image": EDGES}])
            other = submit()
            self.remove("tiny2")
            self.remove("tiny-control-a")
            self.refresh(d)
            for id, pointer, name in ((doomed, "/model", "tiny2"),
                                      (edges, "/controls/0/model", "tiny-control-a")):
                job = d.wait_job(id)
                self.assertEqual(job["state"], "failed", job)
                self.assertEqual(job["error"]["errors"][0]["pointer"], pointer)
                self.assertIn(name, job["error"]["detail"])
                self.assertIn("removed", job["error"]["detail"])
            self.assertEqual(d.job(first)["state"], "running")
            d.request("DELETE", "/v1/jobs/" + first)
            self.assertEqual(d.wait_job(other)["state"], "succeeded")

    def test_under_load(self):
        """Files are replaced while pictures are drawn, and a model goes: no job fails but those that
        name it, and those fail for that reason."""
        self.copy("tiny", "goes")
        self.copy("tiny", "stays")
        failed, stop = [], threading.Event()
        drawn = {"tiny": 0, "stays": 0, "goes": 0}

        def client(d, k, name):
            seed = 0
            while not stop.is_set():
                seed += 1
                r = d.images(dict(SPEC, model=name, seed=seed, steps=4, n=1 + k % 2),
                             "application/json")
                if r.status == 200:
                    drawn[name] += 1
                else:
                    failed.append((name, r.status, r.body))

        with self.daemon(0, "--set", "worker.lanes=4") as d:
            threads = [threading.Thread(target=client, args=(d, k, name))
                       for k, name in enumerate(list(drawn) * 2)]
            for t in threads:
                t.start()
            try:
                for tensor in ("conv_out.weight", "conv_in.weight", "conv_out.bias", "conv_in.bias"):
                    for name in ("tiny", "stays"):
                        seen = dict(drawn)
                        self.replace(name, tensor)
                        d.until(lambda: drawn["tiny"] > seen["tiny"], 60)  # while it is not known
                        self.refresh(d)
                        d.until(lambda: all(drawn[n] > seen[n] + 2 for n in ("tiny", "stays")), 60)
                self.remove("goes")
                d.until(lambda: drawn["goes"] > 2 or failed, 60)
                self.refresh(d)
                d.until(lambda: failed, 60)
                seen = dict(drawn)
                d.until(lambda: all(drawn[n] > seen[n] + 2 for n in ("tiny", "stays")), 60)
            finally:
                stop.set()
                for t in threads:
                    t.join()
            self.assertEqual([f for f in failed if f[0] != "goes"], [])
            for name, status, body in failed:
                self.assertEqual(status, 422, body)
                self.assertEqual(json.loads(body)["errors"][0]["pointer"], "/model")
            self.assertGreater(drawn["goes"], 0)
            self.assertEqual(sum(e["changed"] for e in d.events("worker.models")), 8)

    def embedding(self, folder, name, value):
        """Two vectors for the model tiny, by a rename. Its layers do not see equal numbers."""
        data = struct.pack("<72f", *[value * (i % 5) for i in range(72)])
        header = json.dumps({"emb_params": {"dtype": "F32", "shape": [2, 36],
                                            "data_offsets": [0, len(data)]}}).encode()
        with open(os.path.join(self.dir, "new"), "wb") as f:
            f.write(struct.pack("<Q", len(header)) + header + data)
        os.rename(os.path.join(self.dir, "new"), os.path.join(folder, name + ".safetensors"))

    @staticmethod
    def embeddings(d):
        return {e["name"]: e for e in json.loads(d.get("/v1/models").body)["embeddings"]}

    def test_embeddings_come_change_and_go(self):
        folder = os.path.join(self.dir, "words")
        os.mkdir(folder)
        spec = dict(SPEC, prompt="a zork apple", prompt_syntax="a1111")
        with self.daemon(0, "--set", "models.embeddings=" + folder) as d:
            text = d.images(spec).body
            self.assertEqual(self.embeddings(d), {})
            self.embedding(folder, "zork", 0.5)
            self.assertEqual(d.images(spec).body, text)  # nobody has looked
            doc = self.refresh(d)
            self.assertEqual([(e["name"], e["vectors"]) for e in doc["embeddings"]], [("zork", 2)])
            one = d.images(spec).body
            self.assertNotEqual(one, text)
            self.embedding(folder, "aa", 0.25)  # it comes first: the other's ids are others
            self.refresh(d)
            self.assertEqual(sorted(self.embeddings(d)), ["aa", "zork"])
            self.assertEqual(d.images(spec).body, one)
            self.embedding(folder, "zork", -0.5)
            self.refresh(d)
            self.assertNotIn(d.images(spec).body, (one, text))
            with open(os.path.join(folder, "zork.safetensors"), "wb") as f:
                f.write(struct.pack("<Q", 100) + b"{")
            self.refresh(d)
            broken = self.embeddings(d)["zork"]["broken"]
            self.assertIn("zork", broken)
            self.assertNotIn(self.dir, broken)
            self.assertIn("zork.safetensors", d.log())
            self.assertEqual(d.images(spec).body, text)
            self.embedding(folder, "zork", 0.5)
            self.refresh(d)
            self.assertEqual(d.images(spec).body, one)
            shutil.rmtree(folder)
            d.proc.send_signal(signal.SIGHUP)
            d.until(lambda: self.embeddings(d) == {}, 20)
            self.assertEqual(d.images(spec).body, text)

    def test_embeddings_by_themselves(self):
        folder = os.path.join(self.dir, "words")
        os.makedirs(os.path.join(folder, "more"))
        with self.daemon(1, "--set", "models.embeddings=" + folder) as d:
            self.embedding(os.path.join(folder, "more"), "zork", 0.5)
            d.until(lambda: "zork" in self.embeddings(d), 30)
            os.unlink(os.path.join(folder, "more", "zork.safetensors"))
            d.until(lambda: "zork" not in self.embeddings(d), 30)

    def test_a_job_keeps_the_embeddings_it_began_with(self):
        """It waits behind another one that fills the lanes, and was begun before they changed."""
        folder = os.path.join(self.dir, "words")
        os.mkdir(folder)
        self.embedding(folder, "zork", 0.5)
        spec = dict(SPEC, prompt="a zork apple", prompt_syntax="a1111", steps=40, width=64, height=64)
        with self.daemon(0, "--set", "models.embeddings=" + folder,
                         "--set", "worker.lanes=1") as d:
            first = d.images(dict(spec, format="png")).body
            r = d.jobs(dict(spec, n=4))
            self.assertEqual(r.status, 202, r.body)
            id = json.loads(r.body)["id"]
            d.until(lambda: d.job(id)["state"] == "running", 20)
            shutil.rmtree(folder)
            self.refresh(d)
            self.assertEqual(d.wait_job(id)["state"], "succeeded")
            self.assertEqual(d.request("GET", "/v1/jobs/%s/images/0" % id).body, first)
            self.assertNotEqual(d.images(spec).body, first)

    def test_only_for_administrators(self):
        keys = os.path.join(self.dir, "keys")
        with open(keys, "w") as f:
            f.write("anna:0123456789abcdef\nroot:fedcba9876543210 scopes=admin\n")
        with self.daemon(0, "--set", "auth.keys_file=" + keys) as d:
            r = d.request("POST", "/v1/models/refresh", headers={"X-Api-Key": "0123456789abcdef"})
            self.problem(r, 403, "forbidden")
            r = d.request("POST", "/v1/models/refresh", headers={"X-Api-Key": "fedcba9876543210"})
            self.assertEqual(r.status, 200)


if __name__ == "__main__":
    main()
