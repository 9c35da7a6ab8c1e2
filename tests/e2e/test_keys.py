"""Keys: who may do what, with which of them, and how they are made and taken away."""
import base64
import hashlib
import http.client
import json
import os
import re
import stat
import subprocess
import tempfile

from cn_e2e import DAEMON, SLOW, Case, Daemon, main

ROUTES = os.path.abspath("tests/e2e/list-routes")
# Of other dialects, whose errors have other shapes.
OTHERS = ("/sdapi/", "/controlnet/", "/internal/", "/v1/images/generations", "/v1/images/edits")
ANNA, BERT, ROOT, EVE, OLD = ("key-of-anna-0000", "key-of-bert-0000", "key-of-root-0000",
                              "key-of-nobody-00", "key-of-old-00000")
CARL, READER, SENDER, METER = ("key-of-carl-0000", "key-of-reader-00", "key-of-sender-00",
                               "key-of-meter-000")
FILE = ("anna:%s max_queued=2\nbert:sha256=%s tenant=anna\ncarl:%s\nroot:%s role=admin\n"
        "old:%s tenant=anna expires=2020-01-01\nreader:%s scopes=read tenant=anna\n"
        "sender:%s scopes=submit tenant=anna\nmeter:%s scopes=metrics tenant=anna\n"
        % (ANNA, hashlib.sha256(BERT.encode()).hexdigest(), CARL, ROOT, OLD, READER, SENDER, METER))
SPEC = {"prompt": "x", "steps": 1}


def bearer(key):
    return {"Authorization": "Bearer " + key}


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()}


class Keys(Case):
    """One daemon with a file of keys. Requests with wrong keys come from addresses of their own."""

    @classmethod
    def setUpClass(cls):
        cls.file = tempfile.NamedTemporaryFile("w", suffix=".keys")
        cls.file.write(FILE)
        cls.file.flush()
        cls.d = Daemon("--set", "auth.keys_file=" + cls.file.name)
        cls.address = 1

    @classmethod
    def tearDownClass(cls):
        cls.d.__exit__(None, None, None)
        cls.file.close()

    def elsewhere(self, method, path, body=None, headers=None, address=None):
        if address is None:
            Keys.address += 1
            address = "127.0.%d.%d" % (Keys.address // 200 + 1, Keys.address % 200 + 2)
        c = http.client.HTTPConnection("127.0.0.1", self.d.port, timeout=30 * SLOW,
                                       source_address=(address, 0))
        try:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            r.body = r.read() if not path.endswith("/events") or r.status != 200 else b""
            return r
        finally:
            c.close()

    def test_matrix(self):
        """Every route and method of the table, with every kind of key."""
        own = json.loads(self.d.jobs(SPEC, bearer(ANNA)).body)["id"]
        self.d.wait_job(own, headers=bearer(ANNA))
        kinds = {"none": None, "bad": EVE, "cut": ANNA[:-1], "empty": "", "expired": OLD,
                 "other tenant": CARL, "good": ANNA, "same tenant": BERT, "admin": ROOT,
                 "read": READER, "submit": SENDER, "metrics": METER}
        has = {"good": "submit read metrics", "same tenant": "submit read metrics",
               "other tenant": "submit read metrics", "admin": "submit read metrics admin",
               "read": "read", "submit": "submit", "metrics": "metrics"}
        rows = subprocess.run([ROUTES], capture_output=True, text=True, check=True).stdout.split("\n")
        cells = 0
        for row in sorted(rows, key=lambda r: r.startswith("DELETE")):  # what removes comes last
            if not row:
                continue
            method, path, need = row.split()[:3]
            body, headers = None, {}
            if method == "POST" and path in ("/v1/jobs", "/v1/images"):
                body, headers = json.dumps(SPEC), {"Content-Type": "application/json"}
            about_job = "{id}" in path
            native = not path.startswith(OTHERS)
            for kind, key in kinds.items():
                where = path.replace("{id}", own).replace("{index}", "0").replace("{name}", "emoji")
                with self.subTest(method=method, path=path, kind=kind):
                    cells += 1
                    r = self.elsewhere(method, where, body,
                                       dict(headers, **({} if key is None else bearer(key))))
                    if need == "open":
                        self.assertIn(r.status, (200, 503) if path == "/readyz" else (200,))
                    elif kind not in has:
                        self.assertEqual(r.status, 401, r.body)
                        self.assertTrue(r.getheader("WWW-Authenticate")
                                        .startswith(("Bearer", "Basic")))
                        if method != "HEAD" and native:
                            self.problem(r, 401, "unauthenticated")
                    elif need not in has[kind].split():
                        self.assertEqual(r.status, 403, r.body)
                        if method != "HEAD" and native:
                            self.assertIn("the scope " + need, self.problem(r, 403, "forbidden")["detail"])
                    elif about_job and kind == "other tenant":
                        self.assertEqual(r.status, 404, r.body)
                    else:
                        self.assertNotIn(r.status, (401, 403, 429), r.body)
        self.assertGreaterEqual(cells, 12 * 20)

    def test_tenants_see_their_own(self):
        r = self.d.jobs({"prompt": "x"}, bearer(ANNA))
        id = json.loads(r.body)["id"]
        url = self.d.wait_job(id, headers={"X-Api-Key": BERT})["images"][0]["url"]
        for key, status in ((ANNA, 200), (BERT, 200), (ROOT, 200), (CARL, 404)):
            for path in ("/v1/jobs/" + id, url, "/v1/jobs/%s/events" % id):
                self.assertEqual(self.d.get(path, bearer(key)).status, status, (key, path))
            listed = [j["id"] for j in self.d.list(bearer(key))]
            self.assertEqual(id in listed, key in (ANNA, BERT), key)
        self.problem(self.d.request("DELETE", "/v1/jobs/" + id, None, bearer(CARL)), 404, "not-found")
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

    def test_carriers(self):
        for headers, status in ((basic("me", ANNA), 200), (basic(ANNA, ""), 200), (basic("", ANNA), 200),
                                (dict(basic("proxy", "secret"), **{"X-Api-Key": ANNA}), 200),
                                ({"Authorization": "bearer " + ANNA}, 200),
                                (basic("me", EVE), 401), ({"Authorization": "Basic x"}, 401)):
            self.assertEqual(self.elsewhere("GET", "/v1/jobs", None, headers).status, status, headers)

    def test_guessing(self):
        for n in range(30):
            r = self.elsewhere("GET", "/v1/jobs", None, bearer(EVE), "127.9.9.9")
            if n < 20:
                self.problem(r, 401, "unauthenticated")
            else:
                self.problem(r, 429, "too-many-wrong-keys")
                self.assertLessEqual(int(r.getheader("Retry-After")), 60)
            self.assertEqual(self.elsewhere("GET", "/v1/jobs", None, bearer(ANNA), "127.9.9.9").status, 200)
        self.problem(self.elsewhere("GET", "/v1/jobs", None, {}, "127.9.9.9"), 401, "unauthenticated")
        self.problem(self.elsewhere("GET", "/v1/jobs", None, bearer(EVE), "127.9.9.8"), 401,
                     "unauthenticated")

    def test_tickets(self):
        id = json.loads(self.d.jobs({"prompt": "x"}, bearer(ANNA)).body)["id"]
        other = json.loads(self.d.jobs({"prompt": "x"}, bearer(ANNA)).body)["id"]
        self.problem(self.d.request("POST", "/v1/jobs/%s/ticket" % id, None, bearer(CARL)), 404, "not-found")
        r = self.d.request("POST", "/v1/jobs/%s/ticket" % id, None, bearer(ANNA))
        self.assertEqual(r.status, 201, r.body)
        doc = json.loads(r.body)
        self.assertRegex(doc["ticket"], r"^e~[0-9]{1,18}~[A-Za-z0-9._@-]{0,63}~[0-9a-f]{64}$")
        self.problem(self.d.get(doc["events"].replace(id, other)), 401, "unauthenticated")
        self.problem(self.d.get("/v1/jobs/%s?ticket=%s" % (id, doc["ticket"])), 401, "unauthenticated")
        for _ in range(3):  # as a browser comes back
            self.assertEqual([e[0] for e in self.d.stream(doc["events"])][-1], "done")
        for _ in range(1100):  # one tenant cannot use up what others have
            self.d.request("POST", "/v1/jobs/%s/ticket" % other, None, bearer(BERT))
        self.assertEqual(self.d.get(doc["events"]).status, 200)
        self.assertNotIn(doc["ticket"], self.d.log())
        self.assertNotIn(doc["ticket"][-32:], self.d.log())

    def test_links_to_pictures(self):
        id = json.loads(self.d.jobs({"prompt": "x", "n": 2}, bearer(ANNA)).body)["id"]
        other = json.loads(self.d.jobs({"prompt": "x"}, bearer(ANNA)).body)["id"]
        path = "/v1/jobs/%s/links" % id
        self.problem(self.d.request("POST", path, None, bearer(CARL)), 404, "not-found")
        for wrong in ("0", "-1", "604801", "x", ""):
            doc = self.problem(self.d.request("POST", path + "?expires_in_s=" + wrong, None, bearer(ANNA)),
                               400, "invalid-request")
            self.assertEqual(doc["detail"], "expires_in_s: must be an integer between 1 and 604800")
        r = self.d.request("POST", path, None, bearer(ANNA))
        self.assertEqual(r.status, 201, r.body)
        links = json.loads(r.body)["images"]
        self.assertEqual(len(links), 2)
        for i in (id, other):
            self.d.wait_job(i, headers=bearer(ANNA))
        for link in links:  # whoever has it, and as often as he likes; HEAD and Range too
            self.assertEqual(self.d.get(link).status, 200)
            self.assertEqual(self.d.request("HEAD", link).status, 200)
            self.assertEqual(self.d.get(link, {"Range": "bytes=0-3"}).body, b"\x89PNG")
        ticket = links[0].split("=")[1]
        self.assertRegex(ticket, r"^r~[0-9]{1,18}~[A-Za-z0-9._@-]{0,63}~[0-9a-f]{64}$")
        events = json.loads(self.d.request("POST", "/v1/jobs/%s/ticket" % id, None, bearer(ANNA)).body)
        for url in (links[0].replace(id, other), links[0][:-1], "/v1/jobs/%s?ticket=%s" % (id, ticket),
                    "/v1/jobs/%s/events?ticket=%s" % (id, ticket),
                    "/v1/jobs/%s/images/0?ticket=%s" % (id, events["ticket"]),
                    links[0].replace("~", "~1", 1)):  # a later end
            doc = self.problem(self.d.get(url), 401, "unauthenticated")
            self.assertEqual(doc["detail"], "the ticket is not valid, or its time is over"
                             if "/images/" in url or "/events" in url
                             else "tickets are not taken here, and no API key came with the request")
        short = json.loads(self.d.request("POST", path + "?expires_in_s=1", None, bearer(ANNA)).body)
        self.d.until(lambda: self.d.get(short["images"][0]).status == 401, 30)
        self.assertNotIn(ticket[-32:], self.d.log())

    def test_what_is_no_ticket_is_refused(self):
        """Also beside a key: who sends one means it."""
        id = json.loads(self.d.jobs(SPEC, bearer(ANNA)).body)["id"]
        self.d.wait_job(id, headers=bearer(ANNA))
        good = json.loads(self.d.request("POST", "/v1/jobs/%s/ticket" % id, None, bearer(ANNA)).body)["ticket"]
        for bad in ("", "x", good[:-1], good + "0", good.replace("e~", "r~"), good.replace("e~", "e~a")):
            url = "/v1/jobs/%s/events?ticket=%s" % (id, bad)
            doc = self.problem(self.d.get(url, bearer(ANNA)), 400, "invalid-request")
            self.assertEqual(doc["errors"][0]["parameter"], "ticket")
            self.problem(self.d.get(url), 401, "unauthenticated")
        self.assertEqual(self.d.get("/v1/jobs/%s/events?ticket=%s" % (id, good), bearer(ANNA)).status, 200)

    def test_why_models_are_broken(self):
        """/readyz tells it to those who may ask /v1/models."""
        for key, told in ((None, False), (METER, False), (READER, True), (ANNA, True), (ROOT, True)):
            r = self.elsewhere("GET", "/readyz?verbose", None, {} if key is None else bearer(key))
            reason = json.loads(r.body)["models_broken"][0]["reason"]
            self.assertEqual("conv_in.weight" in reason, told, (key, reason))

    def test_what_administrators_see(self):
        """Paths and command lines are not for everybody."""
        secrets = re.compile(r"/(tmp|usr|work|home|var)/")
        for key in (None, ANNA, EVE, METER):
            r = self.elsewhere("GET", "/readyz?verbose", None, {} if key is None else bearer(key))
            self.assertNotRegex(r.body.decode(), secrets)
        self.assertEqual(self.elsewhere("GET", "/readyz?verbose", None, bearer(ROOT)).status, 200)


class Limits(Case):
    def daemon(self, text, *args):
        d = Daemon(*args)
        with open(os.path.join(d.dir, "keys"), "w") as f:
            f.write(text)
        d.command += ["--set", "auth.keys_file=" + os.path.join(d.dir, "keys")]
        d.stop()
        d.start(wait=False)
        d.until(lambda: d.get("/readyz").status == 200, 20)
        return d

    def test_requests_per_minute(self):
        with self.daemon("anna:%s requests_per_minute=3\nbert:%s\n" % (ANNA, BERT)) as d:
            for n in range(5):
                r = d.get("/v1/samplers", bearer(ANNA))
                left = max(2 - n, 0)
                self.assertEqual(r.getheader("RateLimit-Policy"), '"key";q=3;w=60')
                self.assertRegex(r.getheader("RateLimit"), '^"key";r=%d;t=[0-9]+$' % left)
                if n < 3:
                    self.assertEqual(r.status, 200)
                else:
                    self.problem(r, 429, "rate-limited")
                    self.assertTrue(1 <= int(r.getheader("Retry-After")) <= 60)
            r = d.get("/v1/samplers", bearer(BERT))
            self.assertEqual((r.status, r.getheader("RateLimit")), (200, None))
            self.assertEqual(d.get("/healthz").status, 200)

    def test_models(self):
        text = "anna:%s models=emoji\nbert:%s models=other\n" % (ANNA, BERT)
        with self.daemon(text) as d:
            self.assertEqual(d.images(SPEC, headers=bearer(ANNA)).status, 200)
            self.problem(d.images(SPEC, headers=bearer(BERT)), 403, "forbidden", "/model")
            self.problem(d.jobs(dict(SPEC, model="emoji"), bearer(BERT)), 403, "forbidden", "/model")

    def test_behind_a_proxy(self):
        with self.daemon("anna:%s\n" % ANNA, "--set", "http.trusted_proxies=127.0.0.1") as d:
            for n in range(45):
                client = "203.0.113.%d" % (n % 2)
                r = d.get("/v1/jobs", dict(bearer(EVE), **{"X-Forwarded-For": "10.0.0.%d, %s" % (n, client)}))
                self.assertEqual(r.status, 401 if n < 40 else 429)
            self.assertEqual(d.logged(r)["peer"], client)
            self.assertEqual(d.get("/v1/jobs", bearer(EVE)).status, 401)  # the proxy itself


class Commands(Case):
    """controlnetd keys add|list|revoke, beside a daemon that runs."""

    def keys(self, d, *args, status=0):
        at = d.command.index(DAEMON)
        store = [a for a in d.command if a.startswith("store.dir=")][0]
        r = subprocess.run(d.command[:at + 1] + ["keys", args[0], "--set", store, *args[1:]],
                           capture_output=True, text=True, timeout=60)
        self.assertEqual(r.returncode, status, r.stderr)
        return r

    def test_a_name_that_none_is_is_told_what_may_be(self):
        with Daemon() as d:
            for name in ("an na", "a:b", "", "\u00e4", "n" * 64):
                r = self.keys(d, "add", name, status=1)
                self.assertIn("letters, digits and . _ @ -", r.stderr)
            self.assertFalse(os.path.exists(os.path.join(d.dir, "store", "keys")))

    def test_a_key_comes_and_goes(self):
        with Daemon() as d:
            self.assertEqual(d.get("/v1/jobs").status, 200)  # nobody has a key
            r = self.keys(d, "add", "anna", "--scopes", "submit,read", "--models", "emoji")
            anna = r.stdout.strip()
            self.assertRegex(anna, r"^cnk_[0-9a-z]{8}_[0-9a-z]{40}$")
            d.until(lambda: d.get("/v1/jobs").status == 401, 10)  # without a reload
            self.assertEqual(d.get("/v1/jobs", bearer(anna)).status, 200)
            self.assertEqual(d.images(SPEC, headers=basic("x", anna)).status, 200)
            self.problem(d.get("/metrics", bearer(anna)), 403, "forbidden")
            path = os.path.join(d.dir, "store", "keys")
            with open(path) as f:
                self.assertNotIn(anna.split("_")[2], f.read())
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
            root = self.keys(d, "add", "root", "--scopes=admin", "--expires=1d").stdout.strip()
            d.until(lambda: d.get("/v1/jobs?all=true", bearer(root)).status == 200, 10)
            listed = self.keys(d, "list").stdout
            self.assertIn(anna.split("_")[1], listed)
            self.assertNotIn(anna.split("_")[2], listed)
            id = json.loads(d.jobs(SPEC, bearer(anna)).body)["id"]
            ticket = json.loads(d.request("POST", "/v1/jobs/%s/ticket" % id, None, bearer(anna)).body)
            self.assertEqual(d.get(ticket["events"]).status, 200)
            d.restart()
            self.assertEqual(d.get(ticket["events"]).status, 200)  # the secret outlives the process
            self.keys(d, "revoke", anna.split("_")[1])
            d.until(lambda: d.get("/v1/jobs", bearer(anna)).status == 401, 10)
            self.assertEqual(d.get(ticket["events"]).status, 401)
            self.keys(d, "revoke", "root")
            d.until(lambda: d.get("/v1/jobs", bearer(root)).status == 401, 10)
            self.assertEqual(d.get("/v1/jobs").status, 401)  # none is left, and nobody comes in
            self.keys(d, "revoke", "root", status=1)
            with open(path, "w"):
                pass  # cut by somebody
            d.until(lambda: any(e["outcome"] == "failed" for e in d.events("keys.read")), 10)
            os.unlink(path)
            self.assertEqual(d.get("/v1/jobs").status, 401)

    def test_mistakes(self):
        with Daemon() as d:
            for args in (["add", "a b"], ["add", "a", "--scopes", "all"], ["add", "a", "--expires", "1999-01-01"],
                         ["add", "a", "--expires", "soon"], ["add", "a", "--models", "a b"],
                         ["add", "a", "--requests-per-minute", "0"], ["revoke", "nobody"]):
                self.assertTrue(self.keys(d, *args, status=1).stderr.startswith("controlnetd: "), args)
            for args in (["add"], ["add", "a", "b"], ["list", "a"], ["frob"], ["add", "a", "--nope"]):
                self.keys(d, *args, status=2)
            self.assertFalse(os.path.exists(os.path.join(d.dir, "store", "keys")))
            for _ in range(2):
                self.keys(d, "add", "twin")
            self.assertIn("2 keys", self.keys(d, "revoke", "twin", status=1).stderr)

    def test_plain_keys_are_warned_of(self):
        with Daemon() as d:
            path = os.path.join(d.dir, "store", "keys")
            with open(path, "w") as f:
                f.write("# mine\nanna:%s\n" % ANNA)
            d.until(lambda: d.events("keys.plain"), 10)
            self.assertNotIn(ANNA, d.log())
            self.keys(d, "add", "bert")
            with open(path) as f:
                text = f.read()
            self.assertIn("\n# mine\nanna:%s\n" % ANNA, text)  # other lines stay
            self.assertIn("itself stands in the file", self.keys(d, "list").stdout)


if __name__ == "__main__":
    main()
