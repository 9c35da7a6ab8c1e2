"""In the machines of tests/system/run: rows, systemd, HTTP.

A row is a function; main() runs those of this boot and writes a line "PASS: row" or "FAIL: row: why" for
each into /result/rows.
"""
import base64
import contextlib
import http.client
import json
import os
import re
import subprocess
import time
import traceback

RESULT = "/result"
CONF = "/etc/controlnetd/conf.d/test.conf"
STATE = "/var/lib/controlnetd"
HERE = os.path.dirname(os.path.abspath(__file__))
JSON = {"Content-Type": "application/json"}
SMALL = {"prompt": "a red apple", "steps": 1, "seed": 1}

rows = []


def row(name, boot=1):
    def add(work):
        rows.append((name, boot, work))
        return work
    return add


# ---- systemd ----

def run(*command, check=True, timeout=400):
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       errors="replace", timeout=timeout)
    if check and p.returncode != 0:
        raise AssertionError("%s: status %d: %s" % (" ".join(command), p.returncode, p.stdout))
    return p.stdout


def ctl(*words, **how):
    return run("systemctl", *words, **how)


def prop(name, unit="controlnetd.service"):
    return ctl("show", "--value", "-p", name, unit).strip()


def main_pid():
    return int(prop("MainPID"))


def until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("waited %d s in vain for %s" % (seconds, what))
        time.sleep(0.1)


def cursor():
    """Where the journal ends now."""
    text = run("journalctl", "-n", "0", "--show-cursor", "-q")
    return re.search(r"cursor: (\S+)", text).group(1)


def journal(since, *more):
    """What controlnetd.service has written since then, and what systemd says of it."""
    run("journalctl", "--sync")
    text = run("journalctl", "-q", "-u", "controlnetd.service", "-o", "json", "--all",
               "--after-cursor", since, *more)
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def own(entries):
    """Those of the daemon and its workers."""
    return [e for e in entries if e.get("_SYSTEMD_UNIT") == "controlnetd.service"
            and e.get("_TRANSPORT") == "stdout"]


def events(since, name):
    found = []
    for e in own(journal(since)):
        o = json.loads(e["MESSAGE"])
        if o["event"] == name:
            found.append(o)
    return found


# ---- HTTP ----

def ask(method, path, body=None, headers=None, timeout=600, port=8080):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        data = json.dumps(body) if isinstance(body, dict) else body
        c.request(method, path, data, dict(JSON if body else {}, **(headers or {})))
        r = c.getresponse()
        r.body = r.read()
        return r
    finally:
        c.close()


def status(*args, **more):
    return ask(*args, **more).status


def must(want, r):
    assert r.status == want, "status %d and not %d: %s" % (r.status, want, r.body[:500])
    return r


def ready():
    with contextlib.suppress(OSError, http.client.HTTPException):
        return status("GET", "/readyz") == 200
    return False


def until_ready(seconds=300):
    until(ready, seconds, "/readyz")


def submit(spec=SMALL, headers=None):
    return json.loads(must(202, ask("POST", "/v1/jobs", spec, headers)).body)["id"]


def state_of(job, headers=None):
    return json.loads(must(200, ask("GET", "/v1/jobs/" + job, headers=headers)).body)["state"]


def until_over(job, seconds=600):
    until(lambda: state_of(job) not in ("queued", "running"), seconds, "the end of a job")
    return state_of(job)


@contextlib.contextmanager
def configuration(text):
    """A file beside the installed one, until the block is left; read by the next reload."""
    os.makedirs(os.path.dirname(CONF), exist_ok=True)
    with open(CONF, "w") as f:
        f.write(text)
    try:
        yield
    finally:
        os.unlink(CONF)
        ctl("reload", "controlnetd")


def max_steps(want, seconds=10):
    """systemctl does not wait for the end of a reload."""
    until(lambda: status("POST", "/v1/images", dict(SMALL, steps=want + 1)) == 422, seconds,
          "the limit")
    must(200, ask("POST", "/v1/images", dict(SMALL, steps=want)))


def drawing(seed=4):
    with open(os.path.join(HERE, "request.json")) as f:
        spec = json.load(f)
    with open(os.path.join(HERE, "drawing.png"), "rb") as f:
        spec["controls"][0]["image"] = base64.b64encode(f.read()).decode()
    return dict(spec, seed=seed)


# ---- the rows ----

def main(before=None):
    """Runs the rows of this boot. before: what --rows does in the place of the rows that it leaves out."""
    with open(RESULT + "/boot") as f:
        boot = int(f.read())
    with open(RESULT + "/only") as f:
        only = re.compile(f.read())
    if only.pattern and boot == 1 and before is not None:
        before()
    with open(RESULT + "/rows", "a") as out:
        for name, when, work in rows:
            if when != boot or not only.search(name):
                continue
            began = time.monotonic()
            try:
                more = work()
                line = "PASS: %s (%s%.1f s)" % (name, more + ", " if more else "",
                                                time.monotonic() - began)
            except Exception as e:  # a row that fails must not keep the others from being shown
                traceback.print_exc()
                line = "FAIL: %s: %s" % (name, " ".join(str(e).split())[:1000])
                with contextlib.suppress(Exception):
                    ctl("start", "controlnetd.service")
                    until_ready()
            out.write(line + "\n")
            out.flush()
    open(RESULT + "/done.%d" % boot, "w").close()
