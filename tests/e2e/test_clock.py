"""Somebody sets the clock of the wall while the daemon runs: deadlines, limits and waits do not
notice; results, tickets and keys, which outlive a process, go by the wall, as is documented."""
import json
import os
import tempfile

from cn_e2e import Aside, Case, Daemon, main

CLOCK = os.path.abspath("tests/e2e/bad_clock.so")
HOUR = 3600
KEY, OTHER, LATE = "key-of-anna-0000", "key-of-bert-0000", "key-of-late-0000"
AUTH = {"X-Api-Key": KEY}


class Clock(Case):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.file, self.keys = os.path.join(tmp.name, "clock"), os.path.join(tmp.name, "keys")

    def daemon(self, *args):
        preload = ":".join(p for p in (os.environ.get("LD_PRELOAD"), CLOCK) if p)
        asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        return Daemon(*args, env={"LD_PRELOAD": preload, "CN_BAD_CLOCK": self.file,
                                  "ASAN_OPTIONS": asan})

    def set(self, seconds):
        """At once, as a file that is renamed."""
        with open(self.file + ".new", "w") as f:
            f.write("%d\n" % seconds)
        os.rename(self.file + ".new", self.file)

    def submit(self, d, **spec):
        r = d.jobs(dict({"prompt": "x", "steps": 2}, **spec))
        self.assertEqual(r.status, 202, r.body)
        return json.loads(r.body)["id"]

    def test_jobs_and_their_deadlines(self):
        """An hour forward, two back, and a second to and fro, as a time service does."""
        with self.daemon() as d:
            for ahead in (HOUR, -HOUR, 1, 0, -1):
                with self.subTest(ahead=ahead):
                    running = self.submit(d, prompt="step=20", steps=30, timeout_s=300)
                    waits = self.submit(d, timeout_s=300)
                    client = Aside(d.images, {"prompt": "y", "steps": 2, "timeout_s": 300})
                    d.until(lambda: d.job(running)["state"] == "running")
                    self.set(ahead)
                    early = self.submit(d, timeout_s=300)
                    for id in (running, waits, early):
                        job = d.wait_job(id)
                        self.assertEqual((job["state"], job["attempt"]), ("succeeded", 1), job)
                        self.assertGreaterEqual(job["progress"]["fraction"], 1)
                    self.assertEqual(client.result().status, 200)
                    ids = [e[1] for e in d.stream("/v1/jobs/%s/events" % running)]
                    self.assertEqual(ids, sorted(ids))
            self.assertEqual(d.metric("controlnetd_worker_restarts_total"), 0)
            self.assertEqual(len(d.list()), 20)

    def no_negative(self, doc, path=""):
        for name, value in doc.items():
            if isinstance(value, dict):
                self.no_negative(value, path + "/" + name)
            elif name.endswith(("_ms", "_s")):
                self.assertGreaterEqual(value, 0, path + "/" + name)

    def test_what_is_told(self):
        """No time that an answer tells is negative, and an idempotency key finds its job."""
        for ahead in (HOUR, -HOUR):
            with self.subTest(ahead=ahead), self.daemon() as d:
                self.set(0)
                run = self.submit(d, prompt="step=50", steps=40)
                d.until(lambda: d.job(run)["state"] == "running")
                key = {"Idempotency-Key": '"K"', "Content-Type": "application/json"}
                spec = json.dumps({"prompt": "x", "timeout_s": 300})
                waits = json.loads(d.request("POST", "/v1/jobs", spec, key).body)["id"]
                picture = Aside(d.images, {"prompt": "y", "timeout_s": 300}, "application/json")
                d.until(lambda: d.metric("controlnetd_queue_jobs") >= 2 or
                        d.job(run)["state"] != "running")
                self.set(ahead)
                r = picture.result()
                self.assertEqual(r.status, 200, r.body)
                self.no_negative(json.loads(r.body))
                for job in (run, waits):
                    self.assertEqual(d.wait_job(job)["state"], "succeeded")
                    self.no_negative(d.job(job))
                again = d.request("POST", "/v1/jobs", spec, key)
                self.assertEqual(json.loads(again.body)["id"], waits)

    def test_a_deadline_still_ends_a_job(self):
        """Also when the clock goes back by more than it was."""
        with self.daemon() as d:
            running = self.submit(d, prompt="step=50", steps=150)
            waits = self.submit(d, timeout_s=1)
            self.set(-HOUR)
            d.until(lambda: d.job(waits)["state"] == "expired", 20)
            d.request("POST", "/v1/jobs/%s/cancel" % running)

    def test_a_life_that_begins_earlier(self):
        """The next process finds that it is an hour before the last one was killed."""
        with self.daemon() as d:
            done = self.submit(d)
            d.wait_job(done)
            running = self.submit(d, prompt="step=100", steps=20, timeout_s=600)
            d.until(lambda: d.job(running)["state"] == "running")
            last = [e for e, _ in zip(d.stream("/v1/jobs/%s/events" % running), range(2))][-1][1]
            self.submit(d)  # once this one is kept, that the other one runs is, too
            self.set(-HOUR)
            d.restart("kill")
            job = d.wait_job(running, 60)
            self.assertEqual((job["state"], job["attempt"]), ("succeeded", 2))
            self.assertEqual(d.get("/v1/jobs/%s/images/0" % done).status, 200)
            again = list(d.stream("/v1/jobs/%s/events" % running, {"Last-Event-ID": str(last)}))
            self.assertEqual(again[-1][0], "done")

    def test_limits(self):
        """Requests per minute and wrong keys are counted by a clock that nobody sets."""
        with open(self.keys, "w") as f:
            f.write("anna:%s requests_per_minute=3\nbert:%s\n" % (KEY, OTHER))
        with self.daemon("--set", "auth.keys_file=" + self.keys) as d:
            wrong = {"X-Api-Key": "x" * 16}
            for _ in range(3):
                self.assertEqual(d.get("/v1/queue", AUTH).status, 200)
            for _ in range(20):
                self.assertEqual(d.get("/v1/queue", wrong).status, 401)
            for ahead in (0, HOUR, -HOUR):
                self.set(ahead)
                for headers, kind in ((AUTH, "rate-limited"), (wrong, "too-many-wrong-keys")):
                    r = d.get("/v1/queue", headers)
                    self.problem(r, 429, kind)
                    self.assertLessEqual(int(r.getheader("Retry-After")), 60)
                self.assertEqual(d.get("/v1/queue", {"X-Api-Key": OTHER}).status, 200)

    def test_what_goes_by_the_wall(self):
        """Tickets, keys and results end when the wall says so, and a step back brings keys and
        tickets again, but never results that were removed."""
        with open(self.keys, "w") as f:
            f.write("anna:%s\nlate:%s tenant=anna expires=2999-01-01\n" % (KEY, LATE))
        with self.daemon("--set", "auth.keys_file=" + self.keys, "--set",
                         "store.result_ttl_s=%d" % (30 * HOUR)) as d:
            r = d.jobs({"prompt": "x", "steps": 2}, AUTH)
            id = json.loads(r.body)["id"]
            d.wait_job(id, headers=AUTH)
            ticket = json.loads(d.request("POST", "/v1/jobs/%s/ticket" % id, None, AUTH).body)
            url = "/v1/jobs/%s/images/0" % id
            for ahead, ticks, there in ((0, 200, 200), (HOUR, 200, 200), (25 * HOUR, 401, 200),
                                        (-HOUR, 200, 200), (31 * HOUR, 401, 410)):
                self.set(ahead)
                self.assertEqual(d.get(ticket["events"]).status, ticks, ahead)
                self.assertEqual(d.get(url, AUTH).status, there, ahead)
                self.assertEqual(d.get("/v1/queue", {"X-Api-Key": LATE}).status, 200)
            self.set(2000 * 365 * 24 * HOUR // 2)
            self.assertEqual(d.get("/v1/queue", {"X-Api-Key": LATE}).status, 401)
            self.assertEqual(d.get("/readyz").status, 200)
            self.set(0)
            self.assertEqual(d.get("/v1/queue", {"X-Api-Key": LATE}).status, 200)


if __name__ == "__main__":
    main()
