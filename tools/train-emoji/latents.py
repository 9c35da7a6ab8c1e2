#!/usr/bin/env python3
"""Stage 4: folds the normalisation of the latents into the autoencoder's
1x1 convolutions (zero mean, unit deviation per channel, so a scaling factor
of 1 and no shift are right) and stores the latents of the variants."""
import argparse
import os

import numpy as np
import torch
from diffusers import AutoencoderKL

from common import autocast


@torch.no_grad()
def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--vae", required=True)
    ap.add_argument("--out", help="where the normalised autoencoder goes; without it --vae "
                    "is taken as normalised already")
    ap.add_argument("--variants", required=True)
    ap.add_argument("--fold-only", action="store_true")
    ap.add_argument("--device", default="cpu", help="cuda: one process, procs is ignored")
    ap.add_argument("--procs", type=int, default=2)
    args = ap.parse_args()
    torch.set_num_threads(1)
    procs = args.procs if args.device == "cpu" else 1
    vae = AutoencoderKL.from_pretrained(args.vae).eval()
    net = vae
    pics = np.load(os.path.join(args.variants, "pictures.npy"), mmap_mode="r")

    def moments(a, b):
        x = torch.from_numpy(pics[a:b].copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
        with autocast(args.device):
            d = net.encode(x.to(net.device)).latent_dist
        return d.mean.float().cpu(), d.std.float().cpu()

    if args.out:
        m = torch.cat([moments(a, a + 32)[0] for a in range(0, min(512, len(pics)), 32)])
        mu, sd = m.mean((0, 2, 3)), m.std((0, 2, 3))
        n = len(mu)
        q, p = vae.quant_conv, vae.post_quant_conv
        q.bias[:n] = (q.bias[:n] - mu) / sd
        q.weight[:n] /= sd[:, None, None, None]
        q.bias[n:] -= 2 * sd.log()
        p.bias += p.weight[:, :, 0, 0] @ mu
        p.weight *= sd[None, :, None, None]
        vae.register_to_config(scaling_factor=1.0)
        vae.save_pretrained(args.out)
    if args.fold_only:
        return
    net = vae.to(args.device)
    # goes on where an earlier call was stopped: one mark per process
    path = os.path.join(args.variants, "latents.npy")
    if not os.path.exists(path):
        np.lib.format.open_memmap(path, "w+", np.float16, (len(pics), 16, 16, 16)).flush()
    out = np.lib.format.open_memmap(path, "r+")
    rank, children = 0, []
    for r in range(1, procs):
        pid = os.fork()
        if pid == 0:
            rank, children = r, []
            break
        children.append(pid)
    mark = os.path.join(args.variants, "latents.%d-of-%d" % (rank, procs))
    at = int(open(mark).read()) if os.path.exists(mark) else 32 * rank
    while at < len(pics):
        mean, std = moments(at, min(at + 32, len(pics)))
        out[at:at + len(mean)] = torch.cat([mean, std], 1).half().numpy()
        at += 32 * procs
        if at // 32 % 20 < procs or at >= len(pics):
            out.flush()
            with open(mark + ".new", "w") as f:
                f.write(str(at))
            os.replace(mark + ".new", mark)
            print(at, "mean %.3f std %.3f posterior std %.3f"
                  % (mean.mean(), mean.std(), std.mean()), flush=True)
    if rank:
        os._exit(0)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0


if __name__ == "__main__":
    main()
