"""Restart through an inherited socket: clients wait, nobody fails.

CN_RESTARTS sets how many restarts a test makes (5 in make check)."""
import collections
import http.client
import json
import os
import re
import signal
import socket
import threading
import time

from cn_e2e import SLOW, Aside, Case, Daemon, main
from cn_socket import Manager, once_up

RESTARTS = int(os.environ.get("CN_RESTARTS", "5"))
SPEC = json.dumps({"prompt": "step=2", "steps": 5})
JSON = {"Content-Type": "application/json"}


class Load:
    """Clients of several kinds, each on a thread, until the block is left; what fails is in .bad."""

    def __init__(self, port):
        self.port = port
        self.bad, self.count, self.slowest = [], 0, 0.0
        self.lock = threading.Lock()
        self.stop_it = threading.Event()
        self.ids = []  # of accepted jobs
        kinds = [self.fresh, self.fresh, self.kept, self.kept, self.kept, self.looks, self.submits,
                 self.submits, self.follows]
        self.threads = [Aside(k, i) for i, k in enumerate(kinds)]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.stop_it.set()
        for t in self.threads:
            t.join(120 * SLOW if kind is None else 10)
        if kind is None:
            for t in self.threads:
                t.result()

    def ask(self, c, method, path, body=None, want=(200,), headers=None):
        start = time.monotonic()
        try:
            c.request(method, path, body, dict(headers or {}, **(JSON if body else {})))
            r = c.getresponse()
            data = r.read()
            good = r.status in want
            what = (method, path, r.status, data[:200])
        except (OSError, http.client.HTTPException) as e:
            good, what, data = False, (method, path, repr(e)), b""
        with self.lock:
            self.count += 1
            self.slowest = max(self.slowest, time.monotonic() - start)
            if not good:
                self.bad.append(what)
        if not good:  # a daemon that is not there answers at once
            self.stop_it.wait(0.1)
        return data

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60 * SLOW)

    def fresh(self, k):
        while not self.stop_it.is_set():
            c = self.connect()
            self.ask(c, "POST", "/v1/images", SPEC)
            c.close()

    def kept(self, k):
        """Keeps its connection as long as it is let."""
        c = self.connect()
        while not self.stop_it.is_set():
            self.ask(c, "GET", "/v1/samplers")
            self.ask(c, "POST", "/v1/images", SPEC)
            time.sleep(0.002 * k)
        c.close()

    def looks(self, k):
        while not self.stop_it.is_set():
            c = self.connect()
            self.ask(c, "GET", "/healthz")
            self.ask(c, "GET", "/v1/models")
            c.close()


    def submits(self, k):
        """Accepts no answer but 202, and its job must be there ever after."""
        while not self.stop_it.is_set():
            c = self.connect()
            data = self.ask(c, "POST", "/v1/jobs", SPEC, (202,))
            c.close()
            if data.startswith(b"{"):
                job = json.loads(data)["id"]
                with self.lock:
                    self.ids.append(job)
                c = self.connect()
                self.ask(c, "GET", "/v1/jobs/" + job)
                c.close()
            time.sleep(0.01 * k)

    def follows(self, k):
        """Reads a job's events to their end, over as many connections as that takes."""
        while not self.stop_it.is_set():
            c = self.connect()
            data = self.ask(c, "POST", "/v1/jobs", SPEC, (202,))
            c.close()
            job = json.loads(data)["id"] if data.startswith(b"{") else None
            last, over = "0", job is None
            while not over and not (self.stop_it.is_set() and self.bad):
                c = self.connect()
                text = self.ask(c, "GET", "/v1/jobs/%s/events" % job, None, (200, 204),
                                {"Last-Event-ID": last})
                c.close()
                ids = re.findall(rb"^id: *(\d+)", text, re.M)
                last = ids[-1].decode() if ids else last
                over = b"event: done" in text


class Restart(Case):
    def connect(self, port):
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=60 * SLOW)
        self.addCleanup(c.close)
        return c

    def ready(self, m):
        once_up(lambda: b" 200 " in self.raw(m.port, "/readyz"))

    def json(self, m, path):
        c = self.connect(m.port)
        c.request("GET", path)
        data = c.getresponse().read()
        c.close()
        return json.loads(data)

    def job(self, m, i):
        return self.json(m, "/v1/jobs/" + i)

    def open_jobs(self, m):
        return [j for state in ("queued", "running")
                for j in self.json(m, "/v1/jobs?state=" + state)["jobs"]]

    def run_restarts(self, m, overlapped):
        old = m.start()
        self.ready(m)
        with Load(m.port) as load:
            for _ in range(RESTARTS):
                seen = load.count
                once_up(lambda: load.count >= seen + 10, 60)
                if overlapped:
                    new = m.start()
                    self.assertEqual(m.stop(old), 0)
                else:
                    self.assertEqual(m.stop(old), 0)
                    new = m.start()
                old = new
            self.ready(m)
        once_up(lambda: not self.open_jobs(m), 60)
        for i in load.ids:  # one whose start is being committed is in neither list
            once_up(lambda: self.job(m, i)["state"] not in ("queued", "running"), 60)
        states = collections.Counter(self.job(m, i)["state"] for i in load.ids)
        self.assertEqual(set(states), {"succeeded"}, states)
        self.assertEqual(load.bad[:5], [], "%d of %d failed" % (len(load.bad), load.count))
        if os.environ.get("CN_RESTARTS"):
            print("%d restarts (%s): %d requests, %d jobs, 0 failed, slowest %.2f s" %
                  (RESTARTS, "overlapped" if overlapped else "one after the other", load.count,
                   len(load.ids), load.slowest))

    def test_one_after_the_other(self):
        with Manager("--set", "log.level=warning") as m:
            self.run_restarts(m, False)

    def test_overlapped(self):
        with Manager("--set", "log.level=warning") as m:
            self.run_restarts(m, True)

    def test_clients_wait_for_the_first_worker(self):
        with Manager(fake="load=%d" % (700 * min(SLOW, 4)), admin=True) as m:
            p = m.start()
            once_up(lambda: b" 200 " in self.raw(m.admin_port, "/healthz"))
            self.assertIn(b" 503 ", self.raw(m.admin_port, "/readyz"))
            c = self.connect(m.port)
            c.request("POST", "/v1/images", SPEC, JSON)
            self.assertNotIn('"worker.ready"', m.log())  # it was sent before there was one
            self.assertEqual(c.getresponse().status, 200)
            self.assertIn('"worker.ready"', m.log())
            self.assertEqual(m.stop(p), 0)

    def test_a_kept_connection_is_served_once_more(self):
        """The drain ends connections with their next answer, not in the middle of a request."""
        with Manager() as m:
            p = m.start()
            self.ready(m)
            c = self.connect(m.port)
            c.request("POST", "/v1/images", json.dumps({"prompt": "step=20", "steps": 20}), JSON)
            r = c.getresponse()
            self.assertEqual((r.status, r.getheader("Connection")), (200, None))
            r.read()
            c.request("GET", "/healthz")  # a moment ago: within the linger
            r = c.getresponse()
            r.read()
            p.send_signal(15)
            time.sleep(0.2)
            c.request("POST", "/v1/images", SPEC, JSON)
            r = c.getresponse()
            self.assertEqual((r.status, r.getheader("Connection")), (200, "close"))
            self.assertEqual(m.wait(p), 0)
            # The socket lives on: a client waits in its backlog.
            c = self.connect(m.port)
            c.request("GET", "/readyz")
            q = m.start()
            self.assertEqual(c.getresponse().status, 200)
            self.assertEqual(m.stop(q), 0)

    def raw(self, port, path):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
            s.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())
            return s.recv(12) + b" "


class Drain(Case):
    def test_with_everything_under_way(self):
        """SIGTERM with jobs that run, durable and not, jobs that wait, and event streams."""
        with Daemon("--set", "log.level=info", fake="capacity=2 lanes=2") as d:
            slow = {"prompt": "step=20", "steps": 60}
            running = json.loads(d.jobs(slow).body)["id"]
            waits = Aside(d.images, slow)  # a client that waits for its picture
            d.until(lambda: d.metric("controlnetd_worker_busy") == 2)
            queued = [json.loads(d.jobs({"prompt": "x"}).body)["id"] for _ in range(50)]
            streams = []
            for i in queued[:20]:
                s = socket.create_connection(("127.0.0.1", d.port), timeout=60 * SLOW)
                self.addCleanup(s.close)
                s.sendall(b"GET /v1/jobs/%s/events HTTP/1.1\r\nHost: a\r\n\r\n" % i.encode())
                self.assertIn(b" 200 ", s.recv(12) + b" ")
                streams.append(s)
            d.proc.send_signal(signal.SIGTERM)
            d.until(lambda: d.get("/readyz").status == 503)
            self.assertEqual(d.get("/healthz").status, 200)
            for path in ("/v1/jobs", "/v1/images"):
                r = d.request("POST", path, SPEC, JSON)
                self.problem(r, 503, "draining")
            self.assertEqual(waits.result().status, 200)
            for s in streams:  # each hears of the end
                text = b""
                while piece := s.recv(65536):
                    text += piece
                self.assertTrue(text.endswith(b"0\r\n\r\n"), text[-200:])
            self.assertEqual(d.proc.wait(30 * SLOW), 0)
            d.start()
            states = {}
            for i in [running] + queued:
                d.until(lambda: d.job(i)["state"] == "succeeded", 30)
                states[i] = d.job(i)
            self.assertEqual(states[running]["attempt"], 1)  # it was finished before the end

    def test_the_second_signal_ends_at_once(self):
        with Daemon() as d:
            job = json.loads(d.jobs({"prompt": "step=1000", "steps": 150}).body)["id"]
            d.until(lambda: d.metric("controlnetd_worker_busy") == 1)
            d.proc.send_signal(signal.SIGTERM)
            d.until(lambda: d.get("/readyz").status == 503)
            d.proc.send_signal(signal.SIGTERM)
            self.assertEqual(d.proc.wait(30 * SLOW), 0)
            d.start()
            d.until(lambda: d.job(job)["state"] == "running")  # begun anew
            d.request("DELETE", "/v1/jobs/" + job)


if __name__ == "__main__":
    main()
