"""Tiny random models with odd sizes, in the diffusers directory layout.

tiny   3 levels, heads of width 6, 5, 7, VAE f=4, quick_gelu, epsilon
tiny2  like SD 2: linear projections, erf gelu, pad token 0, v-prediction, VAE f=8, two blocks deep
tiny9  9-channel inpainting UNet, VAE f=2
tinyxl like SDXL: two text encoders, pooled text and sizes beside the time, deep transformers, VAE f=4
tiny5, tinylcm  as tiny9: SD 2's depth-to-image (5 channels), a latent consistency model; in odd-models
tiny-control-{a,b,zero}  for tiny; tiny2-control for tiny2; tinyxl-control and -mid and -small for tinyxl
"""

import gzip
import json
import shutil
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    EulerDiscreteScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from common import generator, save_json

MERGES = 254  # vocabulary: 256 bytes, 256 bytes with </w>, MERGES pairs, 2 specials = 768
VOCAB = 512 + MERGES + 2

UNETS = {
    "tiny": dict(
        in_channels=4,
        block_out_channels=(12, 20, 28),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(2, 4, 4),  # head counts, in spite of the name
        cross_attention_dim=36,
        norm_num_groups=4,
        sample_size=12,
    ),
    "tiny2": dict(
        in_channels=4,
        block_out_channels=(8, 16, 24),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        attention_head_dim=(1, 2, 3),
        transformer_layers_per_block=(1, 1, 2),
        use_linear_projection=True,
        cross_attention_dim=40,
        norm_num_groups=8,
        sample_size=8,
    ),
    "tiny9": dict(
        in_channels=9,
        block_out_channels=(8, 12),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=12,
        norm_num_groups=4,
        sample_size=24,
    ),
    "tinyxl": dict(
        in_channels=4,
        block_out_channels=(8, 12, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(1, 2, 4),
        transformer_layers_per_block=(1, 1, 2),
        use_linear_projection=True,
        cross_attention_dim=28,
        norm_num_groups=4,
        sample_size=12,
        addition_embed_type="text_time",
        addition_time_embed_dim=6,
        projection_class_embeddings_input_dim=20 + 6 * 6,
    ),
}

# Of tiny9 in all else.
ODD = {
    "tiny5": UNETS["tiny9"] | dict(in_channels=5),
    "tinylcm": UNETS["tiny9"] | dict(in_channels=4, time_cond_proj_dim=16),
}

VAES = {
    "tiny": dict(block_out_channels=(8, 12, 20), layers_per_block=1, norm_num_groups=4),
    "tiny2": dict(
        block_out_channels=(8, 8, 12, 16),
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=0.13,
    ),
    "tiny9": dict(block_out_channels=(4, 8), layers_per_block=1, norm_num_groups=4),
    "tinyxl": dict(
        block_out_channels=(8, 8, 12),
        layers_per_block=1,
        norm_num_groups=4,
        scaling_factor=0.13025,
        force_upcast=True,
    ),
}

TEXTS = {
    "tiny": dict(hidden_size=36, num_attention_heads=3, num_hidden_layers=3, intermediate_size=100),
    "tiny2": dict(
        hidden_size=40,
        num_attention_heads=2,
        num_hidden_layers=2,
        intermediate_size=96,
        hidden_act="gelu",
    ),
    "tiny9": dict(hidden_size=12, num_attention_heads=2, num_hidden_layers=1, intermediate_size=32),
    "tinyxl": dict(
        hidden_size=12, num_attention_heads=2, num_hidden_layers=3, intermediate_size=32
    ),
}

# The second encoder, which makes the pooled text; its end token is said as SDXL's file says it.
TEXTS_2 = {
    "tinyxl": dict(
        hidden_size=16,
        num_attention_heads=2,
        num_hidden_layers=3,
        intermediate_size=40,
        hidden_act="gelu",
        projection_dim=20,
    ),
}

# What the encoder of a ControlNet has in another way than its UNet's.
SHALLOW = {
    "tinyxl-control-mid": dict(
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        transformer_layers_per_block=(0, 0, 1),
    ),
    "tinyxl-control-small": dict(
        down_block_types=("DownBlock2D",) * 3, transformer_layers_per_block=(0, 0, 0)
    ),
}

# name: (UNet it belongs to, hint channels, dtype of the file, zero-initialised outputs)
CONTROLS = {
    "tiny-control-a": ("tiny", (6, 10, 14), torch.float32, False),
    "tiny-control-b": ("tiny", (8, 8, 12), torch.bfloat16, False),
    "tiny-control-zero": ("tiny", (4, 4, 8), torch.float16, True),
    "tiny2-control": ("tiny2", (4, 6, 8, 10), torch.float16, False),
    "tinyxl-control": ("tinyxl", (4, 6, 8), torch.float16, False),
    "tinyxl-control-mid": ("tinyxl", (4, 6, 8), torch.float16, False),
    "tinyxl-control-small": ("tinyxl", (4, 6, 8), torch.float16, False),
}

DTYPES = {
    "tiny": dict(unet=torch.float16, vae=torch.float32, text_encoder=torch.float32),
    "tiny2": dict(unet=torch.float16, vae=torch.float16, text_encoder=torch.float16),
    "tiny9": dict(unet=torch.float16, vae=torch.float16, text_encoder=torch.float16),
    "tinyxl": dict(unet=torch.float16, vae=torch.float16, text_encoder=torch.float16),
}

SCHEDULE = dict(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    num_train_timesteps=1000,
    set_alpha_to_one=False,
    skip_prk_steps=True,
    steps_offset=1,
)


def randomise(model, seed, sharpen=2.0):
    """Weights of variance 1/fan_in, attention sharpened, affine norms away from 1 and 0."""
    gen = generator(seed)
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=gen)
        if "embedding.weight" in name or "position_embedding" in name:
            p.copy_(noise * 0.5)
        elif p.dim() > 1:
            gain = sharpen if ("to_q" in name or "q_proj" in name) else 1.0
            p.copy_(noise * gain / p[0].numel() ** 0.5)
        elif name.endswith("bias"):
            p.copy_(noise * 0.1)
        else:  # weight of a norm
            p.copy_(1.0 + noise * 0.2)
    return model


def scale_output(model, factor, *layers):
    for layer in layers:
        model.get_submodule(layer).weight.mul_(factor)


def store(model, path, dtype):
    """save_pretrained, then the weights once more in the wanted dtype."""
    model.save_pretrained(path)
    file = next(Path(path).glob("*.safetensors"))
    tensors = {k: v.to(dtype) for k, v in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    file.chmod(0o644)
    config = json.loads((Path(path) / "config.json").read_text())
    config.pop("_name_or_path", None)
    save_json(Path(path) / "config.json", config, indent=2)


def read_merges(bpe_gz):
    with gzip.open(bpe_gz, "rt", encoding="utf-8") as f:
        return f.read().split("\n")[1 : 49152 - 256 - 2 + 1]


def byte_symbols():
    """The 256 printable stand-ins for bytes, in the order of the vocabulary."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in keep]
    return [chr(b) for b in keep] + [chr(256 + i) for i in range(len(other))]


def write_tokenizer(path, merges, pad="<|endoftext|>"):
    """CLIP BPE files: vocab.json, merges.txt and the two small configurations."""
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    symbols = byte_symbols()
    vocab = symbols + [s + "</w>" for s in symbols]
    vocab += [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    ids = {symbol: i for i, symbol in enumerate(vocab)}
    (path / "vocab.json").write_text(
        json.dumps(ids, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
    )
    lines = ["#version: 0.2", *merges]
    (path / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = dict(
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        unk_token="<|endoftext|>",
        pad_token=pad,
    )
    save_json(path / "special_tokens_map.json", special)
    config = dict(
        tokenizer_class="CLIPTokenizer", model_max_length=77, add_prefix_space=False, **special
    )
    save_json(path / "tokenizer_config.json", config)


def write_index(path, two):
    def from_(library, name):
        return [library, name]

    index = dict(
        _class_name="StableDiffusionXLPipeline" if two else "StableDiffusionPipeline",
        _diffusers_version="0.35.2",
        feature_extractor=[None, None],
        image_encoder=[None, None],
        scheduler=from_("diffusers", "EulerDiscreteScheduler" if two else "PNDMScheduler"),
        text_encoder=from_("transformers", "CLIPTextModel"),
        tokenizer=from_("transformers", "CLIPTokenizer"),
        unet=from_("diffusers", "UNet2DConditionModel"),
        vae=from_("diffusers", "AutoencoderKL"),
    )
    if two:
        index |= dict(
            force_zeros_for_empty_prompt=True,
            text_encoder_2=from_("transformers", "CLIPTextModelWithProjection"),
            tokenizer_2=from_("transformers", "CLIPTokenizer"),
        )
    else:
        index |= dict(requires_safety_checker=False, safety_checker=[None, None])
    save_json(Path(path) / "model_index.json", index, indent=2)


def write_schedule(path, prediction, **more):
    schedule = PNDMScheduler(**SCHEDULE, prediction_type=prediction, **more)
    schedule.register_to_config(clip_sample=False)  # as SD 1.5's file has it; DDIM's default is true
    schedule.save_pretrained(path)


def write_euler(path):
    """As it was published with SDXL, with settings of other classes in it."""
    schedule = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
    )
    schedule.register_to_config(clip_sample=False, set_alpha_to_one=False, skip_prk_steps=True)
    schedule.save_pretrained(path)


def build_unet(name, seed):
    unet = randomise(UNet2DConditionModel(**(UNETS | ODD)[name]), seed)
    scale_output(unet, 0.5, "conv_out")
    return unet


def build_vae(name, seed):
    blocks = len(VAES[name]["block_out_channels"])
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        latent_channels=4,
        sample_size=48,
        **VAES[name],
    )
    vae = randomise(vae, seed)
    scale_output(vae, 0.8, "decoder.conv_out")
    vae.quant_conv.weight[:4].mul_(10.0)  # means: latents of order 1 after scaling
    vae.quant_conv.bias[4:].sub_(3.0)  # log variances: a small spread
    return vae


def build_text(name, seed):
    config = CLIPTextConfig(
        vocab_size=VOCAB,
        max_position_embeddings=77,
        bos_token_id=VOCAB - 2,
        eos_token_id=VOCAB - 1,
        pad_token_id=VOCAB - 1,
        **TEXTS[name],
    )
    return randomise(CLIPTextModel(config), seed)


def build_text_2(name, seed):
    config = CLIPTextConfig(
        vocab_size=VOCAB, max_position_embeddings=77, bos_token_id=0, eos_token_id=2,
        pad_token_id=1, **TEXTS_2[name],
    )
    return randomise(CLIPTextModelWithProjection(config), seed)


def build_control(name, seed):
    base, hint, _, zero = CONTROLS[name]
    config = {k: v for k, v in UNETS[base].items() if k not in ("up_block_types", "sample_size")}
    config |= SHALLOW.get(name, {})
    net = ControlNetModel(**config, conditioning_embedding_out_channels=hint)
    randomise(net, seed)
    for key, p in net.named_parameters():
        if key.startswith(("controlnet_down_blocks", "controlnet_mid_block")):
            p.mul_(0.0 if zero else 0.3)
        elif zero and key.startswith("controlnet_cond_embedding.conv_out"):
            p.zero_()
    return net


def write_pipeline(path, name, seed, merges):
    unet, name = name, "tiny9" if name in ODD else name
    dtypes = DTYPES[name]
    store(build_unet(unet, seed + 1), path / "unet", dtypes["unet"])
    store(build_vae(name, seed + 2), path / "vae", dtypes["vae"])
    store(build_text(name, seed + 3), path / "text_encoder", dtypes["text_encoder"])
    two = name in TEXTS_2
    if two:
        store(build_text_2(name, seed + 4), path / "text_encoder_2", dtypes["text_encoder"])
        write_tokenizer(path / "tokenizer_2", merges[:MERGES], "!")
    v_like = name == "tiny2"
    write_tokenizer(path / "tokenizer", merges[:MERGES], "!" if v_like else "<|endoftext|>")
    if v_like:
        write_schedule(path / "scheduler", "v_prediction", timestep_spacing="trailing")
    elif two:
        write_euler(path / "scheduler")
    else:
        write_schedule(path / "scheduler", "epsilon", timestep_spacing="leading")
    write_index(path, two)


def make(out, bpe_gz, only=None):
    merges = read_merges(bpe_gz)
    for i, name in enumerate(UNETS):
        if only and not name.startswith(only):
            continue
        shutil.rmtree(out / name, ignore_errors=True)
        write_pipeline(out / name, name, 1000 * (i + 1), merges)
    for i, name in enumerate(ODD):
        if only and not name.startswith(only):
            continue
        shutil.rmtree(out.parent / "odd-models" / name, ignore_errors=True)
        write_pipeline(out.parent / "odd-models" / name, name, 9000 + 100 * i, merges)
    for i, (name, (_, _, dtype, _)) in enumerate(CONTROLS.items()):
        if only and not name.startswith(only):
            continue
        shutil.rmtree(out / name, ignore_errors=True)
        store(build_control(name, 100 * (i + 1)), out / name, dtype)
