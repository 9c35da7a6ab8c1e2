#!/usr/bin/env python3
"""Builds the training set: pictures from the colour bitmaps of Noto Color
Emoji, captions from the Unicode CLDR annotations.

Writes DIR/data.npz:
  rgba     uint8 [N,128,128,4]   the glyphs, straight alpha
  base     int32 [N]             number of the base emoji (skin tones share it)
  heldout  bool  [N]             kept out of every training stage
  weight   float32 [N]           1/(variants of the base), flags less
and DIR/data.json: for each picture its code points, name, keywords, group.
"""
import argparse
import hashlib
import io
import json
import os
import re
import xml.etree.ElementTree as ET

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image

SKIN = {0x1F3FB, 0x1F3FC, 0x1F3FD, 0x1F3FE, 0x1F3FF}
HELDOUT_PERCENT = 5


def read_cldr(folder):
    """code point string -> (name, [keywords])"""
    names, words = {}, {}
    for part in ("annotations", "annotationsDerived"):
        path = os.path.join(folder, "common", part, "en.xml")
        for a in ET.parse(path).getroot().iter("annotation"):
            cp = a.get("cp").replace("\ufe0f", "")
            if a.get("type") == "tts":
                names.setdefault(cp, a.text.strip())
            else:
                words.setdefault(cp, [w.strip() for w in a.text.split("|")])
    return {cp: (n, words.get(cp, [])) for cp, n in names.items()}


def ligatures(font):
    """glyph name tuple -> glyph name, from the ligature lookups of GSUB"""
    out = {}
    for lookup in font["GSUB"].table.LookupList.Lookup:
        if lookup.LookupType != 4:
            continue
        for sub in lookup.SubTable:
            sub = getattr(sub, "ExtSubTable", sub)
            for first, ligs in sub.ligatures.items():
                for lig in ligs:
                    out[(first, *lig.Component)] = lig.LigGlyph
    return out


def is_flag(cps):
    return 0x1F3F4 in cps and len(cps) > 4 or \
        all(0x1F1E6 <= c <= 0x1F1FF for c in cps)


def picture(data):
    """136x128 strike -> 128x128 RGBA (the strike has 4 empty-ish columns on
    each side; a glyph that uses them is scaled down a little)"""
    im = Image.open(io.BytesIO(data)).convert("RGBA")
    a = np.asarray(im)[..., 3]
    if a[:, :4].any() or a[:, -4:].any():
        pad = Image.new("RGBA", (136, 136), (255, 255, 255, 0))
        pad.paste(im, (0, 4))
        p = np.asarray(pad).astype(np.float32)
        p[..., :3] *= p[..., 3:] / 255
        chans = [Image.fromarray(p[..., k]).resize((128, 128), Image.LANCZOS)
                 for k in range(4)]
        p = np.stack([np.asarray(c) for c in chans], -1)
        alpha = np.clip(p[..., 3:], 0, 255)
        rgb = np.where(alpha > 0, p[..., :3] * 255 / np.maximum(alpha, 1), 255)
        return np.clip(np.rint(np.concatenate([rgb, alpha], -1)),
                       0, 255).astype(np.uint8)
    return np.asarray(im)[:, 4:132].copy()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--font", default="/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
    ap.add_argument("--cldr", default="/usr/share/unicode/cldr")
    ap.add_argument("--out", required=True)
    ap.add_argument("--heldout-list", help="also write the list of held-out emoji here")
    args = ap.parse_args()
    os.makedirs(args.out, exist_ok=True)

    font = TTFont(args.font)
    cmap = {c: g for c, g in font.getBestCmap().items()}
    ligs = ligatures(font)
    strike = font["CBDT"].strikeData[0]
    vs16 = cmap.get(0xFE0F)

    rows = []
    for cp, (name, words) in sorted(read_cldr(args.cldr).items()):
        cps = [ord(c) for c in cp]
        if any(c not in cmap for c in cps):
            continue
        if len(cps) == 1:
            glyph = cmap[cps[0]]
        else:
            glyph = ligs.get(tuple(cmap[c] for c in cps))
            if glyph is None and vs16:
                # some ligatures keep the variation selector
                for lig in ligs:
                    if lig[0] == cmap[cps[0]] and \
                       [g for g in lig if g != vs16] == [cmap[c] for c in cps]:
                        glyph = ligs[lig]
                        break
        if glyph is None or glyph not in strike:
            continue
        if len(cps) == 1 and (cps[0] in SKIN or cps[0] < 0x80):
            continue
        rows.append((cps, name, words, picture(strike[glyph].imageData)))

    bases, members = {}, {}
    meta, base_of, held = [], [], []
    for i, (cps, name, words, _) in enumerate(rows):
        key = "-".join("%x" % c for c in cps if c not in SKIN)
        # people whose two hands have unlike tones come as a join of two
        # persons; their name before the colon is the same
        if any(c in SKIN for c in cps):
            m = re.match(r"(.*?)(:| with)? ", name)
            key = next((k for k, n in ((k, rows[v][1]) for k, v in bases.items())
                        if k == key or n == name.split(":")[0]), key)
        bases.setdefault(key, i)
        members.setdefault(key, []).append(i)
        base_of.append(key)
    keys = list(members)
    for i, (cps, name, words, _) in enumerate(rows):
        key = base_of[i]
        root = rows[members[key][0]][1].split(":")[0]
        h = int(hashlib.sha256(root.encode()).hexdigest()[:8], 16) % 100
        flag = is_flag(cps)
        held.append(h < HELDOUT_PERCENT)
        meta.append({"cp": " ".join("U+%04X" % c for c in cps), "name": name,
                     "words": words, "base": key, "flag": flag,
                     "skin": any(c in SKIN for c in cps)})
    weight = np.array([(0.25 if m["flag"] else 1.0) / len(members[m["base"]])
                       for m in meta], np.float32)
    held = np.array(held)
    np.savez(os.path.join(args.out, "data.npz"),
             rgba=np.stack([r[3] for r in rows]),
             base=np.array([keys.index(k) for k in base_of], np.int32),
             heldout=held, weight=weight)
    with open(os.path.join(args.out, "data.json"), "w") as f:
        json.dump(meta, f, ensure_ascii=False)
    if args.heldout_list:
        with open(args.heldout_list, "w") as f:
            f.write("# emoji kept out of all training: code points, CLDR name\n")
            for m, h in zip(meta, held):
                if h:
                    f.write("%s\t%s\n" % (m["cp"], m["name"]))
    print("pictures %d, bases %d, skin-tone variants %d, flags %d, held out %d (%d bases)"
          % (len(meta), len(keys), sum(m["skin"] for m in meta),
             sum(m["flag"] for m in meta), held.sum(),
             len({m["base"] for m, h in zip(meta, held) if h})))


if __name__ == "__main__":
    main()
