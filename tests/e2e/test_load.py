"""Many connections, slow ones, silent ones."""
import base64
import json
import os
import resource
import select
import socket
import time

from cn_e2e import QUICK, SLOW, Case, Daemon, main, sanitized, together


def connect(d):
    return socket.create_connection(("127.0.0.1", d.port), timeout=20 * SLOW)


class Load(Case):
    def test_many_waiting_connections(self):
        n = min(400, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
        with Daemon("--set", "queue.capacity=1000", "--set", "log.level=warning") as d:
            before = d.metric("process_resident_memory_bytes")
            socks = [connect(d) for _ in range(n)]
            body, waiting = b'{"prompt":"step=5","steps":1,"width":8,"height":8}', 0
            for s in socks:
                s.sendall(b"POST /v1/images HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                          b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" %
                          len(body) + body)
            for _ in range(10):
                self.assertEqual(d.get("/healthz").status, 200)
                waiting += d.metric("controlnetd_http_connections", state="suspended") > 0
            self.assertGreater(waiting, 0)  # others were answered before them
            for s in socks:
                self.assertEqual(s.recv(12), b"HTTP/1.1 200")
                s.close()
            self.assertLess(d.metric("process_resident_memory_bytes") - before, 64 << 20)
            d.until(lambda: d.metric("controlnetd_http_connections", state="suspended") == 0)

    def test_connection_limit(self):
        with Daemon("--set", "http.max_connections=10") as d:
            idle = [connect(d) for _ in range(30)]
            d.until(lambda: d.metric("controlnetd_http_connections", state="idle") == 30)
            self.problem(d.images({"prompt": "x"}), 503, "overloaded")
            self.assertEqual(d.get("/healthz").status, 200)  # watchers are always answered
            for s in idle:
                s.close()
            d.until(lambda: d.metric("controlnetd_http_connections", state="idle") == 0)
            self.assertEqual(d.images({"prompt": "x"}).status, 200)

    def test_past_the_limit_of_mhd(self):
        """At its own limit MHD goes deaf; it must hear again when there is room."""
        with Daemon("--set", "http.max_connections=1", "--set", "http.max_streams=1",
                    "--set", "http.idle_timeout_s=60") as d:
            idle = [connect(d) for _ in range(66)]
            extra = connect(d)
            extra.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(select.select([extra], [], [], 0.3)[0], [])
            for s in idle[:5]:
                s.close()
            self.assertEqual(extra.recv(12), b"HTTP/1.1 200")
            for s in idle + [extra]:
                s.close()

    def test_descriptors_run_out(self):
        """What comes then waits in the backlog, costs nothing, and is served when there is room."""
        with Daemon("--set", "http.idle_timeout_s=60") as d:
            soft, hard = resource.prlimit(d.proc.pid, resource.RLIMIT_NOFILE)
            used = len(os.listdir("/proc/%d/fd" % d.proc.pid))
            resource.prlimit(d.proc.pid, resource.RLIMIT_NOFILE, (used + 20, hard))
            socks = [connect(d) for _ in range(100)]
            d.until(lambda: len(os.listdir("/proc/%d/fd" % d.proc.pid)) >= used + 20)
            time.sleep(0.5)  # whatever it still does about them
            spent = self.cpu_s(d)
            time.sleep(1)
            self.assertLess(self.cpu_s(d) - spent, 0.2)  # a loop that spins has all of it
            for s in socks:
                s.close()
            d.until(lambda: len(os.listdir("/proc/%d/fd" % d.proc.pid)) < used + 20)
            self.assertEqual(d.images({"prompt": "x", "steps": 1}).status, 200)

    @staticmethod
    def cpu_s(d):
        """Of a processor, of the daemon: asked of the system, as it cannot be asked itself."""
        with open("/proc/%d/stat" % d.proc.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_slow_and_silent(self):
        with Daemon("--set", "http.idle_timeout_s=2", "--set", "http.header_timeout_s=2",
                    "--set", "http.body_timeout_s=3") as d:
            start = time.monotonic()
            heads = [connect(d) for _ in range(100)]  # headers that never end
            for s in heads:
                s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-A: ")
            body = connect(d)   # a body that never ends
            body.sendall(b"POST /v1/images HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
                         b"Content-Type: application/json\r\n\r\n")
            silent = connect(d)
            open_ = {body: "body", silent: "silent"}
            open_.update({s: "head %d" % i for i, s in enumerate(heads)})
            closed = {}
            while open_ and time.monotonic() - start < 20 * SLOW:
                for s in list(open_):
                    if select.select([s], [], [], 0)[0] and not self.bytes_of(s):
                        closed[open_.pop(s)] = time.monotonic() - start
                        s.close()
                    elif s is not silent:
                        try:
                            s.sendall(b"x")
                        except OSError:
                            pass
                self.assertEqual(d.get("/healthz").status, 200)  # others are served meanwhile
                time.sleep(0.1)
            self.assertEqual(open_, {})
            for name in closed:
                self.assertGreater(closed[name], 1, closed)
            self.assertEqual(d.get("/healthz").status, 200)
            self.assertGreaterEqual(d.metric("controlnetd_http_rejected_total", reason="timeout"), 101)

    def test_a_body_must_come_at_a_rate(self):
        """After ten seconds of grace slow ones are cut; one that keeps the pace is read."""
        if QUICK:
            self.skipTest("ten seconds of waiting")
        with Daemon("--set", "http.body_timeout_s=600") as d:
            head = (b"POST /v1/images HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                    b"Connection: close\r\nContent-Length: %d\r\n\r\n")
            body = b'{"prompt":"x","steps":1}'
            body += b" " * ((100 << 10) - len(body))
            slow = [connect(d) for _ in range(40)]
            steady = connect(d)
            for s in slow + [steady]:
                s.sendall(head % len(body))
            open_, at, first_cut, start = set(slow), 0, None, time.monotonic()
            while at < len(body) or open_:
                for s in list(open_):
                    if select.select([s], [], [], 0)[0] and not self.bytes_of(s):
                        open_.remove(s)
                        first_cut = first_cut or time.monotonic() - start
                        s.close()
                        continue
                    try:
                        s.sendall(b" " * 10)
                    except OSError:
                        pass
                due = int((time.monotonic() - start) * (6 << 10))
                steady.sendall(body[at:due])
                at = due
                time.sleep(0.1)
            self.assertGreater(first_cut, 9)  # the grace
            self.assertEqual(steady.recv(12), b"HTTP/1.1 200")
            steady.close()
            self.assertEqual(d.metric("controlnetd_http_rejected_total", reason="timeout"), 40)

    @staticmethod
    def bytes_of(s):
        try:
            return s.recv(1000)
        except OSError:
            return b""

    def test_memory_is_given_back(self):
        if sanitized():
            self.skipTest("a memory checker keeps what is freed")
        body = json.dumps({"prompt": "x", "steps": 1, "width": 8, "height": 8,
                           "init_image": base64.b64encode(os.urandom(15 << 20)).decode()})
        with Daemon("--set", "log.level=error") as d:
            before = d.metric("process_resident_memory_bytes")
            for _ in range(6):
                r = d.request("POST", "/v1/images", body, {"Content-Type": "application/json"})
                self.assertEqual(r.status, 200)
            self.assertLess(d.metric("process_resident_memory_bytes") - before, 16 << 20)

    def test_mixed_traffic(self):
        """Good, bad and vanishing clients at once; then everything is as before.

        MHD 0.9.75 does not see a client that leaves inside a header (its epoll is edge-triggered and
        the end came with the bytes): the header's deadline clears those away."""
        with Daemon("--set", "queue.capacity=1000", "--set", "log.level=error",
                    "--set", "http.header_timeout_s=1") as d:
            fds = d.metric("process_open_fds")
            bad = []

            def client(k):
                for i in range(15):
                    kind = (k + i) % 5
                    try:
                        if kind == 0:
                            ok = d.images({"prompt": "x", "steps": 2}).status == 200
                        elif kind == 1:
                            ok = d.images({"prompt": "x", "steps": -2}).status == 422
                        elif kind == 2:
                            ok = d.get("/metrics").status == 200
                        elif kind == 3:
                            c = d.connect()
                            c.request("POST", "/v1/images", '{"prompt":"step=5"}',
                                      {"Content-Type": "application/json"})
                            c.close()
                            ok = True
                        else:
                            s = connect(d)
                            s.sendall(b"POST /v1/images HTTP/1.1\r\nHost: a\r\nContent-Le")
                            s.close()
                            ok = True
                    except OSError as e:
                        ok = False
                        bad.append(e)
                    if not ok:
                        bad.append((k, kind))

            together(client, *range(10))
            self.assertEqual(bad, [])
            d.until(lambda: d.metric("controlnetd_queue_jobs") == 0)
            d.until(lambda: d.metric("process_open_fds") <= fds)
            self.assertEqual(d.metric("controlnetd_worker_restarts_total"), 0)


if __name__ == "__main__":
    main()
