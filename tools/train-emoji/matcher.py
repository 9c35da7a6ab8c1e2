#!/usr/bin/env python3
"""Which of the shown things is on a picture? A small convolutional net that
sees brightness alone (a thing may have any colour), trained on the training
pictures of all collections, judged on the held-out ones. It measures the base
model: pictures of "a <colour> <thing>", colours that the thing never had in
the training data, share that the matcher names rightly."""
import argparse
import json
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from captions import COLOURS, article
from common import Data, affine, on_white, save_png
from names import unseen
from things import SHOWN


def build():
    layers, c = [], 1
    for width in (24, 48, 96, 128):
        layers += [nn.Conv2d(c, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                   nn.MaxPool2d(2)]
        c = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.4),
                         nn.Linear(c * 16, len(SHOWN)))


def seen_as(x):
    """pictures [n,3,128,128] in 0..1 on any ground -> what the net looks at:
    distance from the ground's colour, 64x64, stretched to 0..1"""
    x = F.avg_pool2d(x, 2)
    ground = x[:, :, :3, :3].mean((2, 3), keepdim=True)
    d = (x - ground).abs().mean(1, keepdim=True)
    return d / d.amax((2, 3), keepdim=True).clamp(min=0.1)


def class_of(meta):
    for n in meta["nouns"]:
        if n in SHOWN:
            return SHOWN.index(n)
    return -1


def train(data, rng, steps, batch):
    y = np.array([class_of(m) for m in data.meta])
    idx = np.nonzero((y >= 0) & ~data.heldout)[0]
    w = 1 / np.bincount(y[idx], minlength=len(SHOWN))[y[idx]]
    net = build()
    opt = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=0.02)
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, 4e-3, total_steps=steps)
    for step in range(steps):
        j = rng.choice(idx, batch, p=w / w.sum())
        pm, _ = affine(data.premultiplied(j), rng, scale=(0.7, 1.15), rotate=20, shift=0.1)
        rgb, a = pm[:, :3], pm[:, 3:]
        # another colour for every channel: shades stay, hues do not count
        mix = torch.from_numpy(rng.dirichlet([0.6] * 3, (batch, 3))).float()
        rgb = torch.einsum("nij,njhw->nihw", mix, rgb)
        gain = torch.from_numpy(rng.uniform(0.5, 1.0, (batch, 3))).float()[:, :, None, None]
        x = seen_as(rgb * gain + (1 - a))
        x = (x + 0.05 * torch.randn_like(x)) * torch.from_numpy(rng.uniform(0.7, 1.3, (batch, 1, 1, 1))).float()
        loss = F.cross_entropy(net(x), torch.from_numpy(y[j]), label_smoothing=0.1)
        opt.zero_grad()
        loss.backward()
        opt.step()
        sched.step()
        if step % 100 == 0:
            print("matcher", step, round(loss.item(), 3), flush=True)
    return net.eval()


@torch.no_grad()
def real(net, data):
    """accuracy on held-out pictures: mean over them, and their number"""
    y = np.array([class_of(m) for m in data.meta])
    idx = np.nonzero((y >= 0) & data.heldout)[0]
    got = net(seen_as(on_white(data.premultiplied(idx)))).argmax(1).numpy()
    return float((got == y[idx]).mean()), len(idx)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", required=True)
    ap.add_argument("--net", required=True, help="file of the matcher; trained when it is missing")
    ap.add_argument("--steps", type=int, default=900)
    ap.add_argument("--base", help="folder with unet, text_encoder; then it is measured")
    ap.add_argument("--tokenizer")
    ap.add_argument("--vae")
    ap.add_argument("--colours", help="colours.json of the variants")
    ap.add_argument("--seeds", type=int, default=8)
    ap.add_argument("--scale", type=float, default=4.0)
    ap.add_argument("--out")
    args = ap.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(11)
    data = Data(args.data)
    if os.path.exists(args.net):
        net = build()
        net.load_state_dict(torch.load(args.net, weights_only=True))
        net.eval()
    else:
        net = train(data, np.random.RandomState(11), args.steps, 64)
        torch.save(net.state_dict(), args.net)
    print("matcher: %.3f of %d held-out pictures" % real(net, data), flush=True)
    if not args.base:
        return
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    from unet import sample
    unet = UNet2DConditionModel.from_pretrained(os.path.join(args.base, "unet")).float().eval()
    text = CLIPTextModel.from_pretrained(os.path.join(args.base, "text_encoder")).float().eval()
    tok = CLIPTokenizer.from_pretrained(args.tokenizer)
    vae = AutoencoderKL.from_pretrained(args.vae).float().eval()
    noise = DDIMScheduler.from_pretrained(os.path.join(args.base, "scheduler"))
    colours = json.load(open(args.colours))
    right, asked, each = 0, 0, {}
    for k, thing in enumerate(SHOWN):
        new = [c for c in COLOURS if unseen(thing, c) and not colours.get(thing, {}).get(c)]
        for c in new:
            with torch.no_grad():
                y = sample(unet, text, tok, vae, [article("%s %s" % (c, thing))] * args.seeds,
                           scale=args.scale, seed=list(range(args.seeds)), noise=noise)
                hit = int((net(seen_as(y)).argmax(1) == k).sum())
            right, asked = right + hit, asked + args.seeds
            each["%s %s" % (c, thing)] = hit / args.seeds
            if args.out:
                save_png(os.path.join(args.out, "unseen-%s-%s.png" % (c, thing)), y)
    print(json.dumps(each, indent=1))
    print("unseen combinations: %d, named rightly %.3f, chance %.3f, ratio %.1f"
          % (len(each), right / max(1, asked), 1 / len(SHOWN), right / max(1, asked) * len(SHOWN)))


if __name__ == "__main__":
    main()
