"""Webhooks: the end of a job is told to whoever asked for it, over restarts, and to nobody else."""
import base64
import hashlib
import hmac
import http.server
import json
import os
import signal
import subprocess
import tempfile
import threading
import time

from cn_e2e import DAEMON, Case, Daemon, main

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


class Receiver:
    """Takes webhooks and notes them; status is what it answers, None: nothing, until it ends."""

    def __init__(self, port=0):
        self.got, self.status, self.headers = [], 200, {}
        self.over = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                if outer.status is None:
                    outer.over.wait()
                    return
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path="/hook"):
        return "http://127.0.0.1:%d%s" % (self.port, path)

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()


def is_signed(headers, body, key=KEY):
    """As a receiver checks it: see the README."""
    text = b"%s.%s.%s" % (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(),
                          body)
    mac = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(part, "v1," + mac)
               for part in headers["webhook-signature"].split(" "))


def options(receiver, path="/", networks="127.0.0.0/8", **more):
    d = tempfile.mkdtemp(prefix="cn-hook-")
    secret = os.path.join(d, "secret")
    with open(secret, "w") as f:
        f.write(SECRET + "\n")
    values = dict({"allow": receiver.url(path), "networks": networks, "secret_file": secret}, **more)
    return [x for k, v in values.items() for x in ("--set", "webhook.%s=%s" % (k, v))]


class Webhooks(Case):
    def submit(self, d, receiver, path="/hook", **more):
        spec = dict({"prompt": "x", "seed": 1, "steps": 2,
                     "webhook": {"url": receiver.url(path), "context": 'order "7"'}}, **more)
        r = d.jobs(spec)
        self.assertEqual(r.status, 202, r.body)
        return json.loads(r.body)["id"]

    def until_state(self, d, id, state, seconds=30):
        d.until(lambda: d.job(id)["webhook"]["state"] == state, seconds)
        return d.job(id)["webhook"]

    def test_each_end_is_told_once(self):
        with Receiver() as r, Daemon(*options(r)) as d:
            ids = [self.submit(d, r) for _ in range(8)]
            cancelled = self.submit(d, r, steps=100000 // 1000, n=4)
            d.request("DELETE", "/v1/jobs/" + cancelled)
            plain = json.loads(d.jobs({"prompt": "x", "steps": 2}).body)["id"]
            d.wait_job(plain)
            self.assertNotIn("webhook", d.job(plain))
            for id in ids + [cancelled]:
                self.assertEqual(self.until_state(d, id, "delivered")["attempts"], 1)
            self.assertEqual(sorted(h["webhook-id"] for _, h, _ in r.got), sorted(ids + [cancelled]))
            for path, headers, body in r.got:
                doc = json.loads(body)
                job = d.job(headers["webhook-id"])
                self.assertTrue(is_signed(headers, body))
                self.assertFalse(is_signed(headers, body + b" "))
                self.assertEqual(path, "/hook")
                self.assertEqual(headers["content-type"], "application/json")
                self.assertLess(abs(int(headers["webhook-timestamp"]) - time.time()), 3600)
                self.assertEqual((doc["type"], doc["context"]),
                                 ("job." + job["state"], 'order "7"'))
                for name in ("id", "state", "parameters", "ended_at", "images", "model"):
                    self.assertEqual(doc["data"][name], job[name])
                self.assertNotIn("webhook", doc["data"])
            self.assertEqual(d.metric("controlnetd_webhook_attempts_total", outcome="delivered"), 9)
            self.assertEqual(d.metric("controlnetd_webhooks_pending"), 0)
            self.assertEqual(len(d.events("webhook.delivered")), 9)
            self.assertNotIn(SECRET[6:], d.log())

    def test_a_job_that_fails_says_why(self):
        with Receiver() as r, Daemon(*options(r)) as d:
            id = self.submit(d, r, prompt="fail=no-device-memory")
            self.until_state(d, id, "delivered")
            doc = json.loads(r.got[0][2])
            self.assertEqual(doc["type"], "job.failed")
            self.assertEqual(doc["data"]["error"]["type"],
                             "urn:controlnetd:problem:insufficient-memory")

    def test_a_receiver_that_comes_back(self):
        with Receiver() as r:
            port = r.port
        with Daemon(*options(r)) as d:
            id = self.submit(d, r)
            d.until(lambda: d.job(id).get("webhook", {}).get("attempts", 0) >= 1, 20)
            hook = d.job(id)["webhook"]
            self.assertEqual(hook["state"], "pending")
            self.assertNotIn("127.0.0.1", hook["error"])
            self.assertIn("next_at", hook)
            self.assertEqual(d.metric("controlnetd_webhooks_pending"), 1)
            with Receiver(port) as again:
                again.status = 503
                d.until(lambda: len(again.got) > 0, 60)
                again.status = 204
                hook = self.until_state(d, id, "delivered", 60)
                self.assertGreaterEqual(hook["attempts"], 3)
                self.assertEqual(len({h["webhook-id"] for _, h, _ in again.got}), 1)
                self.assertEqual(len({body for _, _, body in again.got}), 1)
                self.assertNotIn("error", hook)

    def test_the_daemon_is_killed_before_it_could_tell(self):
        with Receiver() as r, Daemon(*options(r)) as d:
            r.status = None
            ids = [self.submit(d, r) for _ in range(6)]
            d.until(lambda: all(d.job(i)["state"] == "succeeded" for i in ids), 30)
            d.until(lambda: len(r.got) > 0)
            d.proc.kill()
            d.proc.wait()
            r.status = 200
            r.over.set()
            d.start()
            for id in ids:
                self.until_state(d, id, "delivered")
            self.assertEqual({h["webhook-id"] for _, h, _ in r.got}, set(ids))

    def test_a_receiver_that_hangs_holds_no_shutdown(self):
        with Receiver() as r, Daemon(*options(r, attempt_timeout_s=60)) as d:
            r.status = None
            ids = [self.submit(d, r) for _ in range(6)]
            d.until(lambda: all(d.job(i)["state"] == "succeeded" for i in ids), 30)
            d.until(lambda: len(r.got) > 0)
            self.assertEqual(d.stop(), 0)
            self.assertEqual(d.events("daemon.abandon"), [])
            d.start()
            d.until(lambda: len(r.got) > 4)
            d.proc.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            d.proc.send_signal(signal.SIGTERM)
            self.assertEqual(d.stop(), 0)

    def test_a_receiver_that_hangs_holds_no_other(self):
        with Receiver() as slow, Receiver() as r:
            slow.status = None
            with Daemon(*options(r, allow=r.url("/") + " http://localhost:%d/" % slow.port,
                                 networks="127.0.0.0/8 ::1", attempt_timeout_s=60)) as d:
                for _ in range(12):
                    r2 = d.jobs({"prompt": "x", "steps": 2,
                                 "webhook": {"url": "http://localhost:%d/" % slow.port}})
                    self.assertEqual(r2.status, 202, r2.body)
                self.until_state(d, self.submit(d, r), "delivered")
                self.assertLessEqual(len(slow.got), 4)

    def test_it_is_given_up(self):
        with Receiver() as r, Receiver() as other, Daemon(*options(r)) as d:
            r.status, r.headers = 302, {"Location": other.url()}
            id = self.submit(d, r)  # a redirect is not followed, and is a failure
            d.until(lambda: d.job(id)["webhook"]["attempts"] >= 1)
            self.assertIn("302", d.job(id)["webhook"]["error"])
            r.status = 410
            self.assertIn("410", self.until_state(d, id, "failed")["error"])
            self.assertEqual(other.got, [])
            self.assertEqual(d.metric("controlnetd_webhook_attempts_total", outcome="given_up"), 1)
            self.assertEqual(len(d.events("webhook.given_up")), 1)
        with Receiver() as r, Daemon(*options(r, give_up_s=1)) as d:
            r.status = 500
            id = self.submit(d, r)
            self.assertIn("500", self.until_state(d, id, "failed")["error"])
            n = len(r.got)
            d.restart()
            self.assertEqual(self.until_state(d, id, "failed")["attempts"], n)

    def test_only_where_it_is_allowed(self):
        with Receiver() as r, Daemon(*options(r, "/hook")) as d:
            port = r.port
            for url in ("http://127.0.0.1:%d/other" % port, "https://127.0.0.1:%d/hook" % port,
                        "http://127.0.0.1/hook", "http://127.0.0.1:%d/hook/../other" % port,
                        "http://localhost:%d/hook" % port, "http://169.254.169.254/hook",
                        "http://[::1]:%d/hook" % port, "http://x@127.0.0.1:%d/hook" % port,
                        "http://127.0.0.1:%d/hook/%%2e%%2e/other" % port, "file:///etc/passwd",
                        "gopher://127.0.0.1:%d/hook" % port, "", "hook", "http://"):
                a = d.jobs({"prompt": "x", "webhook": {"url": url}})
                self.problem(a, 422, "validation", "/webhook/url")
            self.problem(d.jobs({"prompt": "x", "webhook": {}}), 422, "validation", "/webhook/url")
            self.problem(d.jobs({"prompt": "x", "webhook": "x"}), 422, "validation", "/webhook")
            self.problem(d.jobs({"prompt": "x", "webhook": {"url": r.url(), "x": 1}}), 422,
                         "validation", "/webhook/x")
            self.problem(d.jobs({"prompt": "x", "webhook": {"url": r.url(), "context": "x" * 1025}}),
                         422, "validation", "/webhook/context")
            self.problem(d.images({"prompt": "x", "webhook": {"url": r.url()}}), 422, "validation",
                         "/webhook")
            self.assertEqual(d.list(), [])
            self.assertEqual(r.got, [])

    def test_addresses_that_are_not_public(self):
        """The name is allowed, and leads to this machine: nothing goes there."""
        with Receiver() as r, Daemon(*options(r, networks="")) as d:
            id = self.submit(d, r)
            self.assertIn("webhook.networks", self.until_state(d, id, "failed")["error"])
            self.assertEqual(r.got, [])

    def test_off(self):
        with Receiver() as r, Daemon() as d:
            doc = self.problem(d.jobs({"prompt": "x", "webhook": {"url": r.url()}}), 422,
                               "validation", "/webhook/url")
            self.assertIn("sends no webhooks (webhook.allow is empty)", json.dumps(doc))

    def test_the_key_stands_for_the_webhook_too(self):
        with Receiver() as r, Daemon(*options(r)) as d:
            spec = {"prompt": "x", "steps": 2, "seed": 1, "webhook": {"url": r.url()}}
            key = {"Idempotency-Key": "one"}
            a, b = [d.jobs(spec, key) for _ in range(2)]
            self.assertEqual(json.loads(a.body)["id"], json.loads(b.body)["id"])
            for other in ({"url": r.url("/other")}, {"url": r.url(), "context": "x"}, None):
                self.problem(d.jobs(dict(spec, webhook=other), key), 422, "idempotency-mismatch")
            self.until_state(d, json.loads(a.body)["id"], "delivered")
            self.assertEqual(len(r.got), 1)

    def test_what_is_removed_is_not_told(self):
        with Receiver() as r, Daemon(*options(r)) as d:
            r.status = 500
            id = self.submit(d, r)
            d.until(lambda: d.job(id).get("webhook", {}).get("attempts", 0) >= 1)
            self.assertEqual(d.request("DELETE", "/v1/jobs/" + id).status, 204)
            d.until(lambda: d.metric("controlnetd_webhooks_pending") == 0, 30)

    def test_a_reload_changes_rules_and_secret(self):
        with Receiver() as r, Daemon(*options(r)) as d:
            conf = os.path.join(d.dir, "conf")
            d.command = [x for i, x in enumerate(d.command)
                         if "webhook." not in x and "webhook." not in (d.command + [""])[i + 1]]
            secret = os.path.join(d.dir, "secret")
            d.stop()
            d.start()
            self.problem(d.jobs({"prompt": "x", "webhook": {"url": r.url()}}), 422, "validation")

            def reload(good=True):
                n = len(d.events("config.reload"))
                d.proc.send_signal(signal.SIGHUP)
                d.until(lambda: len(d.events("config.reload")) > n)
                self.assertEqual(d.events("config.reload")[-1]["outcome"],
                                 "succeeded" if good else "failed")

            with open(conf, "w") as f:
                f.write("[webhook]\nallow = %s\nnetworks = 127.0.0.1\nsecret_file = %s\n"
                        % (r.url("/"), secret))
            reload(False)  # there is no such file
            with open(secret, "w") as f:
                f.write("short")
            reload(False)
            other = b"another secret of thirty-two by."
            with open(secret, "w") as f:
                f.write("whsec_" + base64.b64encode(other).decode())
            reload()
            self.until_state(d, self.submit(d, r), "delivered")
            self.assertTrue(is_signed(*r.got[0][1:], key=other))

    def test_settings_that_are_refused(self):
        with Receiver() as r, tempfile.NamedTemporaryFile("w") as secret:
            secret.write(SECRET)
            secret.flush()
            good = {"allow": r.url(), "networks": "127.0.0.1", "secret_file": secret.name}
            for change, word in (({"secret_file": ""}, "secret_file"),
                                 ({"secret_file": "/nowhere"}, "secret_file"),
                                 ({"secret_file": "/etc/hostname"}, "secret_file"),
                                 ({"allow": "ftp://x/"}, "webhook.allow"),
                                 ({"allow": "", "networks": "x"}, "webhook.networks"),
                                 ({"networks": "169.254.0.0/16"}, "webhook.networks"),
                                 ({}, "")):
                args = ["--set", "store.dir="]
                for k, v in dict(good, **change).items():
                    args += ["--set", "webhook.%s=%s" % (k, v)]
                p = subprocess.run([DAEMON, "-c", "/dev/null", "--check-config"] + args,
                                   capture_output=True, text=True)
                self.assertEqual(p.returncode, 1 if word else 0, p.stderr)
                self.assertIn(word, p.stderr)


if __name__ == "__main__":
    main()
