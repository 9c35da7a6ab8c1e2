"""A store that cannot write for a while: another process holds the database's lock, or the disk does
not answer and then is full. Whatever was answered 202 ends, its end is told to all who wait for it,
and says the same after a restart. CN_WHOLE=1 (tests/long/run) holds the lock for a minute.
"""
import base64
import json
import os
import sqlite3
import tempfile
import time
import unittest

from cn_e2e import Aside, Case, Daemon, main, sanitized

WHOLE = os.environ.get("CN_WHOLE", "0") not in ("", "0")
LOCK_S = 60 if WHOLE else 8


class Locked(Case):
    def setUp(self):
        top = tempfile.TemporaryDirectory(prefix="cn-e2e-store-")
        self.addCleanup(top.cleanup)
        self.store = os.path.join(top.name, "store")

    def daemon(self, **env):
        return Daemon(store=self.store, env=env)

    def end_of(self, d, id):
        """What the stream of a job says of its end."""
        for name, _, data in d.stream("/v1/jobs/%s/events" % id):
            if name == "done":
                return data["state"]
        return None

    def submit(self, d, spec):
        """(status, id or None)"""
        r = d.jobs(spec)
        return r.status, json.loads(r.body).get("id") if r.status == 202 else None

    def check_ends(self, d, told):
        """told: {id: the state that was told}. All of it is true now, and in the next life."""
        for _ in range(2):
            self.assertEqual({id: d.job(id)["state"] for id in told}, told)
            d.restart()
        for id, state in told.items():
            if state == "succeeded":
                self.assertEqual(d.get("/v1/jobs/%s/images/0" % id).status, 200)

    def test_lock_of_another(self):
        with self.daemon() as d:
            status, running = self.submit(d, {"prompt": "step=400", "steps": 10})
            self.assertEqual(status, 202)
            status, doomed = self.submit(d, {"prompt": "step=1000", "steps": 100})
            self.assertEqual(status, 202)
            ends = {id: Aside(self.end_of, d, id) for id in (running, doomed)}
            d.until(lambda: d.job(running)["state"] == "running", 20)
            db = sqlite3.connect(os.path.join(self.store, "jobs.db"), isolation_level=None,
                                 timeout=60)
            db.execute("BEGIN IMMEDIATE")
            begin = time.monotonic()
            late = [Aside(self.submit, d, {"prompt": "step=1", "timeout_s": 3600}),
                    Aside(self.submit, d, {"prompt": "step=1", "timeout_s": 1})]
            gone = Aside(d.request, "DELETE", "/v1/jobs/" + doomed)
            # the picture is drawn, but its end is not kept, and so nobody is told of it
            d.until(lambda: running in [e["job_id"] for e in d.events("job.end")], 60)
            while time.monotonic() - begin < LOCK_S:
                self.assertEqual(d.get("/healthz").status, 200)
                self.assertEqual(d.job(running)["state"], "running")
                self.assertTrue(ends[running].is_alive())
                time.sleep(0.2)
            db.execute("ROLLBACK")
            db.close()
            told = {id: a.result() for id, a in ends.items()}
            self.assertEqual(told, {running: "succeeded", doomed: "cancelled"})
            self.assertIn(gone.result().status, (200, 202, 204))
            for status, id in [a.result() for a in late]:
                self.assertIn(status, (202, 503, 507))
                if status == 202:
                    told[id] = d.wait_job(id, 60)["state"]
                    self.assertIn(told[id], ("succeeded", "expired", "failed"))
            d.until(lambda: d.get("/readyz").status == 200, 60)
            self.check_ends(d, told)

    def test_what_waits_for_the_disk_counts(self):
        image = base64.b64encode(bytes(5 << 18)).decode()  # two bodies fit, and not a third
        spec = {"prompt": "x", "init_image": image}
        with Daemon("--set", "limits.max_inflight_mb=4", "--set", "limits.max_body_mb=4",
                    "--set", "limits.max_image_mb=2",
                    store=self.store) as d:
            db = sqlite3.connect(os.path.join(self.store, "jobs.db"), isolation_level=None,
                                 timeout=60)
            db.execute("BEGIN IMMEDIATE")
            first = [Aside(self.submit, d, spec) for _ in range(2)]
            d.until(lambda: d.metric("controlnetd_store_waiting_operations") >= 2, 20)
            self.problem(d.jobs(spec), 503, "overloaded")
            db.execute("ROLLBACK")
            db.close()
            for a in first:
                self.assertIn(a.result()[0], (202, 503, 507))  # it was waited for the disk, or not so long
            self.assertEqual(self.submit(d, spec)[0], 202)

    @unittest.skipIf(sanitized(), "a sanitizer wants to be loaded before the bad disk")
    def test_a_full_disk_is_told_and_its_room_is_found(self):
        """Nobody submits meanwhile: a server that is not ready gets no requests."""
        state = self.store + ".state"

        def disk(how):
            with open(state + ".new", "w") as f:
                f.write(how)
            os.replace(state + ".new", state)

        with self.daemon(CN_BAD_DISK=self.store, LD_PRELOAD=os.path.abspath("tests/e2e/bad_disk.so")) as d:
            self.assertEqual(self.submit(d, {"prompt": "x"})[0], 202)
            disk("full")
            self.assertEqual(self.submit(d, {"prompt": "x"})[0], 507)
            self.assertEqual(d.get("/readyz").status, 503)
            d.until(lambda: d.events("store.trouble"), 20)
            self.assertEqual(d.images({"prompt": "x", "steps": 1}).status, 200)
            disk("good")
            d.until(lambda: d.get("/readyz").status == 200, 20)
            d.until(lambda: d.events("store.good"), 20)
            self.assertEqual(self.submit(d, {"prompt": "x"})[0], 202)
            self.assertEqual([e["level"] for e in d.events("store.trouble")], ["warning"])

    @unittest.skipIf(sanitized(), "a sanitizer wants to be loaded before the bad disk")
    def test_disk_stalls_and_then_is_full(self):
        state = self.store + ".state"

        def disk(how):
            with open(state + ".new", "w") as f:
                f.write(how)
            os.replace(state + ".new", state)

        with self.daemon(CN_BAD_DISK=self.store, LD_PRELOAD=os.path.abspath("tests/e2e/bad_disk.so")) as d:
            status, running = self.submit(d, {"prompt": "step=100", "steps": 10})
            self.assertEqual(status, 202)
            end = Aside(self.end_of, d, running)
            d.until(lambda: d.job(running)["state"] == "running", 20)
            disk("stalled")
            # their time is over while the store has them
            late = [Aside(self.submit, d, {"prompt": "step=1 %d" % i, "timeout_s": 1})
                    for i in range(8)]
            d.until(lambda: running in [e["job_id"] for e in d.events("job.end")], 60)
            time.sleep(2)
            disk("full")
            time.sleep(1)
            self.assertEqual(d.get("/healthz").status, 200)
            disk("good")
            told = {running: end.result()}
            # a success whose picture found no room is a failure
            self.assertIn(told[running], ("succeeded", "failed"))
            for status, id in [a.result() for a in late]:
                self.assertIn(status, (202, 503, 507))
                if status == 202:
                    told[id] = d.wait_job(id, 60)["state"]
            self.check_ends(d, told)


if __name__ == "__main__":
    main()
