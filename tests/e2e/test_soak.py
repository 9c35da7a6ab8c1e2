"""Many jobs of all kinds, with cancels, killed workers and bad input: nothing grows, none is stuck.

CN_SOAK sets how many jobs (500 in make check); the measure begins when a tenth of them is done.
CN_SOAK_MINUTES=N goes on for so long instead, CN_SOAK_RATE sets how many jobs begin in a second (0: as
many as can), and CN_SOAK_DEVICE=standin has them drawn by the real worker on the stand-in of CUDA."""
import collections
import http.client
import json
import os
import random
import signal
import tempfile
import threading
import time

from cn_e2e import DATA, QUICK, SLOW, Aside, Case, Daemon, main, png_size, sanitized
from cn_load import Watch

JOBS = int(os.environ.get("CN_SOAK", "200" if QUICK or sanitized() else "500"))
KILLS = float(os.environ.get("CN_SOAK_KILLS", "0.01"))  # share of jobs at which the worker dies
MINUTES = float(os.environ.get("CN_SOAK_MINUTES", "0"))
RATE = float(os.environ.get("CN_SOAK_RATE", "0"))
STANDIN = os.environ.get("CN_SOAK_DEVICE", "") == "standin"
CLIENTS = 8
JSON = {"Content-Type": "application/json"}
FINAL = ("succeeded", "failed", "cancelled", "expired")


class Soak(Case):
    def setUp(self):
        self.lock = threading.Lock()
        self.done = 0
        self.counts = collections.Counter()
        self.wrong = []
        self.ids = []

    # ---- kinds of jobs: each returns what it was, or raises AssertionError ----

    def spec(self, rnd, **more):
        if STANDIN:
            return dict({"prompt": "an apple", "steps": rnd.randint(1, 8), "model": "tiny", "width": 16,
                         "seed": rnd.randint(0, 9999), "height": rnd.choice((16, 32))}, **more)
        return dict({"prompt": "step=1", "steps": rnd.randint(1, 8), "seed": rnd.randint(0, 9999),
                     "width": 64, "height": rnd.choice((64, 128))}, **more)

    def sync_png(self, d, rnd):
        s = self.spec(rnd)
        r = d.images(s)
        assert r.status == 200, (r.status, r.body)
        assert png_size(r.body) == (s["width"], s["height"])

    def sync_json(self, d, rnd):
        r = d.images(self.spec(rnd, n=rnd.randint(1, 3)), "application/json")
        assert r.status == 200, (r.status, r.body)

    def submit(self, d, spec):
        r = d.request("POST", "/v1/jobs", json.dumps(spec), JSON)
        assert r.status == 202, (r.status, r.body)
        with self.lock:
            self.ids.append(json.loads(r.body)["id"])
        return "/v1/jobs/" + json.loads(r.body)["id"]

    def wait(self, d, path):
        end = time.monotonic() + (600 if STANDIN else 60) * SLOW
        while True:
            job = json.loads(d.get(path).body)
            if job["state"] in FINAL:
                return job
            assert time.monotonic() < end, job
            time.sleep(0.02)

    def polled(self, d, rnd):
        path = self.submit(d, self.spec(rnd, n=rnd.randint(1, 2)))
        job = self.wait(d, path)
        assert job["state"] == "succeeded", job
        assert d.get(path + "/images/0").status == 200

    def followed(self, d, rnd):
        """Its events up to the end."""
        path = self.submit(d, self.spec(rnd))
        c = d.connect()
        try:
            c.request("GET", path + "/events", headers={"Accept": "text/event-stream"})
            text = c.getresponse().read()
            assert b"event: done" in text, text[-300:]
        finally:
            c.close()

    def thrown_away(self, d, rnd):
        """Cancelled while it waits or runs."""
        path = self.submit(d, self.spec(rnd, steps=60))
        time.sleep(rnd.random() * 0.05)
        r = d.request("DELETE", path)
        assert r.status in (200, 202), (r.status, r.body)
        job = self.wait(d, path)
        assert job["state"] in ("cancelled", "succeeded"), job

    def hung_up(self, d, rnd):
        c = d.connect()
        c.request("POST", "/v1/images", json.dumps(self.spec(rnd, steps=60)), JSON)
        time.sleep(rnd.random() * 0.05)
        c.close()

    def bad(self, d, rnd):
        body = rnd.choice(('{"prompt":', '{"prompt":"x","steps":-1}', '{"prompt":"x","modell":"y"}',
                           '[]', '{"prompt":"x","init_image":"A!A"}', "\x00" * 100))
        r = d.request("POST", rnd.choice(("/v1/images", "/v1/jobs")), body, JSON)
        assert 400 <= r.status < 500, (body, r.status)

    def failing(self, d, rnd):
        how = {"init_image": "AAAA"} if STANDIN else {"prompt": "fail=EINTERNAL"}
        path = self.submit(d, self.spec(rnd, **how))
        assert self.wait(d, path)["state"] == "failed"

    def killed(self, d, rnd):
        """A worker dies while it works; its jobs are tried again."""
        for pid in self.workers(d):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # another thread was faster
        self.polled(d, rnd)

    # ---- the soak ----

    def workers(self, d):
        with open("/proc/%d/task/%d/children" % (d.proc.pid, d.proc.pid)) as f:
            return [int(pid) for pid in f.read().split()]

    def choose(self, rnd):
        x = rnd.random()
        for share, kind in ((.01, self.thrown_away), (.01, self.hung_up), (.01, self.bad),
                            (.005, self.failing), (KILLS, self.killed)):
            if x < share:
                return kind
            x -= share
        return rnd.choice((self.sync_png, self.sync_json, self.polled, self.followed))

    def share(self):
        """Of the soak, as far as it has begun."""
        return (time.monotonic() - self.begin) / 60 / MINUTES if MINUTES else self.done / JOBS

    def client(self, d, k):
        rnd = random.Random(k)
        while True:
            with self.lock:
                if self.share() >= 1 or len(self.wrong) > 5:
                    return
                self.done += 1
                early = RATE and self.begin + self.done / RATE - time.monotonic()
            time.sleep(max(0, early))
            kind = self.choose(rnd)
            try:
                kind(d, rnd)
            except (AssertionError, OSError, ValueError, http.client.HTTPException) as e:
                with self.lock:
                    self.wrong.append((kind.__name__, repr(e)[:300]))
            with self.lock:
                self.counts[kind.__name__] += 1

    def worker_rss(self, d):
        """0 while there is none."""
        try:
            with open("/proc/%d/statm" % self.workers(d)[0]) as f:
                return int(f.read().split()[1]) * 4096
        except (IndexError, OSError):
            return 0

    def settled(self, d):
        d.until(lambda: d.metric("controlnetd_queue_jobs") == 0, 30)
        d.until(lambda: d.metric("controlnetd_worker_busy") == 0, 30)
        d.until(lambda: d.get("/readyz").status == 200, 30)

    def daemon(self, tmp):
        args = ["--set", "log.level=warning", "--set", "store.dir=" + os.path.join(tmp, "store"),
                "--set", "queue.max_attempts=10"]
        if not STANDIN:
            return Daemon(*args, fake="capacity=4 lanes=4")
        models = os.path.join(DATA, "models")
        # The stand-in computes each number by itself: a job may take long on a busy machine.
        return Daemon("--models", models, "--set", "worker.backend=cuda", "--set",
                      "queue.timeout_s=3600", *args,
                      worker=os.path.abspath("tests/standin/controlnet-worker-cuda"))

    def slope(self, samples):
        """MiB in an hour that the front grew by in the second half: the line of least squares."""
        points = [(s[3], s[1]) for s in samples[len(samples) // 2:]]
        n = len(points)
        x, y = sum(p[0] for p in points) / n, sum(p[1] for p in points) / n
        spread = sum((p[0] - x) ** 2 for p in points)
        return sum((p[0] - x) * (p[1] - y) for p in points) / max(spread, 1e-9) * 3600 / (1 << 20)

    def test_soak(self):
        with tempfile.TemporaryDirectory() as tmp, self.daemon(tmp) as d:
            w = Watch(d)
            self.begin = time.monotonic()
            threads = [Aside(self.client, d, k) for k in range(CLIENTS)]
            while self.share() < 0.1:
                time.sleep(0.01)
            front, fds = w.rss(), w.fds()
            samples = []
            while any(t.is_alive() for t in threads):
                samples.append((self.done, w.rss(), self.worker_rss(d), time.monotonic()))
                time.sleep(1 if MINUTES else 0.1)
            for t in threads:
                t.result()
            self.assertEqual(self.wrong, [])
            self.settled(d)
            states = collections.Counter(
                json.loads(d.get("/v1/jobs/" + i).body)["state"] for i in self.ids)
            self.assertEqual(set(states) - set(FINAL), set())
            after = w.rss()
            d.until(lambda: w.fds() <= fds)
            if os.environ.get("CN_SOAK") or MINUTES:
                wall, cpu = w.spent()
                print("%d jobs in %.0f s (%.2f ms CPU of the front each): front %.1f -> %.1f MB "
                      "(most %.1f), %d fds, %s, states %s" %
                      (self.done, wall, 1e3 * cpu / self.done, front / 1e6, after / 1e6,
                       max(s[1] for s in samples) / 1e6, w.fds(), dict(self.counts),
                       dict(states)))
                if MINUTES:
                    print("slope of the front's memory in the second half: %.2f MiB an hour" %
                          self.slope(samples))
                for done, rss, worker, _ in samples[::len(samples) // 12 + 1]:
                    print("%6d jobs begun: front %5.1f MB, worker %5.1f MB" %
                          (done, rss / 1e6, worker / 1e6))
            if not sanitized():
                # The last 256 jobs, their pictures and SQLite's pages are kept in memory: that is
                # filled after some 1,000 jobs.
                self.assertLess(after - front, (2 if self.done >= 10000 and not MINUTES else 12) << 20)


if __name__ == "__main__":
    main()
