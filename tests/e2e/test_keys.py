"""Keys, tenants, roles, tickets: who may do what."""
import hashlib
import json
import os
import re
import tempfile

from cn_e2e import DATA, Case, Daemon, main

ANNA, BERT, ROOT, EVE = ("key-of-anna-0000", "key-of-bert-0000", "key-of-root-0000",
                         "key-of-nobody-00")
CONTRACT = os.path.join(DATA, "..", "..", "openapi.yaml")


def bearer(key):
    return {"Authorization": "Bearer " + key}


class Keys(Case):
    @classmethod
    def setUpClass(cls):
        cls.file = tempfile.NamedTemporaryFile("w", suffix=".keys")
        cls.file.write("anna:%s max_queued=2\nbert:sha256=%s tenant=anna\n"
                       "carl:key-of-carl-0000\nroot:%s role=admin\n"
                       % (ANNA, hashlib.sha256(BERT.encode()).hexdigest(), ROOT))
        cls.file.flush()
        cls.d = Daemon("--set", "auth.keys_file=" + cls.file.name)

    @classmethod
    def tearDownClass(cls):
        cls.d.__exit__(None, None, None)
        cls.file.close()

    def operations(self):
        """(method, path, is open, is for administrators), from the contract."""
        with open(CONTRACT) as f:
            text = f.read()
        text = text[text.index("\npaths:\n"):text.index("\ncomponents:\n")]
        for block in re.split(r"\n  (?=/)", text)[1:]:
            path = block.split(":", 1)[0]
            for piece in re.split(r"\n    (?=[a-z]+:)", block)[1:]:
                method = piece.split(":", 1)[0]
                if method in ("get", "post", "delete"):
                    yield (method.upper(), path, "\n      security: []" in piece,
                           "'403'" in piece and method == "post")

    def test_every_route(self):
        seen = 0
        for method, path, is_open, is_admin in self.operations():
            seen += 1
            path = re.sub(r"{id}", "0" * 26, re.sub(r"{index}", "0", re.sub(r"{name}", "nope", path)))
            for key in (None, EVE, ANNA[:-1], ""):
                with self.subTest(method=method, path=path, key=key):
                    r = self.d.request(method, path, None, {} if key is None else bearer(key))
                    if is_open:
                        self.assertEqual(r.status, 200)
                    else:
                        self.problem(r, 401, "unauthenticated")
                        self.assertIn("Bearer", r.getheader("WWW-Authenticate"))
            with self.subTest(method=method, path=path):
                r = self.d.request(method, path, None, bearer(ANNA))
                if is_admin:
                    self.problem(r, 403, "forbidden")
                else:
                    self.assertNotIn(r.status, (401, 403))
                self.assertNotIn(self.d.request(method, path, None, bearer(ROOT)).status, (401, 403))
        self.assertGreaterEqual(seen, 17)

    def test_tenants_see_their_own(self):
        r = self.d.jobs({"prompt": "x"}, bearer(ANNA))
        id = json.loads(r.body)["id"]
        url = self.d.wait_job(id, headers={"X-Api-Key": BERT})["images"][0]["url"]
        for key, status in ((ANNA, 200), (BERT, 200), (ROOT, 200), ("key-of-carl-0000", 404)):
            for path in ("/v1/jobs/" + id, url, "/v1/jobs/%s/events" % id):
                self.assertEqual(self.d.get(path, bearer(key)).status, status, (key, path))
            listed = [j["id"] for j in self.d.list(bearer(key))]
            self.assertEqual(id in listed, key in (ANNA, BERT), key)
        self.problem(self.d.request("DELETE", "/v1/jobs/" + id, None, bearer("key-of-carl-0000")),
                     404, "not-found")
        self.problem(self.d.get("/v1/jobs?all=true", bearer(ANNA)), 403, "forbidden")
        r = self.d.get("/v1/jobs?all=true&limit=100", bearer(ROOT))
        self.assertIn(id, [j["id"] for j in json.loads(r.body)["jobs"]])
        # a key of one tenant is no key of another's
        key = {"Idempotency-Key": "mine"}
        ids = {json.loads(self.d.jobs({"prompt": "x"}, dict(bearer(k), **key)).body)["id"]
               for k in (ANNA, BERT, ROOT)}
        self.assertEqual(len(ids), 2)

    def test_quota(self):
        slow = {"prompt": "step=100", "steps": 100}
        ids = []
        for _ in range(2):
            ids.append(json.loads(self.d.jobs(slow, bearer(ROOT)).body)["id"])
        self.d.until(lambda: self.d.job(ids[0], bearer(ROOT))["state"] == "running")
        for _ in range(2):
            r = self.d.jobs(slow, bearer(ANNA))
            self.assertEqual(r.status, 202, r.body)
            ids.append(json.loads(r.body)["id"])
        self.problem(self.d.jobs(slow, bearer(BERT)), 429, "quota-exceeded")
        self.problem(self.d.images(slow, headers=bearer(BERT)), 429, "quota-exceeded")
        for id in ids:
            self.assertEqual(self.d.request("DELETE", "/v1/jobs/" + id, None,
                                            bearer(ROOT)).status, 200)

    def test_tickets(self):
        id = json.loads(self.d.jobs({"prompt": "x"}, bearer(ANNA)).body)["id"]
        other = json.loads(self.d.jobs({"prompt": "x"}, bearer(ANNA)).body)["id"]
        self.problem(self.d.request("POST", "/v1/jobs/%s/ticket" % id, None,
                                    bearer("key-of-carl-0000")), 404, "not-found")
        r = self.d.request("POST", "/v1/jobs/%s/ticket" % id, None, bearer(ANNA))
        self.assertEqual(r.status, 201, r.body)
        doc = json.loads(r.body)
        self.problem(self.d.get(doc["events"].replace(id, other)), 401, "unauthenticated")
        self.problem(self.d.get("/v1/jobs/%s?ticket=%s" % (id, doc["ticket"])), 401,
                     "unauthenticated")
        self.assertEqual([e[0] for e in self.d.stream(doc["events"])][-1], "done")
        self.problem(self.d.get(doc["events"]), 401, "unauthenticated")
        self.assertNotIn(doc["ticket"], self.d.log())


if __name__ == "__main__":
    main()
