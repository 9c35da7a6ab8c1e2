#!/usr/bin/env python3
"""Stage 2: augmented pictures with captions, latents and (with --annotate)
control maps, stored once, so that training only reads tensors.

DIR/pictures.npy  uint8 [M,128,128,3]
DIR/ids.npy       int16 [M,K,77]      K captions each
DIR/source.npy    int32 [M]           which emoji
DIR/latents.npy   float16 [M,16,16,16] posterior mean and std, normalised
"""
import argparse
import json
import os
import re

import numpy as np
import torch
from transformers import CLIPTokenizer

import captions
from common import Data, affine, hsv_rgb, rgb_hsv

PEOPLE = re.compile(r"^(man|woman|men|women|person|people|family|couple|kiss)\b")
BACKGROUNDS = {"red": (220, 50, 45), "orange": (250, 150, 30), "yellow": (255, 220, 60),
               "green": (80, 180, 80), "cyan": (70, 210, 220), "blue": (60, 120, 230),
               "light blue": (160, 210, 250), "purple": (150, 80, 190),
               "pink": (250, 160, 200), "black": (15, 15, 15), "gray": (150, 150, 150)}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--count", type=int, default=16000)
    ap.add_argument("--captions", type=int, default=6)
    ap.add_argument("--seed", type=int, default=2)
    args = ap.parse_args()
    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    rng = np.random.RandomState(args.seed)
    data = Data(args.data)
    tok = CLIPTokenizer.from_pretrained(args.tokenizer)
    idx = data.train_indices()
    w = data.weight.copy()
    for i, m in enumerate(data.meta):
        if PEOPLE.match(m["name"].lower()):
            w[i] *= 0.4
        elif re.search(r"thirty|o’clock|button", m["name"]):
            w[i] *= 0.5
    w = w[idx] / w[idx].sum()
    # every base its share, in whole numbers as far as possible
    order = []
    copies = w * args.count
    whole = np.floor(copies).astype(int)
    order = np.repeat(idx, whole)
    rest = (copies - whole) / (copies - whole).sum()
    order = np.concatenate([order, rng.choice(idx, args.count - len(order), p=rest)])
    rng.shuffle(order)

    simple = {}
    pics = np.zeros((args.count, 128, 128, 3), np.uint8)
    texts = []
    for at in range(0, args.count, 64):
        sel = order[at:at + 64]
        pm = data.premultiplied(sel)
        n = len(sel)
        plain = rng.rand(n) < 0.25          # as the font has it
        mild, _ = affine(pm, rng, scale=(0.72, 1.08), rotate=14, shift=0.08, flip=False)
        noflip = np.array([bool(re.search(
            r"button|letters|flag|arrow|clock|numbers|sign|Japanese|hundred|symbol|thirty|left|right|END|SOON|BACK",
            data.meta[i]["name"])) for i in sel])
        flip = torch.from_numpy((rng.rand(n) < 0.4) & ~noflip & ~plain)
        x = torch.where(torch.from_numpy(plain)[:, None, None, None], pm, mild)
        x = torch.where(flip[:, None, None, None], x.flip(3), x)
        rgb, a = x[:, :3].clone(), x[:, 3:].clone()
        for k, i in enumerate(sel):
            if i not in simple:
                d = captions.dominant(data.rgba[i][..., :3], data.rgba[i][..., 3])
                hues = [c for c in d if c[0] not in ("black", "white", "gray")]
                simple[i] = bool(hues) and hues[0][1] > 0.45
            m = data.meta[i]
            hue = (not m["flag"]) and "skin" not in m["name"] and \
                rng.rand() < (0.4 if simple[i] else 0.06)
            if hue:
                h, s, v = rgb_hsv(rgb[k:k + 1])
                rgb[k:k + 1] = hsv_rgb((h + rng.uniform(0.08, 0.92)) % 1, s, v)
            straight = (rgb[k] / a[k].clamp(min=1e-3)).clamp(0, 1)
            cols = captions.dominant((straight.permute(1, 2, 0).numpy() * 255),
                                     (a[k, 0].numpy() * 255))
            background, bg = "", np.array([255, 255, 255.0])
            if rng.rand() < 0.08:
                background = rng.choice(list(BACKGROUNDS))
                bg = np.clip(np.array(BACKGROUNDS[background]) + rng.uniform(-12, 12, 3), 0, 255)
            p = rgb[k] + (1 - a[k]) * torch.from_numpy(bg / 255).float()[:, None, None]
            pics[at + k] = (p.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
            texts.append([captions.caption(m, cols, hue, background, rng)
                          for _ in range(args.captions)])
        if at % 3200 == 0:
            print(at, texts[-1], flush=True)
    ids = tok([t for ts in texts for t in ts], padding="max_length", truncation=True,
              max_length=77).input_ids
    np.save(os.path.join(args.out, "ids.npy"),
            np.array(ids, np.int16).reshape(args.count, args.captions, 77))
    np.save(os.path.join(args.out, "source.npy"), order.astype(np.int32))
    np.save(os.path.join(args.out, "pictures.npy"), pics)
    json.dump(texts, open(os.path.join(args.out, "captions.json"), "w"), ensure_ascii=False)


if __name__ == "__main__":
    main()
