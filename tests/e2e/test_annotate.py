"""POST /v1/annotate: control maps over HTTP, as the command line makes them."""
import base64
import json
import os
import struct
import subprocess
import tempfile
import zlib

from cn_e2e import DATA, ENGINE, Case, Daemon, main, multipart, png_size

CLI = os.path.abspath("controlnet")
MODELS = os.path.join(DATA, "models")


def png(width, height, channels, pixel):
    """A PNG of what pixel(x, y) says."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I",
                                                                        zlib.crc32(kind + body))
    rows = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(width))
                    for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" +
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8,
                                       {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def pixels(data):
    """(width, height, channels, bytes) of a PNG of 8 bits, without interlacing."""
    width, height, _, colour = struct.unpack(">IIBB", data[16:26])
    c, at, packed = {0: 1, 2: 3, 6: 4}[colour], 8, b""
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        packed += data[at + 8:at + 8 + n] if kind == b"IDAT" else b""
        at += 12 + n
    raw, out, row, pitch = zlib.decompress(packed), bytearray(), bytearray(width * c), width * c
    for y in range(height):
        kind, line = raw[y * (pitch + 1)], raw[y * (pitch + 1) + 1:(y + 1) * (pitch + 1)]
        now = bytearray(pitch)
        for i, v in enumerate(line):
            a = now[i - c] if i >= c else 0
            b, d = row[i], row[i - c] if i >= c else 0
            p = a + b - d
            paeth = min(((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - d), 2, d)))[2]
            now[i] = (v + (0, a, b, (a + b) // 2, paeth)[kind]) & 255
        out += now
        row = now
    return width, height, c, bytes(out)


def photo(x, y):
    """Edges, lines, gradients and a little noise."""
    ring = 200 if (x - 48) ** 2 + (y - 40) ** 2 < 900 else 60
    noise = (x * 7919 + y * 104729) % 17
    return (min(ring + noise, 255), (x * 2 + noise) % 256, 255 if (x // 12 + y // 12) % 2 else 20)


PHOTO = png(96, 80, 3, photo)
HALF = png(96, 80, 1, lambda x, y: (255 if x >= 48 else 0,))


def b64(data):
    return base64.b64encode(data).decode()


class Annotate(Case):
    @classmethod
    def setUpClass(cls):
        cls.d = Daemon("--models", MODELS, worker=ENGINE)
        cls.dir = tempfile.TemporaryDirectory()
        for name, data in (("photo.png", PHOTO), ("half.png", HALF)):
            with open(os.path.join(cls.dir.name, name), "wb") as f:
                f.write(data)

    @classmethod
    def tearDownClass(cls):
        cls.d.__exit__(None, None, None)
        cls.dir.cleanup()

    def ask(self, **spec):
        return self.d.request("POST", "/v1/annotate", json.dumps(spec),
                              {"Content-Type": "application/json"})

    def map(self, **spec):
        r = self.ask(**spec)
        self.assertEqual(r.status, 200, r.body)
        return r.body

    def at_a_shell(self, name, *words):
        out = os.path.join(self.dir.name, "out.png")
        subprocess.run([CLI, "annotate", *[w for w in words if w.startswith("--")], name,
                        os.path.join(self.dir.name, "photo.png"), out,
                        *[w for w in words if not w.startswith("--")]], check=True)
        with open(out, "rb") as f:
            return f.read()

    def test_every_annotator_is_the_command_lines(self):
        r = self.d.request("GET", "/v1/annotators")
        listed = json.loads(r.body)["annotators"]
        self.assertGreater(len(listed), 12)
        for a in listed:
            if a["name"] == "none":
                continue
            mask = {"mask": b64(HALF)} if a.get("takes_mask") else {}
            words = ["--mask=" + os.path.join(self.dir.name, "half.png")] if mask else []
            for where in ("default", "minimum", "maximum"):
                params = {p["name"]: p[where] for p in a["params"]}
                if a["name"] == "canny":
                    params["high"] = max(params["high"], params["low"])
                got = self.map(annotator=a["name"], image=b64(PHOTO), params=params, **mask)
                want = self.at_a_shell(a["name"], *words,
                                       *["%s=%s" % p for p in params.items()])
                self.assertEqual(pixels(got), pixels(want), (a["name"], params))
                if not params:
                    break

    def test_forms_of_requests(self):
        spec = {"annotator": "canny", "image": "part:photo", "params": {"low": 50}}
        body, headers = multipart([("params", json.dumps(spec).encode()), ("photo", PHOTO)])
        r = self.d.request("POST", "/v1/annotate", body, headers)
        self.assertEqual(r.status, 200, r.body)
        self.assertEqual(r.body, self.map(annotator="canny", image=b64(PHOTO), params={"low": 50}))
        self.assertNotEqual(r.body, self.map(annotator="canny", image=b64(PHOTO)))
        r = self.d.request("POST", "/v1/annotate", json.dumps({"annotator": "grey",
                                                               "image": b64(PHOTO)}),
                           {"Content-Type": "application/json", "Accept": "application/json"})
        answer = json.loads(r.body)
        self.assertEqual(answer["parameters"]["kind"], "annotate")
        self.assertEqual(png_size(base64.b64decode(answer["images"][0]["data"])), (96, 80))

    def test_sizes(self):
        self.assertEqual(png_size(self.map(annotator="canny", image=b64(PHOTO), width=64,
                                           height=128, resize="pad")), (64, 128))
        w, h, c, px = pixels(self.map(annotator="canny", image=b64(png(
            64, 32, 3, lambda x, y: (200, 200, 200))), width=64, height=64, resize="pad"))
        self.assertEqual((w, h, c), (64, 64, 3))
        self.assertEqual(set(px), {0})  # the padding has no edge
        self.assertEqual(png_size(self.map(annotator="canny", image=b64(PHOTO), resolution=160)),
                         (192, 160))

    def test_what_is_hidden_is_missing(self):
        w, h, c, px = pixels(self.map(annotator="inpaint", image=b64(PHOTO), mask=b64(HALF)))
        self.assertEqual((w, h, c), (96, 80, 4))
        self.assertEqual({px[4 * i + 3] for i in range(w * h) if i % w >= 48}, {0})
        self.assertEqual([px[4 * i:4 * i + 4] for i in range(48)],
                         [bytes(photo(i, 0)) + b"\xff" for i in range(48)])

    def test_what_is_refused(self):
        for spec, pointer in (
                ({"annotator": "tarot", "image": b64(PHOTO)}, "/annotator"),
                ({"image": b64(PHOTO)}, "/annotator"),
                ({"annotator": "canny"}, "/image"),
                ({"annotator": "canny", "image": b64(b"no picture")}, "/image"),
                ({"annotator": "canny", "image": b64(PHOTO), "params": {"low": 5000}},
                 "/params/low"),
                ({"annotator": "canny", "image": b64(PHOTO), "params": {"low": 1.5}},
                 "/params/low"),
                ({"annotator": "canny", "image": b64(PHOTO), "params": {"hight": 5}},
                 "/params/hight"),
                ({"annotator": "inpaint", "image": b64(PHOTO)}, "/mask"),
                ({"annotator": "canny", "image": b64(PHOTO), "width": 64}, "/height"),
                ({"annotator": "canny", "image": b64(PHOTO), "prompt": "x"}, "/prompt")):
            r = self.ask(**spec)
            self.assertIn(r.status, (400, 404, 422), spec.keys())
            self.assertEqual(json.loads(r.body)["errors"][0]["pointer"], pointer, r.body)

    def test_maps_come_with_pictures(self):
        c = {"model": "tiny-control-a", "image": b64(PHOTO), "annotator": "canny",
             "params": {"low": 30}, "return_map": True}
        r = self.d.images({"model": "tiny", "prompt": "x", "width": 40, "height": 48, "steps": 2,
                           "seed": 1, "n": 2, "controls": [c]}, "application/json")
        self.assertEqual(r.status, 200, r.body)
        images = json.loads(r.body)["images"]
        self.assertEqual([i.get("map_of") for i in images], [None, None, 0])
        want = self.map(annotator="canny", image=b64(PHOTO), params={"low": 30}, width=40,
                        height=48)
        self.assertEqual(pixels(base64.b64decode(images[2]["data"])), pixels(want))


if __name__ == "__main__":
    main()
