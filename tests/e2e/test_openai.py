"""Clients of OpenAI's images API, as they speak."""
import base64
import json
import os
import urllib.parse

from cn_e2e import DATA, Case, Daemon, main, multipart

PNG = open(os.path.join(DATA, "golden", "images", "tiny", "edges-40x48.png"), "rb").read()


def events(body):
    """[(event, data)] of a stream's text."""
    found = []
    for block in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line and line[0] != ":")
        if "data" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


class Images(Case):
    @classmethod
    def setUpClass(cls):
        cls.d = Daemon()

    @classmethod
    def tearDownClass(cls):
        cls.d.__exit__(None, None, None)

    def ask(self, body, status=200, path="generations", headers=None):
        r = self.d.request("POST", "/v1/images/" + path, json.dumps(body),
                           dict({"Content-Type": "application/json"}, **(headers or {})))
        self.assertEqual(r.status, status, r.body[:500])
        return r if body.get("stream") and status == 200 else json.loads(r.body)

    def test_both_members_unless_one_is_named(self):
        body = {"prompt": "a", "size": "64x64", "steps": 2, "n": 2, "seed": 5,
                "model": "gpt-image-1", "quality": "high", "user": "u"}
        doc = self.ask(body)
        self.assertEqual([d["seed"] for d in doc["data"]], [5, 6])
        self.assertEqual(doc["usage"]["total_tokens"], 0)
        for d in doc["data"]:
            url = urllib.parse.urlsplit(d["url"])
            self.assertEqual((url.scheme, url.hostname), ("http", "127.0.0.1"))
            r = self.d.get(url.path + "?" + url.query)
            self.assertEqual(r.body, base64.b64decode(d["b64_json"]))
        self.assertEqual(set(self.ask(dict(body, response_format="b64_json"))["data"][0]),
                         {"seed", "b64_json"})
        self.assertEqual(set(self.ask(dict(body, response_format="url"))["data"][0]),
                         {"seed", "url"})

    def test_errors(self):
        for body, param, code in (({}, "prompt", "validation"),
                                  ({"prompt": "a", "n": 11}, "n", "validation"),
                                  ({"prompt": "a", "size": "big"}, "size", "validation"),
                                  ({"prompt": "a", "size": "9999x64"}, "size", "validation"),
                                  ({"prompt": "a", "model": "nope"}, "model", "model_not_found"),
                                  ({"prompt": "a", "n": "1"}, "n", "validation"),
                                  ({"prompt": "a", "seed": 9007199254740993}, "seed", "validation"),
                                  ({"prompt": "a", "steps": 2, "num_inference_steps": 3},
                                   "num_inference_steps", "validation"),
                                  ({"prompt": "a", "guidance_scale": 2, "cfg_scale": 900},
                                   "cfg_scale", "validation"),
                                  ({"prompt": "a", "background": "transparent"}, "background",
                                   "validation")):
            with self.subTest(param):
                e = self.ask(body, 400)["error"]
                self.assertEqual((e["type"], e["param"], e["code"]),
                                 ("invalid_request_error", param, code))
        doc = self.ask({"prompt": "a", "steps": 1, "nonsense": 1})
        self.assertEqual([w["pointer"] for w in doc["warnings"]], ["/nonsense"])

    def test_stream(self):
        r = self.ask({"prompt": "step=20", "steps": 9, "stream": True, "partial_images": 2})
        self.assertTrue(r.getheader("Content-Type").startswith("text/event-stream"))
        got = events(r.body)
        self.assertEqual([e for e, _ in got][-1], "image_generation.completed")
        partial = [d["partial_image_index"] for e, d in got if e.endswith("partial_image")]
        self.assertEqual(partial, list(range(len(partial))))
        self.assertLessEqual(len(partial), 2)
        for e, d in got:
            self.assertEqual(e, d["type"])
            self.assertTrue(base64.b64decode(d["b64_json"]))
        got = events(self.ask({"prompt": "crash=1 fail=INTERNAL", "stream": True}).body)
        self.assertEqual(got[-1][0], "error")
        self.assertEqual(got[-1][1]["error"]["type"], "server_error")

    def test_edits(self):
        for parts in ([("prompt", b"a"), ("image", PNG), ("n", b"1"), ("steps", b"2")],
                      [("image[]", PNG), ("image[]", PNG), ("prompt", b"a"), ("steps", b"2")],
                      [("image", PNG), ("mask", PNG), ("prompt", b"a"), ("size", b"auto")]):
            body, headers = multipart(parts)
            r = self.d.request("POST", "/v1/images/edits?api-version=2025-04-01", body,
                               headers)
            self.assertEqual(r.status, 200, r.body[:300])
        body, headers = multipart([("prompt", b"a")])
        r = self.d.request("POST", "/v1/images/edits", body, headers)
        self.assertEqual((r.status, json.loads(r.body)["error"]["param"]), (400, "image"))

    def test_models(self):
        one = json.loads(self.d.get("/v1/models/emoji").body)
        self.assertEqual((one["id"], one["object"], one["kind"]), ("emoji", "model", "base"))
        self.assertEqual(self.d.get("/v1/models/nobody").status, 404)
        doc = json.loads(self.d.get("/v1/models").body)
        self.assertEqual(doc["object"], "list")
        self.assertIn("emoji", [m["id"] for m in doc["data"]])
        self.assertTrue(doc["models"])


if __name__ == "__main__":
    main()
