"""The log: JSON lines with the fields that people look for, whatever clients send."""
import json
import os
import re
import socket

from cn_e2e import ENGINE, SLOW, Case, Daemon, main

EVIL = ("\n", "\r\n{\"event\":\"fake\"}", "\x1b[31m", "\u2028", "\"", "\\", "\x7f", "a" * 5000)
KEY = "0123456789abcdef"


class Log(Case):
    def lines(self, d):
        """Every line of the daemon, which must be whole JSON of at most 16 KiB."""
        found = []
        with open(d.log_path, "rb") as f:
            for line in f.read().split(b"\n")[:-1]:
                self.assertLessEqual(len(line), 16 << 10)
                found.append(json.loads(line.decode()))  # the bytes are UTF-8, too
                self.assertTrue(found[-1]["msg"], line)
        return found

    def of(self, d, event):
        return [e for e in self.lines(d) if e["event"] == event]

    def test_fields(self):
        keys = "/tmp/cn-e2e-log-%d" % os.getpid()
        with open(keys, "w") as f:
            f.write("anna:%s\n" % KEY)
        try:
            with Daemon("--set", "auth.keys_file=" + keys) as d:
                r = d.images({"prompt": "secret words", "steps": 2},
                             headers={"X-Api-Key": KEY, "X-Request-Id": "my-id"})
                self.assertEqual(r.status, 200)
                d.until(lambda: self.of(d, "http.request")[-1]["route"] == "/v1/images")
                access = self.of(d, "http.request")[-1]
                end = self.of(d, "job.end")[-1]
            self.assertRegex(access["ts"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")
            self.assertEqual({k: access[k] for k in ("level", "request_id", "method", "route",
                                                     "status", "key_id", "tenant")},
                             {"level": "info", "request_id": "my-id", "method": "POST",
                              "route": "/v1/images", "status": 200, "key_id": "anna",
                              "tenant": "anna"})
            self.assertGreater(access["dur_ms"], 0)
            self.assertGreater(access["bytes_in"], 10)
            self.assertGreater(access["bytes_out"], 1000)
            self.assertEqual(access["job_id"], end["job_id"])
            self.assertEqual({k: end[k] for k in ("outcome", "model", "tenant", "attempt", "worker")},
                             {"outcome": "succeeded", "model": "emoji", "tenant": "anna",
                              "attempt": 1, "worker": 0})
        finally:
            os.unlink(keys)

    def test_no_prompts_and_no_keys(self):
        with Daemon() as d:
            d.images({"prompt": "secret words", "negative_prompt": "other secret", "steps": 1},
                     headers={"X-Api-Key": KEY, "Authorization": "Bearer " + KEY})
            d.images({"prompt": "secret words", "steps": -1})
            d.images({"prompt": "secret words", "model": "nothing"})
            d.get("/healthz")
            d.until(lambda: len(self.of(d, "http.request")) >= 4)
            self.assertNotIn("secret", d.log())
            self.assertNotIn(KEY, d.log())

    def test_prompts_when_asked_for(self):
        with Daemon("--set", "log.prompts=true") as d:
            d.images({"prompt": "a \"red\"\napple\u2028", "steps": 1})
            d.until(lambda: self.of(d, "job.prompt"))
            self.assertEqual(self.of(d, "job.prompt")[0]["prompt"], "a \"red\"\napple\u2028")

    def test_injection(self):
        """What clients send makes no lines, and no terminal escapes, of its own."""
        with Daemon("--set", "log.prompts=true", "--set", "log.level=debug") as d:
            for evil in EVIL:
                d.images({"prompt": evil + "x", "model": evil, "steps": 1})
                d.images({"prompt": (evil + "x")[:4000], "steps": 1})
                quoted = "".join("%%%02x" % b for b in evil[:500].encode())
                d.get("/" + quoted)
                for header in ("User-Agent", "X-Request-Id", "X-Api-Key", "Origin"):
                    with socket.create_connection(("127.0.0.1", d.port), timeout=20 * SLOW) as s:
                        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n%s: %s\r\nConnection: close"
                                  b"\r\n\r\n" % (header.encode(), evil.replace("\n", "").replace(
                                      "\r", "").encode()[:4000] + b"\xff\xfe"))
                        while s.recv(4096):
                            pass
            d.get("/healthz")
            events = self.lines(d)
            self.assertNotIn("fake", {e["event"] for e in events})
            self.assertNotRegex(d.log(), "[\x00-\x09\x0b-\x1f\x7f\u2028]")
            ids = {e["request_id"] for e in events if e["event"] == "http.request"}
            self.assertTrue(all(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", i) for i in ids), ids)

    def test_a_reader_that_stalls(self):
        """Nobody reads standard error: the daemon serves, and ends, all the same."""
        read, write = os.pipe()
        with Daemon("--set", "log.requests_per_s=0", "--set", "log.max_per_s=0") as d:
            d.stop()
            d.log_file.close()
            d.log_file = os.fdopen(write, "wb")
            d.start()
            c = d.connect()
            for _ in range(3000):  # some 400 bytes each: a pipe has 64 KiB, the daemon 256
                c.request("GET", "/healthz")
                r = c.getresponse()
                r.read()
                self.assertEqual(r.status, 200)
            c.close()
            self.assertGreater(d.metric("controlnetd_log_lines_dropped_total"), 100)
            os.set_blocking(read, False)
            text, told = b"", []
            while not told:
                try:
                    text += os.read(read, 1 << 20)
                except BlockingIOError:
                    d.get("/healthz")
                told = [e for e in map(json.loads, text[:text.rfind(b"\n") + 1].splitlines())
                        if e["event"] == "log.dropped"]
            self.assertEqual(told[0]["dropped_event"], "any")
            self.assertGreater(told[0]["dropped"], 100)
            for _ in range(1000):
                d.get("/healthz")
            self.assertEqual(d.stop(), 0)
        os.close(read)

    def test_the_workers_lines_are_json(self):
        with Daemon("--models", "/nonexistent/models", worker=ENGINE, wait=False) as d:
            d.until(lambda: self.of(d, "worker.models"), 30)
            self.lines(d)

    def test_floods_are_counted(self):
        with Daemon("--set", "log.requests_per_s=1") as d:
            for _ in range(60):
                d.get("/healthz")
            self.assertLess(len(self.of(d, "http.request")), 50)
            d.until(lambda: self.of(d, "log.dropped"))
            self.assertEqual(self.of(d, "log.dropped")[0]["dropped_event"], "http.request")
            self.assertGreater(d.metric("controlnetd_log_lines_dropped_total"), 5)
            self.assertTrue(self.of(d, "worker.ready"))  # others are not hindered


if __name__ == "__main__":
    main()
