"""torch.randn on the CPU: bits of the first and last values, and a hash over all of them."""

import torch

from common import fnv64, generator, save_rows

SEEDS = [0, 1, 42, 1234, 2**32 + 5, 2**63 - 1]
SINGLE = [1, 4, 15, 16, 17, 20, 31, 32, 100, 1000, 16384]
MIXED = [[15, 1, 3, 20, 7, 100], [1, 16, 1, 17, 1], [480, 480, 480], [24, 5, 5, 24]]


def bits(values):
    return [f"{v & 0xFFFFFFFF:08x}" for v in values.view(torch.int32).tolist()]


def draw(gen, n):
    values = torch.randn(n, generator=gen)
    raw = values.numpy().astype("<f4").tobytes()
    found = dict(n=n, fnv64=fnv64(raw), first=bits(values[:8]))
    return found | (dict(last=bits(values[-4:])) if n > 8 else {})


def sequence(seed, sizes):
    gen = generator(seed)
    return dict(seed=str(seed), draws=[draw(gen, n) for n in sizes])


def make(out):
    cases = [sequence(seed, [n]) for seed in SEEDS for n in SINGLE]
    cases += [sequence(seed, sizes) for seed in SEEDS[:3] for sizes in MIXED]
    about = "float32 bits in hex; fnv64 = FNV-1a 64 over the little-endian bytes of all n values"
    save_rows(out / "noise.json", cases, about=about)
