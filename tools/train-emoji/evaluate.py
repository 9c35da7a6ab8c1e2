#!/usr/bin/env python3
"""Is the control obeyed? Edges of the results against the control maps of
held-out emoji, F1 with a tolerance of 2 pixels. Prints a Markdown table."""
import argparse
import os
import time

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

import annotate
from captions import clean
from common import Data, on_white, save_png
from controlnet import to_hint
from unet import sample


def load(models):
    f = lambda c, n: c.from_pretrained(os.path.join(models, n)).float().eval()
    return (f(UNet2DConditionModel, "emoji/unet"), f(CLIPTextModel, "emoji/text_encoder"),
            CLIPTokenizer.from_pretrained(os.path.join(models, "emoji/tokenizer")),
            f(AutoencoderKL, "emoji/vae")), \
        DDIMScheduler.from_pretrained(os.path.join(models, "emoji/scheduler"))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--models", required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--src", default=annotate.DEFAULT)
    ap.add_argument("--count", type=int, default=32)
    ap.add_argument("--steps", type=int, default=20)
    ap.add_argument("--scale", type=float, default=4.0)
    ap.add_argument("--kind", action="append", choices=["canny", "scribble"])
    ap.add_argument("--least", type=int, default=160,
                    help="leave out emoji with fewer white pixels than this in a map")
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--pictures", help="folder for contact sheets")
    args = ap.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    ann = annotate.Annotators(args.src)
    parts, noise = load(args.models)
    vae = parts[3]
    data = Data(args.data)
    held = np.array([i for i in np.nonzero(data.heldout)[0] if data.meta[i]["source"] == "noto"])
    byte = lambda t: (t.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    everything = byte(on_white(data.premultiplied(held)))
    held = held[[min((ann.canny(r) > 0).sum(), (ann.scribble(r) > 0).sum()) >= args.least
                 for r in everything]]
    print("%d held-out emoji, %d with enough lines in both maps"
          % (len(everything), len(held)))
    held = np.sort(np.random.RandomState(4).permutation(held)[:args.count])
    x = on_white(data.premultiplied(held))
    real = byte(x)
    names = [clean(data.meta[i]["name"]) for i in held]
    with torch.no_grad():
        rec = torch.cat([vae.decode(vae.encode(x[i:i + 16] * 2 - 1).latent_dist.mean).sample
                         for i in range(0, len(x), 16)]) / 2 + 0.5
    print("autoencoder on held-out emoji: L1 %.4f (of 1), canny F1 %.3f, scribble F1 %.3f" % (
        (rec.clamp(0, 1) - x).abs().mean(),
        np.mean([annotate.f1(ann.canny(a), ann.canny(b)) for a, b in zip(byte(rec), real)]),
        np.mean([annotate.f1(ann.scribble(a), ann.scribble(b)) for a, b in zip(byte(rec), real)])))

    def run(prompts, control, maps):
        out = []
        for i in range(0, len(prompts), args.batch):
            out.append(sample(*parts, prompts[i:i + args.batch], steps=args.steps,
                              scale=args.scale if prompts[0] else 1, seed=1000 + i, noise=noise,
                              control=control,
                              hint=None if control is None else to_hint(maps[i:i + args.batch])))
        return torch.cat(out)

    plain = {}
    for prompted in (True, False):
        plain[prompted] = run(names if prompted else [""] * len(names), None, None)
    print("| control | prompt | F1 with ControlNet | F1 without | ratio |")
    print("|---|---|---|---|---|")
    for kind in args.kind or ("canny", "scribble"):
        make = ann.canny if kind == "canny" else ann.scribble
        maps = [make(r) for r in real]
        net = ControlNetModel.from_pretrained(
            os.path.join(args.models, "emoji-" + kind)).float().eval()
        for prompted in (True, False):
            t0 = time.time()
            y = run(names if prompted else [""] * len(names), net, maps)
            dt = time.time() - t0
            f = [np.mean([annotate.f1(make(a), m) for a, m in zip(byte(z), maps)])
                 for z in (y, plain[prompted])]
            print("| %s | %s | %.3f | %.3f | %.2f |" % (
                kind, "name" if prompted else "none", f[0], f[1], f[0] / max(f[1], 1e-6)), flush=True)
            if args.pictures:
                os.makedirs(args.pictures, exist_ok=True)
                n = 12
                rows = [x[:n], to_hint(maps[:n]), y[:n], plain[prompted][:n]]
                save_png(os.path.join(args.pictures, "%s-%s.png" % (
                    kind, "name" if prompted else "none")), torch.cat(rows), cols=n)


if __name__ == "__main__":
    main()
