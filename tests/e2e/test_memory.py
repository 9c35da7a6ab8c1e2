"""No memory: for each kind of request, each of its allocations in the daemon fails once.

Whatever fails, the request is answered as ever, or the answer is 500, 503 or 507 (a right request is
never told that it is wrong), or the connection ends. The daemon may only end with the announcement
that bookkeeping of a fixed size found no memory; then the next life has all that was accepted. The
next request gets what it always got, and the store is whole.

make check takes a sample; CN_WHOLE=1 (tests/long/run) fails each of the first 300 of every kind.
CN_SEED moves the sample; CN_MEMORY_KIND=NAME and CN_MEMORY_AT=N make one trial.
"""
import base64
import collections
import http.client
import json
import os
import random
import subprocess
import unittest

from cn_e2e import DAEMON, DATA, QUICK, SLOW, Case, Daemon, main, multipart, sanitized
from cn_memory import Plan

WHOLE = os.environ.get("CN_WHOLE", "0") not in ("", "0")
POINTS = 300
SAMPLE = POINTS if WHOLE else 2 if QUICK else 3  # of each kind
SEED = int(os.environ.get("CN_SEED", "20261201"))
ONLY = os.environ.get("CN_MEMORY_KIND")
AT = int(os.environ.get("CN_MEMORY_AT", "0"))
with open(os.path.join(DATA, "golden", "images", "tiny", "edges-40x48.png"), "rb") as f:
    IMAGE = f.read()
SPEC = {"prompt": "a red apple", "seed": 7, "steps": 1, "width": 64, "height": 64}
CONTROL = {"model": "emoji-canny", "image": base64.b64encode(IMAGE).decode()}
JSON = {"Content-Type": "application/json"}
NO_MEMORY = (500, 503, 507)


class Memory(Case):
    def setUp(self):
        self.rng = random.Random(SEED)
        self.ends = collections.Counter()
        self.kept = {}  # jobs that were accepted: the daemon must know them for ever

    def daemon(self):
        path = os.path.join(os.getcwd(), "tests/e2e/memory-plan.%d" % os.getpid())
        self.plan = Plan(path)
        self.addCleanup(os.unlink, path)
        return Daemon("--set", "log.level=warning", "--set", "queue.capacity=100000",
                      "--set", "limits.max_body_mb=4", "--set", "limits.max_image_mb=2",
                      env={"LD_PRELOAD": os.path.abspath("tests/e2e/bad_memory.so"),
                           "CN_BAD_MEMORY": path, "CN_BAD_MEMORY_OF": "controlnetd"})

    # ---- requests ----

    def job_of(self, d):
        """One that is done, with its picture."""
        job = json.loads(d.jobs(SPEC).body)["id"]
        d.wait_job(job)
        return job

    def kinds(self, d):
        """name: (method, path, body, headers), right ones all; or what makes the next such one."""
        post = {"prompt": SPEC, "two": dict(SPEC, n=2), "image": dict(SPEC, init_image=CONTROL["image"]),
                "large": dict(SPEC, init_image=base64.b64encode(bytes(1 << 20)).decode()),
                "controls": dict(SPEC, controls=[CONTROL, CONTROL])}
        post = {k: json.dumps(v) for k, v in post.items()}
        part = dict(SPEC, controls=[dict(CONTROL, image="part:drawing")])
        form = multipart([("params", json.dumps(part).encode(), "Content-Type: application/json"),
                          ("drawing", IMAGE * 1000, "Content-Type: image/png")])
        job = self.job_of(d)
        blob = json.loads(d.request("POST", "/v1/inputs", IMAGE, {"Content-Type": "image/png"}).body)
        return {
            "picture": ("POST", "/v1/images", post["prompt"], JSON),
            "json": ("POST", "/v1/images", post["two"], dict(JSON, Accept="application/json")),
            "parts": ("POST", "/v1/images", post["two"], dict(JSON, Accept="multipart/mixed")),
            "image": ("POST", "/v1/images", post["image"], JSON),
            "large body": ("POST", "/v1/images", post["large"], JSON),
            "multipart": ("POST", "/v1/images", *form),
            "wait": ("POST", "/v1/images", post["prompt"], dict(JSON, Prefer="respond-async, wait=9")),
            "job": ("POST", "/v1/jobs", post["controls"], JSON),
            "key": ("POST", "/v1/jobs", post["prompt"], dict(JSON, **{"Idempotency-Key": "K"})),
            "list": ("GET", "/v1/jobs?limit=5", None, {}),
            "show": ("GET", "/v1/jobs/" + job, None, {}),
            "events": ("GET", "/v1/jobs/%s/events" % job, None, {}),
            "result": ("GET", "/v1/jobs/%s/images/0" % job, None, {}),
            "range": ("GET", "/v1/jobs/%s/images/0" % job, None, {"Range": "bytes=5-9"}),
            "ticket": ("POST", "/v1/jobs/%s/ticket" % job, None, {}),
            "links": ("POST", "/v1/jobs/%s/links" % job, None, {}),
            "remove": lambda: ("DELETE", "/v1/jobs/" + self.job_of(d), None, {}),
            "queue": ("GET", "/v1/queue", None, {}),
            "input": ("POST", "/v1/inputs", IMAGE, {"Content-Type": "image/png"}),
            "show input": ("GET", "/v1/inputs/" + blob["id"], None, {}),
            "models": ("GET", "/v1/models", None, {}),
            "metrics": ("GET", "/metrics", None, {}),
            "ready": ("GET", "/readyz?verbose", None, {}),
            "contract": ("GET", "/openapi.yaml", None, {}),
        }

    def send(self, d, request):
        """(status, body), or None when the connection ended. What is said to be JSON is."""
        request = request() if callable(request) else request
        try:
            r = d.request(*request)
        except (OSError, http.client.HTTPException):
            return None
        if "json" in r.getheader("Content-Type", ""):
            try:
                json.loads(r.body)
            except ValueError:
                raise AssertionError("%s %s: no JSON: %r" % (request[0], request[1], r.body))
        return r.status, r.body

    # ---- trials ----

    def note_kept(self, request, answer):
        if answer is not None and answer[0] == 202:
            self.kept[json.loads(answer[1])["id"]] = request

    def restart(self, d, name, at):
        """It has ended: was it announced? Then begins the next life."""
        log = d.log()
        said = log[self.read:]
        self.assertIn("out of memory\n", said, "%s, allocation %d: %s" % (name, at, said[-2000:]))
        self.assertNotRegex(said, "Sanitizer|corrupted|free\\(\\)|malloc\\(\\)")
        self.assertEqual(d.proc.returncode, -6)
        self.read = len(log)
        d.start()

    def trial(self, d, name, request, want, at, length=1):
        request = request() if callable(request) else request
        self.plan.fail(at, length)
        try:
            answer = self.send(d, request)
        except AssertionError as e:
            raise AssertionError("%s, allocation %d: %s" % (name, at, e))
        self.plan.rest()
        if self.has_ended(d):
            self.restart(d, name, at)
            end = "the announced end"
        elif answer is None:
            end = "the connection ended"
        else:
            end = str(answer[0])
            self.assertTrue(answer[0] == want or answer[0] in NO_MEMORY,
                            "%s, allocation %d: %r" % (name, at, answer))
        self.ends[end] += 1
        self.note_kept(request, answer)

    def has_ended(self, d):
        """The connection ends a moment before the process has."""
        if self.send(d, ("GET", "/healthz")) is not None:
            return False
        d.proc.wait(60 * SLOW)
        return True

    def sweep(self, d, name, request):
        want = self.send(d, request)[0]
        self.assertLess(want, 300, name)
        again = request() if callable(request) else request
        self.plan.fail(0)
        self.assertEqual(self.send(d, again)[0], want)
        n = min(self.plan.count(), POINTS)
        points = sorted(self.rng.sample(range(1, n + 1), min(n, SAMPLE)))
        for at in [AT] if AT else points:
            self.trial(d, name, request, want, at)
            if not self.has_worked(d, request, want):
                self.fail("%s, allocation %d: the next request fails" % (name, at))
        return len(points)

    def has_worked(self, d, request, want):
        """The next one is right; of a worker that had to be replaced, when there is one."""
        answer = self.send(d, request)
        if answer is None or answer[0] == 503:
            d.until(lambda: d.get("/readyz").status == 200, 20)
            answer = self.send(d, request)
        self.note_kept(request, answer)
        return answer is not None and answer[0] == want

    def check_kept(self, d):
        for job in self.kept:
            self.assertIn(d.wait_job(job)["state"], ("succeeded", "failed", "cancelled"))

    @unittest.skipIf(sanitized(), "a sanitizer has allocators of its own")
    def test_each_allocation_of_a_request_fails(self):
        with self.daemon() as d:
            self.read, trials = 0, 0
            for name, request in self.kinds(d).items():
                if ONLY in (None, name):
                    trials += self.sweep(d, name, request)
            self.check_kept(d)
            d.stop()
            store = ["--set", "store.dir=" + os.path.join(d.dir, "store")]
            check = subprocess.run([DAEMON, "-c", os.path.join(d.dir, "conf"), *store, "--check-store"],
                                   capture_output=True, text=True)
            self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
            self.assertTrue(ONLY or trials > 18 * SAMPLE / 2 or WHOLE)
            print("%d trials: %s" % (trials, dict(self.ends)))
            d.start()  # to end as it began

    @unittest.skipIf(sanitized(), "a sanitizer has allocators of its own")
    def test_nothing_is_left_for_a_while(self):
        """Every allocation fails from one moment on; then there is memory again."""
        with self.daemon() as d:
            self.read = 0
            for name, request in self.kinds(d).items():
                want = self.send(d, request)[0]
                self.trial(d, name, request, want, self.rng.randrange(1, 60), 10 ** 9)
                self.assertTrue(self.has_worked(d, request, want), name)
            self.check_kept(d)


if __name__ == "__main__":
    main()
