"""What controlnet-worker says of a wrong command line: a line that names the option, and 2."""
import subprocess
import sys

worker = "./controlnet-worker"
failed = 0


def expect(args, status, text):
    global failed
    p = subprocess.run([worker, *args], capture_output=True, text=True, timeout=60)
    said = p.stdout + p.stderr
    if p.returncode != status or text not in said:
        print(f"{args}: {p.returncode}, {said!r}; expected {status} and {text!r}")
        failed += 1


for option in ("--threads", "--lanes", "--max-batch", "--memory-mb", "--settle-s", "--fd"):
    for value in ("x", "-1", "4x", "", "99999999999999999999"):
        expect([f"{option}={value}"], 2, f'{option} is a whole number that is not negative, not "{value}"')
expect(["--backend", "cuda:one", "--probe"], 2, 'not "one"')
expect(["--dtype", "f64", "--fd", "3"], 2, '--dtype is f32, f16, bf16 or auto, not "f64"')
expect(["--fd", "3", "more"], 2, '"more" is not expected')
expect([], 2, "--fd is missing")
expect(["--models", "x"] * 65 + ["--fd", "3"], 2, "--models: more than 64 of them")
expect(["--nothing"], 2, "nothing")
expect(["--help"], 0, "usage: controlnet-worker")
expect(["--version"], 0, "controlnet-worker ")
sys.exit(failed > 0)
