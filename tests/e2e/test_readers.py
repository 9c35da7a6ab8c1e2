"""Readers of answers: slow ones, many of them, and those that stop."""
import base64
import json
import os
import re
import resource
import socket
import time

from cn_e2e import Case, Daemon, main, sanitized

WHOLE = os.environ.get("CN_WHOLE", "0") not in ("", "0")
# readers at a time, and pictures (number, side) of the job that all of them read
READERS, N, SIDE = (200, 16, 2048) if WHOLE else (60, 4, 1024)
ROOM = 32 << 20  # beyond the daemon without them


def connect(d, text, buffer=4096):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    s.settimeout(60)
    s.connect(("127.0.0.1", d.port))
    s.sendall(text.encode())
    return s


def post(spec, more):
    body = json.dumps(spec)
    return ("POST /v1/images HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n%s"
            "Content-Length: %d\r\n\r\n%s" % (more, len(body), body))


def read_head(s):
    out = b""
    while b"\r\n\r\n" not in out:
        piece = s.recv(512)
        assert piece, out
        out += piece
    head, _, rest = out.partition(b"\r\n\r\n")
    return head, rest


def length(head):
    return int(re.search(rb"(?i)content-length: (\d+)", head).group(1))


def lag(d, seconds=2):
    """Mean lateness of the loop's timer, in milliseconds. Told, not asserted: it is the machine's too."""
    name = "controlnetd_event_loop_lag_seconds_"
    before = d.metric(name + "sum"), d.metric(name + "count")
    time.sleep(seconds)
    after = d.metric(name + "sum"), d.metric(name + "count")
    return 1e3 * (after[0] - before[0]) / max(after[1] - before[1], 1)


class Readers(Case):
    def test_slow_is_not_stopped(self):
        """Who takes a little now and then gets everything, however long no write is possible."""
        with Daemon("--set", "http.idle_timeout_s=1", "--set", "http.stall_timeout_s=3") as d:
            spec = {"prompt": "x", "steps": 1, "width": 1536, "height": 1536}
            s = connect(d, post(spec, ""))
            head, rest = read_head(s)
            self.assertIn(b" 200 ", head)
            left = length(head) - len(rest)
            for _ in range(16):
                time.sleep(0.5)
                left -= len(s.recv(min(left, 8192)))
            while left > 0:
                piece = s.recv(min(left, 1 << 20))
                self.assertTrue(piece, "cut, %d bytes before the end" % left)
                left -= len(piece)
            s.close()

    def test_stopped_is_cut_and_the_log_knows(self):
        with Daemon("--set", "http.stall_timeout_s=1") as d:
            job = d.wait_job(json.loads(d.jobs({"prompt": "x", "steps": 1, "width": 2048,
                                                "height": 2048}).body)["id"])
            s = connect(d, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % job["images"][0]["url"])
            head, rest = read_head(s)
            d.until(lambda: [e for e in d.events("http.request") if "/images/" in e["path"]], 30)
            e = [e for e in d.events("http.request") if "/images/" in e["path"]][-1]
            self.assertEqual(e["status"], 499)
            self.assertLess(e["bytes_out"], length(head))
            taken = len(rest)  # what the kernel had taken for us is ours
            try:
                while True:
                    piece = s.recv(1 << 16)
                    if not piece:
                        break
                    taken += len(piece)
            except ConnectionResetError:
                pass
            s.close()
            self.assertLess(taken, length(head))
            self.assertLess(e["bytes_out"], taken + (1 << 20))
            self.assertEqual(d.metric("controlnetd_http_streams_cut_total"), 1)

    def test_many_slow_readers_cost_no_memory(self):
        with Daemon("--set", "http.max_connections=1000") as d:
            key = "Accept: application/json\r\nIdempotency-Key: one\r\n"
            spec = {"prompt": "x", "steps": 1, "n": N, "width": SIDE, "height": SIDE}
            h = {"Accept": "application/json", "Idempotency-Key": "one"}
            doc = json.loads(d.images(spec, headers=h).body)
            self.assertEqual(len(doc["images"]), N)
            without = lag(d)
            before = d.metric("process_resident_memory_bytes")
            socks = [connect(d, post(spec, key)) for _ in range(READERS)]
            heads = [read_head(s) for s in socks]
            for head, _ in heads:
                self.assertIn(b" 200 ", head)
            for _ in range(5):  # a little of everything, for a while
                for s in socks:
                    s.recv(1024)
                self.assertEqual(d.get("/healthz").status, 200)
                self.assertEqual(d.images({"prompt": "y", "steps": 1}).status, 200)
            grown = d.metric("process_resident_memory_bytes") - before
            with_them = lag(d)
            if not sanitized():
                self.assertLess(grown, ROOM)
            self.assertLess(d.metric("controlnetd_http_outflight_bytes"), ROOM)
            self.assertEqual(d.metric("controlnetd_http_streams_cut_total"), 0)
            again = json.loads(d.images(spec, headers=h).body)  # and a fast one gets all of it
            self.assertEqual(again, doc)
            for i in again["images"]:
                base64.b64decode(i["data"], validate=True)
            for s in socks:
                s.close()
            print("%d readers of %d pictures of %d pixels: %.1f MiB more; lag of the loop %.2f ms "
                  "with them, %.2f ms without" %
                  (READERS, N, SIDE * SIDE, grown / (1 << 20), with_them, without))

    def test_pictures_in_memory_are_shared(self):
        """A job that is not kept lies in memory: its readers share it."""
        with Daemon("--set", "http.max_connections=1000") as d:
            r = d.images({"prompt": "x", "steps": 1, "width": 2048, "height": 2048})
            path = "/v1/jobs/%s/images/0" % r.getheader("X-Job-Id")
            before = d.metric("process_resident_memory_bytes")
            socks = [connect(d, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path) for _ in range(READERS)]
            for s in socks:
                self.assertIn(b" 200 ", read_head(s)[0])
            self.assertEqual(d.metric("controlnetd_http_outflight_bytes"), len(r.body))
            if not sanitized():
                self.assertLess(d.metric("process_resident_memory_bytes") - before, ROOM)
            for s in socks:
                s.close()
            d.until(lambda: d.metric("controlnetd_http_outflight_bytes") == 0)

    def test_memory_of_answers_has_a_bound(self):
        with Daemon("--set", "limits.max_outflight_mb=16", "--set", "limits.max_inflight_mb=64") as d:
            spec = {"prompt": "x", "steps": 1, "width": 2048, "height": 2048}
            r = d.images(dict(spec, n=2), "application/json")
            self.problem(r, 422, "validation", "/n")  # could never fit: refused before it is drawn
            self.assertEqual(d.metric("controlnetd_jobs_submitted_total"), 0)
            first = connect(d, post(spec, ""))
            self.assertIn(b" 200 ", read_head(first)[0])
            second = connect(d, post(spec, ""))
            self.assertIn(b" 200 ", read_head(second)[0])
            self.problem(d.images(spec), 503, "overloaded")
            first.close()
            second.close()
            d.until(lambda: d.images({"prompt": "x", "steps": 1}).status == 200)


    def test_no_descriptor_is_left(self):
        with Daemon() as d:
            job = d.wait_job(json.loads(d.jobs({"prompt": "x", "steps": 1}).body)["id"])
            c = d.connect()
            c.request("GET", "/healthz")
            c.getresponse().read()
            soft, hard = resource.prlimit(d.proc.pid, resource.RLIMIT_NOFILE)

            def refused():  # what others close meanwhile leaves room: then once more
                used = {int(n) for n in os.listdir("/proc/%d/fd" % d.proc.pid)}
                free = min(set(range(len(used) + 1)) - used)
                resource.prlimit(d.proc.pid, resource.RLIMIT_NOFILE, (free, hard))
                c.request("GET", job["images"][0]["url"])
                answer.append(c.getresponse())
                answer[-1].body = answer[-1].read()
                resource.prlimit(d.proc.pid, resource.RLIMIT_NOFILE, (soft, hard))
                return answer[-1].status != 200

            answer = []
            d.until(refused)
            r = answer[-1]
            self.problem(r, 503, "overloaded")
            c.request("GET", job["images"][0]["url"])
            self.assertEqual(c.getresponse().status, 200)
            c.close()


if __name__ == "__main__":
    main()
