#!/usr/bin/env python3
"""Stage 4: the base model: UNet and text encoder, trained together."""
import argparse
import json
import os

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from common import Clock, Ema, Log, lr_at, muon_for, save_png
from team import Team

PROMPTS = ["a red apple", "a blue heart", "green frog face", "mushroom", "pizza",
           "a yellow car", "grinning face with smiling eyes", "house with garden",
           "tropical fish", "purple flower", "cat face", "airplane",
           "a banana", "woman, medium skin tone", "tree", "a green apple"]


def scheduler():
    return DDIMScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.016,
                         beta_schedule="scaled_linear", clip_sample=False,
                         set_alpha_to_one=False, steps_offset=1,
                         prediction_type="v_prediction", timestep_spacing="trailing")


def build_text(vocab, eos):
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=vocab, hidden_size=128, intermediate_size=512, projection_dim=128,
        num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=77,
        hidden_act="quick_gelu", bos_token_id=eos - 1, eos_token_id=eos, pad_token_id=eos))


def build_unet():
    return UNet2DConditionModel(
        sample_size=16, in_channels=8, out_channels=8,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        block_out_channels=[128, 128], layers_per_block=1, norm_num_groups=16,
        cross_attention_dim=128, attention_head_dim=4)


@torch.no_grad()
def quiet_start(unet):
    """every residual branch and the last layer begin at zero"""
    for n, m in unet.named_modules():
        if n.endswith(("conv2", "to_out.0", "ff.net.2", "proj_out")) or n == "conv_out":
            m.weight.zero_()
            m.bias.zero_()


@torch.no_grad()
def sample(unet, text, tok, vae, prompts, steps=20, scale=5.0, seed=0, control=None,
           hint=None, control_scale=1.0):
    """DDIM with guidance; a batch of pictures in 0..1"""
    sch = scheduler()
    sch.set_timesteps(steps)
    enc = lambda p: text(torch.tensor(tok(p, padding="max_length", truncation=True,
                                          max_length=77).input_ids)).last_hidden_state
    n = len(prompts)
    guided = scale != 1
    ctx = torch.cat([enc([""] * n), enc(list(prompts))]) if guided else enc(list(prompts))
    if guided and hint is not None:
        hint = torch.cat([hint, hint])
    if isinstance(seed, int):
        z = torch.randn(n, 8, 16, 16, generator=torch.Generator().manual_seed(seed))
    else:       # each picture its own, as a server does
        z = torch.cat([torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(q))
                       for q in seed])
    for t in sch.timesteps:
        x = torch.cat([z, z]) if guided else z
        kw = {}
        with torch.autocast("cpu", torch.bfloat16):
            if control is not None:
                down, mid = control(x, t, ctx, hint,
                                    conditioning_scale=control_scale, return_dict=False)
                kw = dict(down_block_additional_residuals=down, mid_block_additional_residual=mid)
            v = unet(x, t, ctx, **kw).sample.float()
        if guided:
            u, c = v.chunk(2)
            v = u + scale * (c - u)
        z = sch.step(v, t, z).prev_sample
    with torch.autocast("cpu", torch.bfloat16):
        y = vae.decode(z / vae.config.scaling_factor).sample.float()
    return (y / 2 + 0.5).clamp(0, 1)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--variants", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--vae", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--steps", type=int, default=0)
    ap.add_argument("--minutes", type=float, default=55)
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--lr", type=float, default=1.5e-3)
    ap.add_argument("--drop", type=float, default=0.12)
    ap.add_argument("--procs", type=int, default=2)
    ap.add_argument("--sheet-every", type=float, default=0.12)
    args = ap.parse_args()
    team = Team(args.procs)
    torch.manual_seed(3 + team.rank)
    rng = np.random.RandomState(3 + team.rank)
    os.makedirs(args.out, exist_ok=True)
    log = Log(os.path.join(args.out, "log.jsonl"))
    lat = torch.from_numpy(np.load(os.path.join(args.variants, "latents.npy")))
    ids = torch.from_numpy(np.load(os.path.join(args.variants, "ids.npy")))
    tok = CLIPTokenizer.from_pretrained(args.tokenizer)
    vae = AutoencoderKL.from_pretrained(args.vae).eval()
    empty = torch.tensor(tok("", padding="max_length", max_length=77).input_ids)

    text, unet = build_text(len(tok), tok.eos_token_id), build_unet()
    quiet_start(unet)
    nets = [unet, text]
    opt = muon_for(nets, args.lr, team)
    team.same_start(nets)
    ema = Ema(nets, 0.998)
    ab = scheduler().alphas_cumprod
    clock = Clock(args.steps, args.minutes)
    print("unet %.3f M, text %.3f M" % tuple(sum(p.numel() for p in n.parameters()) / 1e6 for n in nets))
    n, m, k = args.batch // team.size, len(lat), ids.shape[1]
    order, step, last, acc = [], 0, 0.0, []
    buckets = [[] for _ in range(4)]
    while True:
        p = team.progress(clock, step)
        if p >= 1:
            break
        if len(order) < n:
            order = list(rng.permutation(m))
        j = torch.tensor([order.pop() for _ in range(n)])
        l = lat[j].float()
        z0 = l[:, :8] + l[:, 8:] * torch.randn(n, 8, 16, 16)
        i = ids[j, torch.from_numpy(rng.randint(0, k, n))].long()
        i[torch.from_numpy(rng.rand(n) < args.drop)] = empty
        t = torch.from_numpy(((np.arange(n) + rng.rand()) / n * 1000).astype(np.int64))
        a = ab[t][:, None, None, None]
        e = torch.randn_like(z0)
        zt = a.sqrt() * z0 + (1 - a).sqrt() * e
        v = a.sqrt() * e - (1 - a).sqrt() * z0
        for g in opt.param_groups:
            g["lr"] = lr_at(p, step, args.lr, hold=0.3)
        with torch.autocast("cpu", torch.bfloat16):
            out = unet(zt, t, text(i).last_hidden_state).sample
        err = (out.float() - v).square().mean((1, 2, 3))
        loss = err.mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        (mean,) = team.mean_grads(ema.params, (loss.item(),))
        torch.nn.utils.clip_grad_norm_(ema.params, 1.0)
        opt.step()
        ema.update()
        step += 1
        acc.append(mean)
        for b, q in zip(err.detach().view(4, -1).mean(1).tolist(), buckets):
            q.append(b)
        if step % 50 == 0 and team.first:
            log(step=step, p=float(p), loss=float(np.mean(acc)),
                quarters=[round(float(np.mean(q)), 4) for q in buckets])
            acc, buckets = [], [[] for _ in range(4)]
        if p - last > args.sheet_every:
            last = p
            if team.first:
                save(args, nets, ema, tok, vae, step)
    if not team.first:
        return
    save(args, nets, ema, tok, vae, step)
    json.dump({"steps": step, "samples": step * args.batch}, open(os.path.join(args.out, "done.json"), "w"))


def save(args, nets, ema, tok, vae, step):
    unet, text = nets
    ema.swap()
    for m in nets:
        m.eval()
    unet.save_pretrained(os.path.join(args.out, "unet"))
    text.save_pretrained(os.path.join(args.out, "text_encoder"))
    scheduler().save_pretrained(os.path.join(args.out, "scheduler"))
    save_png(os.path.join(args.out, "sheet-%05d.png" % step),
             sample(unet, text, tok, vae, PROMPTS))
    ema.swap()
    for m in nets:
        m.train()


if __name__ == "__main__":
    main()
