"""Requests that two parsers read in two ways: each must be refused, and nothing behind it executed."""
import os
import random
import re
import socket

from cn_e2e import WRAP, Case, Daemon, main, multipart

INNER = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
N = str(len(INNER)).encode()
POST = b"POST /v1/images HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
ROUNDS = int(os.environ.get("CN_MUTATIONS", "4"))  # of 150 mutated requests each
HEAD_S = 20 if WRAP else 2  # a memory checker is slow
SEED = int(os.environ.get("CN_SEED", "20261122"))

GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"

REFUSED = {
    "CL and TE": POST + b"Content-Length: " + N + b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
    INNER,
    "TE and CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + INNER,
    "TE twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"
    b"0\r\n\r\n" + INNER,
    "TE unknown": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + INNER,
    "TE list": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + INNER,
    "TE in 1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "CL twice": POST + b"Content-Length: 0\r\nContent-Length: " + N + b"\r\n\r\n" + INNER,
    "CL twice, equal": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + INNER,
    "CL with blank": POST + b"Content-Length : " + N + b"\r\n\r\n" + INNER,
    "CL plus": POST + b"Content-Length: +5\r\n\r\n" + INNER,
    "CL list": POST + b"Content-Length: 5, 5\r\n\r\n" + INNER,
    "CL negative": POST + b"Content-Length: -1\r\n\r\n" + INNER,
    "CL 2^64-1": POST + b"Content-Length: 18446744073709551615\r\n\r\n" + INNER,
    "CL 2^64": POST + b"Content-Length: 18446744073709551616\r\n\r\n" + INNER,
    "CL hex": POST + b"Content-Length: 0x5\r\n\r\n" + INNER,
    "no Host": b"GET /healthz HTTP/1.1\r\n\r\n" + INNER,
    "two Hosts": GET + b"Host: b\r\n\r\n" + INNER,
    "bare CR in value": GET + b"X-A: a\rX-B: b\r\n\r\n" + INNER,
    "control character": GET + b"X-A: a\x01b\r\n\r\n" + INNER,
    "blank in name": GET + b"X A: b\r\n\r\n" + INNER,
    "obs-fold": GET + b"X-A: a\r\n b\r\nX(: c\r\n\r\n" + INNER,
    "body on GET": GET + b"Content-Length: " + N + b"\r\n\r\n" + INNER,
    "chunked body on GET": GET + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + INNER,
    "body on 404": b"POST /nope HTTP/1.1\r\nHost: a\r\nContent-Length: " + N + b"\r\n\r\n" + INNER,
    "body on 405": b"PUT /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: " + N + b"\r\n\r\n" + INNER,
    "absolute target": b"GET http://b/healthz HTTP/1.1\r\nHost: a\r\n\r\n" + INNER,
    "parent segment": b"GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n" + INNER,
    "escaped parent": b"GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n" + INNER,
    "escaped slash": b"GET /v1%2Fmodels HTTP/1.1\r\nHost: a\r\n\r\n" + INNER,
    "escaped slash in a name": b"GET /v1/jobs/a%2fevents HTTP/1.1\r\nHost: a\r\n\r\n" + INNER,
    "NUL in target": b"GET /healthz%00x HTTP/1.1\r\nHost: a\r\n\r\n" + INNER,
    "CR LF in target": b"GET /healthz%0d%0ax HTTP/1.1\r\nHost: a\r\n\r\n" + INNER,
    "many headers": GET + b"".join(b"X-%d: a\r\n" % i for i in range(100)) + b"\r\n" + INNER,
    "HTTP/2.0": b"GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n" + INNER,
    "NUL in the target": b"GET /healthz\0/x HTTP/1.1\r\nHost: a\r\n\r\n" + INNER,
    "NUL in Host": b"GET /healthz HTTP/1.1\r\nHost: a\0b\r\n\r\n" + INNER,
    "NUL in a value": GET + b"X-A: a\0b\r\n\r\n" + INNER,
    "NUL in a name": GET + b"X\0A: b\r\n\r\n" + INNER,
    "NUL in Content-Length": POST + b"Content-Length: 0\0" + N + b"\r\n\r\n" + INNER,
    "NUL in Transfer-Encoding": POST + b"Transfer-Encoding: chunked\0x\r\n\r\n0\r\n\r\n" + INNER,
    "no name": GET + b": v\r\n\r\n" + INNER,
    "bare LF in the head": GET + b"X-A: a\nX-B: b\r\n\r\n" + INNER,
    "LF ends a chunk line": POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n" + INNER,
    "LF ends a chunk's extension": POST +
    b"Transfer-Encoding: chunked\r\n\r\n2;a\n{}\r\n0\r\n\r\n" + INNER,
    "LF ends a chunk": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\n0\r\n\r\n" + INNER,
    "LF ends the trailers": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n" + INNER,
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n" + INNER,
}


class Smuggling(Case):
    def test_all(self):
        with Daemon("--set", "http.idle_timeout_s=%d" % HEAD_S, "--set",
                    "http.header_timeout_s=%d" % HEAD_S) as d:
            for name, data in REFUSED.items():
                with self.subTest(name):
                    out = d.raw(data, 4)
                    self.assertNotIn(b"HTTP/1.1 2", out)
                    self.assertLessEqual(out.count(b"HTTP/1.1 404"), name == "body on 404", out)
                    self.assertEqual(out.count(b"HTTP/1.1 "), 1, out)
                    self.assertEqual(out.count(b"\r\n\r\n"), 1, out)
                    self.assertIn(b"application/problem+json", out)
            big = d.raw(GET + b"X-Big: " + b"a" * 24577 + b"\r\n\r\n", 4)
            self.assertIn(b" 431 ", big.split(b"\r\n")[0])
            # What the library has no memory for it would refuse by itself: twice, or in silence.
            for head in (b"GET /healthz?" + b"a&" * 3900 + b" HTTP/1.1\r\nHost: a\r\n",
                         GET + b"Cookie: " + b"a=b;" * 4800 + b"\r\n",
                         GET + b"Cookie: a=" + b"b" * 20000 + b"\r\n",
                         b"GET /healthz?" + b"&" * 300 + b" HTTP/1.1\r\nHost: a\r\nCookie: " +
                         b"a=b; " * 100 + b"\r\n" + b"X: y\r\n" * 50):
                out = d.raw(head + b"\r\n", 4)
                self.assertIn(b" 431 ", out.split(b"\r\n")[0])
                self.assertEqual(out.count(b"HTTP/1.1 "), 1, out)
            for head in (b"GET /healthz?" + b"a&" * 200 + b" HTTP/1.1\r\nHost: a\r\n",
                         GET + b"Cookie: " + b"a=b; " * 150 +
                         b"\r\n" + b"X: y\r\n" * 60):
                out = d.raw(head + b"Connection: close\r\n\r\n", 4)
                self.assertTrue(out.startswith(b"HTTP/1.1 200 "), out[:100])
            long = d.raw(b"GET /" + b"a" * 24577 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 4)
            self.assertIn(b" 414 ", long.split(b"\r\n")[0])
            self.assertEqual([e for e in d.events("http.request") if "smuggled" in e["path"]], [])
            self.assertEqual(d.get("/healthz").status, 200)

    def test_what_comes_before_a_fault_is_answered(self):
        with Daemon() as d:
            out = d.raw(GET + b"\r\n" + GET + b"X: y\r\n\r\n" + GET + b": v\r\n\r\n" + INNER, 4)
            self.assertEqual(re.findall(rb"HTTP/1.1 (\d+) ", out), [b"200", b"200", b"400"])

    def test_a_slash_may_be_escaped_in_a_query(self):
        with Daemon() as d:
            self.assertEqual(d.get("/v1/models?x=a%2Fb").status, 200)

    def test_10_needs_no_host(self):
        """Old probes send none: served, and told from HTTP/1.1, where it is a fault."""
        with Daemon() as d:
            out = d.raw(b"GET /v1/models HTTP/1.0\r\n\r\n", 4)
            self.assertIn(b" 200 ", out.split(b"\r\n")[0])
            out = d.raw(b"GET /v1/models HTTP/1.0\r\nHost: evil.example\r\n\r\n", 4)
            self.assertIn(b" 403 ", out.split(b"\r\n")[0])
            out = d.raw(b"GET /v1/models HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 4)
            self.assertIn(b" 400 ", out.split(b"\r\n")[0])

    def test_heads_in_pieces(self):
        """A head may come byte by byte, and in pieces with its body and the next one."""
        body = b'{"prompt":"x","steps":1}'
        text = (POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % len(body) + body +
                b"\r\n0\r\n\r\n" + GET + b"Connection: close\r\n\r\n")
        with Daemon() as d:
            for piece in (1, 7, 50, 180):
                with self.subTest(piece):
                    s = socket.create_connection(("127.0.0.1", d.port), timeout=20)
                    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    for at in range(0, len(text), piece):
                        s.sendall(text[at:at + piece])
                    out = b""
                    while True:
                        more = s.recv(65536)
                        if not more:
                            break
                        out += more
                    s.close()
                    self.assertTrue(out.startswith(b"HTTP/1.1 200 "), out[:200])
                    self.assertTrue(out.endswith(b"\r\n\r\nok\n"), out[-200:])

    def test_mutations(self):
        """Requests with bytes changed, cut and doubled: whatever they are, the daemon lives."""
        rng = random.Random(SEED)
        body, headers = multipart([("params", b'{"prompt":"x","steps":1}'), ("edge", b"PNG")])
        seeds = list(REFUSED.values()) + [
            GET + b"\r\n", POST + b"Content-Length: 24\r\n\r\n" + b'{"prompt":"x","steps":1}',
            POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            POST.replace(b"application/json", headers["Content-Type"].encode()) +
            b"Content-Length: %d\r\n\r\n" % len(body) + body]
        with Daemon("--set", "queue.capacity=1000", "--set", "http.header_timeout_s=1",
                    "--set", "http.body_timeout_s=1", "--set", "log.level=error") as d:
            for _ in range(ROUNDS):
                socks = []
                for _ in range(150):
                    s = socket.create_connection(("127.0.0.1", d.port), timeout=20)
                    socks.append(s)
                    s.sendall(self.mutate(rng, bytearray(rng.choice(seeds))))
                self.assertEqual(d.get("/healthz").status, 200)
                for s in socks:
                    s.close()
            self.assertEqual(d.images({"prompt": "x", "steps": 1}).status, 200)
            self.assertEqual(d.metric("controlnetd_worker_restarts_total"), 0)

    @staticmethod
    def mutate(rng, b):
        for _ in range(rng.randrange(1, 5)):
            at, n = rng.randrange(len(b)), rng.randrange(1, 40)
            kind = rng.randrange(5)
            if kind == 0:
                b[at] = rng.randrange(256)
            elif kind == 1:
                b[at:at] = b[at:at + n]
            elif kind == 2:
                del b[at:at + n]
            elif kind == 3:
                b[at:at] = rng.choice([b"\r\n", b"\0", b":", b" ", b"\r", b"\n\n", b"%00", b"\xff"])
            else:
                b[at:at] = bytes(rng.randrange(256) for _ in range(n))
            if not b:
                b += b"G"
        return bytes(b)


if __name__ == "__main__":
    main()
