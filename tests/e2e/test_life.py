"""Starting, losing workers, hanging up, running full, shutting down."""
import base64
import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import time

from cn_e2e import DAEMON, SLOW, WORKER, Case, Daemon, main, png_size, signals_held


class Background(threading.Thread):
    """A request on a thread of its own; .r is the response."""

    def __init__(self, d, spec, accept=None):
        super().__init__(daemon=True)
        self.d, self.spec, self.accept, self.r = d, spec, accept, None
        self.start()

    def run(self):
        try:
            self.r = self.d.images(self.spec, self.accept)
        except OSError as e:
            self.r = e

    def result(self):
        self.join(120 * SLOW)
        return self.r


class Start(Case):
    def test_a_signal_is_obeyed_however_early_it_comes(self):
        """Held from the beginning of main until there are handlers, then told like any other."""
        with tempfile.TemporaryDirectory() as tmp:
            conf = os.path.join(tmp, "conf")
            open(conf, "w").close()
            for k, number in enumerate((signal.SIGTERM, signal.SIGINT) * 4):
                with signals_held():
                    p = subprocess.Popen(
                        [DAEMON, "-c", conf, "--listen", "127.0.0.1:0", "--set",
                         "worker.program=" + WORKER, "--set", "store.dir=" + tmp + "/store"],
                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                        text=True)
                time.sleep(k * 0.003)
                p.send_signal(number)
                try:
                    log = p.communicate(timeout=20 * SLOW)[0]
                finally:
                    p.kill()
                self.assertEqual(p.returncode, 0, log)
                self.assertIn('"event":"daemon.signal"', log)
                self.assertIn('"event":"daemon.end"', log)

    def test_options(self):
        def run(*args):
            return subprocess.run([DAEMON, *args], capture_output=True, text=True, timeout=60)
        self.assertIn("controlnetd 0", run("--version").stdout)
        self.assertIn("--check-config", run("--help").stdout)
        lines = [line for line in run("--help").stdout.splitlines() if not line.endswith("controlnetd.conf")]
        self.assertLess(max(map(len, lines)), 80)  # the installation may lie anywhere
        conf = os.path.join(os.environ.get("srcdir", "."), "etc", "controlnetd.conf")
        r = run("-c", conf, "--check-config")
        self.assertEqual((r.returncode, r.stdout), (0, "the configuration is good\n"), r.stderr)
        for args, text in ((["--set", "http.listen=nowhere"], "host:port"),
                           (["--set", "queue.capacity=0"], "queue.capacity"),
                           (["--set", "queue.capactiy=1"], "capactiy"),
                           (["--set", "nonsense"], "section.key=value"),
                           (["--set", "log.level=loud"], "log.level"),
                           (["--set", "worker.devices=cpu gpu"], "worker.devices"),
                           (["--set", "worker.devices=cuda:"], "cuda:"),
                           (["--set", "worker.devices=" + "cpu " * 5, "--set",
                             "worker.count=16"], "over 64"),
                           (["--set", "limits.max_image_mb=64", "--set", "limits.max_body_mb=10"],
                            "max_image_mb"),
                           (["--set", "auth.keys_file=/nonexistent"], "/nonexistent"),
                           (["-c", "/nonexistent"], "/nonexistent")):
            r = run("-c", conf, *args, "--check-config") if args[0] != "-c" else \
                run(*args, "--check-config")
            self.assertEqual(r.returncode, 1, args)
            self.assertIn(text, r.stderr)
        self.assertEqual(run("--nonsense").returncode, 2)
        self.assertEqual(run("stray").returncode, 2)

    def test_bad_file_names_its_line(self):
        with Daemon() as d:
            path = os.path.join(d.dir, "bad.conf")
            with open(path, "w") as f:
                f.write("[queue]\ncapacity = 3\ntimeout_s = soon\n")
            r = subprocess.run([DAEMON, "-c", path, "--check-config"], capture_output=True,
                               text=True, timeout=60)
            self.assertEqual(r.returncode, 1)
            self.assertIn("bad.conf:3: queue.timeout_s", r.stderr)

    def test_too_few_descriptors_are_an_error(self):
        for n in (6, 8, 63):  # a crash, a start that never ends
            with tempfile.TemporaryDirectory() as tmp:
                conf = os.path.join(tmp, "conf")
                open(conf, "w").close()
                r = subprocess.run([DAEMON, "-c", conf, "--listen", "127.0.0.1:0", "--set",
                                    "store.dir=" + os.path.join(tmp, "store")],
                                   preexec_fn=lambda n=n: resource.setrlimit(
                                       resource.RLIMIT_NOFILE, (n, n)),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   timeout=20 * SLOW)
                self.assertEqual(r.returncode, 1, r.stdout)
                self.assertIn(b"%d open files are too few: at least 64" % n, r.stdout)

    def test_port_in_use(self):
        with Daemon() as d:
            r = subprocess.run([DAEMON, "-c", "/dev/null", "--listen", "127.0.0.1:%d" % d.port,
                                "--set", "store.dir=" + os.path.join(d.dir, "other")],
                               capture_output=True, text=True, timeout=60)
            self.assertEqual(r.returncode, 1)
            self.assertIn("cannot listen", r.stderr)

    def test_readiness(self):
        with Daemon(fake="load=700", wait=False) as d:
            r = d.get("/readyz")
            self.assertEqual(r.status, 503)
            self.assertEqual(d.get("/healthz").status, 200)
            self.problem(d.images({"prompt": "x"}), 503, "not-ready")
            self.problem(d.get("/v1/models"), 503, "not-ready")
            self.assertEqual(d.metric("controlnetd_ready"), 0)
            d.until(lambda: d.get("/readyz").status == 200)
            self.assertEqual(d.images({"prompt": "x"}).status, 200)
            self.assertEqual(d.metric("controlnetd_ready"), 1)

    def test_broken_worker_is_reported(self):
        for fake, text in (("broken", "there are no models"), ("exit", "status 3")):
            with Daemon(fake=fake, wait=False) as d:
                d.until(lambda: d.metric("controlnetd_worker_restarts_total",
                                         cause="start" if fake == "broken" else "exit") >= 2)
                doc = json.loads(d.get("/readyz?verbose").body)
                worker = [c for c in doc["checks"] if c["name"] == "worker"][0]
                self.assertFalse(worker["ok"])
                self.assertIn(text, worker["detail"])

    def test_missing_program(self):
        with Daemon("--set", "worker.program=/nonexistent/worker", wait=False) as d:
            d.until(lambda: b"cannot start" in d.get("/readyz?verbose").body)
            self.assertEqual(d.get("/healthz").status, 200)

    def test_admin_listener(self):
        with Daemon("--admin-listen", "127.0.0.1:0") as d:
            self.assertEqual(d.get("/metrics").status, 404)
            self.assertEqual(d.get("/metrics", port=d.admin_port).status, 200)
            self.assertEqual(d.get("/readyz", port=d.admin_port).status, 200)
            self.assertEqual(d.get("/v1/models", port=d.admin_port).status, 404)

    def test_unix_socket(self):
        path = "/tmp/cn-e2e-%d.sock" % os.getpid()
        with Daemon(listen="unix:" + path, wait=False):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 200 "))
        self.assertFalse(os.path.exists(path))

    def test_keys(self):
        path = "/tmp/cn-e2e-keys-%d" % os.getpid()
        with open(path, "w") as f:
            f.write("# people\nanna:0123456789abcdef\nbert:fedcba9876543210\n")
        try:
            with Daemon("--set", "auth.keys_file=" + path) as d:
                spec = {"prompt": "x", "steps": 1}
                for headers in ({}, {"Authorization": "Bearer wrong"},
                                {"Authorization": "Bearer 0123456789abcde"},
                                {"Authorization": "Bearer 0123456789abcdefx"},
                                {"X-Api-Key": ""}):
                    r = d.images(spec, headers=headers)
                    self.problem(r, 401, "unauthenticated")
                    self.assertIn("Bearer", r.getheader("WWW-Authenticate"))
                for headers in ({"Authorization": "Bearer 0123456789abcdef"},
                                {"X-Api-Key": "fedcba9876543210"}):
                    self.assertEqual(d.images(spec, headers=headers).status, 200)
                for path_, status in (("/healthz", 200), ("/readyz", 200), ("/", 200),
                                      ("/openapi.yaml", 200), ("/metrics", 401),
                                      ("/v1/models", 401), ("/v1/samplers", 401),
                                      ("/v1/annotators", 401)):
                    self.assertEqual(d.get(path_).status, status, path_)
                self.assertNotIn("0123456789abcdef", d.log())
                self.assertIn("anna", {e["key_id"] for e in d.events("http.request")})
        finally:
            os.unlink(path)

    def test_notify(self):
        path = "/tmp/cn-e2e-notify-%d" % os.getpid()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(path)
            s.settimeout(10)
            try:
                with Daemon(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "600000"}):
                    self.assertIn(b"READY=1", s.recv(1000))
                    self.assertEqual(s.recv(1000), b"WATCHDOG=1")
                    self.assertEqual(s.recv(1000), b"WATCHDOG=1")
                got = b""
                while b"STOPPING=1" not in got:
                    got = s.recv(1000)
            finally:
                os.unlink(path)

    def test_socket_activation(self):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        s.listen(10)
        port = s.getsockname()[1]
        os.set_inheritable(s.fileno(), True)
        log = open(os.devnull, "w")
        script = ('exec 3<&%d; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http exec "$0" '
                  '-c /dev/null --set worker.program=/nonexistent --set store.dir=' % s.fileno())
        p = subprocess.Popen(["/bin/sh", "-c", script, DAEMON], pass_fds=[s.fileno()], stderr=log)
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as c:
                c.sendall(b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n")
                self.assertTrue(c.recv(1000).startswith(b"HTTP/1.1 200 "))
        finally:
            p.send_signal(signal.SIGTERM)
            self.assertEqual(p.wait(30), 0)
            log.close()
            s.close()


class Workers(Case):
    def test_crash_is_reported_and_the_worker_returns(self):
        with Daemon() as d:
            self.problem(d.images({"prompt": "crash=3"}), 502, "worker-lost")
            d.until(lambda: d.get("/readyz").status == 200)
            self.assertEqual(d.images({"prompt": "x"}).status, 200)
            self.assertEqual(d.metric("controlnetd_worker_restarts_total", cause="signal"), 2)
            self.assertEqual(d.metric("controlnetd_jobs_retried_total"), 1)

    def test_a_job_survives_one_crash(self):
        with Daemon() as d:
            mark = os.path.join(d.dir, "mark")
            r = d.images({"prompt": "crash-once=" + mark, "n": 2, "seed": 1}, "application/json")
            self.assertEqual(r.status, 200, r.body)
            self.assertEqual(len(json.loads(r.body)["images"]), 2)
            self.assertEqual(d.metric("controlnetd_jobs_retried_total"), 1)

    def test_killed_worker(self):
        with Daemon() as d:
            b = Background(d, {"prompt": "step=20", "steps": 50})
            d.until(lambda: d.metric("controlnetd_worker_busy") == 1)
            os.kill(d.worker_pid(), signal.SIGKILL)
            r = b.result()
            self.assertEqual(r.status, 200, r.body)  # the second attempt
            png_size(r.body)

    def test_device_failure_ends_the_process(self):
        with Daemon() as d:
            first = d.worker_pid()
            self.problem(d.images({"prompt": "device"}), 502, "worker-lost")
            d.until(lambda: d.get("/readyz").status == 200)
            self.assertNotEqual(d.worker_pid(), first)
            self.assertGreaterEqual(d.metric("controlnetd_worker_restarts_total", cause="device"), 1)

    def test_garbage_on_the_wire(self):
        with Daemon("--set", "queue.max_attempts=1") as d:
            self.problem(d.images({"prompt": "garbage"}), 502, "worker-lost")
            self.assertEqual(d.metric("controlnetd_worker_restarts_total", cause="protocol"), 1)

    def test_hang_is_noticed(self):
        with Daemon("--set", "worker.hang_timeout_s=1", "--set", "queue.max_attempts=1") as d:
            self.problem(d.images({"prompt": "hang"}), 502, "worker-lost")
            self.assertEqual(d.metric("controlnetd_worker_restarts_total", cause="hang"), 1)

    def test_timeout(self):
        with Daemon() as d:
            start = time.monotonic()
            self.problem(d.images({"prompt": "step=1000", "steps": 150, "timeout_s": 1}), 504,
                         "deadline")
            self.assertLess(time.monotonic() - start, 150)  # what the steps alone take
            self.assertEqual(d.images({"prompt": "x"}).status, 200)
            self.assertEqual(d.metric("controlnetd_jobs_finished_total", outcome="expired"), 1)

    def test_devices(self):
        with Daemon("--set", "worker.devices=cpu cuda:1", "--set", "worker.count=2") as d:
            d.until(lambda: d.metric("controlnetd_worker_up") == 4)
            for device in ("cpu", "cuda:1"):
                self.assertEqual(d.metric("controlnetd_worker_up", device=device), 2)

    def test_two_workers(self):
        with Daemon("--set", "worker.count=2") as d:
            d.until(lambda: b'"workers_ready":2' in d.get("/readyz?verbose").body)
            jobs = [Background(d, {"prompt": "step=100", "steps": 150}) for _ in range(2)]
            for worker in ("0", "1"):  # each draws one of them, at the same time
                d.until(lambda: d.metric("controlnetd_worker_busy", worker=worker) == 1)
            for job in d.list():
                self.assertEqual(d.request("DELETE", "/v1/jobs/" + job["id"]).status, 200)
            self.assertEqual({j.result().status for j in jobs}, {409})
            jobs = [Background(d, {"prompt": "step=2", "steps": 20}) for _ in range(4)]
            self.assertEqual({j.result().status for j in jobs}, {200})


class Clients(Case):
    def hang_up(self, d, spec, when):
        """Closes the connection when when() is true."""
        c = d.connect()
        c.request("POST", "/v1/images", json.dumps(spec), {"Content-Type": "application/json"})
        d.until(when)
        c.close()

    def test_hanging_up_cancels(self):
        with Daemon() as d:
            self.hang_up(d, {"prompt": "step=100", "steps": 150},
                         lambda: d.metric("controlnetd_worker_busy") == 1)
            d.until(lambda: d.metric("controlnetd_jobs_finished_total", outcome="cancelled") == 1)
            d.until(lambda: d.metric("controlnetd_worker_busy") == 0)
            self.assertEqual(d.events("http.request")[-1]["route"] != "", True)
            self.assertIn(499, [e["status"] for e in d.events("http.request")])
            self.assertEqual(d.images({"prompt": "x"}).status, 200)
            self.assertEqual(d.metric("controlnetd_worker_restarts_total"), 0)

    def test_hanging_up_while_waiting(self):
        with Daemon() as d:
            b = Background(d, {"prompt": "step=20", "steps": 150})
            d.until(lambda: d.metric("controlnetd_worker_busy") == 1)
            self.hang_up(d, {"prompt": "x"}, lambda: d.metric("controlnetd_queue_jobs") == 1)
            d.until(lambda: d.metric("controlnetd_queue_jobs") == 0)
            self.assertEqual(b.result().status, 200)
            self.assertEqual(d.metric("controlnetd_jobs_finished_total", outcome="cancelled"), 1)

    def test_large_bodies_do_not_stop_the_others(self):
        """Read beside the loop; a client may leave while its body is read."""
        with Daemon() as d:
            image = base64.b64encode(os.urandom(20 << 20)).decode()
            spec = {"prompt": "x", "steps": 1, "init_image": image}
            jobs = [Background(d, spec) for _ in range(3)]
            for _ in range(20):
                self.assertEqual(d.get("/healthz").status, 200)
                time.sleep(0.02)
            self.assertEqual([j.result().status for j in jobs], [200] * 3)
            for wait in (0, 0.01, 0.03, 0.1):
                self.hang_up(d, spec, lambda: not time.sleep(wait))
            self.problem(d.images(dict(spec, steps=0)), 422, "validation", "/steps")
            spec["init_image"] = image[:-5] + "!"
            self.problem(d.images(spec), 422, "validation", "/init_image")
            d.until(lambda: d.metric("controlnetd_http_connections", state="suspended") == 0)
        with Daemon() as d:  # and it may be stopped meanwhile
            jobs = [Background(d, dict(spec, init_image=image)) for _ in range(2)]
            time.sleep(0.15)
            d.stop()
            for j in jobs:
                j.result()

    def test_full_queue(self):
        with Daemon("--set", "queue.capacity=3") as d:
            first = Background(d, {"prompt": "step=20", "steps": 50})
            d.until(lambda: d.metric("controlnetd_worker_busy") == 1)
            jobs = [Background(d, {"prompt": "x", "steps": 1}) for _ in range(10)]
            results = [j.result() for j in jobs]
            self.assertEqual(sorted(r.status for r in results), [200] * 3 + [429] * 7)
            for r in results:
                if r.status == 429:
                    self.problem(r, 429, "queue-full")
            self.assertEqual(first.result().status, 200)
            self.assertEqual(d.metric("controlnetd_http_rejected_total", reason="queue_full"), 7)

    def test_drain(self):
        d = Daemon()
        try:
            running = Background(d, {"prompt": "step=20", "steps": 40})
            d.until(lambda: d.metric("controlnetd_worker_busy") == 1)
            waiting = Background(d, {"prompt": "x"})
            d.until(lambda: d.metric("controlnetd_queue_jobs") == 1)
            d.proc.send_signal(signal.SIGTERM)
            d.until(lambda: d.get("/readyz").status == 503, 1)
            self.assertEqual(d.get("/healthz").status, 200)
            r = d.images({"prompt": "x"})
            self.problem(r, 503, "draining")
            self.assertEqual(r.getheader("Connection"), "close")
            self.assertEqual(running.result().status, 200)
            self.assertEqual(waiting.result().status, 200)
            self.assertEqual(d.proc.wait(20 * SLOW), 0)
        finally:
            d.__exit__(None, None, None)

    def test_drain_has_an_end(self):
        d = Daemon("--set", "queue.drain_s=1")
        try:
            running = Background(d, {"prompt": "step=1000", "steps": 150})
            d.until(lambda: d.metric("controlnetd_worker_busy") == 1)
            waiting = Background(d, {"prompt": "x"})
            d.until(lambda: d.metric("controlnetd_queue_jobs") == 1)
            d.proc.send_signal(signal.SIGINT)
            self.problem(running.result(), 503, "draining")  # it was not finished
            self.problem(waiting.result(), 503, "draining")
            self.assertEqual(d.proc.wait(20 * SLOW), 0)
        finally:
            d.__exit__(None, None, None)

    def test_second_signal(self):
        d = Daemon()
        try:
            running = Background(d, {"prompt": "step=1000", "steps": 150})
            d.until(lambda: d.metric("controlnetd_worker_busy") == 1)
            d.proc.send_signal(signal.SIGTERM)
            d.until(lambda: d.get("/readyz").status == 503)
            d.proc.send_signal(signal.SIGTERM)
            self.problem(running.result(), 503, "draining")  # it was not finished
            self.assertEqual(d.proc.wait(20 * SLOW), 0)
        finally:
            d.__exit__(None, None, None)

    def test_worker_does_not_outlive_a_killed_daemon(self):
        d = Daemon()
        pid = d.worker_pid()
        d.proc.kill()
        d.proc.wait()
        def gone():
            try:
                with open("/proc/%d/stat" % pid) as f:
                    return f.read().rsplit(")", 1)[1].split()[0] == "Z"
            except OSError:
                return True
        d.until(gone, 3)
        d.log_file.close()


if __name__ == "__main__":
    main()
