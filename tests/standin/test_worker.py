"""The daemon with controlnet-worker-cuda on the stand-in of CUDA: the device fails for good, or has no
memory, or is not there."""
import json
import os
import shutil
import subprocess
import tempfile

from cn_e2e import DATA, ENGINE, QUICK, Case, Daemon, main, png_size

WORKER = os.path.abspath("tests/standin/controlnet-worker-cuda")
TINY = os.path.join(DATA, "models", "tiny")
SIZE = 8 if QUICK else 24  # pixels; tiny's factor is 4
SPEC = {"width": SIZE, "height": SIZE, "steps": 2, "seed": 11, "model": "tiny", "prompt": "an apple"}


class Device(Case):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="cn-standin-")
        self.models = self.small_models() if QUICK else os.path.dirname(TINY)

    def tearDown(self):
        shutil.rmtree(self.dir)

    def small_models(self):
        """Tiny with a size of its own that is as small as its pictures here: loading draws one."""
        unet = os.path.join(self.dir, "models", "tiny", "unet")
        os.makedirs(unet)
        for name in os.listdir(TINY):
            if name != "unet":
                os.symlink(os.path.join(TINY, name), os.path.join(os.path.dirname(unet), name))
        weights = "diffusion_pytorch_model.safetensors"
        os.symlink(os.path.join(TINY, "unet", weights), os.path.join(unet, weights))
        with open(os.path.join(TINY, "unet", "config.json")) as f:
            config = json.load(f)
        config["sample_size"] = SIZE // 4
        with open(os.path.join(unet, "config.json"), "w") as f:
            json.dump(config, f)
        return os.path.join(self.dir, "models")

    def env(self, **more):
        return dict(XDG_CACHE_HOME=self.dir, **more)

    def daemon(self, *args, backend="cuda", worker=WORKER, **env):
        return Daemon("--models", self.models, "--set", "worker.backend=" + backend, *args,
                      worker=worker, env=self.env(**env))

    def events(self, d, name):
        """What the daemon logged under that name."""
        lines = [json.loads(x) for x in d.log().splitlines() if x.startswith("{")]
        return [x for x in lines if x["event"] == name]

    def backends(self, d):
        return [x["backend"] for x in self.events(d, "worker.hello")]

    def once(self, what):
        """The environment in which the first worker fails so."""
        path = os.path.join(self.dir, "once")
        open(path, "w").close()
        return {"CUDA_STANDIN_FAIL": what, "CUDA_STANDIN_ONCE": path}

    def picture(self, d, **more):
        r = d.images(dict(SPEC, **more))
        self.assertEqual(r.status, 200, r.body)
        self.assertEqual(png_size(r.body), (SIZE, SIZE))
        return r.body

    def test_pictures(self):
        with self.daemon() as d:
            one = self.picture(d)
            self.assertEqual(one, self.picture(d))
            self.assertNotEqual(one, self.picture(d, seed=12))
            self.assertEqual(self.backends(d), ["cuda"])
            self.assertIn("stand-in sm_90", self.events(d, "worker.hello")[0]["device"])

    def test_lost_device_costs_a_worker_and_no_job(self):
        for what in ("launch 400 700", "cudaGraphLaunch 1 719"):
            with self.subTest(what):
                with self.daemon(**self.once(what)) as d:
                    self.picture(d)
                    self.assertEqual(self.backends(d), ["cuda", "cuda"])
                    lost = self.events(d, "worker.down")
                    self.assertEqual([x["cause"] for x in lost], ["device"], lost)

    def test_memory_that_is_short_costs_nothing(self):
        with self.daemon(**self.once("cudaMalloc 60 2")) as d:
            self.picture(d)
            self.picture(d, seed=12)
            self.assertEqual(self.backends(d), ["cuda"])

    def probe(self, **env):
        return subprocess.run([WORKER, "--backend", "cuda", "--probe"], capture_output=True,
                              text=True, env=dict(os.environ, **self.env(**env)))

    def test_probe(self):
        r = self.probe()
        self.assertEqual((r.returncode, r.stdout[:13]), (0, "cuda stand-in"))
        r = self.probe(CUDA_STANDIN_DEVICES="0")
        self.assertEqual(r.returncode, 1)
        self.assertIn("no CUDA device answers", r.stderr)

    def test_auto_takes_the_device_that_answers(self):
        worker = os.path.join(self.dir, "controlnet-worker")
        shutil.copy(ENGINE, worker)
        shutil.copy(WORKER, worker + "-cuda")
        shutil.copy("controlnet-decoder", self.dir)
        for devices in ("1", "0"):
            with self.daemon(backend="auto", worker=worker, CUDA_STANDIN_DEVICES=devices) as d:
                self.picture(d)
                self.assertEqual(self.backends(d) == ["cuda"], devices == "1")
        os.unlink(worker + "-cuda")
        with self.daemon(backend="auto", worker=worker) as d:
            self.assertNotEqual(self.backends(d), ["cuda"])

    def test_types(self):
        with self.daemon("--set", "worker.dtype=f32") as d:
            self.picture(d)
        with self.daemon("--set", "worker.dtype=bf16") as d:
            self.picture(d)


if __name__ == "__main__":
    main()
