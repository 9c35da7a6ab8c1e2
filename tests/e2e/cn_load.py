"""A load generator: kept connections, one request each at a time, in one thread.

    load = Load(port, [Client(next_request) for _ in range(64)])
    load.run(5)                      -- seconds; or until every client's requests have ended
    load.answers, load.statuses, load.latency(0.99), load.failures

A client is given by a function that returns the bytes of its next request, or None when it has no
more. Some 15,000 requests/s on one core of the machine in docs/SPEED.md, so that it does not limit
what is measured with it.
"""
import heapq
import os
import selectors
import socket
import time


def request(method, path, body=b"", headers=""):
    if isinstance(body, str):
        body = body.encode()
    head = "%s %s HTTP/1.1\r\nHost: a\r\n%s" % (method, path, headers)
    if body:
        head += "Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    return head.encode() + b"\r\n" + body


class Client:
    """One connection. on_answer(status, head, body) may be given; pause: seconds between requests."""

    def __init__(self, next_request, on_answer=None, pause=0, keep_body=False):
        self.next_request, self.on_answer, self.pause = next_request, on_answer, pause
        self.keep_body = keep_body or on_answer is not None
        self.s = None


class Load:
    def __init__(self, port, clients, timeout=60):
        self.port, self.clients, self.timeout = port, clients, timeout
        self.answers, self.bytes, self.failures = 0, 0, []
        self.statuses, self.times = {}, []
        self.sel = selectors.DefaultSelector()
        self.later = []  # (when, number, client): pausing
        self.number = 0

    def latency(self, quantile):
        times = sorted(self.times)
        return times[min(len(times) - 1, int(len(times) * quantile))] if times else 0.0

    def run(self, seconds=None):
        end = time.monotonic() + (seconds if seconds is not None else 1e9)
        self.ending = False
        self.open = 0
        for c in self.clients:
            self.begin(c)
        while self.open or self.later:
            now = time.monotonic()
            if now >= end:
                self.ending = True
                self.later.clear()
                if now > end + self.timeout:
                    self.failures.append("timeout of %d answers" % self.open)
                    break
            while self.later and self.later[0][0] <= now:
                self.begin(heapq.heappop(self.later)[2])
            wait = min([end - now if not self.ending else 1] +
                       ([self.later[0][0] - now] if self.later else []))
            for key, _ in self.sel.select(max(0, min(wait, 1))):
                self.readable(key.data)
        for c in self.clients:
            self.close(c)
        return self

    def begin(self, c):
        data = None if self.ending else c.next_request()
        if data is None:
            return
        self.open += 1
        c.start = time.monotonic()
        for fresh in (False, True):
            try:
                if c.s is None:
                    c.s = socket.create_connection(("127.0.0.1", self.port), self.timeout)
                    c.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.sel.register(c.s, selectors.EVENT_READ, c)
                c.s.sendall(data)
                break
            except OSError as e:
                self.close(c)
                if fresh:
                    self.fail(c, repr(e))
                    return
        c.data, c.need = b"", None

    def close(self, c):
        if c.s is not None:
            self.sel.unregister(c.s)
            c.s.close()
            c.s = None

    def fail(self, c, why):
        self.open -= 1
        self.failures.append(why)
        self.close(c)
        self.again(c, 0.05)

    def again(self, c, pause):
        if self.ending:
            return
        if pause:
            self.number += 1
            heapq.heappush(self.later, (time.monotonic() + pause, self.number, c))
        else:
            self.begin(c)

    def readable(self, c):
        try:
            piece = c.s.recv(1 << 18)
        except OSError as e:
            self.fail(c, repr(e))
            return
        if not piece:
            self.fail(c, "connection closed in the middle: %r" % c.data[:100])
            return
        if c.need is None:
            c.data += piece
            at = c.data.find(b"\r\n\r\n")
            if at < 0:
                return
            c.head = c.data[:at + 2]
            lower = c.head.lower()
            k = lower.find(b"content-length:")
            length = int(lower[k + 15:lower.find(b"\r", k)]) if k >= 0 else 0
            c.need = at + 4 + length - len(c.data)
            c.data = c.data[at + 4:]
        else:
            c.need -= len(piece)
            if c.keep_body:
                c.data += piece
        self.bytes += len(piece)
        if c.need <= 0:
            self.answered(c)

    def answered(self, c):
        status = int(c.head[9:12])
        self.open -= 1
        self.answers += 1
        self.times.append(time.monotonic() - c.start)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if c.on_answer is not None:
            c.on_answer(status, c.head, c.data)
        if b"connection: close" in c.head.lower():
            self.close(c)
        self.again(c, c.pause)


class Watch:
    """What the daemon's process did between two moments: CPU, memory, lateness of its loop."""

    def __init__(self, d):
        self.d, self.pid = d, d.proc.pid
        self.lags0, self.cpu0, self.start = self.lags(), self.cpu_s(), time.monotonic()

    def cpu_s(self):
        with open("/proc/%d/stat" % self.pid) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def rss(self):
        with open("/proc/%d/statm" % self.pid) as f:
            return int(f.read().split()[1]) * 4096

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def lags(self):
        """Cumulated counts of the loop's lateness: [(bound in s, count)]."""
        found = []
        for line in self.d.get("/metrics").body.decode().splitlines():
            if line.startswith("controlnetd_event_loop_lag_seconds_bucket"):
                bound = line.split('le="')[1].split('"')[0]
                found.append((float(bound), int(line.rsplit(" ", 1)[1])))
        return found

    def spent(self):
        """Seconds of the clock, and of the processor."""
        return time.monotonic() - self.start, self.cpu_s() - self.cpu0

    def lag(self, quantile):
        """Interpolated in its bucket, as Prometheus does it; and the number of samples."""
        before = dict(self.lags0)
        counts = [(b, n - before.get(b, 0)) for b, n in self.lags()]
        want, below, lower = quantile * counts[-1][1], 0, 0.0
        for bound, n in counts:
            if n >= want and n > below and bound != float("inf"):
                return lower + (bound - lower) * (want - below) / (n - below), counts[-1][1]
            below, lower = n, bound if bound != float("inf") else lower
        return lower, counts[-1][1]
