#!/usr/bin/env python3
"""Trains a small byte-pair encoding in CLIP's file format on the captions."""
import argparse
import collections
import json
import os
import re

from captions import COLOURS, clean

EXTRA = """a an the of on in with and at by for to from over under near emoji picture
drawing icon clip art flat blob outlined background plain simple cute little big small happy sad old new made
two three thing dark light bright pale deep skin tone smiling round""".split()


def byte_symbols():
    """CLIP's byte alphabet: printable bytes stand for themselves, the others
    get code points from 256 up; in the order of the vocabulary"""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    chars = [chr(b) for b in keep]
    order = list(keep)
    n = 0
    for b in range(256):
        if b not in keep:
            order.append(b)
            chars.append(chr(256 + n))
            n += 1
    return order, chars


PATTERN = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_+")


def train(counts, merges_wanted):
    order, chars = byte_symbols()
    sym = {b: c for b, c in zip(order, chars)}
    words = {}
    for w, n in counts.items():
        s = [sym[b] for b in w.encode()]
        s[-1] += "</w>"
        words[w] = (s, n)
    merges = []
    while len(merges) < merges_wanted:
        pairs = collections.Counter()
        for s, n in words.values():
            for a, b in zip(s, s[1:]):
                pairs[a, b] += n
        if not pairs:
            break
        best = max(pairs, key=lambda p: (pairs[p], p))
        if pairs[best] < 2:
            break
        merges.append(best)
        for w, (s, n) in words.items():
            if best[0] not in s:
                continue
            out, i = [], 0
            while i < len(s):
                if i + 1 < len(s) and (s[i], s[i + 1]) == best:
                    out.append(s[i] + s[i + 1])
                    i += 2
                else:
                    out.append(s[i])
                    i += 1
            words[w] = (out, n)
    vocab = chars + [c + "</w>" for c in chars] + [a + b for a, b in merges]
    vocab += ["<|startoftext|>", "<|endoftext|>"]
    return vocab, merges


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--merges", type=int, default=2000)
    args = ap.parse_args()
    meta = json.load(open(os.path.join(args.data, "data.json")))
    counts = collections.Counter()
    names = {}
    for m in meta:
        names.setdefault(m["name"], m)
    for m in names.values():
        for text in [m["name"]] * 2 + m["words"]:
            counts.update(PATTERN.findall(clean(text)))
        for text in m["nouns"]:     # every noun of a thing becomes one entry
            counts.update(PATTERN.findall(text) * 60)
    for w in EXTRA + COLOURS:
        counts[w] += 200
    vocab, merges = train(counts, args.merges)
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "vocab.json"), "w") as f:
        json.dump({t: i for i, t in enumerate(vocab)}, f, ensure_ascii=False)
    with open(os.path.join(args.out, "merges.txt"), "w") as f:
        f.write("#version: 0.2\n")
        for a, b in merges:
            f.write("%s %s\n" % (a, b))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
               "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    json.dump({**special, "add_prefix_space": False, "do_lower_case": True,
               "errors": "replace", "model_max_length": 77,
               "tokenizer_class": "CLIPTokenizer"},
              open(os.path.join(args.out, "tokenizer_config.json"), "w"), indent=2)
    json.dump(special, open(os.path.join(args.out, "special_tokens_map.json"), "w"), indent=2)
    print("entries %d, merges %d, words %d" % (len(vocab), len(merges), len(counts)))


if __name__ == "__main__":
    main()
