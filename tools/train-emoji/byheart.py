#!/usr/bin/env python3
"""Has a set-up learnt its pictures by heart? Draws one picture for each of some
variants, from its own caption, and looks which of the variants it is nearest
to. Before a set-up is trained on many things it has to manage this for 64."""
import argparse
import json
import os

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from common import save_png
from unet import sample


def nearest(drawn, real):
    """for each of drawn [n,3,h,w] the index of the nearest of real, and its L1"""
    d = torch.stack([(real - x).abs().mean((1, 2, 3)) for x in drawn])
    return d.argmin(1).numpy(), d.amin(1).numpy()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--base", required=True, help="folder with unet, text_encoder, scheduler")
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--vae", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--variants", required=True)
    ap.add_argument("--count", type=int, default=64)
    ap.add_argument("--scale", type=float, default=2.0)
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--out", help="sheet: row by row real pictures and what was drawn")
    args = ap.parse_args()
    torch.set_num_threads(1)
    at = lambda f: os.path.join(args.variants, f)
    pics = np.load(at("pictures.npy"), mmap_mode="r")[:args.count]
    real = torch.from_numpy(pics.copy()).permute(0, 3, 1, 2).float() / 255
    texts = [c[0] for c in json.load(open(at("captions.json")))[:args.count]]
    meta = json.load(open(os.path.join(args.data, "data.json")))
    source = np.load(at("source.npy"))[:args.count]     # a picture may be there twice
    name = [meta[i]["nouns"][:1] or [meta[i]["name"]] for i in source]
    parts = (UNet2DConditionModel.from_pretrained(os.path.join(args.base, "unet")).float().eval(),
             CLIPTextModel.from_pretrained(os.path.join(args.base, "text_encoder")).float().eval(),
             CLIPTokenizer.from_pretrained(args.tokenizer),
             AutoencoderKL.from_pretrained(args.vae).float().eval())
    noise = DDIMScheduler.from_pretrained(os.path.join(args.base, "scheduler"))
    drawn = torch.cat([sample(*parts, texts[i:i + 16], steps=args.steps, scale=args.scale,
                              seed=list(range(i, min(i + 16, len(texts)))), noise=noise)
                       for i in range(0, len(texts), 16)])
    k, far = nearest(drawn, real)
    mean = (real - real.mean(0)).abs().mean().item()
    print("of %d pictures: nearest to itself %.3f, to its thing %.3f (chance %.3f); "
          "L1 to the nearest %.4f, of a mean picture %.4f"
          % (len(real), np.mean(source[k] == source),
             np.mean([name[a] == name[b] for a, b in enumerate(k)]),
             np.mean([[a == b for b in name] for a in name]), far.mean(), mean))
    if args.out:
        cols = min(16, len(real))
        blank = torch.ones(-len(real) % cols, *real.shape[1:])
        rows = [torch.cat([x, blank]).split(cols) for x in (real, drawn)]
        save_png(args.out, torch.cat([x for pair in zip(*rows) for x in pair]), cols=cols)


if __name__ == "__main__":
    main()
