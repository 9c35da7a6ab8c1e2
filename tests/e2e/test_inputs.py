"""Pictures that are uploaded once and named in many requests."""
import hashlib
import json
import os
import struct
import tempfile
import zlib

from cn_e2e import Case, Daemon, main, multipart

ANNA, BERT = "key-of-anna-0000", "key-of-bert-0000"


def png(w, h, shade=255):
    def chunk(kind, data):
        return (struct.pack(">I", len(data)) + kind + data
                + struct.pack(">I", zlib.crc32(kind + data)))
    rows = (b"\0" + bytes([shade]) * w) * h
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


PICTURE = png(32, 32)
ID = hashlib.sha256(PICTURE).hexdigest()


def bearer(key, **more):
    return dict({"Authorization": "Bearer " + key}, **more)


class Inputs(Case):
    def upload(self, d, data=PICTURE, headers=None):
        return d.request("POST", "/v1/inputs", data,
                         dict({"Content-Type": "image/png"}, **(headers or {})))

    def test_its_life(self):
        with Daemon() as d:
            r = self.upload(d)
            self.assertEqual(r.status, 201, r.body)
            self.assertEqual(r.getheader("Location"), "/v1/inputs/" + ID)
            doc = json.loads(r.body)
            self.assertEqual((doc["id"], doc["reference"], doc["bytes"], doc["media_type"]),
                             (ID, "input:" + ID, len(PICTURE), "image/png"))
            self.assertEqual(self.upload(d).status, 200)
            body, headers = multipart([("file", PICTURE)])
            self.assertEqual(d.request("POST", "/v1/inputs", body, headers).status, 200)
            d.restart()
            r = d.get("/v1/inputs/" + ID)
            self.assertEqual((r.status, json.loads(r.body)["id"]), (200, ID))
            r = d.request("DELETE", "/v1/inputs/" + ID)
            self.assertEqual(r.status, 204)
            self.problem(d.get("/v1/inputs/" + ID), 404, "not-found")
            self.problem(d.request("DELETE", "/v1/inputs/" + ID), 404, "not-found")
            for name in ("x", ID[:-1], ID.upper()):
                self.problem(d.get("/v1/inputs/" + name), 404, "not-found")

    def test_jobs_name_it(self):
        with Daemon() as d:
            self.upload(d)
            spec = {"prompt": "x", "seed": 1, "init_image": "input:" + ID}
            r = d.images(spec)
            self.assertEqual(r.status, 200, r.body)
            r = d.jobs(spec)
            self.assertEqual(r.status, 202, r.body)
            job = json.loads(r.body)["id"]
            d.request("DELETE", "/v1/inputs/" + ID)  # the job has a copy
            self.assertEqual(d.wait_job(job)["state"], "succeeded")
            self.problem(d.images(spec), 422, "validation", "/init_image")
            self.problem(d.images(dict(spec, init_image="input:../x")), 422, "validation",
                         "/init_image")

    def test_the_same_request_however_the_picture_comes(self):
        import base64
        with Daemon() as d:
            self.upload(d)
            key = {"Idempotency-Key": "one"}
            a = d.jobs({"prompt": "x", "seed": 1, "init_image": "input:" + ID}, key)
            b = d.jobs({"prompt": "x", "seed": 1,
                        "init_image": base64.b64encode(PICTURE).decode()}, key)
            self.assertEqual((a.status, b.status), (202, 202), b.body)
            self.assertEqual(json.loads(a.body)["id"], json.loads(b.body)["id"])

    def test_what_is_refused(self):
        with Daemon("--set", "limits.max_image_mb=1", "--set", "store.tenant_inputs=2",
                    "--set", "store.tenant_inputs_mb=1") as d:
            self.problem(self.upload(d, b"GIF89a...."), 415, "unsupported-media")
            self.problem(self.upload(d, b""), 415, "unsupported-media")
            self.problem(self.upload(d, headers={"Content-Type": "text/plain"}), 415,
                         "unsupported-media")
            self.problem(self.upload(d, headers={"Content-Encoding": "gzip"}), 415,
                         "unsupported-media")
            body, headers = multipart([("a", PICTURE), ("b", PICTURE)])
            self.problem(d.request("POST", "/v1/inputs", body, headers), 400, "malformed-multipart")
            large = PICTURE + os.urandom(1 << 20)
            self.problem(self.upload(d, large), 413, "too-large")
            self.assertEqual(self.upload(d, PICTURE + os.urandom(900000)).status, 201)
            self.problem(self.upload(d, PICTURE + os.urandom(900000)), 429, "quota-exceeded")
            self.assertEqual(self.upload(d, png(8, 8)).status, 201)
            self.problem(self.upload(d, png(8, 9)), 429, "quota-exceeded")

    def test_tenants_are_apart(self):
        with tempfile.NamedTemporaryFile("w", suffix=".keys") as keys:
            keys.write("anna:%s\nbert:%s\n" % (ANNA, BERT))
            keys.flush()
            with Daemon("--set", "auth.keys_file=" + keys.name) as d:
                self.assertEqual(self.upload(d, headers=bearer(ANNA)).status, 201)
                path = "/v1/inputs/" + ID
                self.assertEqual(d.get(path, bearer(ANNA)).status, 200)
                self.problem(d.get(path, bearer(BERT)), 404, "not-found")
                self.problem(d.request("DELETE", path, None, bearer(BERT)), 404, "not-found")
                spec = {"prompt": "x", "init_image": "input:" + ID}
                self.problem(d.images(spec, headers=bearer(BERT)), 422, "validation", "/init_image")
                self.assertEqual(d.images(spec, headers=bearer(ANNA)).status, 200)
                self.problem(d.get(path), 401, "unauthenticated")

    def test_without_a_store(self):
        with Daemon("--set", "store.dir=") as d:
            self.problem(self.upload(d), 503, "no-store")
            self.problem(d.images({"prompt": "x", "init_image": "input:" + ID}), 422, "validation",
                         "/init_image")


if __name__ == "__main__":
    main()
