"""Pictures of requests as people have them, and what pictures from the server say of themselves."""
import base64
import json
import os
import struct
import subprocess
import tempfile
import zlib

from cn_e2e import ENGINE, Case, Daemon, main, png_size
from test_annotate import CLI, MODELS, b64, photo, pixels, png

ASK = {"model": "tiny", "prompt": "a red apple: (big), \u732b", "negative_prompt": "blur\nugly",
       "width": 40, "height": 48, "steps": 3, "seed": 11, "guidance_scale": 6.123456789}
INIT = png(40, 48, 3, photo)


def texts(data):
    """The text chunks of a PNG."""
    at, found = 8, {}
    while at < len(data):
        n, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + n]
        if kind == b"tEXt":
            key, text = body.split(b"\0", 1)
            found[key.decode()] = text.decode("latin-1")
        elif kind == b"iTXt":
            key, rest = body.split(b"\0", 1)
            found[key.decode()] = rest[2:].split(b"\0", 2)[2].decode()
        at += 12 + n
    return found


def with_exif(data, orientation, is_long):
    """The PNG with an eXIf chunk."""
    value = struct.pack(">I", orientation) if is_long else struct.pack(">HH", orientation, 0)
    body = (b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHI", 0x112, 4 if is_long else 3, 1) + value +
            b"\0\0\0\0")
    chunk = struct.pack(">I4s", len(body), b"eXIf") + body
    return data[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + data[33:]


class Pictures(Case):
    @classmethod
    def setUpClass(cls):
        cls.d = Daemon("--models", MODELS, worker=ENGINE)

    @classmethod
    def tearDownClass(cls):
        cls.d.__exit__(None, None, None)

    def draw(self, **more):
        r = self.d.images(dict(ASK, **more))
        self.assertEqual(r.status, 200, r.body)
        return r.body

    def test_they_say_how_they_were_made(self):
        made = texts(self.draw())
        lines = made["parameters"].split("\n")
        self.assertEqual(lines[0], ASK["prompt"])
        self.assertEqual(lines[1:3], ["Negative prompt: blur", "ugly"])
        self.assertIn("CFG scale: 6.123456789, Seed: 11, Size: 40x48, Model: tiny", lines[3])
        again = json.loads(made["controlnetd"])
        self.assertEqual({k: again[k] for k in ASK}, ASK)
        self.assertEqual(texts(self.draw(metadata=False)), {})
        self.assertEqual(pixels(self.draw(**{k: v for k, v in again.items() if k != "controls"})),
                         pixels(self.draw()))

    def test_in_every_format(self):
        want = texts(self.draw())["parameters"]
        for name in ("png", "jpeg", "webp"):
            with tempfile.TemporaryDirectory() as d:
                path = os.path.join(d, "picture." + name)
                with open(path, "wb") as f:
                    f.write(self.draw(format=name))
                out = subprocess.run([CLI, "inspect", path], capture_output=True, text=True)
                self.assertEqual(out.stdout, want + "\n", name + out.stderr)

    def test_how_it_was_held(self):
        w, h, _, px = pixels(INIT)
        for is_long in (False, True):
            for orientation in range(1, 9):
                file = with_exif(INIT, orientation, is_long)
                r = self.d.request("POST", "/v1/annotate",
                                   json.dumps({"annotator": "tile", "image": b64(file)}),
                                   {"Content-Type": "application/json"})
                self.assertEqual(r.status, 200, r.body)
                tw, th, c, got = pixels(r.body)
                swap = orientation >= 5
                self.assertEqual((tw, th), (h, w) if swap else (w, h))
                for x, y in ((0, 0), (tw - 1, 0), (3, 7)):
                    sx, sy = (y, x) if swap else (x, y)
                    sx = w - 1 - sx if orientation in (2, 3, 7, 8) else sx
                    sy = h - 1 - sy if orientation in (3, 4, 6, 7) else sy
                    self.assertEqual(got[(y * tw + x) * c:(y * tw + x) * c + 3],
                                     px[(sy * w + sx) * 3:(sy * w + sx) * 3 + 3])

    def test_base64_as_people_write_it(self):
        plain = b64(INIT)
        want = self.draw(init_image=plain)
        for text in (base64.encodebytes(INIT).decode(), base64.urlsafe_b64encode(INIT).decode(),
                     plain.rstrip("="), "DATA:image/png;base64," + plain,
                     base64.encodebytes(INIT).decode().replace("\n", "\r\n")):
            self.assertEqual(self.draw(init_image=text), want)
        r = self.d.images(dict(ASK, init_image=plain[:-1] + "!"))
        self.assertEqual(r.status, 422)

    def masked(self, mask, **more):
        """Which pixels of the picture are not as they were."""
        _, _, _, was = pixels(INIT)
        w, h, _, now = pixels(self.draw(init_image=b64(INIT), mask=b64(mask), denoise=1, **more))
        return {i for i in range(w * h) if was[3 * i:3 * i + 3] != now[3 * i:3 * i + 3]}

    def test_masks_of_all_kinds(self):
        def at(x, y):
            return x == 13 and 5 <= y < 40
        stroke = {y * 40 + x for y in range(48) for x in range(40) if at(x, y)}
        for name, mask in (
                ("white on black", png(40, 48, 1, lambda x, y: (255 * at(x, y),))),
                ("black on transparent", png(40, 48, 4, lambda x, y: (0, 0, 0, 255 * at(x, y)))),
                ("white on transparent",
                 png(40, 48, 4, lambda x, y: (255, 255, 255, 255 * at(x, y)))),
                ("a hole in white",
                 png(40, 48, 4, lambda x, y: (255, 255, 255, 0 if at(x, y) else 255))),
                ("a hole in a photograph",
                 png(40, 48, 4, lambda x, y: photo(x, y) + (0 if at(x, y) else 255,)))):
            changed = self.masked(mask)
            self.assertTrue(changed <= stroke, name)
            self.assertGreater(len(changed), len(stroke) // 2, name)
        black = png(40, 48, 1, lambda x, y: (255 * (not at(x, y)),))
        self.assertTrue(self.masked(black, mask_invert=True) <= stroke)
        large = png(320, 384, 1, lambda x, y: (255 * (x == 100),))
        self.assertTrue(self.masked(large))

    def test_a_mask_of_two_halves(self):
        """No border tells strokes from holes; each dialect has its own meaning of transparency."""
        for colour in ((0, 0, 0), (255, 255, 255), (90, 20, 60)):
            mask = png(40, 48, 4, lambda x, y: colour + (255 if x >= 20 else 0,))
            for alpha, side in (("transparent", range(20)), ("opaque", range(20, 40))):
                with self.subTest(colour=colour, alpha=alpha):
                    changed = self.masked(mask, mask_alpha=alpha)
                    self.assertGreater(len(changed), 480)
                    self.assertTrue({i % 40 for i in changed} <= set(side))
            ask = {"prompt": "a", "steps": 3, "seed": 11, "size": "40x48", "model": "tiny",
                   "response_format": "b64_json", "image": b64(INIT), "mask": b64(mask)}
            r = self.d.request("POST", "/v1/images/edits", json.dumps(ask),
                               {"Content-Type": "application/json"})
            self.assertEqual(r.status, 200, r.body[:300])
            self.assertTrue(self.columns(json.loads(r.body)["data"][0]["b64_json"]) <=
                            set(range(20)))
            ask = {"prompt": "a", "steps": 3, "width": 40, "height": 48, "mask_blur": 0,
                   "init_images": [b64(INIT)], "mask": b64(mask), "denoising_strength": 1,
                   "override_settings": {"sd_model_checkpoint": "tiny"}}
            r = self.d.request("POST", "/sdapi/v1/img2img", json.dumps(ask))
            self.assertEqual(r.status, 200, r.body[:300])
            self.assertTrue(self.columns(json.loads(r.body)["images"][0]) <= set(range(20, 40)))

    def columns(self, text):
        """Of the pixels that are not as they were; there are some."""
        _, _, _, was = pixels(INIT)
        w, h, _, now = pixels(base64.b64decode(text))
        found = {i % w for i in range(w * h) if was[3 * i:3 * i + 3] != now[3 * i:3 * i + 3]}
        self.assertTrue(found)
        return found

    def test_nothing_changes(self):
        self.assertEqual(pixels(self.draw(init_image=b64(INIT), denoise=0)), pixels(INIT))
        nothing = png(40, 48, 1, lambda x, y: (0,))
        r = self.d.images(dict(ASK, init_image=b64(INIT), mask=b64(nothing)))
        self.assertEqual(pixels(r.body), pixels(INIT))
        self.assertIn("/mask", r.headers["Controlnetd-Warnings"])

    def test_a_picture_gives_its_size(self):
        ask = {k: v for k, v in ASK.items() if k not in ("width", "height")}
        for init, size in ((png(96, 32, 3, photo), (96, 32)), (png(45, 51, 3, photo), (40, 48)),
                           (with_exif(INIT, 6, False), (48, 40))):
            for name in ("png", "jpeg", "webp"):
                r = self.d.images(dict(ask, init_image=b64(init), format=name))
                self.assertEqual(r.status, 200, r.body)
                r = self.d.images(dict(ask, init_image=b64(r.body)))
                self.assertEqual(png_size(r.body), size)

    def test_one_seed_for_all(self):
        r = self.d.images(dict(ASK, n=2, same_seed=True), "application/json")
        one, two = json.loads(r.body)["images"]
        self.assertEqual((one["seed"], two["seed"]), (11, 11))
        self.assertEqual(one["data"], two["data"])


if __name__ == "__main__":
    main()
