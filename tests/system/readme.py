"""In the machine of tests/system/run: the commands of README.md, literally and in order.

A command is an indented line that begins with a word of COMMANDS, with the lines that belong to it. What is there for
somebody to fill in is filled in: the id of a job, a photograph, the key. "sudo" is left out: this is root.
Two commands are not run: tools/check, which is the tests, and tools/package, which is another part of this one.
"""
import os
import re
import shutil

from machine import *  # noqa: F403

TREE = "/root/controlnetd"
COMMANDS = ("tools/", "autoreconf", "mkdir", "sudo", "controlnet", "curl", "(umask", "systemctl")
NOT_RUN = ("tools/check", "sudo tools/package", "tools/package")
state = {"where": TREE, "job": None, "daemon": None}


def commands(text):
    """[(number of the line, command)] of the indented blocks."""
    found, lines, i = [], text.splitlines(), 0
    while i < len(lines):
        first, line = i, lines[i]
        i += 1
        if not line.startswith("    ") or not line.strip().startswith(COMMANDS):
            continue
        command = [line[4:]]
        # A line goes on after a backslash, and while a quotation mark is open.
        while command[-1].endswith("\\") or "\n".join(command).count("'") % 2:
            command.append(lines[i][4:])
            i += 1
        found.append((first + 1, "\n".join(command)))
    return found


def is_daemon(command):
    return re.match(r"controlnetd( --set| *$)", command) is not None


def stop_daemon():
    if state["daemon"] is not None:
        state["daemon"].terminate()
        state["daemon"].wait()
        state["daemon"] = None


def shell(command):
    """With sudo, and the folder in which the command before it has ended."""
    script = 'sudo() { "$@"; }\ncd %s && %s\nstatus=$?\npwd >/tmp/where\nexit $status\n' % (
        state["where"], command)
    return run("bash", "-c", script, timeout=3600)


def execute(command):
    if is_daemon(command):
        stop_daemon()
        ctl("stop", "controlnetd.socket", "controlnetd.service", check=False)
        state["daemon"] = subprocess.Popen(["bash", "-c", "exec " + command], cwd=state["where"])
        until_ready()
        return
    if "systemctl enable" in command:
        stop_daemon()
    if state["job"] is not None:
        command = re.sub(r"\bID\b", state["job"], command)
    said = shell(command)
    state["where"] = open("/tmp/where").read().strip()
    # The build goes on in its folder; everything else is said from the tree.
    if "make install" in command:
        state["where"] = TREE
    if "systemctl enable" in command:
        until_ready()
    job = re.search(r'"id":\s*"(\w+)"', said)
    if job and "/v1/jobs" in command:
        state["job"] = job.group(1)
        until(lambda: state_of(state["job"], state.get("key")) == "succeeded", 300, "the job")
    if "keys add" in command and "key" not in state:
        key = re.search(r"cnk_\S+", run("controlnetd", "keys", "add", "readme", "--scopes", "admin")).group(0)
        state["key"] = {"Authorization": "Bearer " + key}
        with open("/root/.curlrc", "a") as f:
            f.write('header = "Authorization: Bearer %s"\n' % key)
        time.sleep(2)


@row("what README.md says at a shell succeeds, line by line")
def _():
    # An answer of 4xx or 5xx is a failure; in the README it would be seen.
    with open("/root/.curlrc", "w") as f:
        f.write("fail\nsilent\nshow-error\n")
    os.environ["HOME"] = "/root"
    shutil.copy("/opt/test/photo.jpg", TREE)
    done = 0
    for line, command in commands(open(TREE + "/README.md").read()):
        if command.startswith(NOT_RUN):
            continue
        print("README.md:%d: %s" % (line, command), flush=True)
        try:
            execute(command)
        except Exception as e:
            raise AssertionError("line %d: %s: %s" % (line, command, e))
        done += 1
    stop_daemon()
    assert done > 25, done
    return "%d commands" % done


if __name__ == "__main__":
    main()
