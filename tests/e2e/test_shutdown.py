"""The end of the daemon, whatever waits: {requests that may wait} x {disk good, full, stalled} x {one
signal, two}. It ends within drain_s + 10 s in every cell, and what a client was told is true
afterwards. CN_WHOLE=1 (tests/long/run) takes every kind of request alone as well; otherwise all of them
wait together.
"""
import base64
import concurrent.futures
import json
import os
import signal
import socket
import tempfile
import threading
import time
import unittest

from cn_e2e import Case, Daemon, main, sanitized

DRAIN_S = 1
JSON = "Content-Type: application/json\r\n"
WHOLE = os.environ.get("CN_WHOLE", "0") not in ("", "0")


def post(path, spec, more=""):
    body = json.dumps(spec)
    return "POST %s HTTP/1.1\r\nHost: a\r\n%s%sContent-Length: %d\r\n\r\n%s" % (
        path, JSON, more, len(body), body)


LONG = {"prompt": "step=2000", "steps": 100}
BIG = base64.b64encode(os.urandom(600000)).decode()

# name: what is sent. {waits}: a job that runs; {done}: one that has a picture.
KINDS = {
    "an image": lambda ids: post("/v1/images", LONG),
    "a kept image": lambda ids: post("/v1/images", LONG, "Idempotency-Key: a\r\n"),
    "an image that may be late": lambda ids: post("/v1/images", LONG,
                                                  "Prefer: respond-async, wait=60\r\n"),
    "parts": lambda ids: post("/v1/images", dict(LONG, n=2), "Accept: multipart/mixed\r\n"),
    "a job": lambda ids: post("/v1/jobs", LONG),
    "a job with a large body": lambda ids: post("/v1/jobs", dict(LONG, init_image=BIG)),
    "an end": lambda ids: "DELETE /v1/jobs/%s HTTP/1.1\r\nHost: a\r\n\r\n" % ids["waits"],
    "events": lambda ids: "GET /v1/jobs/%s/events HTTP/1.1\r\nHost: a\r\n\r\n" % ids["waits"],
    "a look": lambda ids: "GET /v1/jobs/%s HTTP/1.1\r\nHost: a\r\n\r\n" % ids["done"],
    "a list": lambda ids: "GET /v1/jobs HTTP/1.1\r\nHost: a\r\n\r\n",
    "a picture": lambda ids: "GET /v1/jobs/%s/images/0 HTTP/1.1\r\nHost: a\r\n\r\n" % ids["done"],
    "a ticket": lambda ids: "POST /v1/jobs/%s/ticket HTTP/1.1\r\nHost: a\r\n\r\n" % ids["done"],
    "links": lambda ids: "POST /v1/jobs/%s/links HTTP/1.1\r\nHost: a\r\n\r\n" % ids["done"],
    "a load": lambda ids: "POST /v1/models/photo/load HTTP/1.1\r\nHost: a\r\n\r\n",
}


class Client(threading.Thread):
    """Sends a request, and keeps all that comes until the connection ends."""

    def __init__(self, port, text):
        super().__init__(daemon=True)
        self.out = b""
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.sock.sendall(text.encode())
        self.start()

    def run(self):
        try:
            while True:
                piece = self.sock.recv(65536)
                if not piece:
                    break
                self.out += piece
        except OSError:
            pass
        self.sock.close()

    def status(self):
        return int(self.out.split()[1]) if self.out.startswith(b"HTTP/1.1 ") else 0

    def job(self):
        for line in self.out.split(b"\r\n\r\n")[0].split(b"\r\n"):
            if line.startswith(b"X-Job-Id: "):
                return line[10:].decode()
        return None


@unittest.skipIf(sanitized(), "a sanitizer wants to be loaded before the bad disk")
class Shutdown(Case):
    def cell(self, names, disk, signals):
        with tempfile.TemporaryDirectory() as top:
            store = os.path.join(top, "store")
            env = {"LD_PRELOAD": os.path.abspath("tests/e2e/bad_disk.so"), "CN_BAD_DISK": store}
            d = Daemon("--set", "queue.drain_s=%d" % DRAIN_S, fake="load=1500", store=store, env=env)
            try:
                ids = {"done": json.loads(d.jobs({"prompt": "x", "steps": 1}).body)["id"],
                       "waits": json.loads(d.jobs(LONG).body)["id"]}
                d.wait_job(ids["done"])
                d.until(lambda: d.job(ids["waits"])["state"] == "running")
                with open(store + ".state", "w") as f:
                    f.write(disk)
                clients = {name: Client(d.port, KINDS[name](ids)) for name in names}
                time.sleep(0.3)
                start = time.monotonic()
                for i in range(signals):
                    d.proc.send_signal(signal.SIGTERM)
                    time.sleep(0.2)
                status = d.proc.wait(DRAIN_S + 30)
                self.assertLess(time.monotonic() - start, DRAIN_S + 10)
                self.assertEqual(status, 0, d.log()[-2000:])
                for c in clients.values():
                    c.join(10)
                os.unlink(store + ".state")
                self.check_told(d, clients, ids)
            finally:
                if os.path.exists(store + ".state"):
                    os.unlink(store + ".state")
                d.__exit__(None, None, None)

    def check_told(self, d, clients, ids):
        """The next life knows every job that a client was told of, in the state it was told."""
        d.start()
        self.assertEqual(d.job(ids["done"])["state"], "succeeded")
        for name, c in clients.items():
            if c.status() == 202:
                self.assertIn(d.job(c.job())["state"], ("queued", "running", "succeeded"), name)
        end = clients.get("an end")
        if end is not None and end.status() == 200:
            told = json.loads(end.out.split(b"\r\n\r\n", 1)[1])["state"]
            self.assertEqual(d.job(ids["waits"])["state"], told)
        else:
            self.assertIn(d.job(ids["waits"])["state"], ("queued", "running", "cancelled"))

    def test_matrix(self):
        """The cells share nothing, so they run side by side."""
        cells = [(names, disk, signals) for disk in ("good", "full", "stalled")
                 for signals in (1, 2)
                 for names in [list(KINDS)] + ([[name] for name in KINDS] if WHOLE else [])]
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            waiting = [(cell, pool.submit(self.cell, *cell)) for cell in cells]
            for (names, disk, signals), done in waiting:
                with self.subTest(disk=disk, signals=signals, names=names):
                    done.result()


if __name__ == "__main__":
    main()
