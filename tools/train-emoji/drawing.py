#!/usr/bin/env python3
"""Hand-drawn looking line drawings (black on white, 128x128) to try the
scribble ControlNet with; one of them is share/demo/drawing.png."""
import argparse
import math
import os

import numpy as np
from PIL import Image, ImageDraw

BIG = 8         # drawn at 1024x1024, then made smaller


class Pen:
    def __init__(self, seed, width=2.6):
        self.rng = np.random.RandomState(seed)
        self.im = Image.new("L", (128 * BIG, 128 * BIG), 255)
        self.draw = ImageDraw.Draw(self.im)
        self.width = width

    def stroke(self, points):
        """a polyline, made smooth, with a slow tremble of the hand"""
        p = np.array(points, float)
        for _ in range(4):      # corner cutting, ends kept
            q, r = 0.75 * p[:-1] + 0.25 * p[1:], 0.25 * p[:-1] + 0.75 * p[1:]
            p = np.concatenate([p[:1], np.stack([q, r], 1).reshape(-1, 2), p[-1:]])
        n = len(p)
        knots = max(4, int(np.hypot(*(p[1:] - p[:-1]).T).sum() / 10))
        w = self.rng.randn(knots, 2) * 0.7
        x = np.linspace(0, knots - 1, n)
        p = p + np.stack([np.interp(x, np.arange(knots), w[:, k]) for k in (0, 1)], 1)
        wd = self.width * (1 + 0.12 * np.interp(x, np.arange(knots), self.rng.randn(knots)))
        for (x0, y0), d in zip(np.repeat(p, 1, 0), wd):
            r = d * BIG / 2
            self.draw.ellipse([x0 * BIG - r, y0 * BIG - r, x0 * BIG + r, y0 * BIG + r], fill=0)
        for a, b, d in zip(p[:-1], p[1:], wd):
            self.draw.line([tuple(a * BIG), tuple(b * BIG)], fill=0, width=int(d * BIG))

    def arc(self, cx, cy, rx, ry, a0=0, a1=372):
        """ellipse by angle in degrees, clockwise from the right"""
        t = np.radians(np.linspace(a0, a1, 24))
        self.stroke(np.stack([cx + rx * np.cos(t), cy + ry * np.sin(t)], 1))

    def dot(self, x, y, r=3):
        self.draw.ellipse([(x - r) * BIG, (y - r) * BIG, (x + r) * BIG, (y + r) * BIG], fill=0)

    def done(self):
        return self.im.resize((128, 128), Image.LANCZOS)


def apple(p):
    p.stroke([(64, 40), (54, 33), (40, 32), (24, 40), (17, 58), (20, 82), (33, 104), (48, 113),
              (58, 110), (64, 108), (71, 110), (81, 113), (96, 104), (108, 82), (111, 58),
              (104, 40), (88, 32), (74, 33), (63, 41)])
    p.stroke([(64, 40), (64, 28), (69, 16)])
    p.stroke([(68, 27), (76, 14), (92, 11), (90, 24), (78, 29), (68, 27)])


def mushroom(p):
    p.stroke([(15, 68), (18, 40), (40, 18), (64, 13), (88, 18), (110, 40), (113, 68), (100, 76),
              (64, 80), (28, 76), (15, 67)])
    p.stroke([(46, 79), (46, 96), (40, 112), (64, 118), (88, 112), (82, 96), (82, 79)])
    p.arc(48, 40, 9, 8)
    p.arc(82, 46, 11, 10)
    p.arc(58, 62, 6, 5)


def fish(p):
    p.stroke([(12, 66), (28, 44), (56, 34), (82, 46), (98, 64), (82, 84), (56, 94), (28, 86),
              (11, 65)])
    p.stroke([(96, 64), (118, 42), (114, 64), (118, 88), (95, 65)])
    p.stroke([(46, 36), (62, 20), (78, 30), (76, 42)])
    p.stroke([(38, 42), (46, 64), (38, 88)])
    p.dot(27, 59, 3.2)


def heart(p):
    p.stroke([(64, 38), (54, 24), (38, 19), (20, 28), (14, 46), (20, 66), (40, 90), (64, 112),
              (88, 90), (108, 66), (114, 46), (108, 28), (90, 19), (74, 24), (63, 39)])


def cat(p):
    p.stroke([(22, 56), (17, 14), (46, 32)])
    p.stroke([(46, 32), (64, 29), (82, 32)])
    p.stroke([(82, 32), (111, 14), (106, 56)])
    p.stroke([(22, 55), (14, 78), (30, 104), (64, 114), (98, 104), (114, 78), (106, 55)])
    p.dot(44, 66, 5)
    p.dot(84, 66, 5)
    p.stroke([(58, 78), (70, 78), (64, 85), (58, 78)])
    p.stroke([(64, 85), (62, 94), (50, 94)])
    p.stroke([(64, 85), (66, 94), (78, 94)])


def house(p):
    p.stroke([(12, 62), (38, 38), (64, 14)])
    p.stroke([(64, 14), (90, 38), (116, 62)])
    p.stroke([(12, 62), (60, 63), (116, 62)])
    for a, b in (((24, 63), (25, 114)), ((25, 114), (104, 114)), ((104, 114), (104, 63)),
                 ((54, 114), (54, 82)), ((54, 82), (75, 82)), ((75, 82), (75, 114))):
        p.stroke([a, ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2), b])
    p.arc(64, 47, 8, 8)


def tree(p):
    p.stroke([(54, 118), (56, 100), (52, 84)])
    p.stroke([(74, 118), (72, 100), (76, 84)])
    p.stroke([(52, 118), (64, 117), (76, 118)])
    p.stroke([(52, 84), (28, 86), (14, 70), (22, 54), (20, 34), (40, 26), (56, 10), (78, 14),
              (92, 28), (110, 36), (106, 56), (114, 72), (98, 86), (76, 84), (52, 85)])


def flower(p):
    for k in range(6):
        a = math.radians(60 * k - 90)
        p.arc(64 + 27 * math.cos(a), 64 + 27 * math.sin(a), 15, 15)
    p.arc(64, 64, 13, 13)


DRAWINGS = dict(apple=apple, mushroom=mushroom, fish=fish, heart=heart, cat=cat, house=house,
                tree=tree, flower=flower)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("out", help="folder, or with --only a file")
    ap.add_argument("--only", choices=list(DRAWINGS))
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    for name, f in DRAWINGS.items():
        if args.only in (None, name):
            pen = Pen(args.seed)
            f(pen)
            if args.only is None:
                os.makedirs(args.out, exist_ok=True)
            pen.done().save(args.out if args.only else os.path.join(args.out, name + ".png"),
                            optimize=True)


if __name__ == "__main__":
    main()
