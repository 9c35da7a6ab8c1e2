#!/usr/bin/env python3
"""Stage 5: the base model: UNet and text encoder, trained together. Resumable:
everything is in OUT/state.pt, written every few minutes and at SIGTERM; the
same command goes on from there, also with more --steps."""
import argparse
import json
import os
import signal
import time

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from common import Ema, Log, autocast, lr_at, muon_for, save_png
from team import Team
from things import SHOWN

# the sheet: every shown thing in a colour; some of them natural ones
SHEET = list(zip(["red", "yellow", "red", "red", "yellow", "blue", "orange", "brown",
                  "gray", "blue", "orange", "blue", "pink", "green", "red", "red",
                  "white", "blue", "yellow", "yellow", "red", "purple", "black", "green"], SHOWN))
PROMPTS = ["a %s %s" % p for p in SHEET]


def scheduler():
    """zero terminal SNR (arXiv 2305.08891): the first step sees noise alone,
    so white grounds come out white"""
    return DDIMScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                         beta_schedule="scaled_linear", clip_sample=False,
                         set_alpha_to_one=False, steps_offset=1, rescale_betas_zero_snr=True,
                         prediction_type="v_prediction", timestep_spacing="trailing")


def build_text(vocab, eos, width=192, layers=3):
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=vocab, hidden_size=width, intermediate_size=4 * width, projection_dim=width,
        num_hidden_layers=layers, num_attention_heads=width // 32, max_position_embeddings=77,
        hidden_act="quick_gelu", bos_token_id=eos - 1, eos_token_id=eos, pad_token_id=eos))
    look_at_words(text, eos)
    return text


@torch.no_grad()
def look_at_words(text, eos):
    """A prompt is three words and seventy-odd places of padding. At first every
    place looks at all before it alike, so the words are lost among the padding;
    here all heads of the first layer begin by looking at the words alone, and
    every place of the padding sums them up."""
    model = text.text_model
    words = model.embeddings.token_embedding.weight
    words[:, 0] = 0.1
    words[eos - 1:eos + 1, 0] = -0.1
    look = model.encoder.layers[0].self_attn
    head = slice(None, None, look.head_dim)
    look.q_proj.bias[head] = 6.0
    look.k_proj.weight[head, 0] += 1.0


def build_unet(channels=(128, 256), layers=1, text=192, first_attention=False, head=32):
    """levels at 16x16, 8x8, ...; attention on all but the first, unless asked"""
    n = len(channels)
    cross = [first_attention] + [True] * (n - 1)
    return UNet2DConditionModel(
        sample_size=16, in_channels=8, out_channels=8,
        down_block_types=["CrossAttnDownBlock2D" if c else "DownBlock2D" for c in cross],
        up_block_types=["CrossAttnUpBlock2D" if c else "UpBlock2D" for c in cross[::-1]],
        block_out_channels=list(channels), layers_per_block=layers, norm_num_groups=16,
        cross_attention_dim=text,
        # diffusers takes the number of heads here, by an old mistake of names
        attention_head_dim=[c // head for c in channels])


@torch.no_grad()
def quiet_start(unet):
    """every residual block and the last layer begin at zero"""
    for n, m in unet.named_modules():
        if n.endswith(("conv2", "proj_out")) or n == "conv_out":
            m.weight.zero_()
            m.bias.zero_()


@torch.no_grad()
def sample(unet, text, tok, vae, prompts, steps=20, scale=4.0, seed=0, control=None,
           hint=None, control_scale=1.0, noise=None):
    """DDIM with guidance; a batch of pictures in 0..1. noise: the model's own
    DDIMScheduler, when it is not scheduler()"""
    sch, dev = noise or scheduler(), unet.device
    sch.set_timesteps(steps)
    enc = lambda p: text(torch.tensor(tok(p, padding="max_length", truncation=True,
                                          max_length=77).input_ids, device=dev)).last_hidden_state
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
    z = z.to(dev)
    for t in sch.timesteps:
        x = torch.cat([z, z]) if guided else z
        kw = {}
        with autocast(dev.type):
            if control is not None:
                down, mid = control(x, t, ctx, hint,
                                    conditioning_scale=control_scale, return_dict=False)
                kw = dict(down_block_additional_residuals=down, mid_block_additional_residual=mid)
            v = unet(x, t, ctx, **kw).sample.float()
        if guided:
            u, c = v.chunk(2)
            v = u + scale * (c - u)
        z = sch.step(v, t, z).prev_sample
    with autocast(vae.device.type):
        y = vae.decode(z.to(vae.device) / vae.config.scaling_factor).sample.float()
    return (y.cpu() / 2 + 0.5).clamp(0, 1)


def weights(snr, kind, gamma=5.0):
    """of the v loss: even, or min-SNR (arXiv 2303.09556) as it reads for v"""
    return torch.ones_like(snr) if kind == "even" else snr.clamp(max=gamma) / (snr + 1) * 2


def arguments():
    ap = argparse.ArgumentParser()
    ap.add_argument("--variants", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--vae", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--init", help="folder with unet, text_encoder and scheduler to go on from; "
                    "their widths count, and --tokenizer has to be theirs")
    ap.add_argument("--warm", type=int, default=50, help="steps of rising learning rate")
    ap.add_argument("--steps", type=int, default=0)
    ap.add_argument("--cpu-minutes", type=float, default=0,
                    help="instead of --steps: a budget of processor time, for experiments")
    ap.add_argument("--hold", type=float, default=0.7,
                    help="share of the run before the learning rate falls")
    ap.add_argument("--batch", type=int, default=32)
    ap.add_argument("--lr", type=float, default=1.5e-3)
    ap.add_argument("--optimizer", choices=["muon", "adam"], default="muon")
    ap.add_argument("--drop", type=float, default=0.1)
    ap.add_argument("--channels", default="128,256")
    ap.add_argument("--layers", type=int, default=1)
    ap.add_argument("--first-attention", action="store_true")
    ap.add_argument("--text-width", type=int, default=192)
    ap.add_argument("--text-layers", type=int, default=3)
    ap.add_argument("--weighting", choices=["even", "min-snr"], default="even")
    ap.add_argument("--ema", type=float, nargs="*", default=[0.998, 0.9995])
    ap.add_argument("--focus", type=float, default=0.4,
                    help="share of the pictures that are of the shown things")
    ap.add_argument("--limit", type=int, default=0, help="only the first pictures")
    ap.add_argument("--draws", type=int, default=2,
                    help="noise levels per picture and caption in a step: the text encoder "
                         "works once for all of them")
    ap.add_argument("--first-time", type=int, default=0, metavar="T",
                    help="least noise trained, 0 to 999: one that goes on with --init may know the "
                         "finest grains already")
    ap.add_argument("--device", default="cpu", help="cuda: one process, procs is ignored")
    ap.add_argument("--procs", type=int, default=2)
    ap.add_argument("--save-minutes", type=float, default=5)
    ap.add_argument("--sheet-steps", type=int, default=1000)
    ap.add_argument("--sheet", choices=["shown", "data"], default="shown")
    args = ap.parse_args()
    if not 0 <= args.first_time < 1000:
        ap.error("--first-time: %d is not from 0 to 999" % args.first_time)
    return args


class Deck:
    """deals every card once before any a second time"""

    def __init__(self, cards):
        self.cards, self.order = cards, []

    def deal(self, rng):
        if not self.order:
            self.order = list(rng.permutation(self.cards))
        return self.order.pop()


class Run:
    """the nets and all that a resumed run needs"""

    def __init__(self, args, team, tok):
        torch.manual_seed(3)
        self.args, self.team = args, team
        self.noise = scheduler()
        self.begin(len(tok), tok.eos_token_id)
        self.unet.to(args.device)
        self.text.to(args.device)
        self.nets = [self.unet, self.text]
        self.opt = muon_for(self.nets, args.lr, team, adam=args.optimizer == "adam")
        self.ema = [Ema(self.nets, d) for d in args.ema]
        self.step = self.seen = 0
        self.spent = 0.0        # processor seconds of earlier calls
        self.path = os.path.join(args.out, "state%s.pt" % ("" if team.first else team.rank))
        if os.path.exists(self.path):
            self.load()
        self.step = team.same_number(self.step)
        team.same_start(self.nets)
        torch.manual_seed(1000 * self.step + 3 + team.rank)
        self.rng = np.random.RandomState((1000 * self.step + 3 + team.rank) % 2 ** 32)

    def begin(self, vocab, eos):
        """new nets, or those of --init"""
        args = self.args
        if args.init:
            part = lambda c, n: c.from_pretrained(os.path.join(args.init, n)).float().train()
            self.unet = part(UNet2DConditionModel, "unet")
            self.text = part(CLIPTextModel, "text_encoder")
            self.noise = DDIMScheduler.from_pretrained(os.path.join(args.init, "scheduler"))
            if self.text.config.vocab_size != vocab:
                raise SystemExit("--tokenizer has %d entries, the text encoder of --init %d"
                                 % (vocab, self.text.config.vocab_size))
            return
        self.unet = build_unet([int(c) for c in args.channels.split(",")], args.layers,
                               args.text_width, args.first_attention)
        self.text = build_text(vocab, eos, args.text_width, args.text_layers)
        quiet_start(self.unet)

    def load(self):
        s = torch.load(self.path, weights_only=True, map_location=self.args.device)
        for m, w in zip(self.nets, s["nets"]):
            m.load_state_dict(w)
        for e, (n, shadow) in zip(self.ema, s["ema"]):
            e.n, e.shadow = n, shadow
        # each process has the momenta of its own matrices
        order = [p for g in self.opt.param_groups for p in g["params"]]
        for k, st in s["opt"].items():
            self.opt.state[order[k]] = st
        self.opt.n, self.step, self.seen = s["opt_n"], s["step"], s["seen"]
        self.spent = s.get("cpu", 0.0)

    def cpu(self):
        return self.spent + time.process_time()

    def save(self):
        order = [p for g in self.opt.param_groups for p in g["params"]]
        s = dict(nets=[m.state_dict() for m in self.nets],
                 ema=[(e.n, e.shadow) for e in self.ema],
                 opt={k: self.opt.state[p] for k, p in enumerate(order) if p in self.opt.state},
                 opt_n=self.opt.n, step=self.step, seen=self.seen, cpu=self.cpu())
        torch.save(s, self.path + ".new")
        os.replace(self.path + ".new", self.path)

    def export(self, ema, folder):
        """16-bit weights come later; here the averaged ones as they are"""
        ema.swap()
        self.unet.save_pretrained(os.path.join(folder, "unet"))
        self.text.save_pretrained(os.path.join(folder, "text_encoder"))
        self.noise.save_pretrained(os.path.join(folder, "scheduler"))
        ema.swap()

    def sheet(self, tok, vae, prompts, name):
        for m in self.nets:
            m.eval()
        for e in self.ema:
            e.swap()
            y = torch.cat([sample(self.unet, self.text, tok, vae, prompts, seed=q, noise=self.noise)
                           for q in range(2)])
            save_png(os.path.join(self.args.out, "%s-ema%g.png" % (name, e.decay)), y,
                     cols=len(prompts) // 2)
            e.swap()
        for m in self.nets:
            m.train()


def main():
    args = arguments()
    team = Team(args.procs if args.device == "cpu" else 1)
    os.makedirs(args.out, exist_ok=True)
    log = Log(os.path.join(args.out, "log.jsonl"))
    lat = np.load(os.path.join(args.variants, "latents.npy"), mmap_mode="r")
    ids = torch.from_numpy(np.load(os.path.join(args.variants, "ids.npy")))
    if args.limit:
        lat, ids = lat[:args.limit], ids[:args.limit]
    tok = CLIPTokenizer.from_pretrained(args.tokenizer)
    vae = AutoencoderKL.from_pretrained(args.vae).eval()
    empty = torch.tensor(tok("", padding="max_length", max_length=77).input_ids)
    prompts = PROMPTS if args.sheet == "shown" else \
        [c[0] for c in json.load(open(os.path.join(args.variants, "captions.json")))[:24]]

    run = Run(args, team, tok)
    rng = run.rng
    ab = run.noise.alphas_cumprod
    if team.first:
        json.dump(vars(args), open(os.path.join(args.out, "args.json"), "w"), indent=1)
        print("unet %.3f M, text %.3f M" % tuple(sum(p.numel() for p in n.parameters()) / 1e6
                                                 for n in run.nets), flush=True)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    n, m, k = args.batch // team.size, len(lat), ids.shape[1]
    few = n // args.draws
    shown = np.load(os.path.join(args.variants, "shown.npy"))[:m]
    decks = Deck(np.nonzero(~shown)[0]), Deck(np.nonzero(shown)[0])
    if not decks[0].cards.size:
        decks = decks[1], decks[1]
    acc, saved = [], time.time()
    buckets = [[] for _ in range(4)]
    while True:
        p = run.step / args.steps if args.steps else run.cpu() / 60 / args.cpu_minutes
        p, done, save = team.share(torch.tensor(
            [p, float(p >= 1 or bool(stop)), float(time.time() - saved > 60 * args.save_minutes)]
            if team.first else [0.0, 0.0, 0.0])).tolist()
        if save or done:
            run.save()
            saved = time.time()
        if done:
            break
        j = [deck.deal(rng) for deck in
             (decks[int(f)] for f in rng.rand(few) < args.focus)]
        l = torch.from_numpy(lat[j].astype(np.float32)).repeat(args.draws, 1, 1, 1)
        z0 = l[:, :8] + l[:, 8:] * torch.randn(n, 8, 16, 16)
        i = ids[j, torch.from_numpy(rng.randint(0, k, few))].long()
        i[torch.from_numpy(rng.rand(few) < args.drop)] = empty
        # noise levels evenly spread over the batch
        t = args.first_time + (np.arange(n) + rng.rand()) / n * (1000 - args.first_time)
        t = torch.from_numpy(t.astype(np.int64))
        a = ab[t][:, None, None, None]
        e = torch.randn_like(z0)
        zt = a.sqrt() * z0 + (1 - a).sqrt() * e
        v = a.sqrt() * e - (1 - a).sqrt() * z0
        i, zt, v, t = (q.to(args.device) for q in (i, zt, v, t))
        for g in run.opt.param_groups:
            g["lr"] = lr_at(p, run.step, args.lr, args.warm, args.hold)
        with autocast(args.device):
            ctx = run.text(i).last_hidden_state.repeat(args.draws, 1, 1)
            out = run.unet(zt, t, ctx).sample
        err = (out.float() - v).square().mean((1, 2, 3))
        a = a.flatten().to(args.device)
        loss = (err * weights(a / (1 - a).clamp(min=1e-6), args.weighting)).mean()
        run.opt.zero_grad(set_to_none=True)
        loss.backward()
        params = run.ema[0].params
        (mean,) = team.mean_grads(params, (err.mean().item(),))
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        run.opt.step()
        for q in run.ema:
            q.update()
        run.step += 1
        run.seen += args.batch
        acc.append(mean)
        for b, q in zip(t.tolist(), err.tolist()):
            buckets[b * 4 // 1000].append(q)
        if team.first and run.step % 50 == 0:
            log(step=run.step, seen=run.seen, p=float(p), cpu=run.cpu(),
                loss=float(np.mean(acc)),
                quarters=[round(float(np.mean(q)), 4) if q else None for q in buckets])
            acc, buckets = [], [[] for _ in range(4)]
        if team.first and run.step % args.sheet_steps == 0:
            run.sheet(tok, vae, prompts, "sheet-%06d" % run.step)
    if stop:
        raise SystemExit(3)     # not done: the same command goes on
    if team.first:
        run.sheet(tok, vae, prompts, "sheet-%06d" % run.step)
        for e in run.ema:
            run.export(e, os.path.join(args.out, "ema%g" % e.decay))
        run.export(run.ema[-1], os.path.join(args.out, "best"))
        json.dump({"steps": run.step, "samples": run.seen},
                  open(os.path.join(args.out, "done.json"), "w"))


if __name__ == "__main__":
    main()
