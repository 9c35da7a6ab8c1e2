#!/usr/bin/env python3
"""The same step in PyTorch, beside tests/gpu/bench: SD 1.5's UNet and ControlNet, random weights,
512 x 512, guidance, F16, channels last; eager, and compiled. What is constant over the steps (keys and
values of the text, the hint's encoding, the projections of the time) is given, as it is to ours.
Prints a part of the report; says so when there is no torch or no device.

    peer.py [IMAGES,...]
"""
import sys
import time

try:
    import torch
    from torch import nn
    import torch.nn.functional as F
except ImportError as e:
    print("PyTorch was not measured: %s." % e)
    sys.exit(0)

CHANNELS, HEADS = (320, 640, 1280, 1280), 8


class Res(nn.Module):
    def __init__(self, c, out):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(32, c), nn.Conv2d(c, out, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(32, out), nn.Conv2d(out, out, 3, padding=1)
        self.skip = nn.Conv2d(c, out, 1) if c != out else nn.Identity()

    def forward(self, x, t):
        h = self.conv1(F.silu(self.norm1(x))) + t[:, :self.conv1.out_channels, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class Transformer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm, self.enter = nn.GroupNorm(32, c, eps=1e-6), nn.Conv2d(c, c, 1)
        self.n1, self.n2, self.n3 = nn.LayerNorm(c), nn.LayerNorm(c), nn.LayerNorm(c)
        self.q1, self.k1, self.v1 = (nn.Linear(c, c, bias=False) for _ in range(3))
        self.q2, self.o1, self.o2 = nn.Linear(c, c, bias=False), nn.Linear(c, c), nn.Linear(c, c)
        self.ff1, self.ff2, self.leave = nn.Linear(c, 8 * c), nn.Linear(4 * c, c), nn.Conv2d(c, c, 1)

    @staticmethod
    def attend(q, k, v):
        n, s, c = q.shape
        q, k, v = (y.view(n, -1, HEADS, c // HEADS).transpose(1, 2) for y in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, s, c)

    def forward(self, x, text):
        n, c, h, w = x.shape
        y = self.enter(self.norm(x)).permute(0, 2, 3, 1).reshape(n, h * w, c)
        z = self.n1(y)
        y = y + self.o1(self.attend(self.q1(z), self.k1(z), self.v1(z)))
        y = y + self.o2(self.attend(self.q2(self.n2(y)), text[..., :c], text[..., :c]))
        a, gate = self.ff1(self.n3(y)).chunk(2, dim=-1)
        y = y + self.ff2(a * F.gelu(gate))
        return x + self.leave(y.view(n, h, w, c).permute(0, 3, 1, 2))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.blocks, c = nn.Conv2d(4, 320, 3, padding=1), nn.ModuleList(), 320
        self.widths = [320]
        for i, out in enumerate(CHANNELS):
            for _ in range(2):
                parts = [Res(c, out)] + ([Transformer(out)] if i < 3 else [])
                self.blocks.append(nn.ModuleList(parts))
                c = out
                self.widths.append(c)
            if i < 3:
                self.blocks.append(nn.ModuleList([nn.Conv2d(c, c, 3, stride=2, padding=1)]))
                self.widths.append(c)
        self.mid = nn.ModuleList([Res(c, c), Transformer(c), Res(c, c)])

    def run(self, x, t, text, hint=None):
        x = self.enter(x)
        skips = [x if hint is None else x + hint]
        x = skips[0]
        for parts in list(self.blocks) + [self.mid]:
            for p in parts:
                x = p(x, t) if isinstance(p, Res) else p(x, text) if isinstance(
                    p, Transformer) else p(x)
            skips.append(x)
        return skips[:-1], skips[-1]


class Control(Encoder):
    def __init__(self):
        super().__init__()
        self.zero = nn.ModuleList(nn.Conv2d(c, c, 1) for c in self.widths + [1280])

    def forward(self, x, t, text, hint):
        skips, mid = self.run(x, t, text, hint)
        return [z(s) for z, s in zip(self.zero, skips + [mid])]


class UNet(Encoder):
    def __init__(self):
        super().__init__()
        self.up, c, widths = nn.ModuleList(), 1280, list(self.widths)
        for i, out in enumerate(reversed(CHANNELS)):
            for _ in range(3):
                parts = [Res(c + widths.pop(), out)] + ([Transformer(out)] if i > 0 else [])
                self.up.append(nn.ModuleList(parts))
                c = out
            self.up.append(nn.ModuleList([nn.Conv2d(c, c, 3, padding=1)] if i < 3 else []))
        self.norm, self.leave = nn.GroupNorm(32, 320), nn.Conv2d(320, 4, 3, padding=1)

    def forward(self, x, t, text, control, weight):
        skips, x = self.run(x, t, text)
        *down, mid = [r * w[:, None, None, None] for r, w in zip(control, weight.unbind(1))]
        skips, x = [s + d for s, d in zip(skips, down)], x + mid
        for parts in self.up:
            if len(parts) and isinstance(parts[0], Res):
                x = parts[0](torch.cat([x, skips.pop()], 1), t)
                x = parts[1](x, text) if len(parts) > 1 else x
            elif len(parts):
                x = parts[0](F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.leave(F.silu(self.norm(x)))


def measure(f, images, runs=20):
    n, kind = 2 * images, dict(device="cuda", dtype=torch.float16)
    last = dict(memory_format=torch.channels_last)
    x = torch.randn(n, 4, 64, 64, **kind).contiguous(**last)
    hint = torch.randn(n, 320, 64, 64, **kind).contiguous(**last)
    t, text, w = (torch.randn(n, 1280, **kind), torch.randn(n, 77, 1280, **kind),
                  torch.ones(n, 13, **kind))
    best = 1e9
    with torch.inference_mode():
        for _ in range(4):
            f(x, t, text, hint, w).cpu()
        for _ in range(3):
            start = time.perf_counter()
            for _ in range(runs):
                f(x, t, text, hint, w).cpu()
            best = min(best, (time.perf_counter() - start) / runs)
    return best * 1e3


def main():
    if not torch.cuda.is_available():
        print("PyTorch %s was not measured: it sees no device." % torch.__version__)
        return
    sizes = [int(x) for x in (sys.argv[1] if len(sys.argv) > 1 else "1,4,8").split(",")]
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    with torch.device("cuda"):
        unet, control = UNet(), Control()
    for net in (unet, control):
        net.to(dtype=torch.float16, memory_format=torch.channels_last).eval()

    def step(x, t, text, hint, w):
        return unet(x, t, text, control(x, t, text, hint), w)

    print("PyTorch %s, cuDNN %s, the same device and run: ControlNet and UNet, ms per step.\n"
          % (torch.__version__, torch.backends.cudnn.version()))
    print("Parameters: UNet %.1f M, ControlNet %.1f M (projections of text and time and the hint's "
          "encoder are not part of a step).\n"
          % tuple(sum(p.numel() for p in net.parameters()) / 1e6 for net in (unet, control)))
    print("| images | eager, channels last | torch.compile |\n|---|---|---|", flush=True)
    eager = {n: measure(step, n) for n in sizes}
    for n in sizes:
        print("| %d | %.3f | |" % (n, eager[n]), flush=True)
    compiled = torch.compile(step, mode="reduce-overhead", dynamic=False)
    for n in sizes:
        try:
            print("| %d | %.3f | %.3f |" % (n, eager[n], measure(compiled, n)), flush=True)
        except Exception as e:  # a compiler that does not work is part of the answer
            print("| %d | %.3f | %s |" % (n, eager[n], str(e).splitlines()[0][:80]), flush=True)


if __name__ == "__main__":
    main()
