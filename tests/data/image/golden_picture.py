"""The picture of tests/image/picture.c, drawn by the same integer arithmetic, and hashes."""
import numpy as np


def picture(w, h, c):
    px = np.zeros((h, w, c), np.uint8)
    state = 12345
    for y in range(h):
        for x in range(w):
            for k in range(c):
                state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
                v = (3 * x + 2 * y + 40 * k) & 255
                if (x - 40) ** 2 + (y - 30) ** 2 < 400:
                    v = 230 - 50 * k
                if (x + 2 * y) % 23 == 0:
                    v = 20
                px[y, x, k] = min(v + (state >> 28), 255)
    return px


def fnv(a):
    h = 0xCBF29CE484222325
    for b in np.ascontiguousarray(a).tobytes():
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"0x{h:016x}"
