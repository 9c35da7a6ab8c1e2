"""No memory in the worker: for each kind of request, allocations in the real worker fail once.

Whatever fails, the picture is what it always is, or the answer is 500, 503 or 507, or 502 of a worker
that was lost: a right request is never told that it is wrong. The worker may only end with the
announcement that there is no memory, and the job is then drawn by the next one. The next request gets
what it always got.

make check takes a sample; CN_WHOLE=1 (tests/long/run) fails 300 of every kind, spread over all that it
makes. CN_SEED moves the sample; CN_MEMORY_KIND=NAME and CN_MEMORY_AT=N make one trial.
"""
import base64
import collections
import json
import os
import random
import re
import unittest

from cn_e2e import DATA, ENGINE, QUICK, Case, Daemon, main, png_rows, sanitized
from cn_memory import Plan

WHOLE = os.environ.get("CN_WHOLE", "0") not in ("", "0")
POINTS = int(os.environ.get("CN_MEMORY_POINTS", "300"))
SAMPLE = POINTS if WHOLE else 1 if QUICK else 2  # of each kind
SEED = int(os.environ.get("CN_SEED", "20261201"))
ONLY = os.environ.get("CN_MEMORY_KIND")
AT = int(os.environ.get("CN_MEMORY_AT", "0"))
with open(os.path.join(DATA, "golden", "images", "tiny", "edges-40x48.png"), "rb") as f:
    EDGES = base64.b64encode(f.read()).decode()
BASE = {"prompt": "a red apple", "seed": 7, "steps": 2, "width": 40, "height": 48, "model": "tiny"}
CONTROL = {"model": "tiny-control-a", "image": EDGES}
NO_MEMORY = (500, 502, 503, 507)
MARGIN = 2  # of 255: where a library had to do without memory it may round otherwise
ANNOUNCED = re.compile(r"out of memory|Out of memory|std::bad_alloc")


def kinds():
    """name: the body of POST /v1/images; all of them right."""
    return {
        "words": BASE,
        "two": dict(BASE, n=2),
        "negative": dict(BASE, negative_prompt="blurred", guidance_scale=3),
        "long": dict(BASE, prompt="a red apple on a table " * 20),
        "grammar": dict(BASE, prompt="(a red:1.3) [apple:pear:0.5] BREAK table", prompt_syntax="a1111"),
        "heun": dict(BASE, sampler="heun"),
        "dpmpp": dict(BASE, sampler="dpmpp_2m", schedule="karras"),
        "image": dict(BASE, init_image=EDGES, denoise=0.6),
        "mask": dict(BASE, init_image=EDGES, mask=EDGES, denoise=0.8),
        "control": dict(BASE, controls=[CONTROL]),
        "controls": dict(BASE, controls=[CONTROL, dict(CONTROL, model="tiny-control-b")]),
        "canny": dict(BASE, controls=[dict(CONTROL, annotator="canny")]),
        "map": dict(BASE, controls=[dict(CONTROL, annotator="canny", return_map=True)]),
        "hires": dict(BASE, hires={"scale": 1.5, "steps": 1}),
        "rescale": dict(BASE, guidance_rescale=0.5),
        "jpeg": dict(BASE, format="jpeg", quality=90),
        "webp": dict(BASE, format="webp"),
        "other model": dict(BASE, model="tiny2"),
    }


def pixels(data):
    """Of a PNG with 8 bits and three channels, row after row."""
    w, h, rows = png_rows(data)
    n, out = 3 * w, [bytes(3 * w)]
    for y in range(h):
        kind, row, above = rows[y * (n + 1)], bytearray(rows[y * (n + 1) + 1:(y + 1) * (n + 1)]), out[-1]
        for i in range(n):
            a, b, c = row[i - 3] if i > 2 else 0, above[i], above[i - 3] if i > 2 else 0
            nearest = min((a, b, c), key=lambda v: abs(a + b - c - v))
            row[i] = row[i] + (0, a, b, (a + b) // 2, nearest)[kind] & 255
        out.append(bytes(row))
    return b"".join(out[1:])


def alike(one, two):
    """The same picture: PNGs by their texts and pixels, other formats by nearly their sizes."""
    one, two = base64.b64decode(one), base64.b64decode(two)
    if one == two:
        return True
    if one[:8] != b"\x89PNG\r\n\x1a\n":
        return one[:4] == two[:4] and abs(len(one) - len(two)) < len(one) // 20
    if one[:one.index(b"IDAT") - 4] != two[:two.index(b"IDAT") - 4]:
        return False
    return all(abs(x - y) <= MARGIN for x, y in zip(pixels(one), pixels(two)))


class WorkerMemory(Case):
    def daemon(self):
        """Its worker is the real one, with the memory of the plan."""
        path = os.path.join(os.getcwd(), "tests/e2e/worker-memory-plan.%d" % os.getpid())
        self.plan = Plan(path)
        self.addCleanup(os.unlink, path)
        worker = path + ".sh"
        with open(worker, "w") as f:
            f.write("#!/bin/sh\nexport LD_PRELOAD=%s CN_BAD_MEMORY=%s CN_BAD_MEMORY_OF=%s\nexec %s \"$@\"\n"
                    % (os.path.abspath("tests/e2e/bad_memory.so"), path, os.path.basename(ENGINE), ENGINE))
        os.chmod(worker, 0o755)
        self.addCleanup(os.unlink, worker)
        return Daemon("--models", os.path.join(DATA, "models"), "--set", "log.level=warning",
                      worker=worker)

    def draw(self, d, spec):
        """(status, the pictures)"""
        r = d.images(spec, "application/json")
        doc = json.loads(r.body)
        return r.status, [i["data"] for i in doc["images"]] if r.status == 200 else doc

    def whole(self, d, spec, want):
        """The next one is right, of a worker that had to be replaced when there was one."""
        got = self.draw(d, spec)
        if got[0] in (502, 503):
            d.until(lambda: d.get("/readyz").status == 200, 20)
            got = self.draw(d, spec)
        return got[0] == 200 and self.same(got[1], want)

    def same(self, got, want):
        return len(got) == len(want) and all(map(alike, got, want))

    def ends(self, d, name, at):
        """Of workers, since the last time: each was announced."""
        log = d.log()[self.read:]
        self.read += len(log)
        self.assertNotRegex(log, r"Sanitizer|corrupted|free\(\)|malloc\(\)|signal 11|assertion")
        down = log.count('"worker.down"')
        if down:
            self.assertRegex(log, ANNOUNCED, "%s, allocation %d" % (name, at))
        return down

    def trial(self, d, name, spec, want, at):
        self.plan.fail(at)
        status, got = self.draw(d, spec)
        self.plan.rest()
        self.assertIn(status, (200,) + NO_MEMORY, "%s, allocation %d: %r" % (name, at, got))
        if status == 200:
            self.assertTrue(self.same(got, want), "%s, allocation %d" % (name, at))
        down = self.ends(d, name, at)
        self.counts["the announced end, then %d" % status if down else str(status)] += 1
        self.assertTrue(self.whole(d, spec, want), "%s, allocation %d: the next fails" % (name, at))

    def sweep(self, d, name, spec):
        status, want = self.draw(d, spec)
        self.assertEqual(status, 200, (name, want))
        self.plan.fail(0)
        self.assertTrue(self.whole(d, spec, want), name)
        n = self.plan.count()
        for at in [AT] if AT else sorted(self.rng.sample(range(1, n + 1), min(n, SAMPLE))):
            self.trial(d, name, spec, want, at)
        return n

    @unittest.skipIf(sanitized(), "a sanitizer has allocators of its own")
    def test_each_allocation_of_a_picture_fails(self):
        self.rng, self.counts, self.read = random.Random(SEED), collections.Counter(), 0
        with self.daemon() as d:
            for name, spec in kinds().items():
                if ONLY in (None, name):
                    n = self.sweep(d, name, spec)
                    if WHOLE or ONLY:
                        print("%s: of %d allocations; all so far: %s" % (name, n, dict(self.counts)),
                              flush=True)


if __name__ == "__main__":
    main()
