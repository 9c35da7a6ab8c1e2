"""In the machine of tests/system/run: what controlnetd's unit promises, under a real systemd.

Boot 1 goes through all rows but the last ones; boot 2 shows what is left after a reboot. Rows go by
the order in which they stand here: each begins with the service running, and leaves it so.
"""
import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time

from machine import *  # noqa: F403

UNIT = "/usr/lib/systemd/system/controlnetd.service"

# ---- start ----

@row("the units are understood, and shut in")
def _():
    said = run("systemd-analyze", "verify", "--man=no", UNIT,
               UNIT.replace(".service", ".socket"), UNIT.replace(".service", "-admin.socket"))
    assert "controlnetd" not in said, said
    run("systemd-analyze", "security", "--threshold=15", "--no-pager", "controlnetd.service")


@row("the service starts under all its directives")
def _():
    since = cursor()
    ctl("enable", "--now", "controlnetd.socket", "controlnetd-admin.socket", "controlnetd.service")
    until_ready()
    assert prop("ActiveState") == "active" and prop("NRestarts") == "0"
    systemd = [e["MESSAGE"] for e in journal(since) if e.get("_PID") == "1"]
    odd = [m for m in systemd if re.search(r"gnor|nknown|[Ff]ail|not support|denied", m)]
    assert not odd, odd


@row("what runs has no privileges: no root, no capabilities, a filter, a read-only system")
def _():
    pids = [int(p) for p in
            open("/sys/fs/cgroup" + prop("ControlGroup") + "/cgroup.procs").read().split()]
    names = set()
    for pid in pids:
        lines = open("/proc/%d/status" % pid).read().splitlines()
        s = {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}
        names.add(s["Name"])
        assert all(int(u) >= 1000 for u in s["Uid"].split()), s["Uid"]
        assert int(s["CapEff"], 16) == int(s["CapBnd"], 16) == int(s["CapPrm"], 16) == 0, s
        assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2", s
        root = [line.split() for line in open("/proc/%d/mountinfo" % pid)
                if line.split()[4] == "/"][-1]
        assert "ro" in root[5].split(","), root
    assert names == {"controlnetd", "controlnet-work", "controlnet-deco"}, names


# ---- pictures ----

@row("the decoder's wall stands inside of the unit's: limits, Landlock, seccomp")
def _():
    run("journalctl", "--sync")
    said = [json.loads(e["MESSAGE"]) for e in own(map(json.loads, run(
        "journalctl", "-q", "-b", "-u", "controlnetd.service", "-o", "json").splitlines()))]
    walls = [o for o in said if o["event"] == "worker.decoder"]
    assert walls, "no line worker.decoder"
    outside = run("/usr/libexec/controlnetd/controlnet-decoder", "--check", check=False)
    layers = set(re.findall(r"[a-z]+", json.dumps(walls[-1].get("layers", ""))))
    assert {"seccomp", "landlock"} <= layers, (walls[-1], outside)
    assert walls[-1]["level"] == "info", walls[-1]


@row("a picture is drawn after a drawing, the same as by the command line")
def _():
    r = must(200, ask("POST", "/v1/images", drawing()))
    assert r.getheader("Content-Type") == "image/png" and r.body[:4] == b"\x89PNG"
    run("controlnet", "generate", "-p", "a green apple", "-o", "/tmp/apple.png", "-m", "emoji",
        "-s", "20", "-g", "2.5", "--sampler", "ddim", "--seed", "4",
        "-C", "emoji-scribble=%s/drawing.png,annotator=invert" % HERE)
    with open("/tmp/apple.png", "rb") as f:
        mine = f.read()
    pixels = [b"".join(d for k, d in chunks(data) if k == b"IDAT") for data in (r.body, mine)]
    assert pixels[0] == pixels[1], "other pixels than from \"controlnet generate\""


def chunks(png):
    at = 8
    while at < len(png):
        n = int.from_bytes(png[at:at + 4], "big")
        yield png[at + 4:at + 8], png[at + 8:at + 8 + n]
        at += 12 + n


@row("a broken picture is its request's error, and the next one is read")
def _():
    spec = drawing()
    spec["controls"][0]["image"] = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"x" * 500).decode()
    doc = json.loads(must(422, ask("POST", "/v1/images", spec)).body)
    assert doc["errors"][0]["pointer"] == "/controls/0/image", doc
    must(200, ask("POST", "/v1/images", dict(drawing(), steps=1)))


@row("a job and its picture are kept in the state folder, which nobody else reads")
def _():
    job = submit()
    assert until_over(job) == "succeeded"
    assert must(200, ask("GET", "/v1/jobs/%s/images/0" % job)).body[:4] == b"\x89PNG"
    s = os.stat(STATE + "/")
    assert s.st_mode & 0o777 == 0o700, oct(s.st_mode)
    for folder, _, files in os.walk(STATE + "/"):
        for name in files:
            assert os.stat(os.path.join(folder, name)).st_mode & 0o077 == 0, name


# ---- sockets ----

@row("the socket starts the service, and its first client is answered")
def _():
    ctl("stop", "controlnetd.service")
    assert prop("ActiveState") == "inactive"
    must(200, ask("POST", "/v1/images", SMALL))
    assert prop("ActiveState") == "active"


@row("operators have a socket of their own")
def _():
    assert b"controlnetd_build_info" in must(200, ask("GET", "/metrics", port=8081)).body
    must(404, ask("GET", "/metrics"))
    must(200, ask("GET", "/healthz", port=8081))


# ---- reload ----

@row("a reload changes what it may, and systemd hears of it")
def _():
    pid, since = main_pid(), cursor()
    with configuration("[limits]\nmax_steps = 20\n"):
        ctl("reload", "controlnetd")
        max_steps(20)
    until(lambda: status("POST", "/v1/images", dict(SMALL, steps=21)) == 200, 10, "the old limit")
    assert main_pid() == pid and prop("ActiveState") == "active"
    assert any("Reloaded" in e["MESSAGE"] for e in journal(since) if e.get("_PID") == "1")


@row("a reload of a file with a mistake changes nothing, and the journal names line and key")
def _():
    pid, since = main_pid(), cursor()
    with configuration("[limits]\nmax_steps = 20\nmax_stepz = 3\n"):
        ctl("reload", "controlnetd")
        until(lambda: [e for e in events(since, "config.reload") if e["level"] == "error"], 10,
              "the error")
        said = [e for e in events(since, "config.reload") if e["level"] == "error"]
        must(200, ask("POST", "/v1/images", dict(SMALL, steps=30)))
    assert "test.conf:3:" in json.dumps(said) and "max_stepz" in json.dumps(said), said
    assert main_pid() == pid and prop("ActiveState") == "active"


@row("SIGHUP by hand is a reload, too")
def _():
    since = cursor()
    with configuration("[limits]\nmax_steps = 20\n"):
        os.kill(main_pid(), signal.SIGHUP)
        max_steps(20)
    assert events(since, "config.reload")


def keys(*words):
    return run("controlnetd", "keys", *words, "--set", "store.dir=" + STATE)


@row("keys count from a reload on, and a revoked one no more; root makes them, the service reads them")
def _():
    key = re.search(r"cnk_\S+", keys("add", "anna", "--scopes", "admin")).group(0)
    auth = {"Authorization": "Bearer " + key}
    ctl("reload", "controlnetd")
    until(lambda: status("GET", "/v1/models") == 401, 10, "a refusal without a key")
    must(200, ask("GET", "/v1/models", headers=auth))
    must(200, ask("POST", "/v1/images", SMALL, auth))
    other = re.search(r"cnk_\S+", keys("add", "bert")).group(0)
    keys("revoke", "anna")
    ctl("reload", "controlnetd")
    until(lambda: status("GET", "/v1/models", headers=auth) == 401, 10, "the end of a key")
    must(200, ask("GET", "/v1/models", headers={"X-Api-Key": other}))
    os.unlink(os.path.join(STATE, "keys"))  # that switches nothing off in a running daemon
    ctl("reload", "controlnetd")
    must(401, ask("GET", "/v1/models"))
    ctl("restart", "controlnetd")
    until_ready()
    must(200, ask("GET", "/v1/models"))


# ---- restarts ----

class Load:
    """Clients on threads, until the block is left; .bad has what failed."""

    def __init__(self):
        self.bad, self.count, self.jobs, self.over = [], 0, [], threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=k, daemon=True)
                        for k in (self.fresh, self.fresh, self.kept, self.looks, self.submits)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, kind, value, trace):
        self.over.set()
        for t in self.threads:
            t.join(600)

    def ask(self, c, method, path, body=None, want=200):
        data = b""
        try:
            c.request(method, path, json.dumps(body) if body else None, JSON if body else {})
            r = c.getresponse()
            data = r.read()
            what = None if r.status == want else (method, path, r.status, data[:200])
        except (OSError, http.client.HTTPException) as e:
            what = (method, path, repr(e))
        with self.lock:
            self.count += 1
            if what is not None:
                self.bad.append(what)
        if what is not None:
            self.over.wait(0.1)
        return data

    def again(self, *args, **more):
        c = http.client.HTTPConnection("127.0.0.1", 8080, timeout=600)
        try:
            return self.ask(c, *args, **more)
        finally:
            c.close()

    def fresh(self):
        while not self.over.is_set():
            self.again("POST", "/v1/images", SMALL)

    def kept(self):
        c = http.client.HTTPConnection("127.0.0.1", 8080, timeout=600)
        while not self.over.is_set():
            self.ask(c, "GET", "/v1/samplers")
            self.ask(c, "POST", "/v1/images", SMALL)
        c.close()

    def looks(self):
        while not self.over.is_set():
            self.again("GET", "/healthz")
            self.again("GET", "/v1/models")
            time.sleep(0.01)

    def submits(self):
        while not self.over.is_set():
            data = self.again("POST", "/v1/jobs", SMALL, want=202)
            if data.startswith(b"{"):
                with self.lock:
                    self.jobs.append(json.loads(data)["id"])
            time.sleep(0.2)


@row("twenty restarts under load fail no request and lose no job")
def _():
    since = cursor()
    with Load() as load:
        for _ in range(20):
            seen = load.count
            until(lambda: load.count >= seen + 10, 600, "requests between two restarts")
            ctl("restart", "controlnetd.service")
    assert not load.bad, "%d of %d failed: %s" % (len(load.bad), load.count, load.bad[:5])
    states = {until_over(job) for job in load.jobs}
    assert states == {"succeeded"} and len(load.jobs) >= 20, (states, len(load.jobs))
    assert prop("NRestarts") == "0" and prop("Result") == "success"
    killed = [e["MESSAGE"] for e in journal(since) if e.get("_PID") == "1"
              and re.search(r"SIGKILL|timed out|Failed", e["MESSAGE"])]
    assert not killed, killed
    return "%d requests, %d jobs" % (load.count, len(load.jobs))


@row("a stop ends what runs, within its time")
def _():
    since, job = cursor(), submit(dict(SMALL, steps=40, n=2))
    until(lambda: state_of(job) == "running", 300, "a job that runs")
    ctl("stop", "controlnetd.service", timeout=340)
    assert prop("ActiveState") == "inactive" and prop("Result") == "success"
    left = run("pgrep", "-a", "-f", "controlnet-worker|controlnet-decoder", check=False).strip()
    assert not left, left
    said = [e["MESSAGE"] for e in journal(since) if e.get("_PID") == "1"]
    assert not [m for m in said if re.search(r"SIGKILL|timed out", m)], said
    ctl("start", "controlnetd.service")
    until_ready()
    assert until_over(job) == "succeeded"
    assert json.loads(ask("GET", "/v1/jobs/" + job).body)["attempt"] == 1


@row("a killed daemon is started again, and goes on with its jobs")
def _():
    job = submit(dict(SMALL, steps=40, n=2))
    until(lambda: state_of(job) == "running", 300, "a job that runs")
    pid = main_pid()
    os.kill(pid, signal.SIGKILL)
    must(200, ask("GET", "/healthz"))  # waits in the socket
    assert main_pid() not in (0, pid) and prop("NRestarts") == "1"
    assert until_over(job) == "succeeded"


@row("a killed worker is replaced, and the service stays what it was")
def _():
    pid = main_pid()
    worker = int(run("pgrep", "-P", str(pid), "-f", "controlnet-worker").split()[0])
    os.kill(worker, signal.SIGKILL)
    must(200, ask("POST", "/v1/images", SMALL))
    assert main_pid() == pid and prop("ActiveState") == "active"


@row("a daemon that stands still is ended by the watchdog, and started again")
def _():
    since, pid = cursor(), main_pid()
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    must(200, ask("GET", "/healthz"))
    assert main_pid() not in (0, pid)
    assert any("atchdog" in e["MESSAGE"] for e in journal(since) if e.get("_PID") == "1")
    until_ready()
    return "%d s" % (time.monotonic() - began)


@row("the watchdog leaves alone who waits for a job, or for nothing")
def _():
    pid = main_pid()
    time.sleep(35)
    assert main_pid() == pid
    assert ready()


# ---- the disk ----

@contextlib.contextmanager
def small_disk():
    """The state folder on a disk of 16 MiB; the service is stopped meanwhile."""
    where = os.path.realpath(STATE)
    ctl("stop", "controlnetd.service")
    run("mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", where)
    try:
        yield where
    finally:
        ctl("stop", "controlnetd.service")
        run("umount", where)
        ctl("start", "controlnetd.service")
        until_ready()


def fill(where):
    with contextlib.suppress(OSError), open(os.path.join(where, "filler"), "wb", 0) as f:
        while True:
            f.write(bytes(65536))
    with contextlib.suppress(OSError), open(os.path.join(where, "filler"), "ab", 0) as f:
        while True:
            f.write(b"x")


@row("with a full disk it starts, and draws; what must be kept is refused, until there is room")
def _():
    with small_disk() as where:
        fill(where)
        since = cursor()
        ctl("start", "controlnetd.service")
        assert prop("ActiveState") == "active"
        must(200, ask("POST", "/v1/images", SMALL))
        must(507, ask("POST", "/v1/jobs", SMALL))
        must(503, ask("GET", "/readyz"))
        must(200, ask("GET", "/healthz"))
        pid = main_pid()
        os.unlink(os.path.join(where, "filler"))
        until_ready()
        job = submit()
        assert until_over(job) == "succeeded"
        assert main_pid() == pid and prop("NRestarts") == "0"
        assert [e for e in own(journal(since)) if int(e["PRIORITY"]) <= 4], "no warning of the disk"


@row("a disk that fills up while it runs: the same")
def _():
    with small_disk() as where:
        ctl("start", "controlnetd.service")
        until_ready()
        first = submit()
        assert until_over(first) == "succeeded"
        fill(where)
        must(507, ask("POST", "/v1/jobs", SMALL))
        must(200, ask("POST", "/v1/images", SMALL))
        os.unlink(os.path.join(where, "filler"))
        until_ready()
        assert until_over(submit()) == "succeeded" and state_of(first) == "succeeded"


# ---- the journal ----

@row("every line of the journal is one event of JSON, with its priority")
def _():
    run("journalctl", "--sync")
    lines = own([json.loads(l) for l in run("journalctl", "-q", "-b", "-u", "controlnetd.service",
                                            "-o", "json", "--all").splitlines()])
    of_level = {"error": "3", "warning": "4", "info": "6", "debug": "7"}
    seen = set()
    assert len(lines) > 100
    for e in lines:
        o = json.loads(e["MESSAGE"])
        assert {"ts", "level", "event", "msg"} <= set(o), o
        assert e["PRIORITY"] == of_level[o["level"]], (e["PRIORITY"], o)
        assert len(e["MESSAGE"]) <= 16384
        seen.add(o["event"])
    assert {"http.request", "job.end", "worker.ready"} <= seen, seen
    return "%d lines of %d events" % (len(lines), len(seen))


# ---- after a reboot ----

@row("for the reboot: a job is accepted")
def _():
    with open(RESULT + "/job", "w") as f:
        f.write(submit(dict(SMALL, steps=150, n=8)))


@row("after a reboot the service comes up by itself", boot=2)
def _():
    must(200, ask("GET", "/healthz"))
    until_ready()
    assert prop("ActiveState") == "active" and prop("NRestarts") == "0"


@row("the job that was accepted before is done, and its pictures are there", boot=2)
def _():
    with open(RESULT + "/job") as f:
        job = f.read()
    assert until_over(job) == "succeeded"
    assert must(200, ask("GET", "/v1/jobs/%s/images/7" % job)).body[:4] == b"\x89PNG"


def enable():
    ctl("enable", "--now", "controlnetd.socket", "controlnetd-admin.socket", "controlnetd.service")
    until_ready()


if __name__ == "__main__":
    main(enable)
