#!/usr/bin/env python3
"""Stage 3, for the shown things: few drawings of each, framed alike, each in
every colour that is not held out. No turns and no scales: whatever varies has
to be learnt, and colours and nouns are enough to begin with. Writes what
variants.py writes (see there)."""
import argparse
import collections
import json
import os

import numpy as np
import torch
from transformers import CLIPTokenizer

from captions import COLOURS, short
from colours import dominant
from common import Data
from data import STYLE
from names import first_drawings, unseen
from recolour import recolour
from things import SHOWN
from variants import KEEPS_COLOUR, NO_FLIP


def in_colours(rgba, noun, keep, rng):
    """yields (colour, natural, float [3,128,128] on white): the drawing as it is,
    and painted in each colour that may be seen"""
    t = torch.from_numpy(rgba).permute(2, 0, 1).float() / 255
    straight, a = t[:3], t[3]
    found = dominant(rgba[..., :3], rgba[..., 3])
    main, share = found[0] if found else (None, 0)
    white = lambda p: (p * a + 1 - a).clamp(0, 1)
    yield main if share > 0.3 else None, True, white(straight)
    if keep or share <= 0.3:
        return
    for new in COLOURS:
        if new != main and not unseen(noun, new):
            p = recolour(straight, a, main, new, rng)
            if p is not straight:
                yield new, False, white(p)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--sources", default="noto,twemoji,fxemoji")
    ap.add_argument("--each", type=int, default=4, help="drawings of a thing, at most")
    ap.add_argument("--prefer", default="", metavar="THING:COLLECTION,...",
                    help="the first drawing of a thing is one of this collection")
    ap.add_argument("--no-flip", action="store_true", help="no mirrored pictures")
    ap.add_argument("--natural", type=int, default=3, help="copies in the own colour")
    ap.add_argument("--captions", type=int, default=6)
    ap.add_argument("--seed", type=int, default=2)
    args = ap.parse_args()
    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    rng = np.random.RandomState(args.seed)
    data = Data(args.data)
    tok = CLIPTokenizer.from_pretrained(args.tokenizer)
    order = args.sources.split(",")
    prefer = dict(p.partition(":")[::2] for p in args.prefer.split(",") if p)
    for thing in set(prefer) - set(SHOWN):
        ap.error("--prefer: \"%s\" is none of the shown things" % thing)
    for name in set(order + list(prefer.values())) - set(STYLE):
        ap.error("\"%s\" is none of the collections: %s" % (name, " ".join(STYLE)))
    rows, seen = [], collections.defaultdict(collections.Counter)
    for noun in SHOWN:
        ours = first_drawings([(i, data.meta[i]) for i in data.train_indices()], noun, order,
                              prefer.get(noun), args.each)
        for i in ours:
            m = data.meta[i]
            for colour, natural, p in in_colours(data.rgba[i], noun, noun in KEEPS_COLOUR, rng):
                p = (p * 255).round().byte().permute(1, 2, 0).numpy()
                if colour:
                    seen[noun][colour] += 1
                for k in range(args.natural if natural else 1):
                    flip = not args.no_flip and rng.rand() < 0.3 and not NO_FLIP.search(m["name"])
                    rows.append((i, p[:, ::-1] if flip else p,
                                 [short(noun, colour, natural, m["style"], rng)
                                  for _ in range(args.captions)]))
        print("%-10s %d drawings" % (noun, len(ours)), flush=True)
    rows = [rows[k] for k in rng.permutation(len(rows))]
    path = lambda f: os.path.join(args.out, f)
    np.save(path("pictures.npy"), np.stack([r[1] for r in rows]))
    np.save(path("source.npy"), np.array([r[0] for r in rows], np.int32))
    np.save(path("shown.npy"), np.ones(len(rows), bool))
    texts = [r[2] for r in rows]
    ids = tok([t for ts in texts for t in ts], padding="max_length", truncation=True,
              max_length=77).input_ids
    np.save(path("ids.npy"), np.array(ids, np.int16).reshape(len(rows), -1, 77))
    json.dump(texts, open(path("captions.json"), "w"), ensure_ascii=False)
    json.dump({q: dict(c) for q, c in seen.items()}, open(path("colours.json"), "w"), indent=1)
    print("pictures", len(rows))


if __name__ == "__main__":
    main()
