"""Gives a thing another colour as a painter would: the pixels of its main
colour change, leaves and eyes and outlines stay. "A blue apple" then means
something, and hardly anything else about the picture changes."""
import numpy as np
import torch

from captions import COLOURS
from colours import colour_index
from common import hsv_rgb, rgb_hsv

# hue in turns, saturation and value that a fully coloured pixel gets
TARGET = {"red": (0.995, 0.85, 0.90), "orange": (0.078, 0.90, 0.98), "yellow": (0.145, 0.80, 0.99),
          "green": (0.33, 0.70, 0.68), "cyan": (0.50, 0.65, 0.88), "blue": (0.605, 0.78, 0.88),
          "purple": (0.765, 0.62, 0.75), "pink": (0.93, 0.45, 0.98), "brown": (0.065, 0.62, 0.50),
          "black": (0.0, 0.0, 0.20), "white": (0.0, 0.0, 0.95), "gray": (0.0, 0.0, 0.60)}


def main_part(rgb, alpha, main):
    """[h,w] in 0..1: how much a pixel belongs to the main colour. rgb float
    [3,h,w] in 0..1, alpha [h,w], main an entry of COLOURS"""
    h, s, v = (c[0] for c in rgb_hsv(rgb[None]))
    solid = alpha > 0.5
    index = torch.from_numpy(colour_index(rgb.permute(1, 2, 0).numpy() * 255))
    core = solid & (index == COLOURS.index(main))
    if main in ("black", "white", "gray"):
        v0 = v[core].median()
        return ((0.25 - s) / 0.1).clamp(0, 1) * ((0.4 - (v - v0).abs()) / 0.1).clamp(0, 1)
    turn = torch.angle(torch.exp(2j * np.pi * h[core]).mean()) / (2 * np.pi)
    far = ((h - turn + 0.5) % 1 - 0.5).abs()
    return ((0.13 - far) / 0.04).clamp(0, 1) * ((s - 0.10) / 0.10).clamp(0, 1)


def recolour(rgb, alpha, main, target, rng):
    """rgb float [3,h,w] straight, in 0..1 -> the same with target for main;
    shades stay shades: the value of a pixel relative to the part's median is
    kept, its saturation likewise"""
    part = main_part(rgb, alpha, main) * (alpha > 0.02)
    core = part > 0.5
    if core.sum() < 60:
        return rgb
    h, s, v = (c[0] for c in rgb_hsv(rgb[None]))
    th, ts, tv = TARGET[target]
    th = th + rng.uniform(-0.012, 0.012)
    s0, v0 = s[core].median().clamp(min=0.2), v[core].median().clamp(min=0.15)
    if main in ("black", "white", "gray"):
        ns = torch.full_like(s, ts)
    else:
        ns = ts * (s / s0).clamp(0.3, 1.2)
    nv = tv * (v / v0) ** (0.8 if tv > 0.3 else 0.5)
    x = hsv_rgb(torch.full_like(h, th % 1)[None], ns.clamp(0, 1)[None], nv.clamp(0, 1)[None])[0]
    return rgb + part * (x - rgb)
