#!/usr/bin/env python3
"""One picture from a drawing, through diffusers: for choosing the demo."""
import argparse

import numpy as np
import torch
from diffusers import ControlNetModel
from PIL import Image, ImageOps

from common import save_png
from evaluate import load
from unet import sample


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--models", required=True)
    ap.add_argument("--control", default="emoji-scribble")
    ap.add_argument("--drawing", action="append", required=True, help="black on white")
    ap.add_argument("--prompt", action="append", required=True, help="one for each drawing")
    ap.add_argument("--scale", type=float, default=2.5)
    ap.add_argument("--control-scale", type=float, default=1.0)
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--seeds", type=int, default=4)
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    torch.set_num_threads(1)
    parts, noise = load(args.models)
    net = ControlNetModel.from_pretrained(args.models + "/" + args.control).float().eval()
    maps = [np.asarray(ImageOps.invert(Image.open(d).convert("L"))) for d in args.drawing]
    hint = torch.from_numpy(np.stack(maps)).float()[:, None].repeat(1, 3, 1, 1) / 255
    rows = [hint] + [sample(*parts, args.prompt, steps=args.steps, scale=args.scale, seed=[s] * len(maps),
                            noise=noise, control=net, hint=hint, control_scale=args.control_scale)
                     for s in range(1, args.seeds + 1)]
    save_png(args.out, torch.cat(rows), cols=len(maps))


if __name__ == "__main__":
    main()
