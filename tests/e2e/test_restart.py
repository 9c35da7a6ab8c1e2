"""Restart through an inherited socket: clients wait, nobody fails.

CN_RESTARTS sets how many restarts a test makes (5 in make check)."""
import http.client
import json
import os
import socket
import threading
import time

from cn_e2e import SLOW, Case, main
from cn_socket import Manager, once_up

RESTARTS = int(os.environ.get("CN_RESTARTS", "5"))
SPEC = json.dumps({"prompt": "step=2", "steps": 5})
JSON = {"Content-Type": "application/json"}


class Load:
    """Clients of several kinds, each on a thread; what fails is in .bad."""

    def __init__(self, port):
        self.port = port
        self.bad, self.count, self.slowest = [], 0, 0.0
        self.lock = threading.Lock()
        self.stop_it = threading.Event()
        kinds = [self.fresh, self.fresh, self.kept, self.kept, self.kept, self.looks]
        self.threads = [threading.Thread(target=k, args=(i,)) for i, k in enumerate(kinds)]
        for t in self.threads:
            t.start()

    def stop(self):
        self.stop_it.set()
        for t in self.threads:
            t.join()

    def ask(self, c, method, path, body=None, want=(200,)):
        start = time.monotonic()
        try:
            c.request(method, path, body, JSON if body else {})
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


class Restart(Case):
    def connect(self, port):
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=60 * SLOW)
        self.addCleanup(c.close)
        return c

    def ready(self, m):
        once_up(lambda: b" 200 " in self.raw(m.port, "/readyz"))

    def run_restarts(self, m, overlapped):
        old = m.start()
        self.ready(m)
        load = Load(m.port)
        for _ in range(RESTARTS):
            time.sleep(0.1)
            if overlapped:
                new = m.start()
                self.assertEqual(m.stop(old), 0)
            else:
                self.assertEqual(m.stop(old), 0)
                new = m.start()
            old = new
        self.ready(m)
        load.stop()
        self.assertEqual(load.bad[:5], [], "%d of %d failed" % (len(load.bad), load.count))
        self.assertGreater(load.count, 10 * RESTARTS)
        if os.environ.get("CN_RESTARTS"):
            print("%d restarts (%s): %d requests, 0 failed, slowest %.2f s" %
                  (RESTARTS, "overlapped" if overlapped else "one after the other", load.count,
                   load.slowest))

    def test_one_after_the_other(self):
        with Manager("--set", "log.level=warning") as m:
            self.run_restarts(m, False)

    def test_overlapped(self):
        with Manager("--set", "log.level=warning") as m:
            self.run_restarts(m, True)

    def test_clients_wait_for_the_first_worker(self):
        with Manager(fake="load=700", admin=True) as m:
            p = m.start()
            once_up(lambda: b" 200 " in self.raw(m.admin_port, "/healthz"))
            self.assertIn(b" 503 ", self.raw(m.admin_port, "/readyz"))
            start = time.monotonic()
            c = self.connect(m.port)
            c.request("POST", "/v1/images", SPEC, JSON)
            self.assertEqual(c.getresponse().status, 200)
            self.assertGreater(time.monotonic() - start, 0.3)
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


if __name__ == "__main__":
    main()
