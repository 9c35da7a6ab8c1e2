#!/usr/bin/env python3
"""Stage 1: the autoencoder (f=8, 8 latent channels)."""
import argparse
import os

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D

from common import (Clock, Data, Ema, Log, affine, autocast, hsv_rgb, lr_at, muon_for, on_white,
                    rgb_hsv, save_png)
from team import Team


def build(ch):
    return AutoencoderKL(
        in_channels=3, out_channels=3, block_out_channels=ch, layers_per_block=1,
        down_block_types=["DownEncoderBlock2D"] * len(ch),
        up_block_types=["UpDecoderBlock2D"] * len(ch),
        # few groups: 16 groups of one channel would be an instance norm, which
        # takes the absolute colours away
        latent_channels=8, norm_num_groups=4, sample_size=128,
        scaling_factor=1.0, force_upcast=False)


@torch.no_grad()
def plain_start(vae):
    """Starts as a linear path: the first latents are the colours averaged
    over 8x8 pixels. (Colour c goes as channels +c and -c, because
    silu(x) - silu(-x) = x.) From a random start the net draws sharp grey
    pictures for a thousand steps before it finds the colours."""
    for m in vae.modules():
        if isinstance(m, ResnetBlock2D):
            m.conv2.weight.zero_()
            m.conv2.bias.zero_()
            if m.conv_shortcut is not None:
                torch.nn.init.dirac_(m.conv_shortcut.weight)
                m.conv_shortcut.bias.zero_()
        elif isinstance(m, Attention):
            m.to_out[0].weight.zero_()
            m.to_out[0].bias.zero_()
        elif isinstance(m, (Downsample2D, Upsample2D)):
            w = m.conv.weight
            w *= 0.5
            w[:6] = 0
            i = torch.arange(len(w))
            if isinstance(m, Downsample2D):
                for y in (0, 1):
                    for x in (0, 1):
                        w[i, i, y, x] += 0.25
            else:
                w[i, i, 1, 1] += 1
            m.conv.bias.zero_()
    e, d = vae.encoder, vae.decoder
    for k in range(3):
        for conv, src in ((e.conv_in, k), (d.conv_in, k)):
            for sign in (0, 1):
                conv.weight[2 * k + sign] = 0
                conv.bias[2 * k + sign] = 0
                conv.weight[2 * k + sign, src, 1, 1] = 1 - 2 * sign
        for conv in (e.conv_out, d.conv_out):
            conv.weight[k] = 0
            conv.bias[k] = 0
            conv.weight[k, 2 * k, 1, 1] = 1
            conv.weight[k, 2 * k + 1, 1, 1] = -1
    n = vae.config.latent_channels
    e.conv_out.weight[n:] *= 0.1
    e.conv_out.bias[n:] = -4
    for conv in (vae.quant_conv, vae.post_quant_conv):
        conv.weight.zero_()
        conv.bias.zero_()
        i = torch.arange(len(conv.weight))
        conv.weight[i, i] = 1


def augment(pm, rng, out, crop):
    x, _ = affine(pm, rng, out=out, scale=(0.6, 1.3), rotate=25, shift=0.15, crop=crop)
    n = len(x)
    rgb, a = x[:, :3], x[:, 3:]
    pick = rng.rand(n) < 0.2
    if pick.any():
        h, s, v = rgb_hsv(rgb[pick])
        k = torch.from_numpy(rng.rand(pick.sum())).float()[:, None, None]
        rgb[pick] = hsv_rgb((h + k) % 1, s, v)
    bg = torch.ones(n, 3, 1, 1)
    kind = rng.rand(n)
    col = torch.from_numpy(rng.rand(n, 3)).float()[:, :, None, None]
    bg[kind < 0.25] = col[kind < 0.25]
    bg[kind < 0.05] = 0
    return rgb + (1 - a) * bg


def grad_loss(x, y):
    """differences of neighbours at three scales"""
    loss = 0
    for k in range(3):
        d = x - y
        loss = loss + (d[..., 1:] - d[..., :-1]).abs().mean() \
            + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return loss


def chroma_loss(x, y):
    """two opponent colours"""
    d = x - y
    d = torch.stack([d[:, 0] - d[:, 1], (d[:, 0] + d[:, 1]) / 2 - d[:, 2]], 1)
    return 2 * d.square().mean() + d.abs().mean()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--steps", type=int, default=0)
    ap.add_argument("--minutes", type=float, default=20)
    ap.add_argument("--channels", default="16,32,64,96")
    ap.add_argument("--lr", type=float, default=1.2e-3)
    ap.add_argument("--kl", type=float, default=2e-4)
    ap.add_argument("--procs", type=int, default=2)
    ap.add_argument("--init", help="go on from this autoencoder")
    ap.add_argument("--decoder-only", action="store_true")
    ap.add_argument("--noise", type=float, default=0.0,
                    help="extra deviation of the latents: a decoder that forgives the UNet")
    ap.add_argument("--crops", type=float, default=0.6,
                    help="share of the run on 64x64 windows")
    args = ap.parse_args()
    team = Team(args.procs)
    torch.manual_seed(1 + team.rank)
    rng = np.random.RandomState(1 + team.rank)
    os.makedirs(args.out, exist_ok=True)
    log = Log(os.path.join(args.out, "log.jsonl"))

    data = Data(args.data)
    idx = data.train_indices()
    w = data.weight[idx] / data.weight[idx].sum()
    vi = np.nonzero(data.heldout)[0]
    vi = np.random.RandomState(0).choice(vi, 32, replace=False)
    val = on_white(data.premultiplied(vi)) * 2 - 1

    vae = AutoencoderKL.from_pretrained(args.init) if args.init else \
        build([int(c) for c in args.channels.split(",")])
    vae.register_to_config(scaling_factor=1.0)
    if not args.init:
        plain_start(vae)
    if args.decoder_only:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    params = [p for p in vae.parameters() if p.requires_grad]
    opt = muon_for([vae], args.lr, team)
    team.same_start([vae])
    ema = Ema([vae], 0.998)
    clock = Clock(args.steps, args.minutes)
    print("parameters", sum(p.numel() for p in vae.parameters()))

    def save():
        ema.swap()
        vae.eval()
        with torch.no_grad():
            z = []
            for i in range(0, 128, 32):
                j = rng.choice(idx, 32, p=w)
                d = vae.encode(on_white(data.premultiplied(j)) * 2 - 1).latent_dist
                z.append(d.mean)
            z = torch.cat(z)
            rec = vae.decode(vae.encode(val).latent_dist.mean).sample.clamp(-1, 1)
        l1 = (rec - val).abs().mean().item()
        std = z.std().item()
        vae.register_to_config(scaling_factor=1.0 if args.decoder_only else round(1 / std, 5))
        vae.save_pretrained(args.out)
        vae.register_to_config(scaling_factor=1.0)
        save_png(os.path.join(args.out, "recon.png"),
                 torch.cat([val[:16], rec[:16]]) / 2 + 0.5, cols=16)
        log(step=step, val_l1=l1, latent_std=std,
            channel_std=[round(v, 3) for v in z.std((0, 2, 3)).tolist()],
            posterior_std=round(d.std.mean().item(), 4))
        ema.swap()
        vae.train()

    step, last_save, acc = 0, 0.0, []
    while True:
        p = team.progress(clock, step)
        if p >= 1:
            break
        crop = p < args.crops
        n, out = (max(1, 16 // team.size), 64) if crop else (max(1, 6 // team.size), 128)
        pm = data.premultiplied(rng.choice(idx, n, p=w))
        x = augment(pm, rng, out, crop) * 2 - 1
        for g in opt.param_groups:
            g["lr"] = lr_at(p, step, args.lr, hold=0.35)
        with autocast():
            dist = vae.encode(x).latent_dist
            z = dist.mean + dist.std * torch.randn_like(dist.mean)
            if args.noise:
                z = z + args.noise * torch.from_numpy(rng.rand(n, 1, 1, 1)).float() \
                    * torch.randn_like(z)
            y = vae.decode(z).sample
        y = y.float()
        l1 = (y - x).abs().mean()
        gl = grad_loss(y, x)
        m, lv = dist.mean.float(), dist.logvar.float()
        kl = 0.5 * (m * m + lv.exp() - 1 - lv).mean()
        ch = chroma_loss(y, x)
        loss = l1 + gl + 0.5 * ch + args.kl * kl
        opt.zero_grad(set_to_none=True)
        loss.backward()
        l1, gl, ch, kl = team.mean_grads(params, (l1.item(), gl.item(), ch.item(), kl.item()))
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        ema.update()
        step += 1
        acc.append((l1, gl, ch, kl))
        if step % 25 == 0 and team.first:
            a = np.mean(acc, 0)
            acc = []
            log(step=step, p=float(p), l1=float(a[0]), grad=float(a[1]), chroma=float(a[2]),
                kl=float(a[3]))
        if p - last_save > 0.15:
            last_save = p
            if team.first:
                save()
    if team.first:
        save()


if __name__ == "__main__":
    main()
