"""Writes tests/image/golden_webui.h: pictures and masks as the web UI prepares them.

    python tests/data/image/golden_webui.py > tests/image/golden_webui.h  (numpy, pillow, opencv)

Written down from the description of its resize_image, masking.fill, get_crop_region and
expand_crop_region. Results are FNV-1a hashes.
"""
import cv2
import numpy as np
from PIL import Image, ImageFilter, ImageOps

from golden_picture import fnv, picture

W, H = 97, 61


def fit(im, w, h, mode):
    if mode == "STRETCH":
        return im.resize((w, h), Image.LANCZOS)
    ratio, own = w / h, im.width / im.height
    if mode == "CROP":
        sw = w if ratio > own else im.width * h // im.height
        sh = h if ratio <= own else im.height * w // im.width
    else:
        sw = w if ratio < own else im.width * h // im.height
        sh = h if ratio >= own else im.height * w // im.width
    r, out = im.resize((sw, sh), Image.LANCZOS), Image.new("RGB", (w, h))
    out.paste(r, (w // 2 - sw // 2, h // 2 - sh // 2))
    n = h // 2 - sh // 2 if ratio < own else w // 2 - sw // 2
    if mode == "PAD" and n > 0 and ratio < own:
        out.paste(r.resize((w, n), box=(0, 0, w, 0)), (0, 0))
        out.paste(r.resize((w, n), box=(0, r.height, w, r.height)), (0, n + sh))
    elif mode == "PAD" and n > 0 and ratio > own:
        out.paste(r.resize((n, h), box=(0, 0, 0, h)), (0, 0))
        out.paste(r.resize((n, h), box=(r.width, 0, r.width, h)), (n + sw, 0))
    return out


def soften(mask, sigma):
    k = 2 * int(2.5 * sigma + 0.5) + 1
    return cv2.GaussianBlur(cv2.GaussianBlur(mask, (k, 1), sigma), (1, k), sigma)


def fill(im, mask):
    out, seen = Image.new("RGBA", im.size), Image.new("RGBa", im.size)
    seen.paste(im.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    for radius, layers in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        blurred = seen.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(layers):
            out.alpha_composite(blurred)
    return out.convert("RGB")


def grow(begin, end, more, size):
    begin, end = begin - more // 2, end + more - more // 2
    if end >= size:
        begin, end = begin - (end - size), size
    if begin < 0:
        begin, end = 0, end - begin
    return begin, min(end, size)


def region(mask, pad, w, h):
    x1, y1, x2, y2 = mask.getbbox()
    x1, y1 = max(x1 - pad, 0), max(y1 - pad, 0)
    x2, y2 = min(x2 + pad, mask.width), min(y2 + pad, mask.height)
    ratio = w / h
    if (x2 - x1) / (y2 - y1) > ratio:
        y1, y2 = grow(y1, y2, int((x2 - x1) / ratio - (y2 - y1)), mask.height)
    else:
        x1, x2 = grow(x1, x2, int((y2 - y1) * ratio - (x2 - x1)), mask.width)
    return x1, y1, x2 - x1, y2 - y1


def main():
    im = Image.fromarray(picture(W, H, 3))
    mask = np.zeros((H, W), np.uint8)
    mask[12:40, 30:71] = 255
    print("/* Made by tests/data/image/golden_webui.py. */")
    print("#ifndef CN_TEST_IMAGE_GOLDEN_WEBUI_H\n#define CN_TEST_IMAGE_GOLDEN_WEBUI_H\n")
    print('#include "base/spec.h"\n')
    print("static const struct {\n    enum cn_resize mode;\n    int w, h;\n    uint64_t hash;\n"
          "} golden_fit[] = {")
    for mode in ("STRETCH", "CROP", "PAD"):
        for w, h in ((64, 64), (128, 40), (40, 128), (97, 61), (200, 56), (30, 200)):
            print(f"    {{CN_{mode}, {w}, {h}, {fnv(np.asarray(fit(im, w, h, mode)))}}},")
    print("};\n\nstatic const struct {\n    double sigma;\n    uint64_t mask, filled;\n"
          "} golden_fill[] = {")
    for sigma in (0, 0.5, 1, 4, 11.3, 64):
        soft = soften(mask, sigma) if sigma else mask
        filled = np.asarray(fill(im, Image.fromarray(soft)))
        print(f"    {{{sigma}, {fnv(soft)}, {fnv(filled)}}},")
    print("};\n\nstatic const struct {\n    int padding, w, h, part[4];\n} golden_region[] = {")
    for pad, w, h in ((0, 64, 64), (8, 64, 64), (32, 64, 64), (0, 128, 40), (4, 40, 128),
                      (0, 8, 256), (99, 64, 40)):
        part = ", ".join(map(str, region(Image.fromarray(mask), pad, w, h)))
        print(f"    {{{pad}, {w}, {h}, {{{part}}}}},")
    print("};\n\n#endif")


main()
