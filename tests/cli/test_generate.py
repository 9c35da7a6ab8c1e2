"""Drawing with the tiny model: what is written, what is the same, what is not left behind."""
import json
import pty
import signal
import struct
import subprocess

from cn_cli import (BLOCKS, DATA, EDGES, ENVIRONMENT, MODELS, PROGRAM, QUICK, Case, main, os, read, size,
                    texts)

CONTROL = "tiny-control-a=" + EDGES


class Pictures(Case):
    def test_same_seed_same_bytes(self):
        first = self.draw("a.png", "-S", "7", "-C", CONTROL)
        self.assertEqual(size(first), (40, 48))
        self.assertEqual(first, self.draw("b.png", "-S", "7", "-C", CONTROL))
        self.assertEqual(first, self.draw("c.png", "-S", "7", "-C", CONTROL, "--threads", "2"))
        self.assertNotEqual(first, self.draw("d.png", "-S", "8", "-C", CONTROL))
        self.assertNotEqual(first, self.draw("e.png", "-S", "7"))

    def test_zero_control_changes_nothing(self):
        """ControlNet begins training as a net of zero convolutions: then it must not be seen."""
        for more in ([], ["-g", "1"], ["--sampler", "euler_a"]):
            free = self.draw("free.png", "-S", "5", *more)
            zero = self.draw("zero.png", "-S", "5", "-C", "tiny-control-zero=" + EDGES, *more)
            self.assertEqual(free, zero)

    def test_strength_zero_is_no_control(self):
        free = self.draw("free.png", "-S", "5")
        self.assertEqual(free, self.draw("a.png", "-S", "5", "-C", CONTROL + ",strength=0"))
        self.assertNotEqual(free, self.draw("b.png", "-S", "5", "-C", CONTROL))

    def test_every_key_of_a_control_counts(self):
        seen = {self.draw("x.png", "-S", "5", "-C", CONTROL)}
        for key in ("strength=0.5", "start=0.5", "end=0.5", "branch=cond", "weights=soft",
                    "weights=resolution", "annotator=invert", "weights=" + ":".join("0" * 6 + "1"),
                    "strength=2,branch=cond,weights=soft"):
            seen.add(self.draw("x.png", "-S", "5", "-C", CONTROL + "," + key))
        self.assertEqual(len(seen), 10)

    def test_file_with_a_comma(self):
        os.symlink(EDGES, self.path("a,b.png"))
        want = self.draw("x.png", "-S", "5", "-C", CONTROL + ",strength=0.5")
        got = self.draw("x.png", "-S", "5", "-C", "tiny-control-a=a\\,b.png,strength=0.5")
        self.assertEqual(want, got)

    def test_two_controls(self):
        one = self.draw("a.png", "-S", "5", "-C", CONTROL)
        two = self.draw("b.png", "-S", "5", "-C", CONTROL, "-C", "tiny-control-b=" + BLOCKS)
        self.assertNotEqual(one, two)

    def test_from_a_picture(self):
        free = self.draw("a.png", "-S", "5")
        init = self.draw("b.png", "-S", "5", "-i", BLOCKS, "-d", "0.5", "-s", "4")
        mask = self.draw("c.png", "-S", "5", "-i", BLOCKS, "--mask", EDGES, "-d", "0.5", "-s", "4")
        self.assertEqual(len({free, init, mask}), 3)

    def test_depth_is_told_where_no_model_sees_it(self):
        p = self.run_cli("generate", *QUICK, "-i", BLOCKS, "--depth", EDGES, "-o", "d.png")
        self.assertIn("does not draw by depth", p.message)
        self.fails("generate", *QUICK, "-q", "--depth", EDGES, "-o", "d.png", says="--init")

    def test_model_by_path(self):
        want = self.draw("a.png", "-S", "5", "-C", CONTROL)
        base, net = os.path.join(MODELS, "tiny"), os.path.join(MODELS, "tiny-control-a")
        got = self.draw("b.png", "-S", "5", "-m", base + "/", "-C", "%s=%s" % (net, EDGES))
        self.assertEqual(want, got)

    def test_the_same_path_twice(self):
        """However it is written: one model, which acts twice."""
        net = os.path.join(MODELS, "tiny-control-a")
        want = self.draw("a.png", "-S", "5", "-C", CONTROL, "-C", "tiny-control-a=" + BLOCKS)
        for second in (net, net + "/", os.path.join(MODELS, ".", "tiny-control-a")):
            got = self.draw("b.png", "-S", "5", "-C", "%s=%s" % (net, EDGES),
                            "-C", "%s=%s" % (second, BLOCKS))
            self.assertEqual(want, got)

    def test_models_from_the_environment(self):
        env = {"CONTROLNETD_MODELS": self.dir + ":" + MODELS}
        self.run_cli("generate", "-p", "x", "-s", "1", "-q", "-o", "x.png", "-m", "tiny", env=env)
        self.assertEqual(size(read(self.path("x.png"))), (48, 48))


class Files(Case):
    def test_several(self):
        p = self.run_cli("generate", *QUICK, "-S", "9", "-c", "3", "-o", "x.png", "--json")
        self.assertEqual(sorted(os.listdir(self.dir)), ["x-1.png", "x-2.png", "x-3.png"])
        result = json.loads(p.text)
        self.assertEqual([(i["file"], i["seed"]) for i in result["images"]],
                         [("x-1.png", 9), ("x-2.png", 10), ("x-3.png", 11)])
        second = self.draw("y.png", "-S", "10")
        self.run_cli("generate", *QUICK, "-S", "9", "-c", "2", "-q", "-o",
                     "n%d-z.png")
        self.assertEqual(read(self.path("n2-z.png")), second)

    def test_json(self):
        p = self.run_cli("generate", *QUICK, "-C", CONTROL, "-o", "x.webp", "--json", "-q")
        self.assertEqual(p.message, "")
        r = json.loads(p.text)
        self.assertEqual((r["model"], r["width"], r["height"], r["steps"], r["format"]),
                         ("tiny", 40, 48, 2, "webp"))
        self.assertEqual(r["images"][0]["bytes"], os.path.getsize(self.path("x.webp")))
        self.assertEqual(r["images"][0]["seed"], r["seed"])
        for stage in ("load", "text", "controlnet", "unet", "vae", "encode", "total"):
            self.assertGreater(r["timings_ms"][stage], 0)
        self.assertGreater(r["engine_bytes"], 500000)

    def test_what_has_no_effect_is_told(self):
        for args, says in ((["--guidance-rescale", "0.7", "-g", "1"],
                            "--guidance-rescale: guidance is off (--guidance is 1, not above 1)"),
                           (["-d", "0.3"], "--denoise: there is no --init"),
                           (["--eta", "0.5"], "--eta: only the samplers ddim and tcd have it, not dpmpp_2m"),
                           (["-C", CONTROL + ",strength=0"], "--control 1: strength: 0: this control does nothing")):
            p = self.run_cli("generate", *QUICK, "-q", *args, "-o", "x.png")
            self.assertEqual(p.message, "controlnet: warning: %s\n" % says)
        p = self.run_cli("generate", *QUICK, "-q", "-p", "apple " * 99, "-o", "x.png")
        self.assertEqual(p.message, "controlnet: warning: --prompt: longer than the 75 tokens of text that the "
                                    "model reads: the rest is ignored\n")

    def test_a_model_may_have_a_guidance_of_its_own(self):
        own = self.path("own")
        os.mkdir(own)
        for name in os.listdir(os.path.join(MODELS, "tiny")):
            if name != "model_index.json":
                os.symlink(os.path.join(MODELS, "tiny", name), os.path.join(own, name))
        index = json.loads(read(os.path.join(MODELS, "tiny", "model_index.json")))
        index["_guidance_scale"] = 3
        with open(os.path.join(own, "model_index.json"), "w") as f:
            json.dump(index, f)
        for more, scale in (([], 3), (["-g", "2"], 2), (["-m", "tiny"], 7.5)):
            p = self.run_cli("generate", *QUICK, "-m", own + "/", *more, "-o", "x.png", "--json")
            self.assertEqual(json.loads(p.text)["guidance_scale"], scale)
            p = self.run_cli("bench", "--models", MODELS, "-m", own + "/", *more, "-s", "1", "--threads", "1")
            self.assertIn(", guidance %g," % scale, p.text)

    def test_random_seed_is_reported(self):
        seeds = set()
        for _ in range(2):
            p = self.run_cli("generate", *QUICK, "-o", "x.png", "--json")
            seeds.add(json.loads(p.text)["seed"])
            self.assertIn("seed %d\n" % json.loads(p.text)["seed"], p.message)
        self.assertEqual(len(seeds), 2)

    def test_formats(self):
        for name, start in (("x.jpg", b"\xff\xd8\xff"), ("x.JPEG", b"\xff\xd8\xff"),
                            ("x.webp", b"RIFF"), ("x.png", b"\x89PNG")):
            self.assertTrue(self.draw(name, "-S", "5").startswith(start), name)
        self.assertTrue(self.draw("x", "-S", "5", "--format", "webp").startswith(b"RIFF"))
        small = self.draw("x.jpg", "-S", "5", "--quality", "5")
        self.assertLess(len(small), len(self.draw("x.jpg", "-S", "5", "--quality", "95")))

    def test_standard_output(self):
        want = self.draw("x.png", "-S", "5")
        args = ["generate", *QUICK, "-S", "5", "-o"]
        self.assertEqual(self.run_cli(*args, "-").stdout, want)
        self.assertEqual(self.run_cli(*args, "/dev/stdout").stdout, want)
        self.run_cli(*args, "/dev/null")
        self.assertFalse(os.path.isfile("/dev/null"))
        with open("/dev/full", "wb") as full:
            p = subprocess.run(PROGRAM + args + ["-"], stdout=full, stderr=subprocess.PIPE,
                               env=ENVIRONMENT)
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"No space left", p.stderr)

    def test_a_tiny_decoder(self):
        tiny = os.path.join(DATA, "golden/taesd/model.safetensors")
        rough = self.draw("rough.png", "-S", "7", "--taesd", tiny, "--decoder", "taesd")
        self.assertEqual(size(rough), (40, 48))
        self.assertNotEqual(rough, self.draw("fine.png", "-S", "7", "--taesd", tiny))

    def test_another_autoencoder(self):
        own = os.path.join(DATA, "models/tiny/vae")
        plain = self.draw("plain.png", "-S", "7")
        named = self.draw("named.png", "-S", "7", "--vae", own, "--metadata")
        self.assertIn("VAE: vae", str(texts(named)))
        self.assertEqual(self.draw("own.png", "-S", "7", "--vae", own), plain)
        self.fails("generate", *QUICK, "--vae", os.path.join(DATA, "models/tiny2/vae"), "-o", "x.png",
                   says=["--vae", "latents of 4 channels for cells of 8 pixels"])

    def test_a_second_pass(self):
        small = self.draw("small.png", "-S", "7")
        large = self.draw("large.png", "-S", "7", "--hires-scale", "1.5", "--hires-steps", "2", "--metadata")
        self.assertEqual(size(small), (40, 48))
        self.assertEqual(size(large), (56, 72))
        for part in ("Size: 40x48", "Hires upscale: 1.5", "Hires steps: 2", "Hires upscaler: Latent",
                     "Denoising strength: 0.7"):
            self.assertIn(part, str(texts(large)))
        own = self.draw("own.png", "-S", "7", "--hires-scale", "1.5", "--hires-steps", "2", "--metadata",
                        "--hires-upscaler", "lanczos", "--hires-sampler", "euler", "--hires-schedule", "karras",
                        "--hires-guidance", "3", "--hires-prompt", "a blue, round house", "--hires-negative", "dark")
        self.assertNotEqual(own, large)
        for part in ("Hires upscaler: Lanczos, Hires sampler: Euler, Hires schedule type: Karras",
                     'Hires CFG Scale: 3, Hires prompt: "a blue, round house", Hires negative prompt: dark'):
            self.assertIn(part, str(texts(own)))

    def test_metadata(self):
        self.run_cli("generate", *QUICK, "-S", "5", "-p", "a cat: red", "-n", "blurry, dark", "-C",
                     CONTROL + ",weights=soft,end=0.8", "--schedule", "karras", "--metadata", "-o", "x.png")
        self.assertEqual(texts(read(self.path("x.png"))), {"parameters": (
            "a cat: red\nNegative prompt: blurry, dark\n"
            "Steps: 2, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 5, "
            "Size: 40x48, Model: tiny, RNG: CPU, ControlNet 0: \"Module: none, "
            "Model: tiny-control-a, Weight: 1, Resize Mode: Just Resize, Guidance Start: 0, "
            "Guidance End: 0.8, Control Mode: My prompt is more important\", "
            "Version: " + self.run_cli("--version").text.split()[1][1:-1] + " " +
            self.run_cli("--version").text.split()[2])})
        self.run_cli("generate", *QUICK, "-S", "5", "-p", "\u732b", "-g", "1", "-o", "x.png", "-i",
                     BLOCKS, "--clip-skip", "1", "--metadata")
        text = texts(read(self.path("x.png")))["parameters"]
        self.assertTrue(text.startswith("\u732b\nSteps: 2,"), text)
        self.assertIn(", Denoising strength: 0.75, Clip skip: 2, RNG: CPU,", text)

    def test_annotate(self):
        self.run_cli("annotate", "canny", BLOCKS, "map.png", "low=20", "high=60")
        made = self.draw("a.png", "-S", "5", "-C", "tiny-control-a=" + BLOCKS + ",annotator=canny")
        self.run_cli("annotate", "canny", BLOCKS, "map.png")
        self.assertEqual(made, self.draw("b.png", "-S", "5", "-C", "tiny-control-a=map.png"))
        p = self.run_cli("annotate", "invert", "-", "-", input=read(BLOCKS))
        self.assertEqual(size(p.stdout), size(read(BLOCKS)))


class Bench(Case):
    def test_csv(self):
        p = self.run_cli("bench", *QUICK[:4], "-W", "40", "-H", "48", "--steps", "3", "--repeat",
                         "2", "--control", "tiny-control-a", "--threads", "1", "--csv")
        lines = [line.split(",") for line in p.text.splitlines()]
        self.assertEqual(lines[0], ["stage", "ms"])
        stages = [name for name, _ in lines[1:]]
        count = {name: stages.count(name) for name in stages}
        self.assertEqual(count, {"load": 1, "text": 2, "hint": 2, "step": 6, "controlnet": 6,
                                 "unet": 6, "vae": 2, "encode": 2, "total": 2, "images_per_s": 1,
                                 "rss_bytes": 1, "engine_bytes": 1})
        for _, value in lines[1:]:
            self.assertGreater(float(value), 0)

    def test_table(self):
        p = self.run_cli("bench", *QUICK[:4], "--steps", "1", "--threads", "1", "--profile")
        self.assertRegex(p.text, r"(?m)^step +[\d.]+ +[\d.]+ +1$")
        self.assertIn("memory:", p.text)
        self.assertIn("conv", p.text)
        self.assertNotIn("controlnet", p.text)


class Interrupted(Case):
    def start(self, *args):
        """A long job whose progress bar goes to a terminal."""
        master, slave = pty.openpty()
        p = subprocess.Popen(PROGRAM + ["generate", *QUICK, *args], stderr=slave, env=ENVIRONMENT,
                             stdout=subprocess.PIPE, cwd=self.dir)
        os.close(slave)
        return p, master

    def until(self, master, word):
        """What came until `word` did, or the program has ended: then reading fails."""
        seen = b""
        while word not in seen:
            seen += os.read(master, 4096)
        return seen

    def interrupt(self, sig, status):
        with open(self.path("x.png"), "wb") as f:
            f.write(b"old")
        p, master = self.start("-s", "900", "-o", "x.png", "--json")
        seen = self.until(master, b"] 3/900")
        p.send_signal(sig)
        out, _ = p.communicate(timeout=60)
        os.close(master)
        self.assertEqual((p.returncode, out), (status, b""))
        self.assertRegex(seen, rb"\[#*\.+\] 3/900, [\d.]+ (it/s|s/it), \d+:\d\d left")
        self.assertEqual(os.listdir(self.dir), ["x.png"])
        self.assertEqual(read(self.path("x.png")), b"old")

    def test_ctrl_c(self):
        self.interrupt(signal.SIGINT, 130)

    def test_kill(self):
        self.interrupt(signal.SIGTERM, 143)

    def test_finished_pictures_stay(self):
        p, master = self.start("-s", "10", "-c", "100", "-o", "x.png")
        self.until(master, b"x-1.png")
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=60)
        os.close(master)
        self.assertEqual(p.returncode, 130)
        for name in os.listdir(self.dir):
            self.assertEqual(size(read(self.path(name))), (40, 48))
        self.assertIn("x-1.png", os.listdir(self.dir))

    def test_a_file_that_cannot_be_written_leaves_nothing(self):
        if os.geteuid() == 0:
            self.skipTest("root writes everywhere")
        os.mkdir(self.path("shut"), 0o500)
        self.fails("generate", *QUICK, "-o", "shut/x.png", says="shut/x.png", status=1)


main()
