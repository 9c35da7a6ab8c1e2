"""Inputs and outputs of every network of a model directory: text, unet, controlnet, vae."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from common import rand, randn, save_tensors

PROMPTS = ["", "a red apple on a table", "don't 42 ++ the quick (brown) fox: " * 9]
TIMESTEPS = [981.0, 333.25, 0.5]


def size_of(model, latent):
    """Latent [h, w] to image [h, w]."""
    blocks = len(AutoencoderKL.load_config(model / "vae")["block_out_channels"])
    return [side * 2 ** (blocks - 1) for side in latent]


def tokens(model, prompts):
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    batch = tokenizer(
        prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    )
    return batch.input_ids


def text(model, out, rows):
    encoder = CLIPTextModel.from_pretrained(model / "text_encoder", torch_dtype=torch.float32)
    ids = tokens(model, PROMPTS[1 : 1 + rows] if rows == 1 else PROMPTS[:rows])
    result = encoder(ids, output_hidden_states=True)
    skipped = encoder.text_model.final_layer_norm(result.hidden_states[-2])
    save_tensors(
        out / "text.safetensors",
        {"ids": ids.int(), "out": result.last_hidden_state, "out_skip1": skipped},
    )
    return result.last_hidden_state


def block_shapes(net, latent):
    """[c, h, w] of every residual of a ControlNet on this UNet, the middle one last."""
    h, w = latent
    channels = net.config.block_out_channels
    shapes = [(channels[0], h, w)]
    for i, c in enumerate(channels):
        shapes += [(c, h, w)] * net.config.layers_per_block
        if i + 1 < len(channels):
            h, w = (h + 1) // 2, (w + 1) // 2
            shapes.append((c, h, w))
    return [*shapes, (channels[-1], h, w)]


def unet(model, out, latent, context, seed):
    net = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32)
    rows = len(context)
    sample = randn((rows, net.config.in_channels, *latent), seed)
    timestep = torch.tensor(TIMESTEPS[:rows])
    control = [
        randn((rows, *shape), seed + 1 + i) * 0.5
        for i, shape in enumerate(block_shapes(net, latent))
    ]
    plain = net(sample, timestep, context).sample
    controlled = net(
        sample,
        timestep,
        context,
        down_block_additional_residuals=control[:-1],
        mid_block_additional_residual=control[-1],
    ).sample
    tensors = dict(sample=sample, timestep=timestep, context=context, out=plain)
    tensors.update({f"control_{i}": c for i, c in enumerate(control)})
    save_tensors(out / "unet.safetensors", tensors | {"out_control": controlled})


def controlnet(model, control, file, latent, context, seed):
    net = ControlNetModel.from_pretrained(control, torch_dtype=torch.float32)
    rows = len(context)
    sample = randn((rows, net.config.in_channels, *latent), seed)
    timestep = torch.tensor(TIMESTEPS[:rows])
    hint = rand((rows, 3, *size_of(model, latent)), seed + 1)
    down, mid = net(sample, timestep, context, controlnet_cond=hint, return_dict=False)
    tensors = dict(sample=sample, timestep=timestep, context=context, hint=hint)
    tensors.update({f"out_{i}": c for i, c in enumerate([*down, mid])})
    save_tensors(file, tensors)


def vae(model, out, latent, rows, seed):
    net = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32)
    image = rand((rows, 3, *size_of(model, latent)), seed) * 2 - 1
    z = randn((rows, net.config.latent_channels, *latent), seed + 1) * 2
    tensors = dict(
        image=image,
        moments=net.encode(image).latent_dist.parameters,
        latent=z,
        decoded=net.decode(z).sample,
    )
    save_tensors(out / "vae.safetensors", tensors)


def make(model, controls, out, latent, rows, seed=7):
    """All module goldens of one model directory. controls: list of ControlNet directories."""
    model, out = Path(model), Path(out)
    context = text(model, out, rows)
    unet(model, out, latent, context, seed)
    vae(model, out, latent, min(rows, 2), seed + 100)
    for control in map(Path, controls):
        file = out / f"controlnet-{control.name}.safetensors"
        controlnet(model, control, file, latent, context, seed + 200)
