#!/usr/bin/env python3
"""Stage 5: a ControlNet on the locked base: a trainable copy of the
encoding half, zero convolutions, half of the prompts dropped."""
import argparse
import json
import os

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

import annotate
from captions import clean
from common import Clock, Data, Ema, Log, autocast, lr_at, muon_for, on_white, save_png
from team import Team
from unet import sample


def wobble(m, rng, amount):
    """shifts the strokes by a smooth random field of some pixels"""
    d = torch.from_numpy(rng.randn(1, 2, 5, 5)).float() * amount / 64
    d = F.interpolate(d, size=(128, 128), mode="bicubic", align_corners=True)
    grid = F.affine_grid(torch.eye(2, 3)[None], (1, 1, 128, 128), align_corners=False)
    x = torch.from_numpy(m).float()[None, None] / 255
    x = F.grid_sample(x, grid + d.permute(0, 2, 3, 1), align_corners=False)
    return (x[0, 0] > 0.5).numpy().astype(np.uint8) * 255


def dilate(m):
    p = np.pad(m, 1)
    return np.maximum.reduce([p[1:-1, 1:-1], p[:-2, 1:-1], p[2:, 1:-1], p[1:-1, :-2], p[1:-1, 2:]])


def control_map(kind, ann, rgb, rng):
    if kind == "canny":
        if rng.rand() < 0.6:
            return ann.canny(rgb)
        low = rng.randint(60, 150)
        return ann.canny(rgb, low, min(255, low + rng.randint(50, 110)))
    # scribble: mostly the annotator's map; for drawings by hand also
    # outlines of even width and strokes that do not fit exactly
    r = rng.rand()
    if r < 0.75:
        m = ann.scribble(rgb, 32 if rng.rand() < 0.7 else rng.randint(20, 50))
    else:
        m = dilate(ann.canny(rgb, 150, 250))
    if rng.rand() < 0.3:
        if rng.rand() < 0.6:
            m = wobble(m, rng, rng.uniform(0.3, 1.2))
        if rng.rand() < 0.4:
            m = dilate(m)
        if rng.rand() < 0.3:
            y, x = rng.randint(0, 110, 2)
            m = m.copy()
            m[y:y + rng.randint(8, 40), x:x + rng.randint(8, 40)] = 0
    return m


def to_hint(maps):
    return torch.from_numpy(np.stack(maps)).float()[:, None].repeat(1, 3, 1, 1) / 255


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--kind", choices=["canny", "scribble"], required=True)
    ap.add_argument("--data", required=True)
    ap.add_argument("--variants", required=True)
    ap.add_argument("--base", required=True, help="folder with unet, text_encoder, scheduler, ...")
    ap.add_argument("--src", default=annotate.DEFAULT, help="source of the C annotators")
    ap.add_argument("--init", help="start from this ControlNet, not from the copy")
    ap.add_argument("--out", required=True)
    ap.add_argument("--steps", type=int, default=0)
    ap.add_argument("--minutes", type=float, default=14)
    ap.add_argument("--batch", type=int, default=16)
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--drop", type=float, default=0.5)
    ap.add_argument("--device", default="cpu", help="cuda: one process, procs is ignored")
    ap.add_argument("--procs", type=int, default=2)
    ap.add_argument("--check-every", type=float, default=0.09)
    args = ap.parse_args()
    team = Team(args.procs if args.device == "cpu" else 1)
    seed = 5 if args.kind == "canny" else 7
    torch.manual_seed(seed + team.rank)
    rng = np.random.RandomState(seed + team.rank)
    os.makedirs(args.out, exist_ok=True)
    log = Log(os.path.join(args.out, "log.jsonl")) if team.first else None
    ann = annotate.Annotators(args.src)
    lat = np.load(os.path.join(args.variants, "latents.npy"), mmap_mode="r")
    ids = torch.from_numpy(np.load(os.path.join(args.variants, "ids.npy")))
    pics = np.load(os.path.join(args.variants, "pictures.npy"), mmap_mode="r")
    sub = lambda c, n: c.from_pretrained(os.path.join(args.base, n)).eval() \
        .requires_grad_(False).to(args.device)
    tok = CLIPTokenizer.from_pretrained(os.path.join(args.base, "tokenizer"))
    text, unet = sub(CLIPTextModel, "text_encoder"), sub(UNet2DConditionModel, "unet")
    vae = sub(AutoencoderKL, "vae")
    empty = torch.tensor(tok("", padding="max_length", max_length=77).input_ids)

    # a few held-out emoji, only to watch the moment of convergence
    data = Data(args.data)
    held = [i for i in np.nonzero(data.heldout)[0] if data.meta[i]["source"] == "noto"]
    held = np.random.RandomState(1).choice(held, 12, replace=False)
    real = (on_white(data.premultiplied(held)) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    make = ann.canny if args.kind == "canny" else ann.scribble
    maps = [make(x) for x in real]
    names = [clean(data.meta[i]["name"]) for i in held]

    net = ControlNetModel.from_pretrained(args.init) if args.init else \
        ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 16, 32, 96))
    net.requires_grad_(True).to(args.device)
    net.train()
    opt = muon_for([net], args.lr, team)
    team.same_start([net])
    ema = Ema([net], 0.995)
    noise = DDIMScheduler.from_pretrained(os.path.join(args.base, "scheduler"))
    ab = noise.alphas_cumprod
    clock = Clock(args.steps, args.minutes)
    if team.first:
        print("controlnet %.3f M" % (sum(p.numel() for p in net.parameters()) / 1e6))

    def check():
        ema.swap()
        net.eval()
        y = sample(unet, text, tok, vae, names, steps=10, scale=1, control=net,
                   hint=to_hint(maps).to(args.device), noise=noise)
        out = (y * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
        f = [annotate.f1(make(o), m) for o, m in zip(out, maps)]
        log(step=step, f1=float(np.mean(f)))
        save_png(os.path.join(args.out, "sheet-%05d.png" % step),
                 torch.cat([to_hint(maps), y]), cols=12)
        net.save_pretrained(args.out)
        ema.swap()
        net.train()

    n, m, k = args.batch // team.size, len(lat), ids.shape[1]
    order, step, last, acc = [], 0, -1.0, []
    while True:
        p = team.progress(clock, step)
        if p >= 1:
            break
        if p - last > args.check_every:
            last = p
            if team.first:
                check()
        if len(order) < n:
            order = list(rng.permutation(m))
        pick = [order.pop() for _ in range(n)]
        j = torch.tensor(pick)
        l = torch.from_numpy(lat[pick].astype(np.float32))
        z0 = l[:, :8] + l[:, 8:] * torch.randn(n, 8, 16, 16)
        hint = to_hint([control_map(args.kind, ann, np.ascontiguousarray(pics[q]), rng) for q in pick])
        i = ids[j, torch.from_numpy(rng.randint(0, k, n))].long()
        i[torch.from_numpy(rng.rand(n) < args.drop)] = empty
        t = torch.from_numpy(((np.arange(n) + rng.rand()) / n * 1000).astype(np.int64))
        a = ab[t][:, None, None, None]
        e = torch.randn_like(z0)
        zt = a.sqrt() * z0 + (1 - a).sqrt() * e
        v = a.sqrt() * e - (1 - a).sqrt() * z0
        for g in opt.param_groups:
            g["lr"] = lr_at(p, step, args.lr, warm=50, hold=0.5)
        zt, t, i, hint, v = (q.to(args.device) for q in (zt, t, i, hint, v))
        with autocast(args.device):
            with torch.no_grad():
                ctx = text(i).last_hidden_state
            down, mid = net(zt, t, ctx, hint, return_dict=False)
            out = unet(zt, t, ctx, down_block_additional_residuals=down,
                       mid_block_additional_residual=mid).sample
        loss = (out.float() - v).square().mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        (mean,) = team.mean_grads(ema.params, (loss.item(),))
        torch.nn.utils.clip_grad_norm_(ema.params, 1.0)
        opt.step()
        ema.update()
        step += 1
        acc.append(mean)
        if step % 20 == 0 and team.first:
            log(step=step, p=float(p), loss=float(np.mean(acc)))
            acc = []
    if team.first:
        check()
        json.dump({"steps": step, "samples": step * args.batch},
                  open(os.path.join(args.out, "done.json"), "w"))


if __name__ == "__main__":
    main()
