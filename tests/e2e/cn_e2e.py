"""Helpers of the end-to-end tests: a real controlnetd with a fake worker, and ways to talk to it.

The current directory is the top of the build tree. CN_E2E_WRAP, when set, goes before the daemon's
command line (a memory checker); CN_E2E_SLOW multiplies the waits, and so does what the machine has
to do besides. A wait is there for what else would never come: no test asserts by the clock that
something is fast; tests look at the order of events, or at the time of a processor.
"""
import contextlib
import faulthandler
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib



def slower():
    """How many times longer work takes at this moment than if it had a processor of its own: what
    the clock says of a short loop to what the loop needed."""
    worst = 1.0
    for _ in range(3):
        wall, cpu = time.monotonic(), time.thread_time()
        while time.thread_time() - cpu < 0.02:
            sum(range(1000))
        worst = max(worst, (time.monotonic() - wall) / (time.thread_time() - cpu))
    return min(worst, 8.0)


SLOW = float(os.environ.get("CN_E2E_SLOW", "1")) * slower()
QUICK = os.environ.get("CN_QUICK", "0") not in ("", "0")
WRAP = shlex.split(os.environ.get("CN_E2E_WRAP", ""))
DAEMON = os.path.abspath("controlnetd")
WORKER = os.path.abspath("tests/e2e/fake-worker")
ENGINE = os.path.abspath("controlnet-worker")
DATA = os.path.join(os.path.abspath(os.environ.get("srcdir", ".")), "tests", "data")


def sanitized():
    """True when the daemon is one that keeps freed memory for a while."""
    with open(DAEMON, "rb") as f:
        return bool(WRAP) or b"__asan_init" in f.read()


@contextlib.contextmanager
def signals_held():
    """What is started in here has SIGTERM, SIGINT and SIGHUP blocked: they wait, however early they
    are sent, until the program has handlers and unblocks them, as a daemon does."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK,
                                 {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


class Aside(threading.Thread):
    """Runs work(*args) beside the test; result() is what it returned, or raises what it raised. It
    does not keep the process from ending when the test has failed."""

    def __init__(self, work, *args):
        super().__init__(daemon=True)
        self.work, self.args, self.value, self.error = work, args, None, None
        self.start()

    def run(self):
        try:
            self.value = self.work(*self.args)
        except BaseException as e:  # told by result()
            self.error = e

    def result(self, seconds=120):
        self.join(seconds * SLOW)
        if self.is_alive():
            raise AssertionError("%s has not ended" % self.work)
        if self.error is not None:
            raise self.error
        return self.value


def together(work, *args):
    """work(arg) for every arg, all at once; what they returned, in order."""
    return [t.result() for t in [Aside(work, a) for a in args]]


@contextlib.contextmanager
def beside(work, n):
    """n threads call work() again and again until the block is left, also by a failure."""
    over = threading.Event()

    def again():
        while not over.is_set():
            work()

    threads = [Aside(again) for _ in range(n)]
    failed = True
    try:
        yield
        failed = False
    finally:
        over.set()
        for t in threads:
            if failed:
                t.join(10)
            else:
                t.result()


class Daemon:
    """One running daemon; `with Daemon("--set", "queue.capacity=2") as d:`."""

    def __init__(self, *args, fake="", wait=True, env=None, listen="127.0.0.1:0", worker=WORKER,
                 store=None):
        self.dir = tempfile.mkdtemp(prefix="cn-e2e-")
        self.log_path = os.path.join(self.dir, "log")
        self.environ = dict(os.environ, CONTROLNET_FAKE=fake, **(env or {}))
        conf = os.path.join(self.dir, "conf")
        open(conf, "w").close()
        self.log_file = open(self.log_path, "wb")
        self.command = WRAP + [
            DAEMON, "-c", conf, "--listen", listen, "--port-file", os.path.join(self.dir, "port"),
            "--set", "worker.program=" + worker, "--set", "http.hosts=a",  # what raw requests say
            "--set", "store.dir=" + (store or os.path.join(self.dir, "store")), *args]
        self.start(wait)

    def start(self, wait=True):
        port_file = os.path.join(self.dir, "port")
        if os.path.exists(port_file):
            os.unlink(port_file)
        with signals_held():
            self.proc = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                         stdout=self.log_file, stderr=self.log_file,
                                         env=self.environ)
        self.until(lambda: os.path.exists(port_file) or self.proc.poll() is not None, 20)
        if not os.path.exists(port_file):
            raise AssertionError("the daemon did not start: " + self.log())
        with open(port_file) as f:
            self.port, self.admin_port = [int(x) for x in f.read().split()]
        if wait:
            self.until(lambda: self.get("/readyz").status == 200, 20)

    def restart(self, how="term"):
        """how: "kill" (SIGKILL) or "term" (it ends in peace)."""
        if how == "kill":
            self.proc.kill()
            self.proc.wait()
        else:
            self.stop()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            status = self.stop()
            if kind is None and status != 0:
                raise AssertionError("exit status %r: %s" % (status, self.log()))
            if kind is not None:
                sys.stderr.write(self.log())
        finally:
            self.log_file.close()
            shutil.rmtree(self.dir, ignore_errors=True)

    def stop(self, timeout=20):
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
        try:
            return self.proc.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
            raise AssertionError("the daemon did not stop: " + self.log())

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def events(self, name):
        found = []
        for line in self.log().splitlines():
            if line.startswith("{"):
                o = json.loads(line)
                assert o["msg"], line  # people read it
                if o["event"] == name:
                    found.append(o)
        return found

    def logged(self, answer):
        """The http.request event of an answer: it may be written some time after the answer came."""
        def found():
            return [e for e in self.events("http.request")
                    if e["request_id"] == answer.getheader("X-Request-Id")]
        self.until(found, 20)
        return found()[0]

    @staticmethod
    def until(condition, seconds=5, step=0.01):
        end = time.monotonic() + seconds * SLOW
        while not condition():
            if time.monotonic() > end:
                raise AssertionError("waited in vain for %s" % condition)
            time.sleep(step)

    def connect(self, timeout=30, port=None):
        return http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout * SLOW)

    def request(self, method, path, body=None, headers=None, port=None):
        c = self.connect(port=port)
        try:
            try:
                c.request(method, path, body, headers or {})
            except (BrokenPipeError, ConnectionResetError):
                if c.sock is None:  # it was not even connected
                    raise
                # a refusal may come, and the end, before the whole body is sent: it is read
            r = c.getresponse()
            r.body = r.read()
            return r
        finally:
            c.close()

    def get(self, path, headers=None, port=None):
        return self.request("GET", path, None, headers, port)

    def images(self, spec, accept=None, headers=None):
        h = {"Content-Type": "application/json"}
        if accept:
            h["Accept"] = accept
        h.update(headers or {})
        return self.request("POST", "/v1/images", json.dumps(spec), h)

    def jobs(self, spec, headers=None):
        return self.request("POST", "/v1/jobs", json.dumps(spec),
                            dict({"Content-Type": "application/json"}, **(headers or {})))

    def job(self, id, headers=None):
        r = self.get("/v1/jobs/" + id, headers)
        assert r.status == 200, (r.status, r.body)
        return json.loads(r.body)

    def list(self, headers=None):
        return json.loads(self.get("/v1/jobs?limit=100", headers).body)["jobs"]

    def wait_job(self, id, seconds=20, headers=None):
        self.until(lambda: self.job(id, headers)["state"] not in ("queued", "running"), seconds)
        return self.job(id, headers)

    def stream(self, path, headers=None):
        """The events of a stream, as (name, id, data), until it ends. Closing it hangs up."""
        c = self.connect()
        try:
            c.request("GET", path, None, headers or {})
            r = c.getresponse()
            assert r.status == 200, (r.status, r.read())
            assert r.getheader("Content-Type") == "text/event-stream; charset=utf-8"
            field = {}
            while True:
                line = r.readline()
                if not line:
                    return
                line = line.decode().rstrip("\n")
                if line == "" and "data" in field:
                    yield field["event"], int(field.get("id", 0)), json.loads(field["data"])
                if line == "":
                    field = {}
                elif not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    field[name] = value
        finally:
            c.close()

    def raw(self, data, seconds=3):
        """Sends bytes and returns all that comes until the daemon closes or is silent."""
        s = socket.create_connection(("127.0.0.1", self.port), timeout=seconds * SLOW)
        with s:
            s.sendall(data)
            out = b""
            try:
                while True:
                    piece = s.recv(65536)
                    if not piece:
                        break
                    out += piece
            except (socket.timeout, ConnectionResetError):
                pass
            return out

    def metric(self, name, **labels):
        """The sum of the series that have these labels; 0 when there are none."""
        total = 0.0
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith("#"):
                continue
            head, value = line.rsplit(" ", 1)
            key, _, rest = head.partition("{")
            have = dict(p.split("=", 1) for p in rest.rstrip("}").split(",") if p)
            if key == name and all(have.get(k) == '"%s"' % v for k, v in labels.items()):
                total += float(value)
        return total

    def worker_pid(self):
        return self.events("worker.hello")[-1]["pid"]


def png_rows(data):
    """Width, height and the filtered rows of a PNG whose checksums are right. Pictures of one
    encoder are the same when these are."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n", data[:16]
    at = 8
    idat = b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        piece = data[at + 8:at + 8 + n]
        crc, = struct.unpack(">I", data[at + 8 + n:at + 12 + n])
        assert crc == zlib.crc32(kind + piece), kind
        if kind == b"IHDR":
            w, h = struct.unpack(">II", piece[:8])
        if kind == b"IDAT":
            idat += piece
        at += 12 + n
    rows = zlib.decompress(idat)
    assert len(rows) == (w * 3 + 1) * h
    return w, h, rows


def png_size(data):
    return png_rows(data)[:2]


def multipart(parts, boundary="xXxBoundaryxXx"):
    """parts: (name, content, extra header lines)."""
    out = b""
    for name, content, *extra in parts:
        out += b"--" + boundary.encode() + b"\r\n"
        out += b'Content-Disposition: form-data; name="%s"\r\n' % name.encode()
        for line in extra:
            out += line.encode() + b"\r\n"
        out += b"\r\n" + content + b"\r\n"
    out += b"--" + boundary.encode() + b"--\r\n"
    return out, {"Content-Type": "multipart/form-data; boundary=" + boundary}


class Case(unittest.TestCase):
    """A test case with problem documents."""

    def problem(self, r, status, kind, pointer=None):
        self.assertEqual(r.status, status, r.body)
        self.assertEqual(r.getheader("Content-Type"), "application/problem+json")
        doc = json.loads(r.body)
        self.assertEqual(doc["status"], status)
        self.assertEqual(doc["type"], "urn:controlnetd:problem:" + kind, doc)
        self.assertEqual(doc["request_id"], r.getheader("X-Request-Id"))
        if pointer is not None:
            self.assertEqual(doc["errors"][0]["pointer"], pointer, doc)
        if status in (429, 503):
            self.assertTrue(1 <= int(r.getheader("Retry-After")) <= 120)
        # Nothing of the machine: files, sources, addresses in memory.
        self.assertNotRegex(r.body, rb"\.c:\d|/tmp/|/usr/|/lib|/home/|0x[0-9a-f]{6}|" +
                            re.escape(os.path.dirname(DAEMON).encode()))
        return doc


def main():
    if not os.path.exists(DAEMON) or not os.path.exists(WORKER):
        sys.exit(77)
    faulthandler.register(signal.SIGTERM, chain=True)  # of a deadline: where every thread is
    result = unittest.main(verbosity=1, exit=False).result
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if result.wasSuccessful() else 1)  # whatever threads are left
