"""Writes tests/image/golden_maps.h: control maps of another size, and straight lines, by OpenCV.

    python tests/data/image/golden_maps.py > tests/image/golden_maps.h      (needs numpy, opencv)

What happens to a map is written down here from the description of the ControlNet extension's
"detectmap_proc"; the maps are those that tests/image/test_maps.c draws. Results are FNV-1a hashes.
"""
import cv2
import numpy as np

from golden_picture import fnv, picture

W, H = 97, 61


def kinds():
    px = picture(W, H, 3)
    dark = (px.min(axis=2) > 127) * 255
    edges = cv2.Canny(px, 30, 60)
    holes = np.dstack([px, np.where(px[..., 1] > 200, 0, 255)])
    return [("photograph", px), ("grey", np.dstack([px[..., 1]] * 3)),
            ("few_colours", px // 64 * 64), ("shapes", np.dstack([dark] * 3)),
            ("edges", np.dstack([edges] * 3)),
            ("red_edges", np.dstack([edges, edges * 0, edges * 0])), ("holes", holes)]


def ridges(x):
    lines = [[[0, 0, 0], [1, 1, 1], [0, 0, 0]], [[0, 1, 0], [0, 1, 0], [0, 1, 0]],
             [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 0, 1], [0, 1, 0], [1, 0, 0]]]
    y = np.zeros_like(x)
    for line in lines:
        np.putmask(y, cv2.dilate(x, np.array(line, np.uint8)) == x, x)
    return y


def turns(a, b):
    return [np.ascontiguousarray(np.rot90(np.array(k, np.int32), n))
            for n in range(4) for k in (a, b)]


THINNING = turns([[-1, -1, -1], [0, 1, 0], [1, 1, 1]], [[0, -1, -1], [1, 1, -1], [0, 1, 0]])
PRUNING = turns([[-1, -1, -1], [-1, 1, -1], [0, 0, -1]], [[-1, -1, -1], [-1, 1, -1], [-1, 0, 0]])


def clear(x, kernels):
    for k in kernels:
        x = np.where(cv2.morphologyEx(x, cv2.MORPH_HITMISS, k) > 127, 0, x).astype(np.uint8)
    return x


def thin(x, prune):
    for _ in range(32):
        before, x = x, clear(x, THINNING)
        if np.array_equal(before, x):
            break
    return clear(x, PRUNING) if prune else x


def cubic(n, size):
    """[n, size]: the weights of cubic convolution."""
    out = np.zeros((n, size))
    for i in range(n):
        at = (i + 0.5) * size / n - 0.5
        t = at - np.floor(at)
        w = [((-0.75 * (t + 1) + 3.75) * (t + 1) - 6) * (t + 1) + 3, (1.25 * t - 2.25) * t * t + 1,
             (1.25 * (1 - t) - 2.25) * (1 - t) * (1 - t) + 1]
        for k, v in enumerate(w + [1 - sum(w)]):
            out[i, min(max(int(np.floor(at)) - 1 + k, 0), size - 1)] += v
    return out


def halfway(px, w, h):
    """Is a sum halfway between two levels? Builds of OpenCV round it this way or that."""
    for k in range(px.shape[2]):
        v = cubic(h, px.shape[0]) @ px[..., k].astype(float) @ cubic(w, px.shape[1]).T
        if (np.abs(v - np.floor(v) - 0.5) < 1e-4).any():
            return True
    return False


def resize(px, w, h):
    if px.shape[:2] == (h, w):
        return px
    rgb = np.ascontiguousarray(px[..., :3])
    colours = len(np.unique(rgb.reshape(-1, 3), axis=0))
    binary = colours == 2 and rgb.min() < 16 and rgb.max() > 240
    square = np.ones((3, 3), np.uint8)
    opened = cv2.dilate(cv2.erode(rgb, square), square)
    one_pixel = 2 * (opened < rgb).sum() > (rgb > 127).sum()
    grows = w * h >= px.shape[0] * px.shape[1]
    how = cv2.INTER_CUBIC if grows else cv2.INTER_AREA
    if 2 < colours < 200:
        how = cv2.INTER_NEAREST
    if how == cv2.INTER_CUBIC and halfway(px, w, h):
        raise ValueError
    y = cv2.resize(rgb, (w, h), interpolation=how)
    if binary:
        y = np.mean(y.astype(np.float32), axis=2).clip(0, 255).astype(np.uint8)
        y = ridges(y) if one_pixel else y
        y = cv2.threshold(y, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1]
        y = np.dstack([thin(y, grows) if one_pixel else y] * 3)
    if px.shape[2] == 4:  # the extension keeps what is missing; a picture, what is there
        missing = cv2.resize(255 - px[..., 3], (w, h), interpolation=how)
        y = np.dstack([y, np.where(missing > 127, 0, 255)])
    return y.astype(np.uint8)


def fit(px, w, h, mode):
    kh, kw = h / px.shape[0], w / px.shape[1]
    if mode == "STRETCH":
        return resize(px, w, h)
    k = max(kh, kw) if mode == "CROP" else min(kh, kw)
    y = resize(px, int(np.round(px.shape[1] * k)), int(np.round(px.shape[0] * k)))
    if mode == "CROP":
        top, left = max(0, (y.shape[0] - h) // 2), max(0, (y.shape[1] - w) // 2)
        return y[top:top + h, left:left + w]
    border = np.concatenate([px[0], px[-1], px[:, 0], px[:, -1]], axis=0)
    colour = np.median(border, axis=0).astype(np.uint8)
    if len(colour) == 4:
        colour[3] = 0
    out = np.tile(colour, (h, w, 1))
    top, left = max(0, (h - y.shape[0]) // 2), max(0, (w - y.shape[1]) // 2)
    out[top:top + y.shape[0], left:left + y.shape[1]] = y
    return out


SIZES = [(97, 61), (48, 32), (64, 64), (128, 96), (40, 120), (200, 40), (32, 30), (250, 170),
         (104, 72), (112, 64), (120, 88), (152, 80)]


def main():
    print(f"/* Made by tests/data/image/golden_maps.py with OpenCV {cv2.__version__}. */")
    print("#ifndef CN_TEST_IMAGE_GOLDEN_MAPS_H\n#define CN_TEST_IMAGE_GOLDEN_MAPS_H\n")
    print('#include "base/spec.h"\n')
    print("static const struct {\n    enum map_kind kind;\n    enum cn_resize mode;\n"
          "    int w, h;\n    uint64_t hash;\n} golden_maps[] = {")
    for name, px in kinds():
        for mode in ("STRETCH", "CROP", "PAD"):
            for w, h in SIZES:
                try:
                    out = fit(px.astype(np.uint8), w, h, mode)
                except ValueError:
                    continue
                print(f"    {{MAP_{name.upper()}, CN_{mode}, {w}, {h}, {fnv(out)}}},")
    print("};\n")
    print("static const struct {\n    int threshold, min_length, max_gap;\n    uint64_t hash;\n"
          "} golden_hough[] = {")
    edges = cv2.Canny(picture(W, H, 3), 30, 60)
    for threshold, length, gap in ((20, 10, 3), (50, 30, 10), (5, 3, 0), (12, 6, 1), (30, 20, 20)):
        out = np.zeros_like(edges)
        lines = cv2.HoughLinesP(edges, 1, np.pi / 180, threshold, minLineLength=length,
                                maxLineGap=gap)
        for line in lines if lines is not None else []:
            a = [int(v) for v in np.ravel(line)]
            cv2.line(out, (a[0], a[1]), (a[2], a[3]), 255, 1)
        print(f"    {{{threshold}, {length}, {gap}, {fnv(out)}}},")
    print("};\n\n#endif")


main()
