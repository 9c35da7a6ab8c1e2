"""The server's own annotators (src/image/annotate_*.c) through ctypes, so that
training and serving see the same control maps."""
import ctypes
import glob
import os
import subprocess
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
DEFAULT = os.path.normpath(os.path.join(HERE, "../../src"))


class Annotators:
    def __init__(self, src=DEFAULT):
        lib = os.path.join(tempfile.mkdtemp(prefix="annotate-"), "annotate.so")
        files = sorted(glob.glob(os.path.join(src, "image/annotate_*.c")) +
                       glob.glob(os.path.join(src, "base/*.c")))
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-std=gnu11",
                        "-D_GNU_SOURCE", "-I", src, "-o", lib, *files, "-lm", "-pthread"],
                       check=True)
        self.lib = ctypes.CDLL(lib)

    @staticmethod
    def _ptr(a):
        return a.ctypes.data_as(ctypes.c_void_p)

    def canny(self, rgb, low=100, high=200):
        """uint8 [h,w,3] -> uint8 [h,w]"""
        rgb = np.ascontiguousarray(rgb)
        h, w, c = rgb.shape
        out = np.empty((h, w), np.uint8)
        rc = self.lib.cn_canny(self._ptr(rgb), w, h, c, int(low), int(high),
                               ctypes.c_bool(False), self._ptr(out))
        assert rc == 0, rc
        return out

    def scribble(self, rgb, thr=32):
        rgb = np.ascontiguousarray(rgb)
        h, w, _ = rgb.shape
        out = np.empty((h, w), np.uint8)
        rc = self.lib.cn_scribble_xdog(self._ptr(rgb), w, h, int(thr), self._ptr(out))
        assert rc == 0, rc
        return out


def f1(a, b, tol=2):
    """agreement of two edge maps (> 127 is an edge) with a tolerance of tol
    pixels (a disc)"""
    a, b = a > 127, b > 127
    if not a.any() or not b.any():
        return 1.0 if not a.any() and not b.any() else 0.0

    def grow(m):
        p = np.pad(m, tol)
        out = np.zeros_like(m)
        for dy in range(-tol, tol + 1):
            for dx in range(-tol, tol + 1):
                if dy * dy + dx * dx <= tol * tol:
                    out |= p[tol + dy:tol + dy + m.shape[0], tol + dx:tol + dx + m.shape[1]]
        return out
    precision = (a & grow(b)).sum() / a.sum()
    recall = (b & grow(a)).sum() / b.sum()
    return 2 * precision * recall / max(precision + recall, 1e-9)
