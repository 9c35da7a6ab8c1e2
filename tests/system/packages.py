"""In the machine of tests/system/run: the Debian packages, from the first installation to the purge.

/opt/test has them twice: in new/, and in old/ with a lower version, for the upgrade. Rows go by the
order in which they stand here. There is no network.
"""
import glob
import json
import os
import re

from machine import *  # noqa: F403

PACKAGES = "controlnetd", "controlnet-tools", "controlnetd-models-emoji"
EXAMPLES = "/usr/share/doc/controlnetd/examples/"
CONFFILE = "/etc/controlnetd/controlnetd.conf"
state = {}


def apt(*words):
    return run("apt-get", "-y", "-o", "Dpkg::Use-Pty=0", *words)


def debs(which):
    return sorted(glob.glob(HERE + "/%s/*.deb" % which))


def version(package="controlnetd"):
    return run("dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Version}", package, check=False)


def leftovers():
    """What the packages have left in the file system, and of users."""
    found = []
    for top in "/etc", "/usr", "/var", "/run", "/lib/systemd":
        for folder, folders, files in os.walk(top):
            found += [os.path.join(folder, name) for name in folders + files if "controlnet" in name]
    # What dpkg and systemd write of everything that was ever there; the test's own settings.
    known = r"/var/log/|/var/lib/dpkg/|/var/lib/apt/|/var/cache/apt/|/run/systemd/|/run/credentials"
    found = [path for path in found if not re.match(known, path)]
    users = [line for line in open("/etc/passwd").read().splitlines() if "controlnet" in line]
    groups = [line for line in open("/etc/group").read().splitlines() if "controlnet" in line]
    return found + users + groups


# ---- the first ten minutes ----

@row("apt installs the packages; the service runs, is enabled, and listens on this machine alone")
def _():
    said = apt("install", *debs("old"))
    until_ready()
    assert prop("ActiveState") == "active" and prop("UnitFileState") == "enabled"
    assert prop("UnitFileState", "controlnetd.socket") == "disabled", "the socket"
    assert not re.search("(?i)error|failed|warning", said), said
    listening = [line.split()[1] for line in open("/proc/net/tcp").read().splitlines()[1:]
                 if line.split()[3] == "0A"]
    assert listening == ["0100007F:1F90"], listening
    assert not os.path.exists("/proc/net/tcp6") or " 0A " not in open("/proc/net/tcp6").read()


@row("it runs as the user controlnetd, whose folder nobody else reads")
def _():
    lines = open("/proc/%d/status" % main_pid()).read().splitlines()
    uid = [line.split()[1] for line in lines if line.startswith("Uid:")][0]
    assert uid == run("id", "-u", "controlnetd").strip() != "0"
    about = os.stat(STATE)
    assert about.st_uid == int(uid) and about.st_mode & 0o777 == 0o700, oct(about.st_mode)
    assert not os.path.islink(STATE)


@row("README.Debian's command draws a picture by curl")
def _():
    text = open("/usr/share/doc/controlnetd/README.Debian").read()
    command = re.search(r"    (curl -o apple\.png .*?)\n\n", text, re.S).group(1)
    run("sh", "-c", "cd /tmp && " + command)
    assert open("/tmp/apple.png", "rb").read(4) == b"\x89PNG"
    os.unlink("/tmp/apple.png")


@row("an ordinary user draws the same picture at a shell")
def _():
    picture = must(200, ask("POST", "/v1/images", SMALL)).body
    run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "HOME=/nonexistent", "controlnet",
        "generate", "-p", SMALL["prompt"], "--steps", "1", "--seed", "1", "-o", "/tmp/shell.png")
    shell = open("/tmp/shell.png", "rb").read()
    os.unlink("/tmp/shell.png")

    def pixels(png):
        return re.findall(rb"IDAT.*", png, re.S)

    assert pixels(shell) == pixels(picture)


@row("the manual pages are there, and name the places of the packages")
def _():
    for page in "man8/controlnetd.8.gz", "man5/controlnetd.conf.5.gz", "man1/controlnet.1.gz":
        text = run("sh", "-c", "gzip -dc /usr/share/man/" + page)
        assert "/usr/local" not in text, page
    assert "/usr/share/controlnetd/models" in run("sh", "-c", "gzip -dc /usr/share/man/man5/controlnetd.conf.5.gz")


@row("a job is done over a restart")
def _():
    job = submit({"prompt": "a house", "n": 4, "steps": 50})
    ctl("kill", "-s", "KILL", "controlnetd")
    until_ready()
    assert until_over(job) == "succeeded"
    assert must(200, ask("GET", "/v1/jobs/%s/images/3" % job)).body[:4] == b"\x89PNG"
    state["job"] = job


@row("keys: made by root, read by the service, and gone when they are revoked")
def _():
    key = re.search(r"cnk_\S+", run("controlnetd", "keys", "add", "anna", "--scopes", "admin")).group(0)
    until(lambda: status("GET", "/v1/models") == 401, 10, "the key to count")
    state["key"] = {"Authorization": "Bearer " + key}
    must(200, ask("GET", "/v1/models", headers=state["key"]))
    run("controlnetd", "keys", "add", "bert")
    run("controlnetd", "keys", "revoke", "bert")
    assert "bert" not in run("controlnetd", "keys", "list")


@row("a model that root puts into the folder is there without a restart")
def _():
    run("cp", "-r", "/usr/share/controlnetd/models/emoji", STATE + "/models/mine")

    def there():
        names = [m["name"] for m in json.loads(ask("GET", "/v1/models", headers=state["key"]).body)["models"]]
        return any("mine" in name for name in names)

    until(there, 30, "the model")


# ---- upgrade ----

@row("an upgrade keeps configuration, keys, jobs and models, and the service runs")
def _():
    with open(CONFFILE, "a") as f:
        f.write("\n# a line of the administrator's\n")
    before, old = main_pid(), version()
    job = submit({"prompt": "a tree", "n": 2, "steps": 20}, headers=state["key"])
    said = apt("install", *debs("new"))
    assert version() != old and version().startswith("ii"), (old, version())
    until_ready()
    assert main_pid() != before
    assert "a line of the administrator's" in open(CONFFILE).read(), said
    for done in state["job"], job:
        until(lambda: state_of(done, state["key"]) == "succeeded", 120, "job " + done)
    assert os.path.isdir(STATE + "/models/mine")
    assert prop("UnitFileState") == "enabled"


@row("what the administrator has disabled stays so over an upgrade")
def _():
    ctl("disable", "--now", "controlnetd")
    apt("install", "--reinstall", *debs("new"))
    assert prop("UnitFileState") == "disabled" and prop("ActiveState") == "inactive", prop("ActiveState")
    ctl("enable", "--now", "controlnetd")
    until_ready()


@row("the socket can be enabled, and a restart then refuses nobody")
def _():
    ctl("stop", "controlnetd")
    ctl("enable", "--now", "controlnetd.socket")
    must(200, ask("GET", "/v1/models", headers=state["key"]))
    ctl("disable", "--now", "controlnetd.socket")
    ctl("stop", "controlnetd")
    ctl("start", "controlnetd")
    until_ready()


# ---- the end ----

@row("a removal ends the service and keeps configuration and state")
def _():
    apt("remove", "controlnetd")
    assert not os.path.exists("/usr/sbin/controlnetd")
    assert prop("ActiveState") in ("inactive", "failed")
    assert os.path.exists(CONFFILE) and os.path.exists(STATE + "/keys")
    apt("install", *debs("new"))
    until_ready()
    must(200, ask("GET", "/v1/jobs/%s" % state["job"], headers=state["key"]))


@row("a purge leaves models of the administrator's, and says so")
def _():
    said = apt("purge", *PACKAGES)
    assert "models is not empty" in said, said
    assert os.listdir(STATE) == ["models"] and os.listdir(STATE + "/models") == ["mine"]
    run("rm", "-r", STATE)


@row("a purge of what was installed leaves nothing")
def _():
    apt("install", *debs("new"))
    until_ready()
    until_over(submit())
    apt("purge", *PACKAGES)
    run("systemctl", "daemon-reload")
    left = leftovers()
    assert not left, left
    assert "controlnetd" not in run("systemctl", "list-unit-files", "--no-legend")


if __name__ == "__main__":
    main()
