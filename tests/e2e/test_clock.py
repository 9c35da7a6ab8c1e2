"""The clock on the wall jumps by an hour, forward and back, while jobs run and wait: nothing expires
that would not have, no time that is told is negative, and the next life says the same."""
import json
import os
import unittest

from cn_e2e import Aside, Case, Daemon, main, sanitized

HOUR = 3600


@unittest.skipIf(sanitized(), "a sanitizer wants to be loaded before the bad clock")
class Clock(Case):
    def jump(self, seconds):
        with open(self.path + ".new", "w") as f:
            f.write("%d" % seconds)
        os.replace(self.path + ".new", self.path)

    def no_negative(self, doc, path=""):
        for name, value in doc.items():
            if isinstance(value, dict):
                self.no_negative(value, path + "/" + name)
            elif name.endswith(("_ms", "_s")):
                self.assertGreaterEqual(value, 0, path + "/" + name)

    def check(self, seconds):
        self.path = os.path.join(os.getcwd(), "tests/e2e/clock.%d" % os.getpid())
        self.addCleanup(os.unlink, self.path)
        self.jump(0)
        with Daemon(env={"LD_PRELOAD": os.path.abspath("tests/e2e/bad_clock.so"),
                         "CN_BAD_CLOCK": self.path}) as d:
            slow = {"prompt": "step=50", "steps": 40}
            run = json.loads(d.jobs(slow).body)["id"]
            d.until(lambda: d.job(run)["state"] == "running")
            key = {"Idempotency-Key": "K", "Content-Type": "application/json"}
            spec = json.dumps({"prompt": "x", "timeout_s": 300})
            waits = json.loads(d.request("POST", "/v1/jobs", spec, key).body)["id"]
            picture = Aside(d.images, {"prompt": "y", "timeout_s": 300}, "application/json")
            d.until(lambda: d.metric("controlnetd_queue_jobs") >= 2 or d.job(run)["state"] != "running")
            self.jump(seconds)
            r = picture.result()
            self.assertEqual(r.status, 200, r.body)
            self.no_negative(json.loads(r.body))
            for job in (run, waits):
                self.assertEqual(d.wait_job(job)["state"], "succeeded")
                self.no_negative(d.job(job))
                self.assertEqual(d.get("/v1/jobs/%s/images/0" % job).status, 200)
            again = d.request("POST", "/v1/jobs", spec, key)
            self.assertEqual(json.loads(again.body)["id"], waits)
            late = json.loads(d.jobs({"prompt": "z", "timeout_s": 60}).body)["id"]
            self.assertEqual(d.wait_job(late)["state"], "succeeded")
            events = list(d.stream("/v1/jobs/%s/events" % late))
            self.assertEqual(events[-1][0], "done")
            d.restart()
            for job in (run, waits, late):
                self.assertEqual(d.job(job)["state"], "succeeded")
            self.assertEqual(d.images({"prompt": "w"}).status, 200)

    def test_forward(self):
        self.check(HOUR)

    def test_back(self):
        self.check(-HOUR)


if __name__ == "__main__":
    main()
