"""Hostile pictures under a worker that is busy: mutations of pictures of every kind that is read, and
every bomb. Each costs its own request an error at most; the pictures that are drawn meanwhile come,
with the bytes that they have without it.

make check takes a sample of the mutations; CN_WHOLE=1 (tests/long/run) takes 500. CN_SEED gives
other ones.
"""
import base64
import collections
import json
import os
import random
import struct
import threading
import time

from cn_e2e import DATA, ENGINE, QUICK, Case, Daemon, beside, main

WHOLE = os.environ.get("CN_WHOLE", "0") not in ("", "0")
MUTATIONS = 500 if WHOLE else 30 if QUICK else 60
SEED = int(os.environ.get("CN_SEED", "20261201"))
MODELS = os.path.join(DATA, "models")
CORPUS = os.path.join(DATA, "fuzz", "image")
PASSED_OVER = ("bomb-1100-texts.png", "bomb-iccp.png", "bomb-ztxt.png")
BASE = {"prompt": "a red apple", "width": 40, "height": 48, "model": "tiny"}
with open(os.path.join(DATA, "golden", "images", "tiny", "edges-40x48.png"), "rb") as f:
    EDGES = f.read()
NASTY = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def control(image, **more):
    return dict(BASE, controls=[{"model": "tiny-control-a",
                                 "image": base64.b64encode(image).decode()}], **more)


def read(name):
    with open(os.path.join(CORPUS, name), "rb") as f:
        return f.read()


def mutated(rng, pictures):
    """Some bytes changed, numbers put in, pieces cut, repeated, or taken from another picture."""
    b = bytearray(rng.choice(pictures))
    for _ in range(1 + rng.randrange(6)):
        at = rng.randrange(len(b))
        n = min(1 + rng.randrange(64), len(b) - at)
        deed = rng.randrange(7)
        if deed == 0:
            b[at] ^= 1 << rng.randrange(8)
        elif deed == 1:
            b[at] = rng.randrange(256)
        elif deed == 2:
            number = struct.pack(rng.choice("<>") + "I", rng.choice(NASTY))
            b[at:at + 4] = number[:len(b) - at]
        elif deed == 3:
            del b[at:at + n]
        elif deed == 4:
            b[at:at] = b[at:at + n]
        elif deed == 5:
            del b[at + 1:]
        else:
            other = rng.choice(pictures)
            b[at:] = other[rng.randrange(len(other)):]
        b = b or bytearray(b"x")
    return bytes(b)


class Hostile(Case):
    def busy(self, d, good):
        """Draws the same picture again, from a seed, with a control image."""
        spec, want = good
        r = d.images(spec)
        if (r.status, r.body) != (200, want):
            raise AssertionError("another picture: %d %r" % (r.status, r.body[:300]))
        with self.lock:
            self.drawn += 1

    def show(self, d, name, image):
        """One hostile picture, as a control image or as the one to begin with."""
        as_init = self.rng.randrange(3) == 0
        spec = (dict(BASE, init_image=base64.b64encode(image).decode()) if as_init
                else control(image))
        r = d.images(dict(spec, steps=2, seed=1))
        if r.status == 200:
            self.ends["200"] += 1
            return 200
        pointer = "/init_image" if as_init else "/controls/0/image"
        doc = json.loads(r.body)
        self.assertIn(r.status, (422, 507), (name, doc))
        self.assertEqual(doc["errors"][0]["pointer"], pointer, (name, doc))
        self.problem(r, r.status, doc["type"].rsplit(":", 1)[1])
        self.ends[str(r.status)] += 1
        return r.status

    def test_under_a_busy_worker(self):
        self.rng, self.lock, self.drawn = random.Random(SEED), threading.Lock(), 0
        self.ends = collections.Counter()
        names = sorted(os.listdir(CORPUS))
        bombs = [n for n in names if n.startswith("bomb-")]
        pictures = [b for n, b in ((n, read(n)) for n in names if n not in bombs)
                    if 0 < len(b) < 1 << 16]
        self.assertGreater(len(bombs), 6)
        self.assertGreater(len(pictures), 100)
        # one row of a batch at a time: a picture's bytes do not depend on its company
        with Daemon("--models", MODELS, "--set", "worker.max_batch=1", worker=ENGINE) as d:
            worker = d.worker_pid()
            specs = [control(EDGES, steps=6, seed=11),
                     dict(BASE, steps=4, seed=5, init_image=base64.b64encode(EDGES).decode())]
            goods = [(s, d.images(s).body) for s in specs]
            slowest = 0.0
            with beside(lambda: self.busy(d, goods[0]), 1), \
                    beside(lambda: self.busy(d, goods[1]), 1):
                d.until(lambda: self.drawn > 0, 60)
                for name in bombs:  # beside small pictures, texts and profiles are passed over
                    self.assertEqual(self.show(d, name, read(name)),
                                     200 if name in PASSED_OVER else 422, name)
                for k in range(MUTATIONS):
                    began = time.monotonic()
                    self.show(d, "mutation %d" % k, mutated(self.rng, pictures))
                    slowest = max(slowest, time.monotonic() - began)
            self.assertEqual(d.worker_pid(), worker)
            self.assertEqual(d.events("worker.down"), [])
            print("%d bombs, %d mutations: %s; %d other pictures, slowest %.2f s; decoders lost: %d" %
                  (len(bombs), MUTATIONS, dict(self.ends), self.drawn, slowest,
                   len(d.events("worker.decoder_lost"))))


if __name__ == "__main__":
    main()
