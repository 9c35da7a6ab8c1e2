"""A service manager in small: it holds the listening sockets, and starts daemons on them."""
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from cn_e2e import DAEMON, SLOW, WORKER, WRAP, signals_held


class Manager:
    """Sockets {name: socket}; start() and stop() daemons which inherit them."""

    def __init__(self, *args, fake="", admin=False, env=None):
        self.dir = tempfile.mkdtemp(prefix="cn-e2e-")
        self.conf = os.path.join(self.dir, "conf")
        open(self.conf, "w").close()
        self.log_path = os.path.join(self.dir, "log")
        self.log_file = open(self.log_path, "ab")
        self.args = args
        self.env = dict(os.environ, CONTROLNET_FAKE=fake, **(env or {}))
        self.sockets = [("http", self.listen())] + ([("admin", self.listen())] if admin else [])
        self.port = self.sockets[0][1].getsockname()[1]
        self.admin_port = self.sockets[-1][1].getsockname()[1] if admin else 0
        self.running = []

    @staticmethod
    def listen():
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 0))
        s.listen(511)
        return s

    def start(self):
        """A new process with the sockets at descriptors 3 and up, as systemd does it."""
        copies = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 100) for _, s in self.sockets]
        moves = "".join("exec %d<&%d; " % (3 + i, fd) for i, fd in enumerate(copies))
        script = moves + ('LISTEN_PID=$$ LISTEN_FDS=%d LISTEN_FDNAMES=%s exec "$0" "$@"' %
                          (len(copies), ":".join(name for name, _ in self.sockets)))
        try:
            with signals_held():
                p = subprocess.Popen(
                    ["/bin/bash", "-c", script, *WRAP, DAEMON, "-c", self.conf, "--set",
                     "worker.program=" + WORKER, "--set", "http.hosts=a", "--set",
                     "store.dir=" + os.path.join(self.dir, "store"), *self.args],
                    stdin=subprocess.DEVNULL, stdout=self.log_file, stderr=self.log_file,
                    env=self.env, pass_fds=copies)
        finally:
            for fd in copies:
                os.close(fd)
        self.running.append(p)
        return p

    def stop(self, p, timeout=30):
        """SIGTERM; the exit status."""
        p.send_signal(signal.SIGTERM)
        return self.wait(p, timeout)

    def wait(self, p, timeout=30):
        status = p.wait(timeout * SLOW)
        self.running.remove(p)
        return status

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for p in list(self.running):
            try:
                self.stop(p)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        for _, s in self.sockets:
            s.close()
        self.log_file.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def once_up(condition, seconds=10):
    """Polls until condition() is true; OSError counts as false."""
    end = time.monotonic() + seconds * SLOW
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise AssertionError("waited in vain for %s" % condition)
        time.sleep(0.01)
