#!/usr/bin/env python3
"""Writes some held-out emoji with captions and control maps as test data."""
import argparse
import os
import re

import numpy as np
from PIL import Image

import annotate
from captions import clean
from common import Data, on_white


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--src", default=annotate.DEFAULT)
    ap.add_argument("--count", type=int, default=24)
    args = ap.parse_args()
    ann = annotate.Annotators(args.src)
    data = Data(args.data)
    held = [i for i in np.nonzero(data.heldout)[0]
            if data.meta[i]["source"] == "noto"]
    held = sorted(np.random.RandomState(9).choice(held, args.count, replace=False))
    os.makedirs(args.out, exist_ok=True)
    x = (on_white(data.premultiplied(np.array(held))) * 255).round().byte()
    x = x.permute(0, 2, 3, 1).contiguous().numpy()
    with open(os.path.join(args.out, "captions.tsv"), "w") as f:
        for i, rgb in zip(held, x):
            name = clean(data.meta[i]["name"])
            stem = re.sub(r"[^a-z0-9]+", "-", name).strip("-")
            Image.fromarray(rgb).save(os.path.join(args.out, stem + ".png"), optimize=True)
            for kind, m in (("canny", ann.canny(rgb)), ("scribble", ann.scribble(rgb))):
                Image.fromarray(m).convert("1").save(
                    os.path.join(args.out, "%s.%s.png" % (stem, kind)), optimize=True)
            f.write("%s\t%s\n" % (stem, name))


if __name__ == "__main__":
    main()
