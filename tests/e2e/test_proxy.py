"""The proxies' configurations of etc/proxy, in front of a daemon: they are understood, and what has to
pass unchanged does. Ports, certificates and the daemon's address are replaced; nothing else."""
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

from cn_e2e import DATA, SLOW, Case, Daemon, main, multipart

ETC = os.path.join(DATA, "..", "..", "etc", "proxy")
KEY = "0123456789abcdef"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Proxy:
    """A proxy in front of the daemon d; of kind haproxy or nginx."""

    def __init__(self, kind, d):
        self.port = free_port()
        self.dir = os.path.join(d.dir, kind)
        os.mkdir(self.dir)
        pem, key = os.path.join(self.dir, "c.pem"), os.path.join(self.dir, "c.key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
                        "/CN=localhost", "-keyout", key, "-out", pem], check=True, capture_output=True)
        with open(os.path.join(ETC, {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}[kind])) as f:
            text = f.read()
        text = text.replace("127.0.0.1:8080", "127.0.0.1:%d" % d.port)
        conf = os.path.join(self.dir, "conf")
        if kind == "haproxy":
            with open(pem, "a") as out, open(key) as f:
                out.write(f.read())
            text = text.replace("bind :443", "bind 127.0.0.1:%d" % self.port)
            text = text.replace("/etc/haproxy/certs/controlnetd.pem", pem)
            check, run = ["haproxy", "-c", "-f", conf], ["haproxy", "-f", conf]
        else:
            text = text.replace("listen 443", "listen 127.0.0.1:%d" % self.port)
            text = text.replace("/etc/nginx/certs/controlnetd.pem", pem)
            text = text.replace("/etc/nginx/certs/controlnetd.key", key)
            paths = "".join("%s_temp_path %s/%s;\n" % (k, self.dir, k)
                            for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
            text = ("daemon off; master_process off; pid %s/pid; error_log %s/error;\n"
                    "events { worker_connections 64; }\nhttp {\naccess_log off;\n%s%s}\n"
                    % (self.dir, self.dir, paths, text))
            check, run = ["nginx", "-t", "-c", conf, "-p", self.dir], ["nginx", "-c", conf, "-p", self.dir]
        with open(conf, "w") as f:
            f.write(text)
        r = subprocess.run(check, capture_output=True, text=True)
        assert r.returncode == 0, r.stderr + r.stdout
        assert "warning" not in (r.stderr + r.stdout).lower() or kind == "haproxy", r.stderr
        self.proc = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        d.until(self.answers, 20)

    def tls(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=30 * SLOW))

    def answers(self):
        try:
            with self.tls():
                return True
        except OSError:
            return False

    def request(self, method, path, body=None, headers=None):
        c = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60 * SLOW,
                                        context=ssl._create_unverified_context())
        try:
            c.request(method, path, body, dict({"X-Api-Key": KEY}, **(headers or {})))
            r = c.getresponse()
            r.body = r.read()
            return r
        finally:
            c.close()

    def raw(self, data, seconds=3):
        with self.tls() as s:
            s.settimeout(seconds * SLOW)
            s.sendall(data)
            out = b""
            try:
                while piece := s.recv(65536):
                    out += piece
            except OSError:
                pass
            return out

    def stop(self):
        self.proc.terminate()
        self.proc.wait(20)


class Behind(Case):
    """One daemon and one proxy for all: the last test ends them."""
    kind = None

    @classmethod
    def setUpClass(cls):
        if shutil.which(cls.kind) is None or shutil.which("openssl") is None:
            raise unittest.SkipTest("%s or openssl is not here" % cls.kind)
        keys = tempfile.NamedTemporaryFile("w", suffix=".keys")
        keys.write("anna:%s\n" % KEY)
        keys.flush()
        cls.keys = keys
        cls.d = Daemon("--set", "http.trusted_proxies=127.0.0.1", "--set", "auth.keys_file=" + keys.name)
        cls.p = Proxy(cls.kind, cls.d)

    @classmethod
    def tearDownClass(cls):
        cls.p.stop()
        cls.d.__exit__(None, None, None)
        cls.keys.close()

    def busy(self):
        text = self.d.get("/metrics", {"X-Api-Key": KEY}).body.decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.split("\n")
                   if line.startswith("controlnetd_worker_busy{"))

    def post_slow(self, s):
        body = json.dumps({"prompt": "step=100", "steps": 100}).encode()
        s.sendall(b"POST /v1/images HTTP/1.1\r\nHost: a\r\nX-Api-Key: %s\r\nContent-Type: application/json"
                  b"\r\nContent-Length: %d\r\n\r\n%s" % (KEY.encode(), len(body), body))
        self.d.until(lambda: self.busy() == 1)

    def test_1_requests(self):
        own = "127.0.0.1:%d" % self.p.port
        self.assertEqual(self.p.request("GET", "/v1/jobs").status, 200)
        self.assertEqual(self.p.request("GET", "/metrics").status, 403)
        # Host and Origin arrive as they were
        spec, kind = json.dumps({"prompt": "x", "steps": 1}), {"Content-Type": "application/json"}
        for origin, status in (("https://" + own, 202), ("https://evil.example", 403)):
            r = self.p.request("POST", "/v1/jobs", spec, dict(kind, Origin=origin))
            self.assertEqual(r.status, status, r.body)
        # large bodies
        body, headers = multipart([("params", spec.encode()), ("image", os.urandom(4 << 20))])
        r = self.p.request("POST", "/v1/images", body, headers)
        self.assertEqual(r.status, 400, r.body)  # the daemon read it: nobody names the part "image"
        self.assertIn(b"image", r.body)
        # the client's address, whatever it says itself
        r = self.p.request("GET", "/v1/samplers", None, {"X-Forwarded-For": "203.0.113.5"})
        self.assertEqual(self.d.logged(r)["peer"], "127.0.0.1")

    def test_2_events_are_not_held_back(self):
        spec = {"prompt": "step=100", "steps": 100}
        r = self.p.request("POST", "/v1/jobs", json.dumps(spec), {"Content-Type": "application/json"})
        url = json.loads(r.body)["url"]
        with self.p.tls() as s:
            s.sendall(("GET %s/events HTTP/1.1\r\nHost: a\r\nX-Api-Key: %s\r\n\r\n" % (url, KEY)).encode())
            seen = b""
            while b"event: progress" not in seen:
                piece = s.recv(4096)
                self.assertTrue(piece, seen)
                seen += piece
        # progress arrived while the job was under way
        self.assertEqual(self.d.job(url.rsplit("/", 1)[1], {"X-Api-Key": KEY})["state"], "running")
        self.d.request("DELETE", url, None, {"X-Api-Key": KEY})

    def test_3_leaving_cancels(self):
        with self.p.tls() as s:
            self.post_slow(s)
        self.d.until(lambda: self.d.events("job.end")[-1]["outcome"] == "cancelled" and self.busy() == 0, 10)

    def test_4_nothing_is_sent_twice(self):
        """The daemon dies in the middle: the proxy says so, and does not ask the next one."""
        with self.p.tls() as s:
            self.post_slow(s)
            accepted = len(self.d.events("job.accepted"))
            self.d.proc.kill()
            self.d.proc.wait()
            self.d.command[self.d.command.index("--listen") + 1] = "127.0.0.1:%d" % self.d.port
            self.d.start()
            self.assertIn(b" 502 ", s.recv(4096).split(b"\r\n")[0])
        self.assertEqual(self.p.request("GET", "/v1/samplers").status, 200)
        self.assertEqual(len(self.d.events("job.accepted")), accepted)

    def test_5_chunks_are_written_anew(self):
        """Lines of chunks that end in LF alone, and extensions: what the daemon gets, it reads as the
        proxy did, and no request comes out of the middle of a body. The log is looked at when both
        have ended: a request that the proxy has broken off is logged some time after its answer."""
        bodies = (b"e\n{\"prompt\":\"x\"}\n0\n\n", b"e;a\n{\"prompt\":\"x\"}\r\n0\r\n\r\n",
                  b"2;\n\r\n{}\r\n0\r\n\r\n", b"e\r\n{\"prompt\":\"x\"}\r\n0\r\n\r\n")
        answers = []
        for n, body in enumerate(bodies):
            head = (b"POST /v1/images HTTP/1.1\r\nHost: a\r\nX-Api-Key: %s\r\nX-Request-Id: outer-%d\r\n"
                    b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" % (KEY.encode(), n))
            inner = (b"GET /smuggled HTTP/1.1\r\nHost: a\r\nX-Request-Id: inner-%d\r\n"
                     b"Connection: close\r\n\r\n" % n)
            answers.append(self.p.raw(head + body + inner, 60).count(b"HTTP/1.1 "))
        self.assertEqual(answers[-1], 2)  # that one is right, and so is what comes behind it
        self.p.stop()
        self.assertEqual(self.d.stop(), 0)
        ids = [e["request_id"] for e in self.d.events("http.request")]
        for n, most in enumerate(answers):
            # as many requests have reached the daemon as the proxy has answered, or fewer
            reached = ids.count("outer-%d" % n) + ids.count("inner-%d" % n)
            self.assertLessEqual(reached, most, (n, answers))
        self.assertEqual(ids.count("outer-3") + ids.count("inner-3"), 2)


class Haproxy(Behind):
    kind = "haproxy"


class Nginx(Behind):
    kind = "nginx"


del Behind

if __name__ == "__main__":
    if shutil.which("haproxy") is None and shutil.which("nginx") is None:
        print("neither haproxy nor nginx is here (tools/install proxy)")
        sys.exit(77)
    main()
