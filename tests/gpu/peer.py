#!/usr/bin/env python3
"""The same step in PyTorch, beside tests/gpu/bench: SD 1.5's UNet and ControlNet from diffusers, random
weights, 512 x 512, guidance, channels last, F16; eager and compiled. Prints a part of the report; says
so when there is no torch, diffusers or device.

    peer.py [--images 1,4,8] [--no-compile]
"""
import sys
import time


def main():
    try:
        import torch
        import diffusers
    except ImportError as e:
        print("PyTorch was not measured: %s." % e)
        return
    if not torch.cuda.is_available():
        print("PyTorch %s was not measured: it sees no device." % torch.__version__)
        return
    args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
    sizes = [int(x) for x in args.get("--images", "1,4,8").split(",")]
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = True
    kind = dict(device="cuda", dtype=torch.float16)
    unet = diffusers.UNet2DConditionModel(cross_attention_dim=768).to(
        memory_format=torch.channels_last, **kind).eval()
    control = diffusers.ControlNetModel(cross_attention_dim=768).to(
        memory_format=torch.channels_last, **kind).eval()

    def step(x, t, text, hint):
        down, mid = control(x, t, text, controlnet_cond=hint, return_dict=False)
        return unet(x, t, text, down_block_additional_residuals=down,
                    mid_block_additional_residual=mid, return_dict=False)[0]

    def measure(f, images, runs=20):
        n = 2 * images
        x = torch.randn(n, 4, 64, 64, **kind).contiguous(memory_format=torch.channels_last)
        text = torch.randn(n, 77, 768, **kind)
        hint = torch.rand(n, 3, 512, 512, **kind).contiguous(memory_format=torch.channels_last)
        t = torch.full((n,), 500, device="cuda")
        best = 1e9
        with torch.inference_mode():
            for _ in range(3):
                f(x, t, text, hint).cpu()
            for _ in range(3):
                start = time.perf_counter()
                for _ in range(runs):
                    f(x, t, text, hint).cpu()
                best = min(best, (time.perf_counter() - start) / runs)
        return best * 1e3

    print("PyTorch %s, diffusers %s, same device, same run; ControlNet and UNet, ms per step "
          "(diffusers encodes the hint in every step, which is 5 %% of the ControlNet).\n"
          % (torch.__version__, diffusers.__version__))
    print("| images | eager, channels last | torch.compile |\n|---|---|---|", flush=True)
    compiled = torch.compile(step, mode="max-autotune-no-cudagraphs"
                             if "--no-cudagraphs" in sys.argv else "reduce-overhead")
    for images in sizes:
        eager = measure(step, images)
        try:
            other = "%.3f" % measure(compiled, images)
        except Exception as e:  # a compiler that does not work here is part of the answer
            other = "failed: " + str(e).splitlines()[0][:80]
        print("| %d | %.3f | %s |" % (images, eager, other), flush=True)


if __name__ == "__main__":
    main()
