"""Writes tests/image/golden.h: what Pillow and OpenCV make of one synthetic picture.

    python tests/data/image/golden.py > tests/image/golden.h      (needs numpy, pillow, opencv)

The picture is drawn by the same integer arithmetic in tests/image/picture.c. Results are kept as
FNV-1a hashes where they must agree bit for bit, as sums where the last bit of a float may differ.
"""
import numpy as np
import cv2
import PIL
from PIL import Image

from golden_picture import fnv, picture


def canny_rows(px):
    rows = [(100, 200, 0), (30, 60, 0), (200, 100, 0), (100, 200, 1), (0, 0, 0), (500, 900, 1)]
    for low, high, l2 in rows:
        e = cv2.Canny(px, low, high, apertureSize=3, L2gradient=bool(l2))
        print(f"    {{{low}, {high}, {l2}, {fnv(e)}}},")


def xdog(px, thr):
    f = px.astype(np.float32)
    d = np.min(cv2.GaussianBlur(f, (0, 0), 5.0) - cv2.GaussianBlur(f, (0, 0), 0.5), axis=2)
    dog = (255 - d).clip(0, 255).astype(np.uint8)
    return np.where(2 * (255 - dog.astype(int)) > thr, 255, 0)


def lineart(px):
    f = px.astype(np.float32)
    v = np.min(cv2.GaussianBlur(f, (0, 0), 6.0) - f, axis=2).clip(0, 255)
    v /= max(16, np.median(v[v > 8]))
    return (v * 127).clip(0, 255).astype(np.uint8)


FILTERS = [("NEAREST", Image.NEAREST), ("BOX", Image.BOX), ("BILINEAR", Image.BILINEAR),
           ("BICUBIC", Image.BICUBIC), ("LANCZOS", Image.LANCZOS)]
SIZES = [(97, 61), (512, 512), (48, 30), (1, 1), (13, 200), (300, 7), (97, 40), (64, 61), (96, 60),
         (200, 20), (90, 10)]


def resize_rows(c):
    img = Image.fromarray(picture(97, 61, c), "RGBA" if c == 4 else "RGB")
    for name, f in FILTERS:
        for w, h in SIZES:
            print(f"    {{{c}, CN_{name}, {w}, {h}, {fnv(np.asarray(img.resize((w, h), f)))}}},")


def main():
    px = picture(97, 61, 3)
    grey = cv2.cvtColor(px, cv2.COLOR_RGB2GRAY)
    otsu, binary = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)
    versions = f"Pillow {PIL.__version__} and OpenCV {cv2.__version__}"
    print(f"/* Made by tests/data/image/golden.py with {versions}. */")
    print("#ifndef CN_TEST_IMAGE_GOLDEN_H\n#define CN_TEST_IMAGE_GOLDEN_H\n")
    print('#include "image/resize.h"\n')
    print(f"#define GOLDEN_PICTURE {fnv(px)}")
    print(f"#define GOLDEN_GREY_CV {fnv(grey)}")
    print(f"#define GOLDEN_GREY_PILLOW {fnv(np.asarray(Image.fromarray(px).convert('L')))}")
    print(f"#define GOLDEN_OTSU {int(otsu)}")
    print(f"#define GOLDEN_BINARY {fnv(binary)}")
    bright = np.where(px.min(axis=2) > 127, 255, 0).astype(np.uint8)
    print(f"#define GOLDEN_THRESHOLD {fnv(bright)}")
    print(f"#define GOLDEN_SCRIBBLE_WHITE {int((xdog(px, 32) > 0).sum())} /* pixels */")
    print(f"#define GOLDEN_LINEART_SUM {int(lineart(px).sum())}\n")
    print("static const struct {\n    int low, high, l2;\n    uint64_t hash;\n} golden_canny[] = {")
    canny_rows(px)
    print("};\n")
    print("static const struct {\n    int c;\n    enum cn_filter filter;\n    int w, h;\n"
          "    uint64_t hash;\n} golden_resize[] = {")
    resize_rows(3)
    resize_rows(4)
    print("};\n\n#endif")


main()
