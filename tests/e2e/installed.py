#!/usr/bin/env python3
"""Of `make installcheck`: what was installed works at once, without a line of configuration.

    installed.py DAEMON STATE_DIR

Starts the daemon by hand, asks for a job, waits for its picture. STATE_DIR, where it keeps its jobs
by default, is emptied afterwards, save for the folder of models that "make install" has made; when
there was something else in it already, nothing is touched and nothing is checked (77).
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request


def used(state):
    """What is in the state folder, and its folder of models, besides that folder."""
    models = os.path.join(state, "models")
    found = set(os.listdir(state)) - {"models"}
    return sorted(found) + (os.listdir(models) if os.path.isdir(models) else [])


def main():
    daemon, state = sys.argv[1:3]
    if used(state):
        print("installed.py: %s is in use: not checked" % state)
        return 77
    with tempfile.TemporaryDirectory() as tmp:
        port_file = os.path.join(tmp, "port")
        log = open(os.path.join(tmp, "log"), "w+")
        d = subprocess.Popen([daemon, "--listen", "127.0.0.1:0", "--port-file", port_file],
                             stderr=log, env={k: v for k, v in os.environ.items() if k != "STATE_DIRECTORY"})
        try:
            while not os.path.exists(port_file):
                if d.poll() is not None:
                    raise SystemExit("installed.py: the daemon ended: %d" % d.returncode)
                time.sleep(0.05)
            with open(port_file) as f:
                url = "http://127.0.0.1:" + f.read().split()[0]

            def ask(path, body=None):
                r = urllib.request.Request(url + path, body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(r) as answer:
                    return answer.read()

            while True:  # the worker starts
                try:
                    ask("/readyz")
                    break
                except urllib.error.HTTPError:
                    time.sleep(0.1)
            job = json.loads(ask("/v1/jobs", b'{"prompt":"a cat","steps":1}'))["id"]
            while json.loads(ask("/v1/jobs/" + job))["state"] in ("queued", "running"):
                time.sleep(0.1)
            picture = ask("/v1/jobs/%s/images/0" % job)
            assert picture.startswith(b"\x89PNG"), picture[:20]
            print("installed.py: a job and its picture of %d bytes, kept in %s"
                  % (len(picture), state))
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read())
            raise
        finally:
            d.terminate()
            d.wait()
            for name in set(os.listdir(state)) - {"models"}:
                path = os.path.join(state, name)
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
