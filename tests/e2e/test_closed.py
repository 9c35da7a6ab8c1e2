"""Closed by default: web pages, names, addresses beyond loopback, reloads that would open the door."""
import json
import os
import shutil
import signal
import socket
import subprocess

from cn_e2e import DAEMON, DATA, ENGINE, WORKER, Case, Daemon, main

KEY = "0123456789abcdef"
SPEC = {"prompt": "x", "steps": 1}


def check(*args):
    return subprocess.run([DAEMON, "-c", "/dev/null", *args, "--check-config"],
                          capture_output=True, text=True, timeout=60)


class Pages(Case):
    def ask(self, d, method, path, host, origin=None, key=None):
        body = json.dumps(SPEC) if method == "POST" and path == "/v1/jobs" else None
        headers = {"Host": host} if host else {}
        if body:
            headers["Content-Type"] = "application/json"
        if origin:
            headers["Origin"] = origin
        if key:
            headers["X-Api-Key"] = key
        return d.request(method, path, body, headers)

    def test_without_keys(self):
        with Daemon("--set", "http.hosts=gpu.example",
                    "--set", "http.cors_origins=https://pages.example") as d:
            own = "127.0.0.1:%d" % d.port
            for host, known in ((own, True), ("localhost:%d" % d.port, True), ("gpu.example", True),
                                ("[::1]", True), ("evil.example", False), ("gpu.example.evil", False)):
                for method, path, good in (("GET", "/v1/jobs", 200), ("GET", "/healthz", 200),
                                           ("GET", "/", 200), ("OPTIONS", "/v1/jobs", 204),
                                           ("POST", "/v1/jobs", 202), ("GET", "/nothing", 404)):
                    for origin in (None, "http://" + host, "https://pages.example",
                                   "http://evil.example:99", "null"):
                        with self.subTest(host=host, method=method, path=path, origin=origin):
                            r = self.ask(d, method, path, host, origin)
                            page = origin in ("http://evil.example:99", "null")
                            if not known or (method == "POST" and page):
                                self.problem(r, 403, "cross-site")
                            else:
                                self.assertEqual(r.status, good, r.body)
            for method, path in (("DELETE", "/v1/jobs/" + "0" * 26),
                                 ("POST", "/v1/models/emoji/unload"), ("PUT", "/v1/jobs"),
                                 ("PATCH", "/"), ("WORD", "/healthz")):
                self.problem(self.ask(d, method, path, own, "http://evil.example"), 403, "cross-site")
            body = ('--b\r\nContent-Disposition: form-data; name="params"\r\n\r\n%s\r\n--b--\r\n'
                    % json.dumps(SPEC))
            for path in ("/v1/jobs", "/v1/images"):  # what a form of a page can send
                self.problem(d.request("POST", path, body, {
                    "Origin": "http://evil.example",
                    "Content-Type": "multipart/form-data; boundary=b"}), 403, "cross-site")
            self.assertGreater(d.metric("controlnetd_http_rejected_total", reason="auth"), 10)

    def test_with_keys(self):
        with Daemon() as d:
            keys = os.path.join(d.dir, "keys")
            with open(keys, "w") as f:
                f.write("anna:%s\n" % KEY)
            d.command += ["--set", "auth.keys_file=" + keys]
            d.stop()
            d.start()
            for origin, status in ((None, 202), ("http://evil.example", 202),
                                   ("http://other.example", 403), ("null", 403)):
                r = self.ask(d, "POST", "/v1/jobs", "evil.example", origin, KEY)
                self.assertEqual(r.status, status, (origin, r.body))
            self.assertEqual(self.ask(d, "GET", "/v1/jobs", "evil.example", None, KEY).status, 200)
            self.assertEqual(self.ask(d, "GET", "/v1/jobs", "evil.example", "null", KEY).status, 200)
            self.assertEqual(self.ask(d, "GET", "/v1/jobs", "evil.example").status, 401)

    def test_a_unix_socket_has_no_name(self):
        with Daemon() as d:
            path = os.path.join(d.dir, "s")
            d.command[d.command.index("--listen") + 1] = "unix:" + path
            d.stop()
            d.start(wait=False)
            for host in ("evil.example", "", "localhost"):
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(path)
                    s.sendall(b"GET /v1/jobs HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
                              % host.encode())
                    self.assertIn(b" 200 OK\r\n", s.recv(4096))


class Exposed(Case):
    def test_beyond_loopback_needs_keys(self):
        for address in ("0.0.0.0:0", ":0", "*:0", "[::]:0", "10.0.0.1:80", "[2001:db8::1]:80"):
            r = check("--listen", address)
            self.assertEqual(r.returncode, 1, address)
            self.assertIn("auth.allow_anonymous", r.stderr)
            self.assertEqual(check("--listen", address, "--set",
                                   "auth.allow_anonymous=true").returncode, 0, address)
        for address in ("127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "localhost:0", "unix:/run/x",
                        "[::ffff:127.0.0.1]:0"):
            self.assertEqual(check("--listen", address).returncode, 0, address)

    def test_with_keys_or_when_it_was_said(self):
        with Daemon("--set", "auth.allow_anonymous=true", listen="0.0.0.0:0") as d:
            self.assertEqual(d.get("/v1/jobs").status, 200)
            self.problem(d.get("/v1/jobs", {"Host": "evil.example"}), 403, "cross-site")

    def test_inherited_sockets_count_too(self):
        s = socket.socket()
        with s:
            s.bind(("0.0.0.0", 0))
            s.listen(5)
            script = ("exec 3<&%d; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" -c /dev/null --set "
                      "worker.program=%s --set store.dir=" % (s.fileno(), WORKER))
            r = subprocess.run(["/bin/bash", "-c", script, DAEMON], pass_fds=[s.fileno()],
                               capture_output=True, text=True, timeout=60)
        self.assertEqual(r.returncode, 1, r.stderr)
        self.assertIn("auth.allow_anonymous", r.stderr)


class Addresses(Case):
    def test_both_families(self):
        with Daemon("--set", "auth.allow_anonymous=true", listen=":0") as d:
            for host in ("127.0.0.1", "::1") if self.has_v6() else ("127.0.0.1",):
                with socket.create_connection((host, d.port), timeout=20) as s:
                    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    self.assertIn(b" 200 OK\r\n", s.recv(4096))

    @staticmethod
    def has_v6():
        try:
            with socket.socket(socket.AF_INET6) as s:
                s.bind(("::1", 0))
            return True
        except OSError:
            return False

    def test_a_unix_socket_of_somebody_else(self):
        with Daemon() as d:
            path = os.path.join(d.dir, "s")
            d.command[d.command.index("--listen") + 1] = "unix:" + path
            d.stop()
            d.start(wait=False)

            def answers():
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(path)
                    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    return b" 200 OK\r\n" in s.recv(4096)
            r = subprocess.run([DAEMON, "-c", "/dev/null", "--listen", "unix:" + path, "--set",
                                "store.dir="], capture_output=True, text=True, timeout=60)
            self.assertEqual(r.returncode, 1)
            self.assertIn("another process", r.stderr)
            self.assertTrue(answers())
            d.proc.kill()
            d.proc.wait()
            d.start(wait=False)  # what a killed daemon leaves is taken over
            self.assertTrue(answers())
            self.assertEqual(d.stop(), 0)
            self.assertFalse(os.path.exists(path))
            d.start(wait=False)


class Errors(Case):
    def test_no_paths(self):
        """A model that cannot be opened: its file is named, and not where it lies."""
        top = os.path.abspath(os.path.join(DATA, "..", ".."))
        with Daemon(wait=False) as d:
            models = os.path.join(d.dir, "secret-place")
            shutil.copytree(os.path.join(top, "models", "emoji"), os.path.join(models, "bad"))
            shutil.copytree(os.path.join(top, "models", "emoji"), os.path.join(models, "good"))
            with open(os.path.join(models, "bad", "unet", "diffusion_pytorch_model.safetensors"), "wb") as f:
                f.write(b"\xff" * 100)
            d.command += ["--models", models, "--set", "worker.program=" + ENGINE, "--set",
                          "worker.threads=1"]
            d.stop()
            d.start(wait=False)
            d.until(lambda: d.get("/v1/models").status == 200, 60)
            self.assertIn(b'"broken"', d.get("/v1/models").body)
            # and one that is broken when it is used
            path = os.path.join(models, "good", "vae", "diffusion_pytorch_model.safetensors")
            os.truncate(path, 1000)
            bodies = [d.get("/v1/models").body]
            for name in ("bad", "good"):
                r = d.images({"prompt": "x", "steps": 1, "model": name})
                if name == "bad":  # the other one may be in memory already
                    self.assertGreaterEqual(r.status, 400)
                if r.status >= 400:
                    self.problem(r, r.status, json.loads(r.body)["type"].rsplit(":", 1)[1])
                    bodies.append(r.body)
                r = d.jobs({"prompt": "x", "steps": 1, "model": name})
                bodies.append(r.body)
                if r.status == 202:
                    bodies.append(json.dumps(d.wait_job(json.loads(r.body)["id"], 60)).encode())
            for body in bodies:
                self.assertNotIn(b"secret-place", body)
                self.assertNotIn(d.dir.encode(), body)


class Reloads(Case):
    """Nothing that happens to the configuration's file switches authentication off."""

    def test_authentication_stays(self):
        with Daemon() as d:
            keys, conf = os.path.join(d.dir, "keys"), os.path.join(d.dir, "conf")
            good = "[auth]\nkeys_file = %s\n" % keys
            with open(keys, "w") as f:
                f.write("anna:%s\n" % KEY)
            with open(conf, "w") as f:
                f.write(good)
            d.stop()
            d.start(wait=False)
            me = {"X-Api-Key": KEY}
            self.assertEqual(d.get("/v1/jobs").status, 401)

            def spoil(text):
                def write():
                    os.unlink(conf)
                    with open(conf, "wb") as f:
                        f.write(text)
                return write

            def folder():
                os.unlink(conf)
                os.mkdir(conf)

            for n, act in enumerate((spoil(b"\0" * 200), spoil(b""), spoil(b"[auth]\nkeys_file =\n"),
                                     spoil(b"[auth]\n\0keys_file = x\n"), spoil(b"#" + b"x" * 5000),
                                     lambda: os.unlink(conf), lambda: open(conf, "w").close(),
                                     folder)):
                act()
                d.proc.send_signal(signal.SIGHUP)
                d.until(lambda: len(d.events("config.reload")) > n)
                self.assertEqual(d.events("config.reload")[-1]["outcome"], "failed", n)
                self.assertEqual(d.get("/v1/jobs").status, 401, n)
                self.assertEqual(d.get("/v1/jobs", me).status, 200, n)
                r = subprocess.run([DAEMON, "-c", conf, "--check-config"], capture_output=True,
                                   timeout=60)
                if n not in (1, 2, 6):  # empty files are good, for a daemon without keys
                    self.assertEqual(r.returncode, 1, n)
            os.rmdir(conf)
            with open(conf, "w") as f:
                f.write(good)


if __name__ == "__main__":
    main()
