#!/usr/bin/env python3
"""Loss curves of all stages, and for the ControlNets the F1 on held-out
emoji, whose jump is the sudden convergence."""
import argparse
import json
import os
import os

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def read(path):
    """no curve where a net was taken as it was"""
    return [json.loads(l) for l in open(path)] if os.path.exists(path) else []


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--vae", required=True)
    ap.add_argument("--unet", required=True)
    ap.add_argument("--canny", required=True)
    ap.add_argument("--scribble", required=True)
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    fig, ax = plt.subplots(2, 2, figsize=(9, 6), dpi=80)
    a = ax[0, 0]
    rows = [r for r in read(args.vae) if "l1" in r]
    a.semilogy([r["step"] for r in rows], [r["l1"] / 2 for r in rows])
    a.set_title("autoencoder: L1 (of 1)")
    a = ax[0, 1]
    rows = [r for r in read(args.unet) if "loss" in r]
    a.plot([r["step"] for r in rows], [r["loss"] for r in rows])
    for k in range(4):
        a.plot([r["step"] for r in rows], [r["quarters"][k] for r in rows], lw=0.6, alpha=0.6)
    a.set_ylim(0, 1)
    a.set_title("UNet + text encoder: v loss\n(thin: quarters of the noise range)", fontsize=9)
    for a, path, name in ((ax[1, 0], args.canny, "emoji-canny"),
                          (ax[1, 1], args.scribble, "emoji-scribble")):
        rows = read(path)
        l = [r for r in rows if "loss" in r]
        f = [r for r in rows if "f1" in r]
        v = np.array([r["loss"] for r in l])
        n = min(5, len(v))
        smooth = np.convolve(np.pad(v, n // 2, mode="edge"), np.ones(n) / n, "valid")[:len(v)]
        a.plot([r["step"] for r in l], v, lw=0.5, alpha=0.5, color="C0")
        a.plot([r["step"] for r in l], smooth, color="C0")
        a.set_ylabel("v loss", color="C0")
        a.set_xlabel("step")
        b = a.twinx()
        b.plot([r["step"] for r in f], [r["f1"] for r in f], "o-", color="C1", ms=3)
        b.set_ylim(0, 1)
        b.set_ylabel("F1 on 12 held-out emoji", color="C1")
        a.set_title(name)
    fig.tight_layout()
    fig.savefig(args.out)


if __name__ == "__main__":
    main()
