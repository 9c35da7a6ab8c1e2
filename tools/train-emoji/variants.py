#!/usr/bin/env python3
"""Stage 3: augmented and recoloured pictures with captions, stored once, so
that training only reads tensors.

DIR/pictures.npy  uint8 [M,128,128,3]
DIR/ids.npy       int16 [M,K,77]      K captions each
DIR/source.npy    int32 [M]           row of data.json
DIR/shown.npy     bool [M]            shows one of things.SHOWN
DIR/latents.npy   float16 [M,16,16,16] posterior mean and deviation (latents.py)
DIR/colours.json  for each thing the colours that its pictures have; what is
                  missing is for the test of unseen combinations
"""
import argparse
import collections
import json
import os
import re

import numpy as np
import torch
from transformers import CLIPTokenizer

import captions
from colours import dominant
from common import Data, affine
from names import unseen
from recolour import recolour
from things import SHOWN

PEOPLE = re.compile(r"^(man|woman|men|women|person|people|family|couple|kiss)\b")
NO_FLIP = re.compile(r"button|letters|flag|arrow|clock|numbers|sign|hundred|symbol|thirty|left|"
                     r"right|END|SOON|BACK|question|calendar|note|music|watch|check")
BACKGROUNDS = {"red": (220, 50, 45), "orange": (250, 150, 30), "yellow": (255, 220, 60),
               "green": (80, 180, 80), "cyan": (70, 210, 220), "blue": (60, 120, 230),
               "light blue": (160, 210, 250), "purple": (150, 80, 190),
               "pink": (250, 160, 200), "black": (15, 15, 15), "gray": (150, 150, 150)}
KEEPS_COLOUR = {"rainbow", "earth", "traffic light", "palette", "flag", "zebra", "panda"}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--count", type=int, default=32000)
    ap.add_argument("--captions", type=int, default=6)
    ap.add_argument("--others", type=float, default=0.15, help="share of what is no thing")
    ap.add_argument("--shown", type=float, default=2.5, help="weight of the shown things")
    ap.add_argument("--only-shown", action="store_true")
    ap.add_argument("--plain", action="store_true", help="no augmentation at all")
    ap.add_argument("--seed", type=int, default=2)
    ap.add_argument("--procs", type=int, default=2)
    args = ap.parse_args()
    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    rng = np.random.RandomState(args.seed)
    data = Data(args.data)
    tok = CLIPTokenizer.from_pretrained(args.tokenizer)
    idx = data.train_indices()
    if args.only_shown:
        idx = np.array([i for i in idx if set(data.meta[i]["nouns"][:1]) & set(SHOWN)])
    w = data.weight.astype(float)
    for i, m in enumerate(data.meta):
        if m["thing"] < 0:
            w[i] *= 0.4 if PEOPLE.match(m["name"]) else 0.5 if re.search("thirty|o’clock|button", m["name"]) else 1
        elif set(m["nouns"]) & set(SHOWN):
            w[i] *= args.shown
    w, other = w[idx], data.thing[idx] < 0
    if other.any():
        w[other] *= args.others / w[other].sum()
        w[~other] *= (1 - args.others) / w[~other].sum()
    w /= w.sum()
    # every picture its share, in whole numbers as far as possible
    copies = w * args.count
    whole = np.floor(copies).astype(int)
    rest = (copies - whole) / max(1e-9, (copies - whole).sum())
    more = args.count - whole.sum()
    order = np.concatenate([np.repeat(idx, whole),
                            rng.choice(idx, more, p=rest) if more else np.array([], int)])
    rng.shuffle(order)

    main_colour = {}
    seen = collections.defaultdict(collections.Counter)
    path = lambda f: os.path.join(args.out, f)
    pics = np.lib.format.open_memmap(path("pictures.npy"), "w+", np.uint8,
                                     (args.count, 128, 128, 3))
    texts = {}
    rank, children = 0, []
    for r in range(1, args.procs):
        pid = os.fork()
        if pid == 0:
            rank, children = r, []
            break
        children.append(pid)
    rng = np.random.RandomState(args.seed + 1000 * rank)
    for at in range(64 * rank, args.count, 64 * args.procs):
        sel = order[at:at + 64]
        pm = data.premultiplied(sel)
        n = len(sel)
        plain = (rng.rand(n) < 0.3) | args.plain
        mild, _ = affine(pm, rng, scale=(0.75, 1.08), rotate=8, shift=0.07, flip=False)
        noflip = np.array([bool(NO_FLIP.search(data.meta[i]["name"])) for i in sel])
        flip = torch.from_numpy((rng.rand(n) < 0.4) & ~noflip & ~plain)
        x = torch.where(torch.from_numpy(plain)[:, None, None, None], pm, mild)
        x = torch.where(flip[:, None, None, None], x.flip(3), x)
        for k, i in enumerate(sel):
            m = data.meta[i]
            if i not in main_colour:
                d = dominant(data.rgba[i][..., :3], data.rgba[i][..., 3])
                main_colour[i] = d[0] if d else (None, 0)
            a = x[k, 3]
            straight = (x[k, :3] / a.clamp(min=1e-3)).clamp(0, 1)
            main, share = main_colour[i]
            new = None
            if not args.plain and share > 0.3 and m["name"] not in KEEPS_COLOUR and \
                    not set(m["nouns"]) & KEEPS_COLOUR and \
                    rng.rand() < (0.6 if m["thing"] >= 0 else 0.2):
                new = str(rng.choice(captions.COLOURS))
                if new == main or any(unseen(q, new) for q in m["nouns"]):
                    new = None
            if new:
                straight = recolour(straight, a, main, new, rng)
            cols = dominant(straight.permute(1, 2, 0).numpy() * 255, a.numpy() * 255)
            if new:     # called what it was painted
                cols = [(new, 1.0)]
            for q in set(m["nouns"]) & set(SHOWN):
                for c, s in cols[:2]:
                    if s > 0.15:
                        seen[q][c] += 1
            background, bg = "", np.array([255, 255, 255.0])
            if rng.rand() < 0.06 and not args.plain:
                background = str(rng.choice(list(BACKGROUNDS)))
                bg = np.clip(np.array(BACKGROUNDS[background]) + rng.uniform(-12, 12, 3), 0, 255)
            p = straight * a + (1 - a) * torch.from_numpy(bg / 255).float()[:, None, None]
            pics[at + k] = (p.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
            texts[at + k] = [captions.caption(m, cols, bool(new), background, rng)
                             for _ in range(args.captions)]
        if at % 3200 == 0:
            print(at, texts[at], flush=True)
    pics.flush()
    part = path("part-%d.json")
    if rank:
        json.dump([list(texts.items()), {q: dict(c) for q, c in seen.items()}],
                  open(part % rank, "w"))
        os._exit(0)
    for r, pid in enumerate(children, 1):
        assert os.waitpid(pid, 0)[1] == 0
        more, colours = json.load(open(part % r))
        texts.update(more)
        for q, c in colours.items():
            seen[q].update(c)
        os.remove(part % r)
    texts = [texts[k] for k in range(args.count)]
    ids = tok([t for ts in texts for t in ts], padding="max_length", truncation=True,
              max_length=77).input_ids
    np.save(path("ids.npy"),
            np.array(ids, np.int16).reshape(args.count, args.captions, 77))
    np.save(path("source.npy"), order.astype(np.int32))
    np.save(path("shown.npy"),
            np.array([bool(set(data.meta[i]["nouns"]) & set(SHOWN)) for i in order]))
    json.dump(texts, open(path("captions.json"), "w"), ensure_ascii=False)
    json.dump({q: dict(c) for q, c in seen.items()},
              open(path("colours.json"), "w"), indent=1)


if __name__ == "__main__":
    main()
