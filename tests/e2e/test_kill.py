"""Nothing accepted is lost, and nothing is done twice: the daemon and its workers are killed at
random instants. `tests/e2e/kill.sh --rounds 100` is the long form; a seed may be given, too.
"""
import argparse
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import unittest

from cn_e2e import DAEMON, SLOW, Aside, Case, Daemon, main, together

OPTIONS = argparse.Namespace(rounds=int(os.environ.get("CN_KILLS", "8")), jobs=1000, seed=None)
FINAL = ("succeeded", "failed", "cancelled", "expired")


class Clients:
    """Threads that submit jobs, each with a word of its own in the prompt. Half of them have an
    Idempotency-Key, and when no answer came, the same is sent again."""

    def __init__(self, threads):
        self.lock = threading.Lock()
        self.accepted = {}  # id: word
        self.n = 0
        self.on = True
        self.daemon = None
        self.threads = [Aside(self.run) for _ in range(threads)]

    def stop(self):
        self.on = False
        for t in self.threads:
            t.result()

    def word(self):
        with self.lock:
            self.n += 1
            return "w%06dx" % self.n

    def post(self, connection, word, spec, keyed):
        headers = {"Content-Type": "application/json"}
        if keyed:
            headers["Idempotency-Key"] = '"%s"' % word
        connection.request("POST", "/v1/jobs", json.dumps(spec), headers)
        r = connection.getresponse()
        body = r.read()
        if r.status == 202:
            with self.lock:
                self.accepted[json.loads(body)["id"]] = word
        return r.status

    def send(self, word, spec, keyed):
        """True: it was answered. A daemon that was killed answers no more."""
        d = self.daemon
        if d is None:
            time.sleep(0.005)
            return False
        c = d.connect(5)
        try:
            status = self.post(c, word, spec, keyed)
            assert status in (202, 429, 503), status
            return status == 202
        except (OSError, ValueError) as e:
            time.sleep(0.005)
            return False
        except Exception as e:
            if "HTTP" in type(e).__module__ or "http" in type(e).__module__:
                return False
            raise
        finally:
            c.close()

    def run(self):
        dice = random.Random(threading.get_ident())
        while self.on:
            word, keyed = self.word(), dice.random() < 0.5
            spec = {"prompt": "%s step=%d" % (word, dice.choice((1, 1, 2, 5))),
                    "n": dice.choice((1, 1, 2)), "steps": 3}
            while not self.send(word, spec, keyed) and keyed and self.on:
                pass
            time.sleep(0.01)


class Kill(Case):
    @classmethod
    def setUpClass(cls):
        cls.seed = OPTIONS.seed or random.randrange(1 << 30)
        cls.dice = random.Random(cls.seed)
        print("seed %d, %d rounds" % (cls.seed, OPTIONS.rounds), file=sys.stderr)

    def started(self, log):
        """Words of the jobs that workers began, in order."""
        if not os.path.exists(log):
            return []
        with open(log) as f:
            return re.findall(r"^begin .*\b(w\d{6}x)\b", f.read(), re.M)

    def look(self, d, clients, seen, only_open):
        """Holds what the daemon says of the accepted jobs against what it said before."""
        for id in list(clients.accepted):
            if only_open and id in seen:
                continue
            job = d.job(id)
            if id in seen:
                self.assertEqual(job["state"], seen[id])
            elif job["state"] in FINAL:
                self.assertEqual(job["state"], "succeeded", job)
                seen[id] = job["state"]
                self.assertTrue(all(i["ready"] for i in job["images"]), job)

    def check_store(self, path, clients):
        """No word twice, no accepted one missing, and all pictures there."""
        db = sqlite3.connect(os.path.join(path, "jobs.db"))
        self.assertEqual(db.execute("pragma integrity_check").fetchone()[0], "ok")
        words = {}
        for id, spec in db.execute("select id, spec from jobs"):
            word = re.search(rb"w\d{6}x", spec).group().decode()
            self.assertNotIn(word, words)
            words[word] = id
        for id, word in clients.accepted.items():
            self.assertEqual(words[word], id)
        files = set()
        for folder, _, names in os.walk(os.path.join(path, "results")):
            files.update(os.path.relpath(os.path.join(folder, n), os.path.join(path, "results"))
                         for n in names)
        rows = {f: b for f, b in db.execute("select file, bytes from results")}
        self.assertEqual(set(rows), files)
        for f, n in rows.items():
            self.assertEqual(os.path.getsize(os.path.join(path, "results", f)), n)
        db.close()
        return len(words)

    def test_the_daemon_is_killed(self):
        log = ""
        seen, again, slowest = {}, 0, 0
        clients = Clients(3)
        try:
            d = Daemon("--set", "log.level=warning", wait=False)
            log = os.path.join(d.dir, "begun")
            d.proc.kill()
            d.proc.wait()
            d.environ["CONTROLNET_FAKE"] = "capacity=4 lanes=4 log=" + log
            with d:
                d.start()
                for _ in range(OPTIONS.rounds):
                    clients.daemon = d
                    time.sleep(self.dice.uniform(0.02, 0.5))
                    done = {clients.accepted[id] for id in seen}
                    before = len(self.started(log))
                    clients.daemon = None
                    d.proc.kill()
                    d.proc.wait()
                    t = time.monotonic()
                    d.start()
                    slowest = max(slowest, time.monotonic() - t)
                    self.look(d, clients, seen, only_open=True)
                    # What was over is not begun again.
                    self.assertFalse(done & set(self.started(log)[before:]))
                clients.stop()
                d.until(lambda: all(j["state"] in FINAL for j in d.list()), 60, 0.1)
                for id in clients.accepted:
                    d.wait_job(id, 60)
                self.look(d, clients, seen, only_open=False)
                self.assertEqual(len(seen), len(clients.accepted))
                again = sum(d.job(id)["attempt"] > 1 for id in clients.accepted)
                d.stop()
                n = self.check_store(os.path.join(d.dir, "store"), clients)
                print("%d kills of the daemon: %d jobs accepted, %d kept, %d tried again, none "
                      "lost, none twice; ready again within %.2f s" %
                      (OPTIONS.rounds, len(seen), n, again, slowest), file=sys.stderr)
        finally:
            clients.on = False

    def test_workers_are_killed(self):
        clients = Clients(2)
        try:
            with Daemon("--set", "log.level=info", "--set", "worker.count=2",
                        fake="capacity=3 lanes=3") as d:
                clients.daemon = d
                killed = 0
                while killed < OPTIONS.rounds:
                    time.sleep(self.dice.uniform(0.02, 0.2))
                    pids = [e["pid"] for e in d.events("worker.hello")[-2:]]
                    try:
                        os.kill(self.dice.choice(pids), signal.SIGKILL)
                        killed += 1
                    except ProcessLookupError:
                        pass
                clients.stop()
                for id in clients.accepted:
                    job = d.wait_job(id, 60)
                    self.assertEqual(job["state"], "succeeded", job)
                again = sum(d.job(id)["attempt"] > 1 for id in clients.accepted)
                d.stop()
                self.check_store(os.path.join(d.dir, "store"), clients)
                print("%d kills of workers: %d jobs accepted, all succeeded, %d tried again" %
                      (killed, len(clients.accepted), again), file=sys.stderr)
        finally:
            clients.on = False

    def submit_many(self, d, n):
        ids, lock = [], threading.Lock()

        def some(count):
            c = d.connect()
            for _ in range(count):
                c.request("POST", "/v1/jobs", '{"prompt":"step=100000"}',
                          {"Content-Type": "application/json"})
                r = c.getresponse()
                body = r.read()
                assert r.status == 202, (r.status, body)
                with lock:
                    ids.append(json.loads(body)["id"])
                if r.getheader("Connection") == "close":
                    c.close()
            c.close()

        together(some, *[n // 4] * 4)
        return ids

    def test_many_waiting_jobs_are_queued_again(self):
        with Daemon("--set", "queue.capacity=20000", "--set", "queue.tenant_max_queued=20000") as d:
            ids = self.submit_many(d, OPTIONS.jobs)
            self.assertEqual(len(ids), OPTIONS.jobs)
            d.proc.kill()
            d.proc.wait()
            t = time.monotonic()
            d.start()
            took = time.monotonic() - t
            self.assertEqual(d.events("store.open")[-1]["jobs"], OPTIONS.jobs)
            for id in self.dice.sample(ids, 50):
                self.assertIn(d.job(id)["state"], ("queued", "running"))
            print("%d waiting jobs: ready again %.2f s after the start, %.0f ms of them to queue" %
                  (len(ids), took, d.events("store.open")[-1]["ms"]), file=sys.stderr)
            for job in d.list():
                if job["state"] == "running":
                    d.request("DELETE", "/v1/jobs/" + job["id"])
            d.proc.send_signal(signal.SIGTERM)  # what runs next, would run for long
            time.sleep(0.3)

    def test_sigterm_leaves_waiting_jobs_to_the_next_life(self):
        with Daemon(fake="step=5") as d:
            slow = json.loads(d.jobs({"prompt": "step=100", "steps": 8}).body)["id"]
            ids = [json.loads(d.jobs({"prompt": "x", "steps": 2}).body)["id"] for _ in range(20)]
            d.until(lambda: d.job(slow)["state"] != "queued")  # a busy machine may miss it
            self.assertEqual(d.stop(), 0)
            d.start()
            self.assertEqual(d.job(slow)["state"], "succeeded")
            self.assertEqual(d.job(slow)["attempt"], 1)
            for id in ids:
                self.assertEqual(d.wait_job(id)["state"], "succeeded")

    def test_results_go_after_their_time(self):
        with Daemon("--set", "store.result_ttl_s=1", "--set", "store.tombstone_ttl_s=1000") as d:
            id = json.loads(d.jobs({"prompt": "x"}).body)["id"]
            d.wait_job(id)
            d.until(lambda: d.get("/v1/jobs/" + id).status == 410, 20, 0.1)
            self.problem(d.get("/v1/jobs/%s/images/0" % id), 410, "gone")
            d.restart("kill")
            self.problem(d.get("/v1/jobs/" + id), 410, "gone")
            self.assertEqual(d.get("/v1/jobs/" + "0" * 26).status, 404)

    def test_a_second_daemon_waits_for_the_first(self):
        with Daemon() as a:
            id = json.loads(a.jobs({"prompt": "step=300", "steps": 4}).body)["id"]
            a.until(lambda: a.job(id)["state"] == "running")
            with Daemon(store=os.path.join(a.dir, "store"), wait=False) as b:
                self.assertEqual(b.get("/healthz").status, 200)
                self.assertEqual(b.job(id)["state"], "running")
                b.until(lambda: b.get("/v1/models").status == 200)
                answer = Aside(b.jobs, {"prompt": "x"})
                self.assertEqual(a.stop(), 0)
                got = answer.result()
                self.assertEqual(got.status, 202, got.body)
                self.assertEqual(b.job(id)["state"], "succeeded")
                self.assertEqual(b.wait_job(json.loads(got.body)["id"])["state"], "succeeded")

    def test_a_store_that_cannot_be_used_is_told(self):
        with Daemon() as d:
            path = os.path.join(d.dir, "broken")
            os.mkdir(path)
            with open(os.path.join(path, "jobs.db"), "w") as f:
                f.write("this is no database, it only stands where one should be\n" * 100)
            r = subprocess.run([DAEMON, "-c", "/dev/null", "--listen", "127.0.0.1:0", "--set",
                                "store.dir=" + path], capture_output=True, text=True,
                               timeout=60 * SLOW)
            self.assertEqual(r.returncode, 1)
            self.assertIn("store.dir", r.stderr)
        with Daemon("--set", "store.dir=") as d:
            self.assertEqual(d.images({"prompt": "x"}).status, 200)
            self.assertEqual(d.jobs({"prompt": "x"}).status, 503)


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--rounds", type=int, default=OPTIONS.rounds)
    p.add_argument("--jobs", type=int, default=OPTIONS.jobs)
    p.add_argument("--seed", type=int)
    OPTIONS, rest = p.parse_known_args()
    sys.argv[1:] = rest
    main()
