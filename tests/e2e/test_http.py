"""One daemon, all routes: answers, refusals, limits."""
import base64
import json
import re
import socket
import time

from cn_e2e import Case, Daemon, main, multipart, png_size, sanitized

BOMB_S = 10 if sanitized() else 2  # of a processor, to refuse one

LIMITS = ["--set", "log.requests_per_s=0", "--set", "limits.max_body_mb=1", "--set", "limits.max_image_mb=1",
          "--set", "http.cors_origins=https://good.example"]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


class Http(Case):
    @classmethod
    def setUpClass(cls):
        cls.d = Daemon(*LIMITS)

    @classmethod
    def tearDownClass(cls):
        cls.d.__exit__(None, None, None)

    # ---- success ----

    def test_png(self):
        r = self.d.images({"prompt": "a red apple", "seed": 7, "width": 72, "height": 40})
        self.assertEqual(r.status, 200, r.body)
        self.assertEqual(r.getheader("Content-Type"), "image/png")
        self.assertEqual(r.getheader("Controlnetd-Seed"), "7")
        self.assertEqual(len(r.getheader("X-Job-Id")), 26)
        self.assertEqual(png_size(r.body), (72, 40))

    def test_json(self):
        r = self.d.images({"prompt": "ü", "n": 3, "seed": 5, "steps": 4.0}, "application/json")
        self.assertEqual(r.status, 200, r.body)
        doc = json.loads(r.body)
        self.assertEqual(doc["model"], "emoji")
        self.assertEqual([i["seed"] for i in doc["images"]], [5, 6, 7])
        self.assertEqual([i["index"] for i in doc["images"]], [0, 1, 2])
        for image in doc["images"]:
            self.assertEqual(png_size(base64.b64decode(image["data"], validate=True)), (64, 64))
        p = doc["parameters"]
        self.assertEqual((p["prompt"], p["steps"], p["width"], p["seed"]), ("ü", 4, 64, 5))
        t = doc["timings_ms"]
        self.assertTrue(t["total"] >= t["run"] >= t["stages"]["unet"] > 0, t)

    def test_seed_is_drawn_and_reported(self):
        seeds = {json.loads(self.d.images({"prompt": "x", "steps": 1}, "application/json").body)
                 ["images"][0]["seed"] for _ in range(3)}
        self.assertEqual(len(seeds), 3)
        self.assertTrue(all(0 <= s < 2 ** 53 for s in seeds))

    def test_null_is_absent(self):
        r = self.d.images({"prompt": "x", "seed": None, "model": None, "controls": None})
        self.assertEqual(r.status, 200, r.body)

    def test_multipart(self):
        spec = {"prompt": "x", "controls": [{"model": "emoji-canny", "image": "part:edge"}]}
        body, headers = multipart([("params", json.dumps(spec).encode()),
                                   ("edge", PNG, "Content-Type: image/png")])
        r = self.d.request("POST", "/v1/images", body, headers)
        self.assertEqual(r.status, 200, r.body)
        r = self.d.request("POST", "/v1/images", body, dict(headers, Accept="application/json"))
        c = json.loads(r.body)["parameters"]["controls"][0]
        self.assertEqual((c["model"], c["image_bytes"]), ("emoji-canny", len(PNG)))

    def test_base64_image(self):
        big = base64.b64encode(PNG + b"\0" * 300000).decode()
        for image in (base64.b64encode(PNG).decode(), big, "data:image/png;base64," + big):
            r = self.d.images({"prompt": "x", "steps": 1, "controls": [
                {"model": "emoji-canny", "image": image}]}, "application/json")
            self.assertEqual(r.status, 200, r.body)
        self.assertEqual(json.loads(r.body)["parameters"]["controls"][0]["image_bytes"],
                         len(PNG) + 300000)
        # escapes mean the same in short and in long strings
        for text in (base64.b64encode(PNG).decode(), big, "data:image/png;base64," + big):
            raw = json.dumps(text)
            for a, b in (("/", "\\/"), ("/", "\\u002f"), ("+", "\\u002B"), ("=", "\\u003d"),
                         ("A", "\\u0041")):
                body = '{"prompt":"x","steps":1,"init_image":%s}' % raw.replace(a, b, 500)
                r = self.d.request("POST", "/v1/images", body,
                                   {"Content-Type": "application/json"})
                self.assertEqual(r.status, 200, (b, r.body))
            for bad in ("\\u00e4", "\\n", "\\u0000"):
                body = '{"prompt":"x","steps":1,"init_image":%s}' % raw.replace("A", bad, 1)
                r = self.d.request("POST", "/v1/images", body,
                                   {"Content-Type": "application/json"})
                self.assertIn(r.status, (400, 422), (bad, r.body))
        escaped = json.dumps({"prompt": "x", "steps": 1, "init_image": big}).replace("/", "\\/")
        r = self.d.request("POST", "/v1/images", escaped, {"Content-Type": "application/json"})
        self.assertEqual(r.status, 200, r.body)

    def test_largest_seed(self):
        r = self.d.images({"prompt": "x", "steps": 1, "n": 2, "seed": 2 ** 63 - 2}, "application/json")
        self.assertEqual([i["seed"] for i in json.loads(r.body)["images"]],
                         [2 ** 63 - 2, 2 ** 63 - 1])

    def test_a_picture_too_large_to_be_handed_over(self):
        r = self.d.images({"prompt": "bytes=300000000", "steps": 1})
        self.problem(r, 422, "validation", "/format")
        self.assertIn("300000000 bytes as png", json.loads(r.body)["errors"][0]["detail"])

    def test_a_nul_in_a_text_names_its_field(self):
        r = self.d.request("POST", "/v1/images", b'{"prompt":"\\u0000"}', {"Content-Type": "application/json"})
        self.problem(r, 422, "validation", "/prompt")

    def test_formats(self):
        r = self.d.images({"prompt": "x", "format": "jpeg"})
        self.assertEqual(r.getheader("Content-Type"), "image/jpeg")
        r = self.d.images({"prompt": "x", "format": "webp"}, "image/webp,image/*;q=0.5")
        self.assertEqual(r.getheader("Content-Type"), "image/webp")

    # ---- information ----

    def test_information(self):
        models = json.loads(self.d.get("/v1/models").body)["models"]
        self.assertEqual([m["name"] for m in models if m.get("default")], ["emoji"])
        self.assertIn("euler_a", json.loads(self.d.get("/v1/samplers").body)["samplers"])
        names = [a["name"] for a in json.loads(self.d.get("/v1/annotators").body)["annotators"]]
        self.assertEqual(names, ["none", "canny"])
        self.assertEqual(self.d.get("/healthz").body, b"ok\n")
        self.assertEqual(self.d.get("/readyz").body, b"ready\n")
        checks = json.loads(self.d.get("/readyz?verbose").body)
        self.assertTrue(checks["ready"])
        self.assertEqual(checks["backend"], "fake")

    def test_contract(self):
        r = self.d.get("/openapi.yaml")
        self.assertTrue(r.body.startswith(b"openapi: 3.1"))
        for path in (b"/v1/images:", b"/v1/models:", b"/readyz:", b"/metrics:"):
            self.assertIn(path, r.body)

    def test_head_options_methods(self):
        r = self.d.request("HEAD", "/v1/models")
        self.assertEqual((r.status, r.body), (200, b""))
        self.assertEqual(r.getheader("Content-Length"),
                         self.d.get("/v1/models").getheader("Content-Length"))
        r = self.d.request("OPTIONS", "/v1/images")
        self.assertEqual((r.status, r.getheader("Allow")), (204, "POST, OPTIONS"))
        for method, path, allow in (("GET", "/v1/images", "POST, OPTIONS"),
                                    ("DELETE", "/v1/models", "GET, HEAD, OPTIONS"),
                                    ("PUT", "/", "GET, HEAD, OPTIONS"),
                                    ("BREW", "/healthz", "GET, HEAD, OPTIONS")):
            r = self.d.request(method, path)
            self.problem(r, 405, "method-not-allowed")
            self.assertEqual(r.getheader("Allow"), allow)
        self.problem(self.d.get("/nothing"), 404, "not-found")
        self.problem(self.d.get("/v1/images/"), 404, "not-found")

    def test_nobody_keeps_errors(self):
        for path in ("/nothing", "/healthz", "/readyz", "/v1/jobs/x", "/v1/images", "/v1/models"):
            self.assertEqual(self.d.get(path).getheader("Cache-Control"), "no-store", path)
        for path in ("/", "/openapi.yaml"):
            self.assertEqual(self.d.get(path).getheader("Cache-Control"), "no-cache", path)

    def test_a_model_in_use_stays(self):
        id = json.loads(self.d.jobs({"prompt": "step=50", "steps": 150}).body)["id"]
        self.d.until(lambda: self.d.job(id)["state"] == "running")
        self.problem(self.d.request("POST", "/v1/models/emoji/unload"), 409, "in-use")
        self.d.request("DELETE", "/v1/jobs/" + id)
        self.d.until(lambda: self.d.request("POST", "/v1/models/emoji/unload").status == 204)

    def test_empty_parameters(self):
        self.problem(self.d.get("/v1/jobs?after="), 400, "invalid-request")

    def test_request_id(self):
        r = self.d.get("/healthz", {"X-Request-Id": "my-id.7"})
        self.assertEqual(r.getheader("X-Request-Id"), "my-id.7")
        r = self.d.get("/healthz", {"X-Request-Id": "no blanks"})
        self.assertNotEqual(r.getheader("X-Request-Id"), "no blanks")

    def test_cors(self):
        r = self.d.get("/healthz", {"Origin": "https://good.example"})
        self.assertEqual(r.getheader("Access-Control-Allow-Origin"), "https://good.example")
        self.assertEqual(r.getheader("Vary"), "Origin")
        for origin in ("https://evil-good.example", "https://good.example:1", "null",
                       "https://Good.example"):
            r = self.d.get("/healthz", {"Origin": origin})
            self.assertIsNone(r.getheader("Access-Control-Allow-Origin"))
        r = self.d.request("OPTIONS", "/v1/images", None, {
            "Origin": "https://good.example", "Access-Control-Request-Method": "POST"})
        self.assertEqual(r.status, 204)
        self.assertEqual(r.getheader("Access-Control-Max-Age"), "600")

    # ---- refusals ----

    def test_fields(self):
        cases = [
            ({"prompt": "x", "steps": 0}, "/steps"), ({"prompt": "x", "steps": 20.5}, "/steps"),
            ({"prompt": "x", "steps": "20"}, "/steps"), ({"prompt": 7}, "/prompt"),
            ({"prompt": "x" * 5000}, "/prompt"), ({"prompt": "x y " * 5000}, "/prompt"),
            ({"prompt": "x", "width": 65}, "/width"), ({"prompt": "x", "height": 4096}, "/height"),
            ({"prompt": "x", "model": "photo", "width": 520}, "/width"),
            ({"prompt": "x", "sampler": "eular"}, "/sampler"),
            ({"prompt": "x", "seed": -1}, "/seed"), ({"prompt": "x", "seed": 2 ** 63}, "/seed"),
            ({"prompt": "x", "seed": 2 ** 64}, "/seed"), ({"prompt": "x", "seed": 10 ** 40}, "/seed"),
            ({"prompt": "x", "seed": -10 ** 40}, "/seed"), ({"prompt": "x", "seed": 1e17}, "/seed"),
            ({"prompt": "x", "n": 2, "seed": 2 ** 63 - 1}, "/seed"),
            ({"prompt": "x", "steps": 10 ** 40}, "/steps"), ({"prompt": "x", "n": 17}, "/n"),
            ({"prompt": "x", "model": "../../etc/passwd"}, "/model"),
            ({"prompt": "x", "nonsense": 1}, "/nonsense"),
            ({"prompt": "x", "a/b~c": 1}, "/a~1b~0c"),
            ({"prompt": "x", "controls": {}}, "/controls"),
            ({"prompt": "x", "controls": [1]}, "/controls/0"),
            ({"prompt": "x", "controls": [{"image": "AAAA"}]}, "/controls/0/model"),
            ({"prompt": "x", "controls": [{"model": "emoji-canny"}]}, "/controls/0/image"),
            ({"prompt": "x", "controls": [{"model": "emoji-canny", "image": "!"}]},
             "/controls/0/image"),
            ({"prompt": "x", "controls": [{"model": "emoji-canny", "image": "part:edge"}]},
             "/controls/0/image"),
            ({"prompt": "x", "controls": [{"model": "nope", "image": "AAAA"}]},
             "/controls/0/model"),
            ({"prompt": "x", "controls": [{"model": "photo-canny", "image": "AAAA"}]},
             "/controls/0/model"),
            ({"prompt": "x", "controls": [{"model": "emoji-canny", "image": "AAAA",
                                           "annotator": "nope"}]}, "/controls/0/annotator"),
            ({"prompt": "x", "controls": [{"model": "emoji-canny", "image": "AAAA",
                                           "weights": [1] * 14}]}, "/controls/0/weights"),
            ({"prompt": "x", "controls": [{"model": "emoji-canny", "image": "AAAA",
                                           "weights": [1] * 12 + ["a"]}]},
             "/controls/0/weights/12"),
            ({"prompt": "x", "mask": "AAAA"}, "/mask"),
            ({"prompt": "x", "hires": {"width": 56, "height": 64}}, "/hires"),
            ({"prompt": "x", "decoder": "taesd"}, "/decoder"),
        ]
        for spec, pointer in cases:
            with self.subTest(pointer=pointer):
                self.problem(self.d.images(spec), 422, "validation", pointer)

    def test_size_of_a_second_pass(self):
        r = self.d.images({"prompt": "x", "width": 512, "hires": {"scale": 8, "steps": 1}})
        self.assertIn("the second pass would be 4096 x 512:", r.body.decode())
        for hires in ({"width": 64, "height": 72}, {"scale": 1.5}): # an answer says what can be asked for again
            for _ in range(2):
                r = self.d.images({"prompt": "x", "steps": 1, "hires": hires}, "application/json")
                self.assertEqual(r.status, 200, r.body)
                hires = json.loads(r.body)["parameters"]["hires"]

    def test_worker_failures(self):
        for prompt, status, kind in (("fail=bad-format where=/controls/0/image", 422, "validation"),
                                     ("fail=no-device-memory", 507, "insufficient-memory"),
                                     ("fail=too-big", 507, "storage"),  # not the request
                                     ("fail=internal", 500, "internal"),
                                     ("short", 500, "internal")):
            with self.subTest(prompt=prompt):
                self.problem(self.d.images({"prompt": prompt}), status, kind)

    def test_bad_json(self):
        for body in (b"", b"{", b"[]", b"7", b'{"prompt":"a","prompt":"b"}',
                     b'{"prompt":"\xff"}', b'\xef\xbb\xbf{}', b'{"steps":1e400}', b'{"prompt":"\\ud800"}', b'{} {}', b'{"prompt":NaN}',
                     b'{"prompt":"x"', b"\0", b'{"a":' + b"[" * 20 + b"]" * 20 + b"x}"):
            r = self.d.request("POST", "/v1/images", body, {"Content-Type": "application/json"})
            with self.subTest(body=body):
                self.problem(r, 400, "invalid-request")

    def test_json_bombs(self):
        before = self.d.metric("process_resident_memory_bytes")
        for body in (b"[" * 100000, b'{"a":[' + b"{}," * 80000 + b"{}]}",
                     b'{' + b'"a":1,' * 90000 + b'"b":1}'):
            spent = self.d.metric("process_cpu_seconds_total")
            r = self.d.request("POST", "/v1/images", body, {"Content-Type": "application/json"})
            self.problem(r, 413, "too-large")
            self.assertLess(self.d.metric("process_cpu_seconds_total") - spent, BOMB_S)
        r = self.d.images({"prompt": "x " * 150000})
        self.problem(r, 422, "validation", "/prompt")
        self.assertLess(self.d.metric("process_resident_memory_bytes") - before, 48 << 20)

    def test_media_types(self):
        for kind in (None, "text/plain", "application/jsonx", "application/x-www-form-urlencoded"):
            r = self.d.request("POST", "/v1/images", b"{}", {"Content-Type": kind} if kind else {})
            self.problem(r, 415, "unsupported-media")
        r = self.d.request("POST", "/v1/images", b"{}", {"Content-Type": "application/json",
                                                         "Content-Encoding": "gzip"})
        self.problem(r, 415, "unsupported-media")

    def test_negotiation(self):
        for spec, accept in (({"prompt": "x"}, "text/html"),
                             ({"prompt": "x", "format": "jpeg"}, "image/png"),
                             ({"prompt": "x", "n": 2}, None), ({"prompt": "x", "n": 2}, "*/*"),
                             ({"prompt": "x"}, "image/png;q=0")):
            with self.subTest(accept=accept):
                self.problem(self.d.images(spec, accept), 406, "not-acceptable")
        for accept, kind in (("application/json, image/png;q=0.5", "application/json"),
                             ("application/json;q=0.5, image/*", "image/png"),
                             ("image/png, */*;q=0.1", "image/png"),
                             ("application/*", "application/json")):
            r = self.d.images({"prompt": "x", "steps": 1}, accept)
            self.assertEqual(r.getheader("Content-Type"), kind, accept)

    def test_bad_multipart(self):
        params = ("params", b'{"prompt":"x","steps":1}')
        good, headers = multipart([params])
        self.assertEqual(self.d.request("POST", "/v1/images", good, headers).status, 200)
        kind = "multipart/form-data; boundary="
        for body, content_type in (
                (good[:-4], kind + "xXxBoundaryxXx"), (good + b"x", kind + "xXxBoundaryxXx"),
                (b"preamble\r\n" + good, kind + "xXxBoundaryxXx"), (good, "multipart/form-data"),
                (good, kind + "x" * 71), (good, kind + '"'), (good, kind + "other"),
                (multipart([params, params])[0], kind + "xXxBoundaryxXx"),
                (multipart([params, ("edge", PNG), ("edge", PNG)])[0], kind + "xXxBoundaryxXx"),
                (multipart([("a/b", b"x")])[0], kind + "xXxBoundaryxXx"),
                (multipart([("other", b"x")])[0], kind + "xXxBoundaryxXx"),
                (good.replace(b'; name="params"', b""), kind + "xXxBoundaryxXx"),
                (multipart([params + ("Content-Transfer-Encoding: base64",)])[0],
                 kind + "xXxBoundaryxXx")):
            r = self.d.request("POST", "/v1/images", body, {"Content-Type": content_type})
            with self.subTest(kind=content_type, body=body[:60]):
                self.problem(r, 400, "malformed-multipart")
        r = self.d.request("POST", "/v1/images", *multipart([params, ("edge", PNG)]))
        self.problem(r, 400, "invalid-request")  # a part that nobody names
        r = self.d.request("POST", "/v1/images",
                           good, {"Content-Type": "multipart/form-data; charset=utf-8; "
                                                  'boundary="xXxBoundaryxXx"; x=y'})
        self.assertEqual(r.status, 200, r.body)

    def test_body_limits(self):
        # announced: refused before a byte of it is read, and no 100 Continue
        out = self.d.raw(b"POST /v1/images HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                         b"Content-Length: 1048577\r\nExpect: 100-continue\r\n\r\n")
        self.assertTrue(out.startswith(b"HTTP/1.1 413 "), out)
        self.assertIn(b"Connection: close", out)
        # chunked: cut at the limit
        def chunks(n):
            for _ in range(n):
                yield b"x" * 65536
        c = self.d.connect()
        c.request("POST", "/v1/images", chunks(18), {"Content-Type": "application/json",
                                                     "Transfer-Encoding": "chunked"},
                  encode_chunked=True)
        r = c.getresponse()
        r.body = r.read()
        self.problem(r, 413, "too-large")
        c.close()
        # without end: the connection is cut
        c = self.d.connect()
        with self.assertRaises(OSError):
            c.request("POST", "/v1/images", chunks(64), {"Content-Type": "application/json",
                                                         "Transfer-Encoding": "chunked"},
                      encode_chunked=True)
            c.getresponse()
            raise OSError("answered and closed")
        c.close()
        # many tiny chunks are just bytes
        body = json.dumps({"prompt": "x", "steps": 1}).encode()
        out = self.d.raw(b"POST /v1/images HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                         b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" +
                         b"".join(b"1\r\n%c\r\n" % b for b in body) + b"0\r\n\r\n", 10)
        self.assertTrue(out.startswith(b"HTTP/1.1 200 "), out[:200])

    def test_expect(self):
        s = socket.create_connection(("127.0.0.1", self.d.port), timeout=10)
        body = b'{"prompt":"x","steps":1}'
        s.sendall(b"POST /v1/images HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                  b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body))
        self.assertTrue(s.recv(100).startswith(b"HTTP/1.1 100 "))
        s.sendall(body)
        self.assertTrue(s.recv(100).startswith(b"HTTP/1.1 200 "))
        s.close()

    def test_pipelining(self):
        out = self.d.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 4 +
                         b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 5)
        self.assertEqual(out.count(b"HTTP/1.1 200 "), 4)
        self.assertEqual(out.count(b"HTTP/1.1 404 "), 1)
        out = self.d.raw(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 999 +
                         b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 20)
        self.assertEqual(out.count(b"HTTP/1.1 200 "), 999)
        self.assertEqual(out.count(b"HTTP/1.1 404 "), 1)

    def test_keep_alive(self):
        c = self.d.connect()
        for _ in range(5):
            c.request("POST", "/v1/images", '{"prompt":"x","steps":1}',
                      {"Content-Type": "application/json"})
            r = c.getresponse()
            self.assertEqual(r.status, 200)
            r.read()
        c.close()

    def test_metrics(self):
        self.d.images({"prompt": "x"})
        seen, types = set(), {}
        for line in self.d.get("/metrics").body.decode().splitlines():
            if line.startswith("# TYPE "):
                types[line.split()[2]] = line.split()[3]
            elif not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                self.assertNotIn(name, seen)
                seen.add(name)
                float(value)
        for name, kind in types.items():
            self.assertEqual(name.endswith("_total"), kind == "counter", name)
        for name in ("controlnetd_ready", "controlnetd_queue_jobs", "process_open_fds",
                     "controlnetd_event_loop_lag_seconds", "controlnetd_worker_up"):
            self.assertIn(name, types)
        self.assertGreater(self.d.metric("controlnetd_jobs_finished_total", model="emoji",
                                         outcome="succeeded"), 0)
        count = len(seen)
        for i in range(50):
            self.d.get("/random/%d" % i)
            self.d.images({"prompt": "x", "model": "m%d" % i})
        now = [x for x in self.d.get("/metrics").body.decode().splitlines() if x[0] != "#"]
        self.assertLess(len(now), count + 20)  # no series per path or model name

    def test_log_is_json(self):
        evil = "/x%22%5c%7b?q=" + "a" * 300
        self.d.get(evil, {"User-Agent": 'a"b\\'})
        self.d.get("/healthz")
        self.d.until(lambda: any(e["path"] == evil for e in self.d.events("http.request")))
        self.assertNotIn("a red apple", self.d.log())  # no prompts


if __name__ == "__main__":
    main()
