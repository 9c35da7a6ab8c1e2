"""Server-sent events: order, replay, slow and vanishing readers, many of them."""
import json
import os
import resource
import select
import socket
import time

from cn_e2e import SLOW, Case, Daemon, main, sanitized

QUICK = os.environ.get("CN_QUICK") == "1"


def get(d, path, headers="", buffer=None):
    """A connection with a GET on its way."""
    s = socket.socket()
    if buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    s.settimeout(20 * SLOW)
    s.connect(("127.0.0.1", d.port))
    s.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n" % (path.encode(), headers.encode()))
    return s


def read_until(s, what, seconds=20):
    out, end = b"", time.monotonic() + seconds * SLOW
    while what not in out:
        assert time.monotonic() < end, out[-500:]
        piece = s.recv(65536)
        assert piece, out[-500:]
        out += piece
    return out


class Streams(Case):
    @classmethod
    def setUpClass(cls):
        cls.d = Daemon("--set", "log.level=warning")

    @classmethod
    def tearDownClass(cls):
        cls.d.__exit__(None, None, None)

    def submit(self, **spec):
        r = self.d.jobs(spec)
        assert r.status == 202, r.body
        id = json.loads(r.body)["id"]
        return id, "/v1/jobs/%s/events" % id

    def test_a_job_from_start_to_end(self):
        _, path = self.submit(prompt="step=5", steps=20, n=2, preview_every=5)
        events = list(self.d.stream(path))
        ids = [e[1] for e in events]
        self.assertEqual(ids, sorted(set(ids)))
        names = [e[0] for e in events]
        self.assertEqual(names[-1], "done")
        self.assertEqual(events[-1][2], {"state": "succeeded", "warnings": []})
        self.assertEqual([e[2]["index"] for e in events if e[0] == "image"], [0, 1])
        self.assertEqual([e[2]["state"] for e in events if e[0] == "state"][-1], "running")
        fractions = [e[2]["fraction"] for e in events if e[0] == "progress"]
        self.assertEqual(fractions, sorted(fractions))
        self.assertGreater(len(fractions), 3)
        previews = [e[2] for e in events if e[0] == "preview"]
        self.assertTrue(previews)
        self.assertTrue(all(p["data"] and p["format"] in ("png", "jpeg", "webp") for p in previews))

    def test_replay(self):
        id, path = self.submit(prompt="step=5", steps=10, n=3)
        events = list(self.d.stream(path))
        # who comes late gets all that must not be missed, and done
        late = list(self.d.stream(path))
        self.assertEqual(late[-1], events[-1])
        images = [e for e in events if e[0] == "image"]
        after = images[1][1]
        again = list(self.d.stream(path, {"Last-Event-ID": str(after)}))
        self.assertTrue(all(e[1] > after for e in again), again)
        self.assertEqual([e for e in again if e[0] in ("image", "done")], [images[2], events[-1]])
        again = list(self.d.stream(path + "?last_event_id=%d" % images[2][1]))
        self.assertEqual(again[-1], events[-1])
        last = str(events[-1][1])
        r = self.d.get(path, {"Last-Event-ID": last})
        self.assertEqual((r.status, r.body), (204, b""))
        r = self.d.get(path, {"Last-Event-ID": "x"})
        self.problem(r, 400, "invalid-request")
        for headers in ({}, {"Last-Event-ID": last}):  # also beside the header, which counts
            doc = self.problem(self.d.get(path + "?last_event_id=x", headers), 400, "invalid-request")
            self.assertEqual(doc["errors"][0]["parameter"], "last_event_id")
        r = self.d.get(path + "?last_event_id=0", {"Last-Event-ID": last})
        self.assertEqual(r.status, 204)
        self.problem(self.d.get("/v1/jobs/%s/events" % ("0" * 26)), 404, "not-found")

    def test_failure_and_cancel(self):
        _, path = self.submit(prompt="fail=no-device-memory where=/width")
        done = list(self.d.stream(path))[-1]
        self.assertEqual(done[2]["state"], "failed")
        self.assertEqual(done[2]["error"]["type"], "urn:controlnetd:problem:insufficient-memory")
        self.assertEqual(done[2]["error"]["errors"][0]["pointer"], "/width")
        id, path = self.submit(prompt="step=50", steps=100)
        events = self.d.stream(path)
        for name, _, data in events:
            if name == "progress":
                self.d.request("DELETE", "/v1/jobs/" + id)
                break
        self.assertEqual(list(events)[-1][2]["state"], "cancelled")

    def test_head_of_the_answer(self):
        id, path = self.submit(prompt="step=50", steps=100)
        s = get(self.d, path)
        head = read_until(s, b"event: state").decode()
        self.assertIn("HTTP/1.1 200 ", head)
        for line in ("Cache-Control: no-cache", "X-Accel-Buffering: no", "Connection: close",
                     "Transfer-Encoding: chunked", "retry: 3000"):
            self.assertIn(line, head)
        s.close()
        self.assertEqual(self.d.request("DELETE", "/v1/jobs/" + id).status, 200)

    def test_readers_that_leave(self):
        before = self.d.metric("process_open_fds")
        id, path = self.submit(prompt="step=20", steps=100)
        for _ in range(20):
            s = get(self.d, path)
            read_until(s, b"event: ")
            s.close()
        self.d.until(lambda: self.d.metric("controlnetd_http_connections", state="streaming") == 0)
        self.assertIn(self.d.job(id)["state"], ("queued", "running"))
        self.d.request("DELETE", "/v1/jobs/" + id)
        self.d.until(lambda: self.d.metric("process_open_fds") <= before + 2)


class Bounds(Case):
    def test_streams_have_a_limit_of_their_own(self):
        with Daemon("--set", "http.max_streams=3", "--set", "http.max_connections=8") as d:
            id = json.loads(d.jobs({"prompt": "step=50", "steps": 150}).body)["id"]
            path = "/v1/jobs/%s/events" % id
            open_ = [get(d, path) for _ in range(3)]
            for s in open_:
                read_until(s, b"event: ")
            self.problem(d.get(path), 503, "overloaded")
            self.assertEqual(d.get("/v1/jobs/" + id).status, 200)  # others are not shut out
            # parts are a stream: refused before anything is drawn for them
            jobs = d.metric("controlnetd_jobs_submitted_total")
            self.problem(d.images({"prompt": "x"}, "multipart/mixed"), 503, "overloaded")
            self.assertEqual(d.metric("controlnetd_jobs_submitted_total"), jobs)
            open_.pop().close()
            d.until(lambda: d.metric("controlnetd_http_connections", state="streaming") == 2)
            s = get(d, path)
            read_until(s, b"event: ")
            for s in open_ + [s]:
                s.close()
            d.request("DELETE", "/v1/jobs/" + id)

    def test_a_reader_that_stops_is_cut(self):
        with Daemon("--set", "http.stall_timeout_s=2", "--set", "log.level=info",
                    "--set", "limits.max_steps=1000") as d:
            id = json.loads(d.jobs({"prompt": "step=15", "steps": 1000, "preview_every": 1,
                                    "width": 128, "height": 128}).body)["id"]
            path = "/v1/jobs/%s/events" % id
            stuck = get(d, path, buffer=4096)
            reads = get(d, path)
            got, end = 0, time.monotonic() + 30 * SLOW
            while d.metric("controlnetd_http_streams_cut_total") == 0:
                self.assertLess(time.monotonic(), end)
                if select.select([reads], [], [], 0.05)[0]:
                    got += len(reads.recv(1 << 20))
            while got < 200000:  # who reads goes on, and gets more than a kernel holds for him
                piece = reads.recv(1 << 20)
                self.assertTrue(piece, got)
                got += len(piece)
            self.assertEqual(len(d.events("http.stall")), 1)
            reads.close()
            stuck.close()
            d.request("DELETE", "/v1/jobs/" + id)

    def test_the_end_of_the_server(self):
        with Daemon("--set", "queue.drain_s=0") as d:
            id = json.loads(d.jobs({"prompt": "step=50", "steps": 150}).body)["id"]
            s = get(d, "/v1/jobs/%s/events" % id)
            read_until(s, b"event: state")
            self.assertEqual(d.stop(), 0)
            out = b""
            while True:
                piece = s.recv(65536)
                if not piece:
                    break
                out += piece
            self.assertIn(b"event: shutdown\n", out)
            self.assertTrue(out.endswith(b"\r\n0\r\n\r\n"), out[-100:])
            s.close()

    def test_many_slow_readers(self):
        """A thousand streams of which half do not read: memory stays flat, others are served."""
        n = 100 if QUICK else 1000
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, n + 500), hard))
        with Daemon("--set", "log.level=error", "--set", "http.max_connections=64",
                    "--set", "limits.max_steps=1000") as d:
            id = json.loads(d.jobs({"prompt": "step=20", "steps": 1000,
                                    "preview_every": 10}).body)["id"]
            path = "/v1/jobs/%s/events" % id
            streams = [get(d, path, buffer=4096) for _ in range(n)]
            d.until(lambda: d.metric("controlnetd_http_connections", state="streaming") == n)
            before = d.metric("process_resident_memory_bytes")
            end = time.monotonic() + (2 if QUICK else 6)
            rounds = 0
            while time.monotonic() < end:
                for s in select.select(streams[::2], [], [], 0.05)[0]:
                    s.recv(65536)
                self.assertEqual(d.get("/healthz").status, 200)
                rounds += 1
            grown = d.metric("process_resident_memory_bytes") - before
            if not sanitized():
                self.assertLess(grown, 8 << 20)
            self.assertGreater(rounds, 5)  # others are answered meanwhile
            for s in streams:
                s.close()
            d.until(lambda: d.metric("controlnetd_http_connections", state="streaming") == 0)
            d.request("DELETE", "/v1/jobs/" + id)


if __name__ == "__main__":
    main()
