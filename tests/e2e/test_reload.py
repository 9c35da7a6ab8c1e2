"""SIGHUP: the configuration is read again while the daemon serves.

CN_RELOADS sets how many reloads the test under load makes."""
import json
import os
import re
import signal
import socket

from cn_e2e import QUICK, Aside, Case, Daemon, beside, main, sanitized

KEYS = "anna:0123456789abcdef\n"
MORE = KEYS + "bert:fedcba9876543210\n"
SPEC = {"prompt": "x", "steps": 1}


class Reload(Case):
    def write(self, d, text, name="conf"):
        path = os.path.join(d.dir, name)
        with open(path + ".new", "w") as f:
            f.write(text)
        os.rename(path + ".new", path)
        return path

    def reload(self, d, text=None):
        """Sends SIGHUP and waits until it was acted on; true when it was good."""
        if text is not None:
            self.write(d, text)
        before = [d.metric("controlnetd_config_reloads_total", outcome=o)
                  for o in ("succeeded", "failed")]
        d.proc.send_signal(signal.SIGHUP)
        d.until(lambda: sum(d.metric("controlnetd_config_reloads_total", outcome=o)
                            for o in ("succeeded", "failed")) > sum(before))
        return d.metric("controlnetd_config_reloads_total", outcome="succeeded") > before[0]

    def test_limits_change(self):
        with Daemon() as d:
            self.assertEqual(d.images(dict(SPEC, steps=30)).status, 200)
            first = d.metric("controlnetd_config_last_reload_success_timestamp_seconds")
            self.assertTrue(self.reload(d, "[limits]\nmax_steps = 20\n"))
            self.problem(d.images(dict(SPEC, steps=30)), 422, "validation", "/steps")
            self.assertGreater(
                d.metric("controlnetd_config_last_reload_success_timestamp_seconds"), first)
            self.assertTrue(self.reload(d, "[http]\ncors_origins = https://a.example\n"))
            self.assertEqual(d.images(dict(SPEC, steps=30)).status, 200)
            r = d.get("/healthz", {"Origin": "https://a.example"})
            self.assertEqual(r.getheader("Access-Control-Allow-Origin"), "https://a.example")
            self.assertTrue(self.reload(d, "[log]\nlevel = error\n"))
            lines = len(d.events("http.request"))
            self.assertEqual(d.get("/healthz").status, 200)
            self.assertEqual(len(d.events("http.request")), lines)

    def test_command_line_still_wins(self):
        with Daemon("--set", "limits.max_steps=10") as d:
            self.assertTrue(self.reload(d, "[limits]\nmax_steps = 20\n"))
            self.problem(d.images(dict(SPEC, steps=15)), 422, "validation", "/steps")

    def test_an_invalid_file_changes_nothing(self):
        with Daemon() as d:
            self.assertTrue(self.reload(d, "[limits]\nmax_steps = 20\n"))
            self.assertFalse(self.reload(d, "[limits]\nmax_steps = 30\nmax_stepss = 5\n"))
            self.assertEqual(d.metric("controlnetd_config_last_reload_success"), 0)
            self.problem(d.images(dict(SPEC, steps=25)), 422, "validation", "/steps")
            failed = [e for e in d.events("config.reload") if e["outcome"] == "failed"]
            self.assertEqual(len(failed), 1)
            self.assertEqual(failed[0]["level"], "error")
            self.assertIn("conf:3: ", failed[0]["msg"])
            self.assertIn("max_stepss", failed[0]["msg"])
            os.unlink(os.path.join(d.dir, "conf"))
            self.assertFalse(self.reload(d))
            self.assertTrue(self.reload(d, ""))
            self.assertEqual(d.metric("controlnetd_config_last_reload_success"), 1)

    def test_what_needs_a_restart_is_named(self):
        with Daemon() as d:
            self.assertTrue(self.reload(d, "[worker]\ncount = 2\n[limits]\nmax_steps = 20\n"))
            self.assertEqual([(e["section"], e["key"]) for e in d.events("config.fixed")],
                             [("worker", "count")])
            self.problem(d.images(dict(SPEC, steps=25)), 422, "validation", "/steps")

    def test_keys_change(self):
        with Daemon() as d:
            keys = self.write(d, KEYS, "keys")
            self.assertTrue(self.reload(d, "[log]\nlevel = info\n"))
            self.assertEqual(d.images(SPEC).status, 200)
            self.write(d, "[auth]\nkeys_file = %s\n" % keys)
            d.proc.send_signal(signal.SIGHUP)
            d.until(lambda: d.images(SPEC).status == 401)
            anna = {"X-Api-Key": "0123456789abcdef"}
            bert = {"X-Api-Key": "fedcba9876543210"}
            self.assertEqual(d.images(SPEC, headers=anna).status, 200)
            self.assertEqual(d.images(SPEC, headers=bert).status, 401)
            slow = Aside(d.images, {"prompt": "step=20", "steps": 20}, None,
                         dict(anna, **{"X-Request-Id": "slow"}))
            d.until(lambda: re.search(rb"\ncontrolnetd_worker_busy{[^}]*} 1\n",
                                      d.get("/metrics", anna).body))
            self.write(d, MORE.replace("anna", "carl"), "keys")
            d.proc.send_signal(signal.SIGHUP)
            d.until(lambda: d.images(SPEC, headers=bert).status == 200)
            slow.result()  # began as anna, and is logged as anna after anna is gone
            self.assertEqual([e["key_id"] for e in d.events("http.request")
                              if e["request_id"] == "slow"], ["anna"])
            self.write(d, "no key\n", "keys")
            d.proc.send_signal(signal.SIGHUP)
            d.until(lambda: any("keys:1" in e["msg"] for e in d.events("config.reload")))
            self.assertEqual(d.images(SPEC, headers=bert).status, 200)

    def test_a_value_that_cannot_be_is_told_with_its_place(self):
        with Daemon() as d:
            for text, says in (("[log]\n\nlevel = loud\n", ":3: log.level: "),
                               ("[http]\ntrusted_proxies = a.example\n", ":2: http.trusted_proxies: "),
                               ("[limits]\nmax_body_mb = 8\nmax_image_mb = 9\n",
                                ":3: limits.max_image_mb (9) "),
                               ("[worker]\ndtype = f8\n", ":2: worker.dtype: "),
                               ("[webhook]\nallow = ftp://x/\n", ":2: webhook.allow: "),
                               ("[auth]\nkeys_file = /nonexistent/keys\n", ":2: auth.keys_file: ")):
                path = self.write(d, text)
                d.proc.send_signal(signal.SIGHUP)
                d.until(lambda: any(path + says in e["msg"] for e in d.events("config.reload")))

    def test_what_tenants_may_have_changes(self):
        with Daemon(fake="step=200") as d:
            keys = self.write(d, KEYS.replace("\n", " max_queued=2\n"), "keys")
            anna = {"X-Api-Key": "0123456789abcdef"}

            def submit():
                return d.jobs({"prompt": "x", "steps": 150}, anna).status

            self.write(d, "[auth]\nkeys_file = %s\n" % keys)
            d.proc.send_signal(signal.SIGHUP)
            d.until(lambda: d.images(SPEC).status == 401)
            d.until(lambda: submit() == 429)
            self.write(d, KEYS.replace("\n", " max_queued=5\n"), "keys")
            d.proc.send_signal(signal.SIGHUP)
            d.until(lambda: submit() == 202)
            while submit() == 202:
                pass
            waiting = json.loads(d.get("/v1/jobs?state=queued", anna).body)["jobs"]
            self.assertEqual(len(waiting), 5)
            for job in d.list(anna):
                d.request("DELETE", "/v1/jobs/" + job["id"], headers=anna)

    def test_the_service_manager_is_told(self):
        path = "/tmp/cn-e2e-reload-%d" % os.getpid()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(path)
            s.settimeout(30)
            try:
                with Daemon(env={"NOTIFY_SOCKET": path}) as d:
                    self.assertIn(b"READY=1", s.recv(1000))
                    d.proc.send_signal(signal.SIGHUP)
                    text = s.recv(1000).decode().split("\n")
                    self.assertEqual(text[0], "RELOADING=1")
                    self.assertGreater(int(text[1].replace("MONOTONIC_USEC=", "")), 0)
                    self.assertTrue(s.recv(1000).startswith(b"READY=1"))
            finally:
                os.unlink(path)

    def test_many_under_load(self):
        """Half of the files are invalid; no request fails, nothing grows."""
        n = int(os.environ.get("CN_RELOADS", "60" if QUICK or sanitized() else "200"))
        with Daemon("--set", "log.level=error") as d:
            bad, before = [], None

            def client():
                for r in (d.images(SPEC), d.get("/readyz"), d.get("/v1/models")):
                    if r.status != 200:
                        bad.append((r.status, r.body))

            with beside(client, 4):
                # The last 256 jobs stay in memory: only when they are there is growth a leak.
                d.until(lambda: d.metric("controlnetd_images_total") > 300, 60)
                for i in range(n):
                    self.assertEqual(self.reload(
                        d, "[limits]\nmax_steps = %d\n" % (100 + i % 7) if i % 2 else "[limits\n"),
                        bool(i % 2))
                    if i == n // 4:
                        before = d.metric("process_resident_memory_bytes")
                grown = d.metric("process_resident_memory_bytes") - before
            self.assertEqual(bad, [])
            if not sanitized():
                self.assertLess(grown, 2 << 20)
            d.until(lambda: d.metric("process_open_fds") < 40)
            self.assertEqual(json.loads(d.get("/readyz?verbose").body)["ready"], True)


if __name__ == "__main__":
    main()
