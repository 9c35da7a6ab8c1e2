"""What /metrics says: well-formed, bounded, and all that dashboards and alerts ask for."""
import glob
import json
import os
import random
import re
import shutil
import socket
import string
import subprocess
import unittest

from cn_e2e import QUICK, SLOW, Case, Daemon, main, sanitized

SRC = os.environ.get("srcdir", ".")
SPEC = {"prompt": "x", "steps": 2}


def families(text):
    return set(re.findall(r"^# TYPE (\S+) ", text, re.M))


def series(text):
    return sum(1 for line in text.splitlines() if line and not line.startswith("#"))


def send_all(d, requests):
    """One connection each, because a refusal ends it; how many were answered."""
    answers = 0
    for r in requests:
        with socket.create_connection(("127.0.0.1", d.port), timeout=30 * SLOW) as s:
            s.sendall(r)
            answers += s.recv(13).startswith(b"HTTP/1.1 ")
    return answers


class Metrics(Case):
    def busy(self, d):
        """A bit of everything, so that every family has its series."""
        for spec in (SPEC, dict(SPEC, n=2), dict(SPEC, steps=-1), {"prompt": "fail=EINTERNAL"},
                     {"prompt": "crash=0"}, {"prompt": "step=30", "steps": 100, "timeout_s": 1}):
            d.images(spec, "application/json")
        for path in ("/", "/v1/models", "/readyz?verbose", "/nothing", "/openapi.yaml"):
            d.get(path)
        d.until(lambda: d.get("/readyz").status == 200)

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not here (Debian: prometheus)")
    def test_promtool_has_nothing_to_say(self):
        with Daemon() as d:
            self.busy(d)
            text = d.get("/metrics").body
            r = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
            self.assertEqual((r.returncode, r.stdout, r.stderr), (0, b"", b""))

    def test_dashboards_and_alerts_name_what_exists(self):
        with Daemon() as d:
            have = families(d.get("/metrics").body.decode())
        names = set()
        files = glob.glob(os.path.join(SRC, "etc", "prometheus", "*.yml"))
        files += glob.glob(os.path.join(SRC, "etc", "grafana", "*.json"))
        self.assertEqual(len(files), 3)
        for path in files:
            with open(path) as f:
                text = f.read()
            if path.endswith(".json"):
                text = " ".join(self.expressions(json.loads(text)))
            for name in re.findall(r"(?<![:\w])(?:controlnetd|process)_\w+(?![:\w])", text):
                base = re.sub(r"_(bucket|sum|count)$", "", name)
                names.add(base if base in have else name)
        self.assertGreater(len(names), 30)
        self.assertEqual(names - have, set())

    def expressions(self, node):
        if isinstance(node, dict):
            for k, v in node.items():
                if k in ("expr", "query") and isinstance(v, str):
                    yield v
                yield from self.expressions(v)
        elif isinstance(node, list):
            for v in node:
                yield from self.expressions(v)

    def test_series_are_bounded(self):
        """Random paths, models, methods, origins and users make no series."""
        n = 1000 if QUICK or sanitized() else 10000
        rnd = random.Random(1)

        def word():
            return "".join(rnd.choice(string.ascii_letters) for _ in range(12))

        with Daemon("--set", "log.level=error") as d:
            d.images(dict(SPEC, model="nothing"))
            send_all(d, [b"WORD / HTTP/1.1\r\nHost: a\r\n\r\n"])
            self.busy(d)
            d.get("/metrics")
            before = series(d.get("/metrics").body.decode())
            requests = []
            for k in range(n):
                head = "Host: a\r\nOrigin: https://%s\r\nX-Api-Key: %s\r\n" % (word(), word())
                if k % 10 == 0:
                    body = json.dumps(dict(SPEC, model=word()))
                    requests.append("POST /v1/images HTTP/1.1\r\n%sContent-Type: application/json\r\n"
                                    "Content-Length: %d\r\n\r\n%s" % (head, len(body), body))
                elif k % 10 == 1:
                    requests.append("%s /%s HTTP/1.1\r\n%s\r\n" % (word().upper(), word(), head))
                else:
                    path = rnd.choice(("/", "/v1/", "/v1/jobs/", "/v1/models/")) + word()
                    requests.append("GET %s?%s HTTP/1.1\r\n%s\r\n" % (path, word(), head))
            self.assertEqual(send_all(d, [r.encode() for r in requests]), n)
            text = d.get("/metrics").body.decode()
            # Routes with an id or a name, the first time: a dozen for each.
            self.assertLessEqual(series(text) - before, 40)
            self.assertLess(series(text), 1500)
            self.assertLess(len(text), 200 << 10)


if __name__ == "__main__":
    main()
