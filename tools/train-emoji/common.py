"""Things that all the stages share: data, augmentation, schedule, EMA, log."""
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

SIZE = 128


def seconds(dtype):
    """of the processor, for a convolution of the UNet and its gradients"""
    conv = torch.nn.Conv2d(256, 256, 3, padding=1).to(dtype)
    x = torch.randn(16, 256, 8, 8, dtype=dtype, requires_grad=True)
    best = math.inf
    for _ in range(4):
        t = time.process_time()
        conv(x).sum().backward()
        best = min(best, time.process_time() - t)
    return best


def fast_bf16():
    """whether bfloat16 is worth it on this processor: measured, because the flags
    do not say. Emulated it is three times slower than float32, with avx512_bf16
    alone a quarter slower; with amx_bf16 it is faster"""
    try:
        flags = open("/proc/cpuinfo").read()
    except OSError:
        return False
    if "avx512_bf16" not in flags and "amx_bf16" not in flags:
        return False
    state = torch.get_rng_state()
    fast = seconds(torch.bfloat16) < 0.8 * seconds(torch.float32)
    torch.set_rng_state(state)
    return fast


BF16 = fast_bf16()


def autocast(device="cpu"):
    return torch.autocast(device, torch.bfloat16, enabled=BF16 or device != "cpu")


class Data:
    def __init__(self, folder):
        d = np.load(os.path.join(folder, "data.npz"))
        self.meta = json.load(open(os.path.join(folder, "data.json")))
        self.rgba = d["rgba"]
        self.heldout = d["heldout"]
        self.weight = d["weight"]
        self.base = d["base"]
        self.thing = d["thing"]

    def train_indices(self):
        return np.nonzero(~self.heldout)[0]

    def premultiplied(self, indices):
        """float [n,4,128,128] in 0..1, colour times alpha"""
        x = torch.from_numpy(self.rgba[indices]).permute(0, 3, 1, 2).float() / 255
        x[:, :3] *= x[:, 3:]
        return x


def on_white(pm):
    return pm[:, :3] + (1 - pm[:, 3:])


def affine(pm, rng, out=SIZE, scale=(0.75, 1.15), rotate=15.0, shift=0.12,
           flip=True, crop=False):
    """Random similarity transforms of premultiplied pictures. With crop the
    result is a window of out x out pixels from the 128x128 plane. Returns
    the pictures and the parameters (flip, angle, scale)."""
    n = pm.shape[0]
    ang = torch.from_numpy(rng.uniform(-rotate, rotate, n)).float() * math.pi / 180
    sc = torch.from_numpy(np.exp(rng.uniform(math.log(scale[0]), math.log(scale[1]), n))).float()
    fl = torch.from_numpy((rng.rand(n) < 0.5) * flip).float() * -2 + 1
    tx = torch.from_numpy(rng.uniform(-shift, shift, n)).float()
    ty = torch.from_numpy(rng.uniform(-shift, shift, n)).float()
    k = out / SIZE
    if crop:
        tx = tx + torch.from_numpy(rng.uniform(k - 1, 1 - k, n)).float()
        ty = ty + torch.from_numpy(rng.uniform(k - 1, 1 - k, n)).float()
    c, s = torch.cos(ang) / sc, torch.sin(ang) / sc
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = c * k * fl
    theta[:, 0, 1] = s * k * fl
    theta[:, 1, 0] = -s * k
    theta[:, 1, 1] = c * k
    theta[:, 0, 2] = (c * tx + s * ty) * fl
    theta[:, 1, 2] = -s * tx + c * ty
    grid = F.affine_grid(theta, (n, 4, out, out), align_corners=False)
    return F.grid_sample(pm, grid, mode="bilinear", align_corners=False), fl


def rgb_hsv(x):
    mx, am = x.max(1)
    mn = x.min(1)[0]
    d = mx - mn
    r, g, b = x[:, 0], x[:, 1], x[:, 2]
    dd = d.clamp(min=1e-6)
    h = torch.where(am == 0, ((g - b) / dd) % 6,
                    torch.where(am == 1, (b - r) / dd + 2, (r - g) / dd + 4)) / 6
    h = torch.where(d < 1e-6, torch.zeros_like(h), h)
    return h, d / mx.clamp(min=1e-6), mx


def hsv_rgb(h, s, v):
    out = []
    for n in (5, 3, 1):
        k = (n + h * 6) % 6
        out.append(v - v * s * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(out, 1)


class Clock:
    """Progress 0..1 by steps (repeatable) or by wall time (to a deadline)."""

    def __init__(self, steps=0, minutes=0.0):
        self.steps, self.minutes, self.t0 = steps, minutes, time.time()

    def progress(self, step):
        if self.steps:
            return step / self.steps
        return (time.time() - self.t0) / (60 * self.minutes)


def lr_at(p, step, peak, warm=200, hold=0.5, last=0.01):
    lr = peak * min(1.0, (step + 1) / warm)
    if p > hold:
        q = min(1.0, (p - hold) / (1 - hold))
        lr *= last + (1 - last) * 0.5 * (1 + math.cos(math.pi * q))
    return lr


class Ema:
    def __init__(self, modules, decay=0.999):
        self.params = [p for m in modules for p in m.parameters()]
        self.shadow = [p.detach().clone() for p in self.params]
        self.decay, self.n = decay, 0

    @torch.no_grad()
    def update(self):
        self.n += 1
        d = min(self.decay, (1 + self.n) / (10 + self.n))
        torch._foreach_mul_(self.shadow, d)
        torch._foreach_add_(self.shadow, [p.detach() for p in self.params], alpha=1 - d)

    @torch.no_grad()
    def swap(self):
        for p, s in zip(self.params, self.shadow):
            t = p.detach().clone()
            p.copy_(s)
            s.copy_(t)


class Log:
    def __init__(self, path):
        self.f = open(path, "a", buffering=1)
        self.t0 = time.time()

    def __call__(self, **kw):
        kw = {"s": round(time.time() - self.t0, 1), **kw}
        kw = {k: (round(v, 6) if isinstance(v, float) else v) for k, v in kw.items()}
        line = json.dumps(kw)
        self.f.write(line + "\n")
        print(line, flush=True)


def save_png(path, x, cols=8):
    """x float [n,3,h,w] in 0..1"""
    from PIL import Image
    x = (x.clamp(0, 1) * 255).round().byte()
    n, c, h, w = x.shape
    rows = (n + cols - 1) // cols
    sheet = torch.full((c, rows * h, cols * w), 255, dtype=torch.uint8)
    for i in range(n):
        r, q = divmod(i, cols)
        sheet[:, r * h:(r + 1) * h, q * w:(q + 1) * w] = x[i]
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(path)


NEWTON = 3.4445, -4.775, 2.0315


def directly(x, rounds):
    """Newton-Schulz: drives the singular values of x towards 1"""
    p, q, r = NEWTON
    for _ in range(rounds):
        a = x @ x.T
        x = p * x + (q * a + r * a @ a) @ x
    return x


def polynomial(a, rounds):
    """the same for a = x x^T of a wide x: the matrix that x is to be multiplied
    with. All rounds are products of small square matrices, so a kernel of
    256 x 2304 costs half"""
    p, q, r = NEWTON
    one, product = torch.eye(len(a), dtype=a.dtype, device=a.device), None
    for k in range(rounds):
        m = p * one + q * a + r * a @ a
        product = m if product is None else m @ product
        if k + 1 < rounds:
            a = m @ a @ m
    return product


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates (Newton-Schulz) for the weight
    matrices and convolution kernels inside the networks, AdamW for the
    rest. On a processor three rounds of Newton-Schulz instead of five: they
    bring singular values from 0.02 up near 1, and five took 40 % of the time
    of a step of 16 pictures. Updates of matrices are scaled to a root mean square of 0.2, so
    both kinds share the learning rate. A team shares out the matrices."""

    def __init__(self, matrices, others, lr, team, momentum=0.95, betas=(0.9, 0.99),
                 decay=1e-2):
        matrices = sorted(matrices, key=lambda p: -p.numel())
        groups = [dict(params=list(matrices), kind="m"), dict(params=list(others), kind="a")]
        super().__init__(groups, dict(lr=lr, momentum=momentum, betas=betas, decay=decay))
        self.n, self.team = 0, team

    @staticmethod
    def orthogonal(g):
        x = g.bfloat16() if BF16 or g.is_cuda else g.clone()
        flip = x.shape[0] > x.shape[1]
        if flip:
            x = x.T
        x = x / (x.norm() + 1e-7)
        rounds, wide = 5 if g.is_cuda else 3, x.shape[1] >= 3 * x.shape[0]
        x = polynomial(x @ x.T, rounds) @ x if wide else directly(x, rounds)
        return (x.T if flip else x).float()

    @torch.no_grad()
    def step(self):
        self.n += 1
        for g in self.param_groups:
            ps = [p for p in g["params"] if p.grad is not None]
            if not ps:
                continue
            if g["kind"] == "m":
                flat = torch.zeros(sum(p.numel() for p in ps), device=ps[0].device)
                at = 0
                for k, p in enumerate(ps):
                    # the largest go round the team there and back
                    turn = k % (2 * self.team.size)
                    if min(turn, 2 * self.team.size - 1 - turn) == self.team.rank:
                        st = self.state[p]
                        if "m" not in st:
                            st["m"] = torch.zeros_like(p)
                        st["m"].lerp_(p.grad, 1 - g["momentum"])
                        u = p.grad.lerp(st["m"], g["momentum"])
                        u = self.orthogonal(u.reshape(u.shape[0], -1))
                        flat[at:at + p.numel()] = u.reshape(-1) * (0.2 * max(u.shape) ** 0.5)
                    at += p.numel()
                self.team.share(flat)
                at = 0
                for p in ps:
                    p.mul_(1 - g["lr"] * g["decay"])
                    p.add_(flat[at:at + p.numel()].view_as(p), alpha=-g["lr"])
                    at += p.numel()
            else:
                b1, b2 = g["betas"]
                for p in ps:
                    st = self.state[p]
                    if "m" not in st:
                        st["m"], st["v"] = torch.zeros_like(p), torch.zeros_like(p)
                ms = [self.state[p]["m"] for p in ps]
                vs = [self.state[p]["v"] for p in ps]
                gs = [p.grad for p in ps]
                torch._foreach_lerp_(ms, gs, 1 - b1)
                torch._foreach_mul_(vs, b2)
                torch._foreach_addcmul_(vs, gs, gs, 1 - b2)
                c1, c2 = 1 - b1 ** self.n, 1 - b2 ** self.n
                den = torch._foreach_div(vs, c2)
                torch._foreach_sqrt_(den)
                torch._foreach_add_(den, 1e-8)
                torch._foreach_addcdiv_(ps, ms, den, -g["lr"] / c1)


def muon_for(modules, lr, team, skip=(), adam=False):
    """Muon over the modules; first and last layers, embeddings, gains and
    biases go to its Adam part; with adam everything does"""
    mats, rest = [], []
    for m in modules:
        for n, p in m.named_parameters():
            if not p.requires_grad:
                continue
            inner = not adam and p.ndim >= 2 and min(p.shape[0], p[0].numel()) >= 16 and \
                not any(s in n for s in ("conv_in", "conv_out", "embedding.weight", "zero",
                                         "controlnet_down_blocks", "controlnet_mid", *skip))
            (mats if inner else rest).append(p)
    return Muon(mats, rest, lr, team)
