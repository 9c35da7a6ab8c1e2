"""Names of the SD 1.5 tensors in single-file (LDM) checkpoints, and a table of them for the tests.

golden/ldm-keys.tsv: component, key in the diffusers layout, key in the single file, shape of
SD 1.5, shape of tiny15 (dimensions joined by x). The four linear weights of each VAE attention are
[C,C] in the diffusers layout and [C,C,1,1] in the single file; the table has the diffusers shape.
"""

import re

import torch
from diffusers.loaders import single_file_utils

import formula

PREFIX = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.transformer.",
    "controlnet": "control_model.",
}

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}

UNET_FIXED = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "controlnet_mid_block": "middle_block_out.0",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
}

VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def resnet(rest):
    module, tail = rest.split(".", 1)
    return f"{RESNET[module]}.{tail}"


def unet_block(direction, block, kind, index, rest, depth=2, levels=4):
    """down_blocks / up_blocks of a UNet with `depth` layers per level."""
    block, index = int(block), int(index)
    if direction == "down":
        at = 1 + block * (depth + 1)
        if kind == "downsamplers":
            return f"input_blocks.{at + depth}.0.op.{rest.removeprefix('conv.')}"
        place = f"input_blocks.{at + index}"
    else:
        at = block * (depth + 1)
        if kind == "upsamplers":
            return f"output_blocks.{at + depth}.{1 if block == 0 else 2}.{rest}"
        place = f"output_blocks.{at + index}"
    return f"{place}.0.{resnet(rest)}" if kind == "resnets" else f"{place}.1.{rest}"


def unet_key(key):
    """Also the ControlNet's."""
    module, tail = key.rsplit(".", 1)
    if module in UNET_FIXED:
        return f"{UNET_FIXED[module]}.{tail}"
    if m := re.match(
        r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", key
    ):
        return unet_block(*m.groups())
    if m := re.match(r"mid_block\.attentions\.0\.(.*)", key):
        return f"middle_block.1.{m[1]}"
    if m := re.match(r"mid_block\.resnets\.(\d)\.(.*)", key):
        return f"middle_block.{2 * int(m[1])}.{resnet(m[2])}"
    if m := re.match(r"controlnet_down_blocks\.(\d+)\.(.*)", key):
        return f"zero_convs.{m[1]}.0.{m[2]}"
    if m := re.match(r"controlnet_cond_embedding\.blocks\.(\d)\.(.*)", key):
        return f"input_hint_block.{2 * int(m[1]) + 2}.{m[2]}"
    if m := re.match(r"controlnet_cond_embedding\.conv_out\.(.*)", key):
        return f"input_hint_block.14.{m[1]}"
    raise KeyError(key)


def vae_key(key, levels=4):
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    key = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", key)
    key = re.sub(
        r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", key
    )
    key = re.sub(
        r"up_blocks\.(\d)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample.", key
    )
    key = re.sub(r"mid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", key)
    if m := re.match(r"(.*)mid_block\.attentions\.0\.(.*)\.(weight|bias)$", key):
        return f"{m[1]}mid.attn_1.{VAE_ATTENTION[m[2]]}.{m[3]}"
    return key


NAMES = {"unet": unet_key, "controlnet": unet_key, "vae": vae_key, "text_encoder": lambda key: key}


def single(component, tensors):
    """{diffusers key: tensor} as it stands in a single file."""
    found = {}
    for key, tensor in tensors.items():
        name = PREFIX[component] + NAMES[component](key)
        linear = component == "vae" and ".attn_1." in name and tensor.dim() == 2
        found[name] = tensor[:, :, None, None] if linear else tensor
    return found


CONVERTERS = {
    "unet": lambda c, model: single_file_utils.convert_ldm_unet_checkpoint(c, model.config),
    "controlnet": lambda c, model: single_file_utils.convert_controlnet_checkpoint(c, model.config),
    "vae": lambda c, model: single_file_utils.convert_ldm_vae_checkpoint(c, model.config),
    "text_encoder": lambda c, model: single_file_utils.convert_ldm_clip_checkpoint(c),
}


def check(component, size):
    """diffusers' own converter must take our names back to where they came from."""
    model = formula.build(component, size)
    tensors = dict(model.named_parameters())
    back = CONVERTERS[component](single(component, tensors), model)
    assert set(back) == set(tensors), sorted(set(back) ^ set(tensors))[:5]
    for key, tensor in tensors.items():
        assert torch.equal(back[key].reshape(tensor.shape), tensor), key


def make(out):
    lines = ["component\tdiffusers\tsingle file\tsd15\ttiny15"]
    for component in PREFIX:
        check(component, "tiny15")
        large, small = formula.shapes(component, "sd15"), formula.shapes(component, "tiny15")
        assert set(small) <= set(large)  # tiny15 has fewer text layers, else all of them
        for key, shape in large.items():
            name = PREFIX[component] + NAMES[component](key)
            cells = [component, key, name, dims(shape), dims(small[key]) if key in small else "-"]
            lines.append("\t".join(cells))
    out.mkdir(parents=True, exist_ok=True)
    (out / "ldm-keys.tsv").write_text("\n".join(lines) + "\n")


def dims(shape):
    return "x".join(map(str, shape))
