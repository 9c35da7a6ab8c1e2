#!/usr/bin/env python3
"""Stage 1: the pictures of all collections, with nouns and keywords.

SOURCES holds (see the script "sources", which fills it):
  noto, noto-2017        png/128 of two versions of Google's noto-emoji (Apache-2.0)
  twemoji.ttf            Twemoji as Firefox brings it (CC BY 4.0)
  fxemoji                svgs/FirefoxEmoji of Firefox OS emoji (CC BY 4.0)
  emojione.json          Emoji One 2 (CC BY 4.0)
  streamline.json        Streamline emojis (CC BY 4.0)
  fluent.json            Fluent emoji, flat (MIT)
  openclipart            Open Clip Art Library (public domain)
  tuxpaint               stamps of Tux Paint; of them only those whose own metadata
                         say public domain (the collection is under the GPL)
A collection that is not there is left out, and named.
Left out: OpenMoji and later Emoji One (CC BY-SA: a share-alike claim on the
weights).

Writes DIR/data.npz: rgba uint8 [N,128,128,4] straight alpha; heldout bool [N];
weight float32 [N]; thing int32 [N], row of DIR/things.json or -1;
base int32 [N], number of the name. DIR/data.json: for each picture source, key, name, other
nouns, keywords.
"""
import argparse
import collections
import json
import os
import xml.etree.ElementTree as ET

import numpy as np

import sources
from names import held, letters
from things import things

CLIPS = 24      # drawings of one thing at most (there are a thousand stars)
STYLE = {"noto": "emoji", "noto-2017": "blob emoji", "twemoji": "flat emoji",
         "fxemoji": "emoji", "emojione": "emoji", "fluent": "flat emoji",
         "streamline": "outlined emoji", "openclipart": "clip art", "tuxpaint": "clip art"}


def read_cldr(folder):
    """emoji -> (name, [keywords]); skin tones and flags left out"""
    names, words = {}, {}
    for part in ("annotations", "annotationsDerived"):
        path = os.path.join(folder, "common", part, "en.xml")
        for a in ET.parse(path).getroot().iter("annotation"):
            cp = a.get("cp").replace("\ufe0f", "")
            if a.get("type") == "tts":
                names.setdefault(cp, a.text.strip())
            else:
                words.setdefault(cp, [w.strip() for w in a.text.split("|")])
    skin = {chr(c) for c in range(0x1F3FB, 0x1F400)}
    return {cp: (n, words.get(cp, [])) for cp, n in names.items()
            if not set(cp) & skin and not n.startswith("flag:") and (len(cp) > 1 or ord(cp) > 0x80)}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--sources", required=True)
    ap.add_argument("--cldr", default="/usr/share/unicode/cldr")
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    os.makedirs(args.out, exist_ok=True)
    at = lambda f: os.path.join(args.sources, f)
    cldr = read_cldr(args.cldr)
    table = things()
    owner = {s: k for k, t in enumerate(table) for s in t[2]}
    by_name = {}
    for cp, (name, words) in cldr.items():
        by_name.setdefault(letters(name), cp)
    for k, (noun, also, seqs) in enumerate(table):
        for n in (noun, *also):
            by_name.setdefault(letters(n), seqs[0])

    rows = []

    def add(source, key, p, noun=None, words=None):
        if p is None or (noun is None and key not in cldr):
            return
        name = noun or cldr[key][0]
        thing = owner.get(key, -1) if noun is None else \
            next(k for k, t in enumerate(table) if t[0] == noun)
        if thing < 0 and source not in ("noto", "twemoji"):
            return
        nouns = [table[thing][0], *table[thing][1]] if thing >= 0 else []
        rows.append(dict(source=source, style=STYLE[source], name=name, nouns=nouns,
                         words=words if words is not None else cldr[key][1], thing=thing,
                         cp=key if noun is None else "",
                         heldout=held(source, name if noun is None else key), picture=p))

    wanted = {n: c for n, c in by_name.items() if c in owner}
    nouns = [t[:2] for t in table]
    emoji = {"noto": lambda p: sources.noto(p), "noto-2017": lambda p: sources.noto(p),
             "twemoji": lambda p: sources.twemoji(p, cldr),
             "fxemoji": lambda p: sources.fxemoji(p, owner),
             "emojione": lambda p: sources.iconify(p, wanted),
             "fluent": lambda p: sources.iconify(p, wanted),
             "streamline": lambda p: sources.iconify(p, wanted)}
    clips = {"openclipart": sources.openclipart, "tuxpaint": sources.tuxpaint}
    taken = collections.Counter()
    for name in STYLE:
        path = next((p for p in map(at, (name, name + ".json", name + ".ttf"))
                     if os.path.exists(p)), None)
        if path is None:
            print("%s is not in %s: left out" % (name, args.sources), flush=True)
        elif name in emoji:
            for key, p in emoji[name](path):
                add(name, key, p)
        else:
            for f, noun, words, p in clips[name](path, nouns):
                taken[name, noun] += 1
                if taken[name, noun] <= CLIPS:
                    add(name, f, p, noun, words)
    if not rows:
        raise SystemExit("no collection in %s" % args.sources)

    count = np.bincount([r["thing"] + 1 for r in rows if not r["heldout"]],
                        minlength=len(table) + 1)
    # each thing the same share, whatever the number of its pictures
    weight = [1 / max(1, count[r["thing"] + 1]) if r["thing"] >= 0 else 1.0 for r in rows]
    names = sorted({r["name"] for r in rows})
    np.savez(at_out(args, "data.npz"), rgba=np.stack([r.pop("picture") for r in rows]),
             heldout=np.array([r["heldout"] for r in rows]), weight=np.array(weight, np.float32),
             thing=np.array([r["thing"] for r in rows], np.int32),
             base=np.array([names.index(r["name"]) for r in rows], np.int32))
    json.dump(rows, open(at_out(args, "data.json"), "w"), ensure_ascii=False)
    json.dump([t[0] for t in table], open(at_out(args, "things.json"), "w"))
    for s in STYLE:
        n = [r for r in rows if r["source"] == s]
        print("%-12s pictures %4d, of things %4d, held out %d"
              % (s, len(n), sum(r["thing"] >= 0 for r in n), sum(r["heldout"] for r in n)))
    print("things %d, pictures of each: %s" % (len(table), np.percentile(count[1:], [0, 10, 50, 90, 100])))


def at_out(args, name):
    return os.path.join(args.out, name)


if __name__ == "__main__":
    main()
