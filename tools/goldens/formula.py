"""Models whose weights are a formula of the tensor name, so that tests need no file for them.

For a tensor named "component/key" (unet, vae, text_encoder or controlnet) and flat index i:
    x = fnv1a32(name) + i * 0x9E3779B9                        (mod 2^32)
    x ^= x >> 16; x *= 0x7FEB352D; x ^= x >> 15; x *= 0x846CA68B; x ^= x >> 16
    u = (x >> 8) * 2^-23 - 1                                  in [-1, 1), exact in float32
and the value, in float32 with one rounding:
    1-d ".weight" (a norm)          1 + 0.25 u
    ".bias"                         0.125 u
    "embeddings." in the name       0.5 u
    otherwise                       b u,  b = float32(g sqrt(3 / fan_in)),
                                    fan_in = elements / shape[0],
                                    g = 2 for to_q and q_proj, 0.25 for controlnet_down_blocks
                                    and controlnet_mid_block, else 1
"""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from models import read_merges, write_index, write_schedule, write_tokenizer

CROSS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
TOPOLOGY = dict(
    down_block_types=(CROSS, CROSS, CROSS, PLAIN),
    up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    layers_per_block=2,
    attention_head_dim=8,
    norm_num_groups=32,
)

SIZES = {
    "sd15": dict(
        channels=(320, 640, 1280, 1280),
        context=768,
        text=dict(hidden_size=768, num_attention_heads=12, num_hidden_layers=12),
        vae=(128, 256, 512, 512),
        hint=(16, 32, 96, 256),
    ),
    "tiny15": dict(
        channels=(32, 64, 96, 96),
        context=64,
        text=dict(hidden_size=64, num_attention_heads=1, num_hidden_layers=2),
        vae=(32, 64, 96, 96),
        hint=(8, 16, 24, 32),
    ),
}


def fnv32(name):
    h = 0x811C9DC5
    for byte in name.encode():
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h


def uniform(name, count):
    """u for i = 0 .. count - 1, float32."""
    x = np.arange(count, dtype=np.uint32)
    x *= np.uint32(0x9E3779B9)
    x += np.uint32(fnv32(name))
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    x >>= np.uint32(8)
    return x.astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


def gain(name):
    if "controlnet_down_blocks" in name or "controlnet_mid_block" in name:
        return 0.25
    return 2.0 if ".to_q." in name or ".q_proj." in name else 1.0


def values(name, shape):
    count = int(np.prod(shape))
    u = uniform(name, count)
    if name.endswith(".bias"):
        u *= np.float32(0.125)
    elif len(shape) == 1:
        u = np.float32(1) + np.float32(0.25) * u
    elif "embeddings." in name:
        u *= np.float32(0.5)
    else:
        u *= np.float32(gain(name) * np.sqrt(3.0 / (count // shape[0])))
    return torch.from_numpy(u.reshape(shape))


def fill(component, model):
    for key, p in model.named_parameters():
        p.copy_(values(f"{component}/{key}", tuple(p.shape)))
    return model


def build(component, size):
    """A model with its configuration; weights are the library's own until fill()."""
    s = SIZES[size]
    net = dict(TOPOLOGY, block_out_channels=s["channels"], cross_attention_dim=s["context"])
    if component == "unet":
        return UNet2DConditionModel(**net, sample_size=64)
    if component == "controlnet":
        net.pop("up_block_types")
        return ControlNetModel(**net, conditioning_embedding_out_channels=s["hint"])
    if component == "vae":
        return AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=s["vae"],
            layers_per_block=2,
            latent_channels=4,
            norm_num_groups=32,
            sample_size=512,
        )
    width = s["text"]["hidden_size"]
    special = dict(bos_token_id=49406, eos_token_id=49407, pad_token_id=49407)
    return CLIPTextModel(
        CLIPTextConfig(vocab_size=49408, intermediate_size=4 * width, **special, **s["text"])
    )


def shapes(component, size):
    """{key: shape} without allocating the weights."""
    with torch.device("meta"):
        model = build(component, size)
    return {key: tuple(p.shape) for key, p in model.named_parameters()}


def write(path, size, bpe_gz):
    """A pipeline directory, and PATH-control next to it, in F32."""
    path = Path(path)
    for component in ("unet", "vae", "text_encoder"):
        fill(component, build(component, size)).save_pretrained(path / component)
    control = path.with_name(path.name + "-control")
    fill("controlnet", build("controlnet", size)).save_pretrained(control)
    write_tokenizer(path / "tokenizer", read_merges(bpe_gz))
    write_schedule(path / "scheduler", "epsilon")
    schedule = path / "scheduler" / "scheduler_config.json"
    config = json.loads(schedule.read_text())
    config.pop("timestep_spacing")  # as in the SD 1.5 release
    schedule.write_text(json.dumps(config, indent=2) + "\n")
    write_index(path)
    return control
