"""What holds for every request, whatever is in it: random members, paths, methods and headers.

CN_PROPERTIES sets how many (600 of each in make check); CN_SEED the first of the random numbers."""
import base64
import json
import os
import random
import re
import subprocess

from cn_e2e import QUICK, Case, Daemon, main

ROUTES = os.path.abspath("tests/e2e/list-routes")
N = int(os.environ.get("CN_PROPERTIES", "200" if QUICK else "600"))
SEED = int(os.environ.get("CN_SEED", "20261201"))
IMAGE = base64.b64encode(b"any bytes: the waiting worker reads none").decode()
BASE = {"prompt": "x", "steps": 1, "width": 64, "height": 64}
CONTROL = {"model": "emoji-canny", "image": IMAGE}

# Values of every kind; what a member may have is among them often enough.
VALUES = [None, True, False, -1, 0, 1, 2, 7, 64, 65, 100, 513, 10 ** 6, 2 ** 31, 2 ** 63, 10 ** 30,
          0.0, 0.5, 1.0, 1.5, -0.25, 1e17, 1e308, "", "a", "none", "emoji", "photo", "euler",
          "png", "jpeg", "a1111", "cond", "part:x", "input:x", IMAGE, "A" * 5000,
          "\u00e9\u2028\U0001f600", "../../etc/passwd", "a\tb", [], [1], ["a"], [[]], {}, {"a": 1},
          [CONTROL], [CONTROL, dict(CONTROL, strength=0.5)],
          [dict(CONTROL, start=0.2, end=0.1)], [dict(CONTROL, weights="soft")], [{}],
          [1, CONTROL]]
MEMBERS = ["kind", "model", "prompt", "negative_prompt", "prompt_syntax", "width", "height",
           "steps", "guidance_scale", "guidance_rescale", "sampler", "schedule", "spacing", "rng",
           "eta", "seed", "n", "clip_skip", "init_image", "mask", "denoise", "format", "quality",
           "preview_every", "priority", "timeout_s", "controls", "webhook", "nonsense"]
# One at fault may be told of at another: these belong together.
TOGETHER = [{"width", "height", "model", "controls", "kind"}, {"seed", "n"},
            {"mask", "init_image", "denoise", "kind", "model"}, {"prompt", "prompt_syntax"},
            {"negative_prompt", "prompt_syntax"},
            {"sampler", "schedule", "spacing", "rng", "eta", "model", "kind"}]


class Properties(Case):
    def setUp(self):
        self.d = Daemon("--set", "limits.max_side=512", "--set", "log.level=warning",
                        "--set", "queue.capacity=1000")
        self.addCleanup(self.d.__exit__, None, None, None)
        self.rng = random.Random(SEED)
        kinds = self.d.get("/openapi.yaml").body.decode()
        self.kinds = set(re.findall(r"urn:controlnetd:problem:([a-z-]+)", kinds))

    def spec(self):
        """A good request with a few members replaced, and which."""
        spec, changed = dict(BASE), set()
        for _ in range(self.rng.randrange(4)):
            name = self.rng.choice(MEMBERS)
            spec[name] = self.rng.choice(VALUES)
            changed.add(name)
        return spec, changed

    def refused(self, r, changed):
        """A refusal is a problem that the contract knows, and blames what was changed."""
        doc = json.loads(r.body)
        kind = doc["type"].rsplit(":", 1)[1]
        self.problem(r, r.status, kind)
        self.assertLess(r.status, 500, doc)
        for e in doc.get("errors", []):
            member = e["pointer"].split("/")[1]
            near = set().union(changed, *[t for t in TOGETHER if t & changed])
            self.assertIn(member, near, doc)
            self.assertTrue(e["detail"], doc)

    def test_bodies(self):
        accepted = 0
        for i in range(N):
            spec, changed = self.spec()
            ask = self.d.jobs if i % 2 else lambda s: self.d.images(s, "application/json")
            r = ask(spec)
            with self.subTest(seed=SEED, i=i, spec={k: spec[k] for k in changed}):
                if r.status in (200, 202):
                    accepted += 1
                    self.assertNotIn("nonsense", changed)
                else:
                    self.refused(r, changed)
        self.assertTrue(N // 8 < accepted < N - N // 8, accepted)  # both are looked at
        self.d.until(lambda: self.d.metric("controlnetd_queue_jobs") == 0, 30)
        self.assertEqual(self.d.metric("controlnetd_worker_restarts_total"), 0)

    def target(self, path):
        parts = {"{id}": [self.id, self.id[:-1], "0" * 26, "x", "%c3%a9", "a" * 300],
                 "{index}": ["0", "1", "-1", "99999999999999999999", "a"],
                 "{name}": ["emoji", "nothing", "%2e%2e", "a" * 300]}
        for name, values in parts.items():
            path = path.replace(name, self.rng.choice(values))
        query = ["", "", "?", "?limit=0", "?limit=5", "?limit=99999999999",
                 "?state=running&state=x", "?cursor=AAAA", "?x=%00", "?a=1&a=2", "?ticket=abc",
                 "?verbose", "?" + "b" * 500]
        return path + self.rng.choice(query)

    def error(self, path, r):
        """Each dialect has its own shape of errors; what is refused before a route is known has the
        native one."""
        doc = json.loads(r.body)
        if isinstance(doc.get("type"), str):
            kind = doc["type"].rsplit(":", 1)[1]
            self.problem(r, r.status, kind)
            self.assertIn(kind, self.kinds)
        elif path.startswith(("/sdapi/", "/controlnet/", "/internal/")):
            self.assertEqual(set(doc), {"error", "detail", "body", "errors", "request_id"}, doc)
        else:
            self.assertIn(path, ("/v1/images/generations", "/v1/images/edits"))
            self.assertEqual(set(doc["error"]), {"message", "type", "param", "code"}, doc)

    def test_routes(self):
        rows = subprocess.run([ROUTES], capture_output=True, text=True, check=True).stdout
        paths = sorted({row.split()[1] for row in rows.split("\n") if row})
        have = {tuple(row.split()[:2]) for row in rows.split("\n") if row}
        self.id = json.loads(self.d.jobs(BASE).body)["id"]
        self.d.wait_job(self.id)
        headers = [("Accept", v) for v in ("*/*", "image/png;q=0", "text/html", "bad",
                                           "application/json")]
        headers += [("Range", v) for v in ("bytes=0-", "bytes=9-3", "x", "bytes=-0")]
        headers += [("If-None-Match", "*"), ("Prefer", "respond-async, wait=x"),
                    ("Last-Event-ID", "-1"), ("Content-Type", "application/json"),
                    ("Content-Type", "multipart/form-data"),
                    ("Idempotency-Key", "k"), ("Authorization", "Basic x"), ("Origin", "null"),
                    ("Expect", "nonsense"), ("Content-Encoding", "gzip")]
        bodies = [None, b"", b"{}", b"[]", json.dumps(BASE).encode(), b"\xff\xfe", b"--b\r\n"]
        for i in range(N):
            method = self.rng.choice(["GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS",
                                      "BREW"])
            path = self.rng.choice(paths)
            if path.endswith("/events") and method == "GET":
                continue  # has no end while it is open
            body = self.rng.choice(bodies) if method in ("POST", "PUT", "PATCH") else None
            with self.subTest(seed=SEED, i=i, request=(method, path)):
                r = self.d.request(method, self.target(path), body,
                                   dict(self.rng.sample(headers, self.rng.randrange(4))))
                self.assertLess(r.status, 500, r.body)
                self.assertTrue(r.getheader("X-Request-Id"))
                if method == "HEAD" or r.status in (204, 304):
                    self.assertEqual(r.body, b"")
                elif r.status >= 400 and r.body:
                    self.error(path, r)
                if r.status == 405:
                    allow = {m.strip() for m in r.getheader("Allow").split(",")}
                    self.assertNotIn(method, allow)
                    self.assertLessEqual({m for m, p in have if p == path}, allow)
        self.assertEqual(self.d.images(BASE).status, 200)


if __name__ == "__main__":
    main()
