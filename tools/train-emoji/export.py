#!/usr/bin/env python3
"""Writes the trained networks as diffusers folders with 16-bit weights."""
import argparse
import os
import shutil

import torch
from diffusers import (AutoencoderKL, ControlNetModel, DDIMScheduler, StableDiffusionPipeline,
                       UNet2DConditionModel)
from transformers import CLIPTextModel, CLIPTokenizer


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--base", required=True, help="folder with unet, text_encoder, "
                    "vae, tokenizer, scheduler")
    ap.add_argument("--controlnet", action="append", default=[], metavar="NAME=DIR")
    ap.add_argument("--out", required=True, help="the folder models")
    args = ap.parse_args()
    sub = lambda c, n: c.from_pretrained(os.path.join(args.base, n)).to(torch.float16)
    pipe = StableDiffusionPipeline(
        vae=sub(AutoencoderKL, "vae"), text_encoder=sub(CLIPTextModel, "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(os.path.join(args.base, "tokenizer")),
        unet=sub(UNet2DConditionModel, "unet"),
        scheduler=DDIMScheduler.from_pretrained(os.path.join(args.base, "scheduler")),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    dest = os.path.join(args.out, "emoji")
    pipe.save_pretrained(dest, safe_serialization=True)
    index = os.path.join(dest, "model_index.json")
    text = open(index).read()   # what looks best; diffusers passes over the key
    text = text.replace('  "feature_extractor"', '  "_guidance_scale": 4,\n  "feature_extractor"', 1)
    open(index, "w").write(text)
    for f in ("vocab.json", "merges.txt"):
        shutil.copy(os.path.join(args.base, "tokenizer", f), os.path.join(dest, "tokenizer", f))
    total = sum(p.numel() for m in (pipe.vae, pipe.text_encoder, pipe.unet) for p in m.parameters())
    for spec in args.controlnet:
        name, folder = spec.split("=", 1)
        net = ControlNetModel.from_pretrained(folder).to(torch.float16)
        net.save_pretrained(os.path.join(args.out, name), safe_serialization=True)
        total += sum(p.numel() for p in net.parameters())
    size = 0
    for top in ["emoji"] + [s.split("=")[0] for s in args.controlnet]:
        for d, _, fs in os.walk(os.path.join(args.out, top)):
            for f in fs:
                p = os.path.join(d, f)
                if f == "config.json":      # no names of this machine
                    text = open(p).read().split("\n")
                    text = [l for l in text if '"_name_or_path"' not in l]
                    open(p, "w").write("\n".join(text))
                if f.endswith(".safetensors"):
                    size += os.path.getsize(p)
    print("parameters %.3f M, weights %.2f MB" % (total / 1e6, size / 1e6))


if __name__ == "__main__":
    main()
