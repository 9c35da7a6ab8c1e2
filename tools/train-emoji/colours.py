"""The colours of a picture, measured, as words."""
import numpy as np

from captions import COLOURS


def colour_index(rgb):
    """uint8 or float 0..255 [...,3] -> index into COLOURS"""
    x = np.asarray(rgb, np.float32) / 255
    mx, mn = x.max(-1), x.min(-1)
    d = mx - mn
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    dd = np.maximum(d, 1e-6)
    h = np.where(mx == r, ((g - b) / dd) % 6,
                 np.where(mx == g, (b - r) / dd + 2, (r - g) / dd + 4)) * 60
    s = d / np.maximum(mx, 1e-6)
    out = np.select([h < 14, h < 42, h < 66, h < 165, h < 196, h < 255, h < 298, h < 342],
                    [0, 1, 2, 3, 4, 5, 6, 7], 0)
    warm = (h < 42) | (h > 345)
    out = np.where(warm & (mx < 0.66) & (s > 0.25) & ~((h < 10) & (s > 0.75)) &
                   ~((h > 345) & (s > 0.7)), 8, out)
    out = np.where(((h < 14) | (h > 330)) & (s < 0.6) & (mx > 0.8), 7, out)
    grey = (s < 0.14) | (mx < 0.16)
    out = np.where(grey, np.where(mx < 0.3, 9, np.where(mx > 0.86, 10, 11)), out)
    return out


def dominant(rgb, alpha):
    """[(colour, share)] over the opaque pixels, largest first"""
    m = alpha > 128
    if m.sum() < 30:
        return []
    c = np.bincount(colour_index(rgb[m]), minlength=len(COLOURS)) / m.sum()
    order = np.argsort(-c)
    return [(COLOURS[i], float(c[i])) for i in order if c[i] > 0]
