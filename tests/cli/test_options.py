"""Help texts, and what a wrong command line is answered."""
import re

from cn_cli import BLOCKS, EDGES, MODELS, QUICK, SOURCES, Case, main, os, read

COMMANDS = ["generate", "inspect", "models", "annotate", "bench"]


class Help(Case):
    def test_every_command_has_help(self):
        first = self.run_cli("--help").text
        for command in COMMANDS:
            self.assertRegex(first, r"(?m)^  %s +\w" % command)
            text = self.run_cli(command, "--help").text
            self.assertTrue(text.startswith("usage: controlnet %s " % command), text)
            self.assertEqual(text, self.run_cli("help", command).text)
            self.assertLess(max(map(len, text.splitlines())), 80)
        self.assertEqual(first, self.run_cli("help").text)

    def test_manual_knows_every_option(self):
        manual = read(os.path.join(SOURCES, "docs/man/controlnet.1")).decode()
        manual = manual.replace("\\-", "-")
        for command in COMMANDS:
            for option in re.findall(r"--[a-z-]+", self.run_cli(command, "--help").text):
                self.assertIn(option, manual, command)

    def test_version(self):
        self.assertRegex(self.run_cli("--version").text, r"^controlnet \(controlnetd\) \d")

    def test_no_command(self):
        self.assertIn("usage:", self.run_cli(status=2).message)
        self.fails("generat", says='did you mean "generate"')
        self.fails("frobnicate", says="no command")
        self.fails("help", "frobnicate", says="no command")


class Mistakes(Case):
    def generate(self, *args, says, status=2):
        self.fails("generate", *QUICK, "-o", "x.png", *args, says=says, status=status)
        self.assertEqual(os.listdir(self.dir), [])

    def test_options(self):
        self.generate("--step", "x", says=["--steps", '"x"', "whole number"])
        self.generate("--stesp", "3", says=["--stesp", "did you mean --steps?"])
        self.generate("--zzzzzz", says=["--zzzzzz", "no such option"])
        self.generate("--s", "3", says="--s: more than one option")
        self.generate("-Z", says="-Z")
        self.generate("--steps", says=["--steps", "missing"])
        self.generate("-s", says=["--steps", "missing"])
        self.generate("--json=yes", says=["--json", "no value"])
        self.generate("red", "apple", says=['"red"', "quoted"])

    def test_ranges(self):
        self.generate("--steps", "0", says=["--steps", "0 is out of range", "1 to 1000"])
        self.generate("--steps", "99999999999999999999", says="--steps")
        self.generate("--width", "41", says=["--width", "multiple"])
        self.generate("--width", "20000", says=["--width", "range"])
        self.generate("--guidance", "nan", says=["--guidance", "not a number"])
        self.generate("--guidance", "-1", says=["--guidance", "range"])
        self.generate("--eta", "1.5", says=["--eta", "range"])
        self.generate("--denoise", "0", says=["--denoise", "range"])
        self.generate("--seed", "-1", says="--seed")
        self.generate("--seed", "1e3", says="--seed")
        self.generate("--quality", "0", says="--quality")
        self.generate("--count", "0", says="--count")
        self.generate("--clip-skip", "4", says=["--clip-skip", "3 layers"])

    def test_words(self):
        self.generate("--sampler", "eulr", says=["--sampler", 'did you mean "euler"'])
        self.generate("--sampler", "magic", says=["--sampler", "ddim, euler"])
        self.generate("--format", "gif", says="--format")
        self.generate("--prompt", b"\xff", says=["--prompt", "UTF-8"])

    def test_what_is_missing(self):
        self.fails("generate", "-o", "x.png", says="--prompt is missing")
        self.fails("generate", "-p", "x", says="--output is missing")
        self.fails("generate", "-p", "x", "-o", "x", says="suffix")
        self.fails("generate", "-p", "x", "-o", "-", "--json", says="standard output")
        self.fails("generate", *QUICK, "-o", "-", "--count", "2", says="one picture")
        self.generate("--mask", BLOCKS, says="--mask: a mask needs --init\n")
        self.generate("--init", BLOCKS, "--hires-scale", "2", says="--hires-scale: it does not go with --init\n")
        for option, value in (("strength", "0.5"), ("steps", "0"), ("upscaler", "latent"), ("sampler", "euler"),
                              ("schedule", "karras"), ("guidance", "2"), ("prompt", "x"), ("negative", "x")):
            self.generate("--hires-" + option, value, says="--hires-%s: it needs --hires-scale" % option)
        self.generate("-W", "4096", "--hires-scale", "8", says="--hires-scale: the second pass would be 32768 x 384")
        self.generate("--decoder", "taesd", says="--decoder taesd: it needs --taesd")
        self.generate("--taesd", "nowhere", "--decoder", "taesd", says="nowhere", status=1)
        self.generate("--init", "nowhere.png", says=["--init", "nowhere.png"], status=1)
        self.generate("--output", "nowhere/x.png", says="no directory", status=1)
        self.generate("--output", "./", says="suffix")

    def test_models(self):
        self.generate("-m", "tinny", says=['"tinny"', 'did you mean "tiny"'], status=1)
        self.generate("-m", "somewhere/else", says='"somewhere/else"', status=1)
        self.generate("-m", "tiny-control-a", says=["--model", "is a ControlNet"])
        self.generate("--models", "nowhere", says="nowhere", status=1)
        self.generate("--backend", "abacus", says="abacus", status=1)
        self.fails("generate", "-p", "x", "-o", "x.png", says="--models", status=1)

    def test_controls(self):
        self.generate("--control", "tiny-control-a", says=["--control", "has no file"])
        self.generate("--control", "=x.png", says=["--control", "model is missing"])
        self.generate("--control", "tiny-control-a=nowhere.png", says="nowhere.png", status=1)
        control = "tiny-control-a=%s," % EDGES
        self.generate("--control", control + "strenght=1", says='did you mean "strength"')
        self.generate("--control", control + "strength", says="value is missing")
        self.generate("--control", control + "strength=x", says=["strength", '"x"'])
        self.generate("--control", control + "strength=3", says=["--control 1", "strength"])
        self.generate("--control", control + "start=1", says=["--control 1", "start"])
        self.generate("--control", control + "branch=left", says=["branch", "both or cond"])
        self.generate("--control", control + "weights=1:2", says=["--control 1", "weights"])
        self.generate("--control", control + "weights=1:x", says=["weights", '"x"'])
        self.generate("--control", control + "annotator=cany", says='did you mean "canny"')
        self.generate("--control", control + "resize=tile", says="stretch, crop or pad")
        self.generate("--control", "tiny=%s" % EDGES, says=["--control 1", "base model"])
        self.generate("--control", "tiny2-control=%s" % EDGES, says=["--control 1", "fit"])
        self.generate("--control", "nothing-like-it=%s" % EDGES, says="nothing-like-it", status=1)

    def test_other_commands(self):
        self.fails("inspect", says="path of a model")
        self.fails("models", MODELS, says="--models")
        self.fails("bench", "x", says='"x"')
        self.fails("annotate", "canny", says="two files")
        self.fails("annotate", "cany", BLOCKS, "x.png", says='did you mean "canny"')
        self.fails("annotate", "canny", BLOCKS, "x.png", "low=x", says="low")
        self.fails("annotate", "canny", BLOCKS, "x.png", "lou=1", says="lou")
        self.fails("annotate", "canny", BLOCKS, "x.png", "low=-1", says="low")
        self.fails("annotate", "canny", "nowhere.png", "x.png", says="nowhere", status=1)


main()
