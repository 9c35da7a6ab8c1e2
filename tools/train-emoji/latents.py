#!/usr/bin/env python3
"""Stage 3: folds the normalisation of the latents into the autoencoder's
1x1 convolutions (zero mean, unit deviation per channel, so a scaling factor
of 1 and no shift are right) and stores the latents of the variants."""
import argparse
import os
import time

import numpy as np
import torch
from diffusers import AutoencoderKL


@torch.no_grad()
def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--vae", required=True)
    ap.add_argument("--out", required=True, help="normalised autoencoder")
    ap.add_argument("--variants", required=True)
    ap.add_argument("--no-fold", action="store_true")
    ap.add_argument("--procs", type=int, default=2)
    args = ap.parse_args()
    torch.set_num_threads(1)
    vae = AutoencoderKL.from_pretrained(args.vae).eval()
    pics = np.load(os.path.join(args.variants, "pictures.npy"), mmap_mode="r")

    def moments(a, b):
        x = torch.from_numpy(np.ascontiguousarray(pics[a:b])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            d = vae.encode(x).latent_dist
        return d.mean.float(), d.std.float()

    if not args.no_fold:
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
    t0 = time.time()
    path = os.path.join(args.variants, "latents.npy")
    out = np.lib.format.open_memmap(path, "w+", np.float16, (len(pics), 16, 16, 16))
    rank, children = 0, []
    for r in range(1, args.procs):
        pid = os.fork()
        if pid == 0:
            rank, children = r, []
            break
        children.append(pid)
    for a in range(32 * rank, len(pics), 32 * args.procs):
        mean, std = moments(a, min(a + 32, len(pics)))
        out[a:a + len(mean)] = torch.cat([mean, std], 1).half().numpy()
        if a % 1600 == 0:
            print(a, round(time.time() - t0), "mean %.3f std %.3f posterior std %.3f"
                  % (mean.mean(), mean.std(), std.mean()), flush=True)
    out.flush()
    if rank:
        os._exit(0)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0


if __name__ == "__main__":
    main()
