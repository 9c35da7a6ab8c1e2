"""Jobs over HTTP: accepted, looked at, fetched, cancelled, repeated."""
import base64
import json
import time

from cn_e2e import SLOW, Aside, Case, Daemon, main, multipart, png_size, together

KEPT = 26  # characters of a job's id


class Jobs(Case):
    @classmethod
    def setUpClass(cls):
        cls.d = Daemon("--set", "log.requests_per_s=0")

    @classmethod
    def tearDownClass(cls):
        cls.d.__exit__(None, None, None)

    # ---- a job's way ----

    def test_submit_look_fetch(self):
        r = self.d.jobs({"prompt": "a red apple", "seed": 7, "n": 2, "width": 72, "height": 40})
        self.assertEqual(r.status, 202, r.body)
        doc = json.loads(r.body)
        self.assertEqual(len(doc["id"]), KEPT)
        self.assertEqual(r.getheader("Location"), "/v1/jobs/" + doc["id"])
        self.assertEqual(r.getheader("X-Job-Id"), doc["id"])
        self.assertTrue(1 <= int(r.getheader("Retry-After")) <= 60)
        self.assertIn(doc["state"], ("queued", "running"))
        job = self.d.wait_job(doc["id"])
        self.assertEqual((job["state"], job["n"], job["durable"], job["model"]),
                         ("succeeded", 2, True, "emoji"))
        self.assertEqual(job["parameters"]["seed"], 7)
        self.assertEqual([m["seed"] for m in job["images"]], [7, 8])
        self.assertTrue(job["created_at"] <= job["started_at"] <= job["ended_at"] <
                        job["expires_at"], job)
        for m in job["images"]:
            r = self.d.get(m["url"])
            self.assertEqual((r.status, r.getheader("Content-Type")), (200, "image/png"))
            self.assertEqual(png_size(r.body), (72, 40))
            self.assertEqual(len(r.body), m["bytes"])
            self.assertEqual(r.getheader("Controlnetd-Seed"), str(m["seed"]))
        self.problem(self.d.get(job["images"][0]["url"][:-1] + "2"), 404, "not-found")
        self.problem(self.d.get(job["images"][0]["url"][:-1] + "x"), 404, "not-found")

    def test_cache_and_ranges(self):
        job = self.d.wait_job(json.loads(self.d.jobs({"prompt": "x"}).body)["id"])
        url = job["images"][0]["url"]
        whole = self.d.get(url)
        etag = whole.getheader("ETag")
        self.assertIn("immutable", whole.getheader("Cache-Control"))
        r = self.d.get(url, {"If-None-Match": etag})
        self.assertEqual((r.status, r.body, r.getheader("ETag")), (304, b"", etag))
        r = self.d.get(url, {"If-None-Match": '"other"'})
        self.assertEqual(r.status, 200)
        r = self.d.get(url, {"Range": "bytes=10-19"})
        self.assertEqual((r.status, r.body), (206, whole.body[10:20]))
        self.assertEqual(r.getheader("Content-Range"), "bytes 10-19/%d" % len(whole.body))
        r = self.d.get(url, {"Range": "bytes=-5", "If-Range": etag})
        self.assertEqual((r.status, r.body), (206, whole.body[-5:]))
        r = self.d.get(url, {"Range": "bytes=-5", "If-Range": '"other"'})
        self.assertEqual((r.status, r.body), (200, whole.body))
        r = self.d.get(url, {"Range": "bytes=100000000-"})
        self.problem(r, 416, "range-not-satisfiable")
        self.assertEqual(r.getheader("Content-Range"), "bytes */%d" % len(whole.body))
        self.assertIsNone(r.getheader("ETag"))  # it is no picture, and nothing to keep
        self.assertEqual(r.getheader("Cache-Control"), "no-store")
        r = self.d.request("HEAD", url, headers={"Range": "bytes=10-19"})  # for GET only
        self.assertEqual((r.status, r.getheader("Content-Length")), (200, str(len(whole.body))))
        r = self.d.request("HEAD", url)
        self.assertEqual((r.status, r.body), (200, b""))
        self.assertEqual(r.getheader("Content-Length"), str(len(whole.body)))

    def test_images_come_one_by_one(self):
        job = json.loads(self.d.jobs({"prompt": "step=30", "steps": 10, "n": 3}).body)
        self.problem(self.d.get("/v1/jobs/%s/images/2" % job["id"]), 409, "not-finished")
        self.d.until(lambda: self.d.job(job["id"])["images"][0]["ready"])
        doc = self.d.job(job["id"])
        if doc["state"] == "running":
            self.assertFalse(doc["images"][2]["ready"], doc)
            self.assertTrue(0 < doc["progress"]["fraction"] < 1, doc)
            self.assertEqual(doc["progress"]["fraction"], round(doc["progress"]["fraction"], 3))
        self.assertEqual(self.d.get(doc["images"][0]["url"]).status, 200)
        self.assertEqual(self.d.wait_job(job["id"])["progress"]["fraction"], 1)

    def test_failure_is_told(self):
        for prompt, kind, pointer in (("fail=bad-format where=/controls/0/image", "validation",
                                       "/controls/0/image"), ("fail=internal", "internal", None)):
            job = self.d.wait_job(json.loads(self.d.jobs({"prompt": prompt}).body)["id"])
            self.assertEqual(job["state"], "failed")
            self.assertEqual(job["error"]["type"], "urn:controlnetd:problem:" + kind)
            if pointer:
                self.assertEqual(job["error"]["errors"][0]["pointer"], pointer)
            self.problem(self.d.get("/v1/jobs/%s/images/0" % job["id"]), 404, "not-found")

    def test_multipart(self):
        spec = {"prompt": "x", "controls": [{"model": "emoji-canny", "image": "part:edge"}]}
        body, headers = multipart([("params", json.dumps(spec).encode()), ("edge", b"x" * 400000)])
        r = self.d.request("POST", "/v1/jobs", body, headers)
        self.assertEqual(r.status, 202, r.body)
        job = self.d.wait_job(json.loads(r.body)["id"])
        self.assertEqual(job["parameters"]["controls"][0]["image_bytes"], 400000)

    # ---- cancelling ----

    def test_cancel(self):
        running = json.loads(self.d.jobs({"prompt": "step=50", "steps": 100}).body)["id"]
        queued = json.loads(self.d.jobs({"prompt": "step=50", "steps": 100}).body)["id"]
        self.d.until(lambda: self.d.job(running)["state"] == "running")
        for id in (queued, running):
            r = self.d.request("DELETE", "/v1/jobs/" + id)
            self.assertEqual(r.status, 200, r.body)
            self.assertEqual(json.loads(r.body)["state"], "cancelled")
            self.assertEqual(self.d.job(id)["state"], "cancelled")
        done = self.d.wait_job(json.loads(self.d.jobs({"prompt": "x"}).body)["id"])
        url = done["images"][0]["url"]
        self.assertEqual(self.d.get(url).status, 200)
        r = self.d.request("DELETE", "/v1/jobs/" + done["id"])
        self.assertEqual((r.status, r.body), (204, b""))
        for path in (url, "/v1/jobs/" + done["id"]):
            self.problem(self.d.get(path), 410, "gone")
        self.problem(self.d.request("DELETE", "/v1/jobs/" + done["id"]), 410, "gone")
        self.problem(self.d.request("DELETE", "/v1/jobs/nothing"), 404, "not-found")

    def test_cancel_leaves_what_is_over(self):
        def cancel(id):
            return self.d.request("POST", "/v1/jobs/%s/cancel" % id)

        running = json.loads(self.d.jobs({"prompt": "step=50", "steps": 100}).body)["id"]
        queued = json.loads(self.d.jobs({"prompt": "step=50", "steps": 100}).body)["id"]
        self.d.until(lambda: self.d.job(running)["state"] == "running")
        for id in (queued, running, running, queued):  # also a second time
            r = cancel(id)
            self.assertEqual((r.status, r.getheader("X-Job-Id")), (200, id), r.body)
            self.assertEqual(json.loads(r.body)["state"], "cancelled")
            self.assertNotIn("cancelling", json.loads(r.body))
            self.assertIsNone(r.getheader("Retry-After"))
        for id in (running, queued):
            events = list(self.d.stream("/v1/jobs/%s/events" % id))
            self.assertEqual(events[-1][0], "done")
            self.assertEqual(events[-1][2]["state"], "cancelled")
        done = self.d.wait_job(json.loads(self.d.jobs({"prompt": "x"}).body)["id"])
        kept = self.d.images({"prompt": "x"})  # one that lives in memory only
        self.assertEqual(kept.status, 200)
        for id in (done["id"], kept.getheader("X-Job-Id")):
            r = cancel(id)
            self.assertEqual((r.status, json.loads(r.body)["state"]), (200, "succeeded"), r.body)
            self.assertEqual(json.loads(r.body), self.d.job(id))
        self.assertEqual(self.d.get(done["images"][0]["url"]).status, 200)
        self.d.request("DELETE", "/v1/jobs/" + done["id"])
        self.problem(cancel(done["id"]), 410, "gone")
        self.problem(cancel("nothing"), 404, "not-found")
        r = self.d.get("/v1/jobs/%s/cancel" % running)
        self.problem(r, 405, "method-not-allowed")
        self.assertEqual(r.getheader("Allow"), "POST, OPTIONS")
        self.problem(self.d.request("POST", "/v1/jobs/%s/cancel" % running, b"{}",
                                    {"Content-Type": "application/json"}), 400, "invalid-request")

    def test_cancel_after_a_restart(self):
        """What only the store knows any more."""
        with Daemon() as d:
            done = d.wait_job(json.loads(d.jobs({"prompt": "x"}).body)["id"])
            d.restart()
            r = d.request("POST", "/v1/jobs/%s/cancel" % done["id"])
            self.assertEqual((r.status, json.loads(r.body)["state"]), (200, "succeeded"), r.body)
            self.assertEqual(d.get(done["images"][0]["url"]).status, 200)

    def test_filters_of_the_list(self):
        ids = [self.d.wait_job(json.loads(self.d.jobs({"prompt": "x", "steps": 1}).body)["id"])
               for _ in range(3)]
        middle = ids[1]["created_at"]
        def listed(query):
            r = self.d.get("/v1/jobs?" + query)
            self.assertEqual(r.status, 200, r.body)
            return [j["id"] for j in json.loads(r.body)["jobs"]], r.getheader("Link")
        mine = {j["id"] for j in ids}
        self.assertEqual([i for i in listed("limit=100&since=" + middle)[0] if i in mine][-1],
                         ids[1]["id"])
        self.assertNotIn(ids[2]["id"], listed("limit=100&before=" + middle)[0])
        self.assertEqual(listed("model=nothing"), ([], None))
        self.assertTrue(mine <= set(listed("limit=100&model=" + ids[0]["model"])[0]))
        first, link = listed("limit=1&state=succeeded&model=" + ids[0]["model"])
        self.assertTrue(link.endswith('>; rel="next"'), link)
        second = json.loads(self.d.get(link[1:link.index(">")]).body)["jobs"]
        self.assertEqual([first[0], second[0]["id"]], [ids[2]["id"], ids[1]["id"]])
        for bad in ("since=yesterday", "before=2026-13-01T00:00:00Z", "since=2026-01-01T00:00:00"):
            self.problem(self.d.get("/v1/jobs?" + bad), 400, "invalid-request")

    def test_hanging_up_cancels_who_waits(self):
        before = self.d.metric("controlnetd_jobs_finished_total", outcome="cancelled")
        kept = json.loads(self.d.jobs({"prompt": "step=20", "steps": 20}).body)["id"]
        events = self.d.stream("/v1/jobs/%s/events" % kept)
        next(events)
        events.close()
        c = self.d.connect()
        c.request("POST", "/v1/images", json.dumps({"prompt": "step=50", "steps": 150}),
                  {"Content-Type": "application/json"})
        self.d.until(lambda: [j for j in self.d.list() if not j["durable"] and
                              j["state"] in ("queued", "running")])
        c.close()
        self.d.until(lambda: self.d.metric("controlnetd_jobs_finished_total",
                                           outcome="cancelled") == before + 1)
        self.assertEqual(self.d.wait_job(kept)["state"], "succeeded")

    def hang_up(self, spec, headers):
        """Sends the request, hangs up when its job runs, and returns the job's id."""
        c = self.d.connect()
        c.request("POST", "/v1/images", json.dumps(spec),
                  dict({"Content-Type": "application/json"}, **headers))
        mine = lambda: [j["id"] for j in self.d.list() if j["state"] == "running" and
                        self.d.job(j["id"])["parameters"]["prompt"] == spec["prompt"]]
        self.d.until(mine)
        id = mine()[0]
        self.d.until(lambda: self.d.job(id)["images"][0]["ready"] or spec["n"] == 1)
        c.close()
        return id

    def test_hanging_up_between_parts(self):
        id = self.hang_up({"prompt": "step=5 parts", "steps": 100, "n": 16},
                          {"Accept": "multipart/mixed"})
        self.assertEqual(self.d.wait_job(id)["state"], "cancelled")

    def test_hanging_up_leaves_what_is_kept(self):
        spec = {"prompt": "step=10 keyed", "steps": 50, "n": 1, "seed": 9}
        key = {"Idempotency-Key": "hang-up"}
        id = self.hang_up(spec, key)
        r = self.d.images(spec, headers=key)  # the same job, waited for again
        self.assertEqual((r.status, r.getheader("X-Job-Id")), (200, id))
        id = self.hang_up(dict(spec, prompt="step=10 async"), {"Prefer": "respond-async, wait=30"})
        self.assertEqual(self.d.wait_job(id)["state"], "succeeded")

    def test_sync_job_is_listed_and_cancelled(self):
        answer = Aside(self.d.images, {"prompt": "step=50 sync", "steps": 150})
        self.d.until(lambda: [j for j in self.d.list() if j["state"] == "running"
                              and not j["durable"]])
        id = [j for j in self.d.list() if j["state"] == "running" and not j["durable"]][0]["id"]
        self.assertEqual(self.d.request("DELETE", "/v1/jobs/" + id).status, 200)
        r = answer.result()
        self.problem(r, 409, "cancelled")
        self.assertEqual(r.getheader("X-Job-Id"), id)

    # ---- warnings ----

    def test_warnings_of_replays_failures_and_after_a_restart(self):
        def told(doc):
            return [(w["code"], w["pointer"]) for w in doc["warnings"]]

        codes = [("no-effect", "/eta"), ("prompt-truncated", "/prompt")]
        field = 'no-effect;pointer="/eta", prompt-truncated;pointer="/prompt"'
        spec = {"prompt": "warn=prompt-truncated", "eta": 1, "steps": 2}
        with Daemon() as d:
            for _ in range(2):  # drawn; and told once more, by the next life
                for accept in ("image/png", "application/json", "multipart/mixed"):
                    r = d.images(spec, accept, {"Idempotency-Key": "warned"})
                    self.assertEqual(r.status, 200, r.body)
                    if accept == "image/png":
                        self.assertEqual(r.getheader("Controlnetd-Warnings"), field)
                    elif accept == "application/json":
                        self.assertEqual(told(json.loads(r.body)), codes)
                    else:
                        part = r.body.split(b"Content-Type: application/json\r\n\r\n")[1]
                        self.assertEqual(told(json.loads(part.split(b"\r\n--")[0])), codes)
                d.restart()
            id = r.getheader("X-Job-Id")
            self.assertEqual(told(d.job(id)), codes)
            self.assertEqual(told(d.list()[0]), codes)
            r = d.images(dict(spec, prompt="warn=prompt-truncated fail=invalid where=/prompt"))
            self.problem(r, 422, "validation", "/prompt")
            self.assertEqual(r.getheader("Controlnetd-Warnings"), field)
            self.problem(d.jobs({"prompt": "x", "kind": "dance"}), 422, "validation", "/kind")
            self.assertEqual(d.job(id)["kind"], "draw")

    # ---- preferences ----

    def test_prefer(self):
        slow = {"prompt": "step=40", "steps": 50}
        r = self.d.images(slow, headers={"Prefer": "respond-async"})
        self.assertEqual(r.status, 202, r.body)
        self.assertEqual(r.getheader("Preference-Applied"), "respond-async")
        first = r.getheader("X-Job-Id")
        start = time.monotonic()
        r = self.d.images(slow, headers={"Prefer": "respond-async, wait=1"})
        self.assertEqual(r.status, 202, r.body)
        self.assertGreater(time.monotonic() - start, 0.9)
        for id in (first, r.getheader("X-Job-Id")):
            self.assertEqual(self.d.request("DELETE", "/v1/jobs/" + id).status, 200)
        r = self.d.images({"prompt": "x", "seed": 3}, headers={"Prefer": "respond-async, wait=60"})
        self.assertEqual((r.status, r.getheader("Content-Type")), (200, "image/png"))
        self.assertEqual(png_size(r.body), (64, 64))
        self.assertTrue(self.d.job(r.getheader("X-Job-Id"))["durable"])
        r = self.d.images({"prompt": "x", "seed": 3, "n": 2}, "application/json",
                          headers={"Prefer": "wait=60, respond-async"})
        self.assertEqual([m["seed"] for m in json.loads(r.body)["images"]], [3, 4])
        self.assertEqual(png_size(base64.b64decode(json.loads(r.body)["images"][1]["data"])),
                         (64, 64))

    def test_parts(self):
        c = self.d.connect()
        c.request("POST", "/v1/images", json.dumps({"prompt": "step=20", "steps": 10, "n": 3,
                                                    "seed": 5}),
                  {"Content-Type": "application/json", "Accept": "multipart/mixed"})
        r = c.getresponse()
        self.assertEqual(r.status, 200)
        kind, _, boundary = r.getheader("Content-Type").partition("; boundary=")
        self.assertEqual(kind, "multipart/mixed")
        first = r.read1()
        self.assertNotEqual(self.d.job(r.getheader("X-Job-Id"))["state"], "succeeded")
        parts = (first + r.read()).split(b"--" + boundary.encode())
        c.close()
        self.assertEqual((parts[0], parts[-1]), (b"", b"--\r\n"))
        for k, part in enumerate(parts[1:-1]):
            head, _, data = part.partition(b"\r\n\r\n")
            self.assertIn(b"\r\nControlnetd-Index: %d\r\n" % k, head + b"\r\n")
            self.assertIn(b"Controlnetd-Seed: %d" % (5 + k), head)
            self.assertIn(b"Content-Length: %d\r\n" % (len(data) - 2), head)
            self.assertEqual(png_size(data[:-2]), (64, 64))
        self.assertEqual(len(parts), 5)
        self.problem(self.d.images({"prompt": "fail=internal"}, "multipart/mixed"), 500, "internal")

    # ---- repeating ----

    def test_idempotency(self):
        spec = {"prompt": "once", "steps": 2}
        key = {"Idempotency-Key": '"test-1"'}
        first = self.d.jobs(spec, key)
        self.assertEqual(first.status, 202, first.body)
        id = json.loads(first.body)["id"]
        self.d.wait_job(id)
        again = self.d.jobs(spec, {"Idempotency-Key": "test-1"})
        self.assertEqual((again.status, json.loads(again.body)["id"]), (202, id))
        self.assertEqual(again.getheader("Location"), first.getheader("Location"))
        body, headers = multipart([("params", json.dumps(spec, indent=3).encode())])
        r = self.d.request("POST", "/v1/jobs", body, dict(headers, **key))
        self.assertEqual(json.loads(r.body)["id"], id)
        self.problem(self.d.jobs({"prompt": "twice", "steps": 2}, key), 422,
                     "idempotency-mismatch")
        # the same key for another route is another key
        r = self.d.images(spec, headers=key)
        self.assertEqual(r.status, 200)
        self.assertNotEqual(r.getheader("X-Job-Id"), id)
        r2 = self.d.images(spec, headers=key)
        self.assertEqual((r2.status, r2.body, r2.getheader("X-Job-Id")),
                         (200, r.body, r.getheader("X-Job-Id")))
        for bad in ("", '""', '"open', "two words", "x" * 256, '"a";b'):
            self.problem(self.d.jobs(spec, {"Idempotency-Key": bad}), 400, "invalid-request")
        out = self.d.raw(b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                         b"Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 2\r\n\r\n{}")
        self.assertTrue(out.startswith(b"HTTP/1.1 400 "), out)

    def test_same_key_at_once(self):
        before = self.d.metric("controlnetd_jobs_submitted_total", model="emoji")
        ids, bad = set(), []

        def client(_):
            r = self.d.jobs({"prompt": "at once", "steps": 1}, {"Idempotency-Key": "crowd"})
            if r.status == 202:
                ids.add(json.loads(r.body)["id"])
            else:
                bad.append((r.status, r.body))

        together(client, *range(100))
        self.assertEqual((bad, len(ids)), ([], 1))
        self.assertEqual(self.d.metric("controlnetd_jobs_submitted_total", model="emoji"),
                         before + 1)

    # ---- the list ----

    def test_list(self):
        ids = [json.loads(self.d.jobs({"prompt": "x", "steps": 1}).body)["id"] for _ in range(5)]
        for id in ids:
            self.d.wait_job(id)
        found, after = [], ""
        while True:
            page = json.loads(self.d.get("/v1/jobs?limit=2&state=succeeded" + after).body)
            self.assertLessEqual(len(page["jobs"]), 2)
            found += [j["id"] for j in page["jobs"]]
            if "next" not in page:
                break
            after = "&after=" + page["next"]
        self.assertEqual(len(found), len(set(found)))
        kept = [id for id in found if id in ids]
        self.assertEqual(kept, ids[::-1])
        self.assertNotIn("parameters", self.d.list()[0])
        self.assertEqual(json.loads(self.d.get("/v1/jobs?before=1970-01-01T00:00:00Z").body)["jobs"], [])
        self.assertIn(b"jobs", self.d.get("/v1/jobs?since=2026-11-22T22:00:00.000001%2B00:00").body)
        for query, name in (("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"),
                            ("limit=", "limit"), ("state=done", "state"), ("after=!", "after"),
                            ("after=%2B1-" + "a" * 26, "after"), ("all=yes", "all"),
                            ("before=2026-02-30T00:00:00Z", "before"),
                            ("since=2026-11-22T-1:00:00Z", "since")):
            doc = self.problem(self.d.get("/v1/jobs?" + query), 400, "invalid-request")
            self.assertEqual(doc["errors"][0]["parameter"], name)

    # ---- refusals ----

    def test_an_id_is_held_whole(self):
        id = json.loads(self.d.jobs({"prompt": "x"}).body)["id"]
        self.d.wait_job(id)
        for other in (id + "0", id + id, id[:-1], id.upper()):
            for what in ("", "/images/0", "/events"):
                self.problem(self.d.get("/v1/jobs/" + other + what), 404, "not-found")
            self.problem(self.d.request("DELETE", "/v1/jobs/" + other), 404, "not-found")
        self.assertEqual(self.d.job(id)["state"], "succeeded")

    def test_refusals(self):
        self.problem(self.d.get("/v1/jobs/" + "0" * KEPT), 404, "not-found")
        self.problem(self.d.get("/v1/jobs/" + "x" * 300), 404, "not-found")
        self.problem(self.d.get("/v1/jobs/%2e/events"), 404, "not-found")
        self.problem(self.d.jobs({"prompt": "x", "steps": 0}), 422, "validation", "/steps")
        self.problem(self.d.jobs({"prompt": "x", "model": "nope"}), 422, "validation", "/model")
        r = self.d.jobs({"prompt": "x", "model": "cracked"})
        self.assertIn("cannot be used", self.problem(r, 422, "validation", "/model")["detail"])
        self.problem(self.d.request("POST", "/v1/jobs", b"{}", {"Content-Type": "text/plain"}),
                     415, "unsupported-media")
        self.problem(self.d.request("GET", "/v1/jobs", b"{}"), 400, "invalid-request")
        self.problem(self.d.request("PUT", "/v1/jobs/x"), 405, "method-not-allowed")

    def test_models_are_managed(self):
        for action in ("load", "unload", "unload", "load"):
            r = self.d.request("POST", "/v1/models/photo/" + action)
            self.assertEqual((r.status, r.body), (204, b""), r.body)
            models = json.loads(self.d.get("/v1/models").body)["models"]
            photo = [m for m in models if m["name"] == "photo"][0]
            self.assertEqual((photo["state"], photo["workers"]),
                             (action + "ed", int(action == "load")))
            self.assertEqual("resident_bytes" in photo, action == "load")
        self.problem(self.d.request("POST", "/v1/models/nope/load"), 404, "not-found")

    def test_readyz_lists_everything(self):
        doc = json.loads(self.d.get("/readyz?verbose").body)
        self.assertEqual({c["name"]: c["ok"] for c in doc["checks"]},
                         {"not_draining": True, "worker": True, "model": True, "queue": True,
                          "store": True})
        self.assertEqual(doc["workers"][0]["state"], "ready")
        self.assertIn("cracked", [m["name"] for m in doc["models_broken"]])
        self.assertTrue(all(m["reason"] for m in doc["models_broken"]))


class Bounds(Case):
    def test_results_go_after_their_time(self):
        with Daemon("--set", "store.result_ttl_s=1") as d:
            id = json.loads(d.jobs({"prompt": "x", "steps": 1}).body)["id"]
            url = d.wait_job(id)["images"][0]["url"]
            d.until(lambda: d.get(url).status == 410, 30, 0.2)
            self.problem(d.get(url), 410, "gone")
            self.problem(d.get("/v1/jobs/" + id), 410, "gone")
            self.problem(d.get("/v1/jobs/%s/events" % id), 410, "gone")
            self.problem(d.request("DELETE", "/v1/jobs/" + id), 410, "gone")

    def test_no_store(self):
        with Daemon("--set", "store.dir=") as d:
            self.problem(d.jobs({"prompt": "x"}), 503, "no-store")
            self.problem(d.images({"prompt": "x"}, headers={"Idempotency-Key": "a"}), 503,
                         "no-store")
            r = d.images({"prompt": "x"}, headers={"Prefer": "respond-async"})
            self.assertEqual((r.status, r.getheader("Preference-Applied")), (200, None))
            self.assertEqual(d.job(r.getheader("X-Job-Id"))["state"], "succeeded")
            doc = json.loads(d.get("/readyz?verbose").body)
            self.assertTrue(doc["ready"])

    def test_full(self):
        with Daemon("--set", "queue.capacity=2") as d:
            ids = [json.loads(d.jobs({"prompt": "step=1000", "steps": 100}).body)["id"]]
            d.until(lambda: d.job(ids[0])["state"] == "running")
            while len(ids) < 3:
                ids.append(json.loads(d.jobs({"prompt": "x"}).body)["id"])
            self.problem(d.jobs({"prompt": "x"}), 429, "queue-full")
            self.problem(d.images({"prompt": "x"}), 429, "queue-full")
            self.assertEqual(d.job(ids[2])["position"], 2)
            for id in reversed(ids):  # none begins before its turn to be cancelled
                self.assertEqual(d.request("DELETE", "/v1/jobs/" + id).status, 200)

    def test_waiting_for_a_kept_job_at_the_end(self):
        """The server does not wait for jobs that go on in its next life, and says so."""
        spec = {"prompt": "step=20", "steps": 100, "n": 3}
        for headers, status in (({"Idempotency-Key": "a"}, 503),
                                ({"Prefer": "respond-async, wait=100"}, 202),
                                ({"Idempotency-Key": "b", "Accept": "multipart/mixed"}, 200),
                                ({"Accept": "multipart/mixed"}, 200)):
            with self.subTest(headers=headers), Daemon("--set", "queue.drain_s=0") as d:
                parts = "Accept" in headers
                h = dict({"Accept": "application/json"}, **headers)
                answer = Aside(lambda: d.images(spec, headers=h))
                d.until(lambda: [j for j in d.list() if j["state"] == "running" and
                                 (not parts or j["images"][0]["ready"])])
                self.assertEqual(d.stop(), 0)
                first = r = answer.result()
                self.assertEqual(r.status, status, r.body)
                self.assertEqual(len(r.getheader("X-Job-Id")), KEPT)
                if parts:
                    self.assertIn(b"urn:controlnetd:problem:draining", r.body)
                    self.assertTrue(r.body.endswith(b"--\r\n"))
                if status == 503:
                    self.problem(r, 503, "draining")
                    d.start()
                    r = d.images(dict(spec, prompt="step=20"), headers=h)
                    self.assertEqual((r.status, r.getheader("X-Job-Id")),
                                     (200, first.getheader("X-Job-Id")))

    def test_a_load_does_not_hold_up_the_end(self):
        with Daemon("--set", "queue.drain_s=0", fake="load=2000") as d:
            answer = Aside(d.request, "POST", "/v1/models/photo/load")
            d.until(lambda: d.metric("controlnetd_http_connections", state="suspended") == 1)
            self.assertEqual(d.stop(), 0)
            self.problem(answer.result(), 503, "not-ready")

    def test_kept_over_a_restart(self):
        with Daemon() as d:
            done = d.wait_job(json.loads(d.jobs({"prompt": "x", "seed": 1}).body)["id"])
            key = {"Idempotency-Key": "restart"}
            waits = json.loads(d.jobs({"prompt": "step=100", "steps": 20, "seed": 2}, key).body)["id"]
            picture = d.get(done["images"][0]["url"]).body
            d.until(lambda: d.job(waits)["state"] == "running")
            d.jobs({"prompt": "x"})  # once this one is kept, that the other one runs is, too
            d.restart("kill")
            self.assertEqual(d.get(done["images"][0]["url"]).body, picture)
            self.assertEqual(d.job(done["id"])["state"], "succeeded")
            r = d.jobs({"prompt": "step=100", "steps": 20, "seed": 2}, key)
            self.assertEqual((r.status, json.loads(r.body)["id"]), (202, waits))
            job = d.wait_job(waits, 60)
            self.assertEqual((job["state"], job["attempt"]), ("succeeded", 2))
            names = [e[0] for e in d.stream("/v1/jobs/%s/events" % waits)]
            self.assertEqual(names[-1], "done")


if __name__ == "__main__":
    main()
