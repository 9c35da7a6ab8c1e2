"""Writes tests/data/fuzz/image/, and the table of what is in it (tests/image/corpus.h).

    python tests/data/image/make_corpus.py > tests/image/corpus.h     (needs numpy and pillow)

Good pictures carry the hash of their pixels as Pillow or plain arithmetic gives them; bad ones the
error they must end in. scans.jpg, arithmetic.jpg and ycck.jpg come from tests/image/make_jpeg.c.
"""
import io
import os
import struct
import sys
import zlib

import numpy as np
from PIL import Image

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fuzz/image")
rows = []
W, H = 21, 13
rng = np.random.default_rng(7)


def fnv(a):
    h = 0xCBF29CE484222325
    for b in np.ascontiguousarray(a, dtype=np.uint8).tobytes():
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def write(name, data):
    with open(os.path.join(HERE, name), "wb") as f:
        f.write(data)


def good(name, data, px, exact=True):
    if data is not None:
        write(name, data)
    h, w, c = px.shape
    rows.append(f'{{"{name}", CN_OK, {w}, {h}, {c}, 0x{fnv(px) if exact else 0:016x}}}')


def bad(name, data, code):
    if data is not None:
        write(name, data)
    rows.append(f'{{"{name}", CN_{code}, 0, 0, 0, 0}}')


# PNG by hand: Pillow writes neither interlaced files nor broken ones.

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind, data=b"", crc=None):
    if crc is None:
        crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def ihdr(w, h, depth, colour, interlace=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, interlace))


def pack_rows(px, depth):
    """px is [h, w, c] of samples; a filter byte stands before each row, all filters in turn."""
    out = b""
    for y, row in enumerate(px):
        flat = row.reshape(-1)
        if depth == 16:
            raw = flat.astype(">u2").tobytes()
        elif depth == 8:
            raw = flat.astype(np.uint8).tobytes()
        else:
            bits = "".join(f"{v:0{depth}b}" for v in flat)
            bits += "0" * (-len(bits) % 8)
            raw = bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
        step = max(1, px.shape[2] * depth // 8)
        if y % 3 == 1:
            raw = b"\x01" + bytes((raw[i] - (raw[i - step] if i >= step else 0)) & 255
                                  for i in range(len(raw)))
        else:
            raw = b"\x00" + raw
        out += raw
    return out


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
         (0, 1, 1, 2)]


def image_data(px, depth, interlace):
    if not interlace:
        return pack_rows(px, depth)
    passes = [px[y::dy, x::dx] for x, y, dx, dy in ADAM7]
    return b"".join(pack_rows(p, depth) for p in passes if p.size)


def png(px, depth, colour, interlace=0, before=b"", after=b""):
    h, w, _ = px.shape
    data = zlib.compress(image_data(px, depth, interlace), 9)
    return (SIGNATURE + ihdr(w, h, depth, colour, interlace) + before + chunk(b"IDAT", data)
            + after + chunk(b"IEND"))


def samples(depth, c):
    return rng.integers(0, 1 << depth, (H, W, c), dtype=np.int64)


def to8(px, depth):
    return px >> 8 if depth == 16 else px * 255 // ((1 << depth) - 1)


def rgb(px):
    return np.repeat(px, 3, axis=2) if px.shape[2] == 1 else px


def alpha(px, a):
    return np.concatenate([rgb(px), a.reshape(H, W, 1)], axis=2)


def png_kinds():
    for interlace in (0, 1):
        tail = "-interlaced" if interlace else ""
        for depth in (1, 2, 4, 8, 16):
            px = samples(depth, 1)
            key = int(px[0, 0, 0])
            trns = chunk(b"tRNS", struct.pack(">H", key))
            good(f"grey{depth}{tail}.png", png(px, depth, 0, interlace), rgb(to8(px, depth)))
            good(f"grey{depth}-trns{tail}.png", png(px, depth, 0, interlace, trns),
                 alpha(to8(px, depth), np.where(px == key, 0, 255)))
        for depth in (8, 16):
            px = samples(depth, 3)
            key = px[2, 3]
            trns = chunk(b"tRNS", struct.pack(">HHH", *[int(v) for v in key]))
            clear = np.where((px == key).all(axis=2), 0, 255)
            good(f"rgb{depth}{tail}.png", png(px, depth, 2, interlace), to8(px, depth))
            good(f"rgb{depth}-trns{tail}.png", png(px, depth, 2, interlace, trns),
                 alpha(to8(px, depth), clear))
            px = samples(depth, 2)
            good(f"grey-alpha{depth}{tail}.png", png(px, depth, 4, interlace),
                 alpha(to8(px[:, :, :1], depth), to8(px[:, :, 1], depth)))
            px = samples(depth, 4)
            good(f"rgba{depth}{tail}.png", png(px, depth, 6, interlace), to8(px, depth))
        for depth in (1, 2, 4, 8):
            px = samples(depth, 1)
            n = 1 << depth
            colours = rng.integers(0, 256, (n, 3), dtype=np.int64)
            see = rng.integers(0, 256, (n + 1) // 2, dtype=np.int64)
            plte = chunk(b"PLTE", colours.astype(np.uint8).tobytes())
            trns = chunk(b"tRNS", see.astype(np.uint8).tobytes())
            drawn = colours[px[:, :, 0]]
            full = np.concatenate([see, np.full(n - len(see), 255)])
            good(f"palette{depth}{tail}.png", png(px, depth, 3, interlace, plte), drawn)
            good(f"palette{depth}-trns{tail}.png", png(px, depth, 3, interlace, plte + trns),
                 alpha(drawn, full[px[:, :, 0]]))


def png_text():
    px = samples(8, 3)
    latin1 = chunk(b"tEXt", b"parameters\0a caf\xe9\nSteps: 20")
    utf8 = chunk(b"iTXt", b"prompt\0\0\0\0\0" + "яблоко 🍎".encode())
    packed = chunk(b"zTXt", b"notes\0\0" + zlib.compress(b"deflated " * 20))
    good("text.png", png(px, 8, 2, 0, latin1 + utf8 + packed), px)
    good("text-after-pixels.png", png(px, 8, 2, 0, b"", latin1), px)
    apng = chunk(b"acTL", struct.pack(">II", 2, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, W, H, 0, 0, 1, 10, 0, 0))
    frame2 = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 1, W, H, 0, 0, 1, 10, 0, 0))
    data = chunk(b"fdAT", struct.pack(">I", 2) + zlib.compress(pack_rows(samples(8, 3), 8)))
    good("animated.png", png(px, 8, 2, 0, apng + frame, frame2 + data), px)
    good("trailing-bytes.png", png(px, 8, 2) + b"more bytes", px)


def png_bombs():
    idat = chunk(b"IDAT", zlib.compress(b"\0" * 4000)) + chunk(b"IEND")
    for name, head in [("65535x65535-1bit", ihdr(65535, 65535, 1, 0)),
                       ("20000x20000-rgb", ihdr(20000, 20000, 8, 2)),
                       ("16384x16384-rgba16", ihdr(16384, 16384, 16, 6)),
                       ("4097x1", ihdr(4097, 1, 8, 2)),
                       ("1x2147483647", ihdr(1, 2147483647, 8, 2))]:
        bad(f"bomb-{name}.png", SIGNATURE + head + idat, "ETOOBIG")
    px = samples(8, 3)
    zeros = zlib.compress(b"\0" * (3 << 20), 9)
    # Side data is never inflated, so these are pictures like others.
    good("bomb-iccp.png", png(px, 8, 2, 0, chunk(b"iCCP", b"icc\0\0" + zeros)), px)
    good("bomb-ztxt.png", png(px, 8, 2, 0, chunk(b"zTXt", b"t\0\0" + zeros)), px)
    good("bomb-1100-texts.png", png(px, 8, 2, 0, chunk(b"tEXt", b"k\0v") * 1100), px)


def png_broken():
    px = samples(8, 3)
    whole = png(px, 8, 2)
    body = zlib.compress(pack_rows(px, 8))
    head, end = SIGNATURE + ihdr(W, H, 8, 2), chunk(b"IEND")
    bad("crc-ihdr.png", whole[:29] + b"\0\0\0\0" + whole[33:], "EFORMAT")
    bad("crc-idat.png", head + chunk(b"IDAT", body, 1) + end, "EFORMAT")
    bad("crc-trns.png", png(px, 8, 2, 0, chunk(b"tRNS", b"\0\1\0\2\0\3", 5)), "EFORMAT")
    good("crc-text.png", png(px, 8, 2, 0, chunk(b"tEXt", b"a\0b", 5)), px)
    good("odd-texts.png", png(px, 8, 2, 0, b"".join([
        chunk(b"tEXt"), chunk(b"tEXt", b"key only"), chunk(b"tEXt", b"k" * 80 + b"\0long key"),
        chunk(b"iTXt", b"k\0"), chunk(b"iTXt", b"k\0\0\0"), chunk(b"iTXt", b"k\0\0\0en\0"),
        chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(b"x")), chunk(b"iTXt", b"k\0\0\0\0\0\xff"),
        chunk(b"tEXt", b"last\0one\0hidden")])), px)
    bad("adler.png", head + chunk(b"IDAT", body[:-1] + bytes([body[-1] ^ 1])) + end, "EFORMAT")
    bad("no-idat.png", head + end, "EFORMAT")
    bad("no-iend.png", whole[:-12], "EFORMAT")
    bad("short-idat.png", head + chunk(b"IDAT", zlib.compress(pack_rows(px[:5], 8))) + end,
        "EFORMAT")
    bad("filter5.png", head + chunk(b"IDAT", zlib.compress(b"\5" + pack_rows(px, 8)[1:])) + end,
        "EFORMAT")
    bad("zero-width.png", SIGNATURE + ihdr(0, 5, 8, 2) + chunk(b"IDAT", body) + end, "EFORMAT")
    bad("depth3.png", SIGNATURE + ihdr(W, H, 3, 0) + chunk(b"IDAT", body) + end, "EFORMAT")
    bad("rgb4.png", SIGNATURE + ihdr(W, H, 4, 2) + chunk(b"IDAT", body) + end, "EFORMAT")
    bad("no-plte.png", png(samples(8, 1), 8, 3), "EFORMAT")
    good("plte-index.png", png(samples(8, 1) | 128, 8, 3, 0, chunk(b"PLTE", b"\1\2\3" * 9)),
         np.zeros((H, W, 3)))  # as libpng and libspng do it: black
    bad("critical-unknown.png", png(px, 8, 2, 0, chunk(b"ABCD", b"x")), "EFORMAT")
    bad("length-huge.png", head + struct.pack(">I", 0xFFFFFFFF) + b"IDAT" + body, "EFORMAT")
    bad("signature-only.png", SIGNATURE, "EFORMAT")
    bad("ascii-mode.png", whole.replace(b"\r\n", b"\n", 1), "EFORMAT")


def saved(px, kind, mode=None, **options):
    out = io.BytesIO()
    image = Image.fromarray(px.astype(np.uint8))
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def smooth(w, h):
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([x * 255 // w, y * 255 // h, (x + y) * 255 // (w + h)], axis=2)


def exif(orientation, order="<"):
    tiff = b"II*\0" if order == "<" else b"MM\0*"
    tiff += struct.pack(order + "IH", 8, 2)
    tiff += struct.pack(order + "HHIHH", 0x010F, 3, 1, 0, 0)
    tiff += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"
    return b"Exif\0\0" + tiff


def jpegs():
    px = smooth(40, 24)
    for name, options in [("444", {"subsampling": 0}), ("422", {"subsampling": 1}),
                          ("420", {"subsampling": 2}), ("progressive", {"progressive": True}),
                          ("restart", {"restart_marker_rows": 1})]:
        good(f"{name}.jpg", saved(px, "JPEG", quality=90, **options), px, exact=False)
    good("grey.jpg", saved(px, "JPEG", "L", quality=90), px, exact=False)
    good("cmyk.jpg", saved(px, "JPEG", "CMYK", quality=90), px, exact=False)
    for i in range(1, 9):
        data = saved(px, "JPEG", quality=90, exif=exif(i, "<>"[i % 2]))
        good(f"orientation{i}.jpg", data, px if i < 5 else px.transpose(1, 0, 2), exact=False)
    good("orientation9.jpg", saved(px, "JPEG", exif=exif(9)), px, exact=False)
    cut = exif(6)[:-20]
    good("exif-cut.jpg", saved(px, "JPEG", exif=cut), px, exact=False)
    for name in ("arithmetic.jpg", "ycck.jpg"):
        good(name, None, px, exact=False)
    bad("scans.jpg", None, "ETOOBIG")


def jpegs_broken():
    whole = saved(smooth(40, 24), "JPEG", quality=90, subsampling=0)
    sof = whole.index(b"\xff\xc0")
    bad("bomb-65500.jpg", whole[:sof + 5] + struct.pack(">HH", 65500, 65500) + whole[sof + 9:],
        "ETOOBIG")
    bad("12bit.jpg", whole[:sof + 4] + b"\x0c" + whole[sof + 5:], "EFORMAT")
    bad("zero-height.jpg", whole[:sof + 5] + b"\0\0" + whole[sof + 7:], "EFORMAT")
    bad("taller.jpg", whole[:sof + 5] + struct.pack(">H", 240) + whole[sof + 7:], "EFORMAT")
    sos = whole.index(b"\xff\xda")
    bad("no-tables.jpg", whole[:2] + whole[sof:sof + 19] + whole[sos:], "EFORMAT")
    bad("no-scan.jpg", whole[:sos] + b"\xff\xd9", "EFORMAT")
    bad("grey-half.jpg", whole[:sos + 60] + b"\xff\xd9", "EFORMAT")
    bad("no-end.jpg", whole[:-2], "EFORMAT")
    bad("soi-only.jpg", b"\xff\xd8\xff", "EFORMAT")
    good("stray-bytes.jpg", whole[:-2] + b"\0\0\0" + whole[-2:], smooth(40, 24), exact=False)
    good("trailing-bytes.jpg", whole + b"more bytes", smooth(40, 24), exact=False)
    app = b"\xff\xe1" + struct.pack(">H", 5000) + exif(5) + b"\0" * (5000 - 2 - len(exif(5)))
    good("app1-flood.jpg", whole[:2] + app * 3 + whole[2:],
         smooth(40, 24).transpose(1, 0, 2), exact=False)


def webps():
    px = smooth(40, 24)
    a = np.concatenate([px, (px[:, :, :1] * 3) % 256], axis=2)
    good("lossy.webp", saved(px, "WEBP", quality=80), px, exact=False)
    good("lossless.webp", saved(px, "WEBP", lossless=True), px)
    good("lossy-alpha.webp", saved(a, "WEBP", quality=80), a, exact=False)
    good("lossless-alpha.webp", saved(a, "WEBP", lossless=True, exact=True), a)
    out = io.BytesIO()
    frames = [Image.fromarray(np.roll(px, 5 * i, axis=1).astype(np.uint8)) for i in range(3)]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=50)
    bad("animated.webp", out.getvalue(), "EFORMAT")
    plain = saved(px, "WEBP", lossless=True)
    bad("bomb-16384.webp", plain[:21] + b"\xff\xff\xff\x0f" + plain[25:], "ETOOBIG")
    bad("riff-longer.webp", plain[:4] + struct.pack("<I", 100000) + plain[8:], "EFORMAT")
    bad("header-only.webp", plain[:12], "EFORMAT")
    bad("garbage.webp", plain[:30] + bytes(len(plain) - 30), "EFORMAT")


def others():
    bad("empty", b"", "EFORMAT")
    bad("one-byte", b"\x89", "EFORMAT")
    bad("text.txt", b"this is no image\n", "EFORMAT")
    px = smooth(40, 24)
    bad("small.gif", saved(px, "GIF", "P"), "EFORMAT")
    bad("small.bmp", saved(smooth(8, 8), "BMP"), "EFORMAT")
    bad("riff.wav", b"RIFF\x24\0\0\0WAVEfmt ", "EFORMAT")


def main():
    png_kinds()
    png_text()
    png_bombs()
    png_broken()
    jpegs()
    jpegs_broken()
    webps()
    others()
    print("/* Made by tests/data/image/make_corpus.py. hash 0: lossy, compared with a slope. */")
    print("#ifndef CN_TEST_IMAGE_CORPUS_H\n#define CN_TEST_IMAGE_CORPUS_H\n")
    print("static const struct corpus_row {\n    const char *file;\n    int code, w, h, c;\n"
          "    uint64_t hash;\n} corpus[] = {")
    for row in rows:
        print(f"    {row},")
    print("};\n\n#endif")
    print(f"{len(rows)} files", file=sys.stderr)


main()
