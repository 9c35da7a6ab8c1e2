"""Adapters for tiny in every form and naming, and the layers that LyCORIS, PEFT and diffusers make of them.

adapters/NAME.safetensors     the adapter
golden/adapters/NAME          LAYER@STRENGTH: the weight under it, "unet." or "text_encoder." before its name
"""

import copy
import json
import re

import diffusers
import peft
import torch
from diffusers.utils import convert_state_dict_to_diffusers
from lycoris.modules.boft import ButterflyOFTModule
from lycoris.modules.diag_oft import DiagOFTModule
from lycoris.modules.full import FullModule
from lycoris.modules.glora import GLoRAModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule

from common import generator, save_json, save_tensors

LINEAR = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
DEEP = "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.2"
OUT = "unet.up_blocks.2.attentions.0.transformer_blocks.0.attn1.to_out.0"
POINT = "unet.down_blocks.1.attentions.0.proj_in"
CONV = "unet.down_blocks.1.resnets.0.conv1"
DOWN = "unet.down_blocks.0.downsamplers.0.conv"
NORM = "unet.down_blocks.0.resnets.0.norm1"
TEXT = "text_encoder.text_model.encoder.layers.1.self_attn.q_proj"
MLP = "text_encoder.text_model.encoder.layers.0.mlp.fc1"

# name: (class, layers, arguments)
FORMS = {
    "locon": (LoConModule, [LINEAR, DEEP, POINT, CONV, DOWN, TEXT, MLP], dict(lora_dim=4, alpha=2)),
    "tucker": (LoConModule, [LINEAR, CONV], dict(lora_dim=3, alpha=1, use_tucker=True)),
    "loha": (LohaModule, [LINEAR, POINT, CONV, MLP], dict(lora_dim=3, alpha=2)),
    "loha-tucker": (LohaModule, [LINEAR, CONV], dict(lora_dim=3, alpha=2, use_tucker=True)),
    "lokr": (LokrModule, [LINEAR, CONV, TEXT], dict(lora_dim=1, alpha=2, factor=4, decompose_both=True)),
    "lokr-full": (LokrModule, [LINEAR, CONV], dict(lora_dim=1000, alpha=2, factor=4)),
    "lokr-tucker": (LokrModule, [LINEAR, CONV], dict(lora_dim=2, alpha=1, factor=2, use_tucker=True)),
    "ia3": (IA3Module, [LINEAR, CONV], dict()),
    "ia3-input": (IA3Module, [LINEAR, CONV], dict(train_on_input=True)),
    "oft": (DiagOFTModule, [LINEAR, CONV, MLP], dict(lora_dim=4, constraint=0.01, rescaled=True)),
    "boft": (ButterflyOFTModule, [LINEAR, CONV], dict(lora_dim=10)),
    "full": (FullModule, [LINEAR, CONV], dict()),
    "norm": (NormModule, [NORM], dict()),
    "glora": (GLoRAModule, [LINEAR, POINT], dict(lora_dim=3, alpha=2)),
    "dora": (LoConModule, [LINEAR, CONV, MLP], dict(lora_dim=4, alpha=2, weight_decompose=True)),
    "dora-input": (LoConModule, [LINEAR, CONV], dict(lora_dim=4, weight_decompose=True, wd_on_out=False)),
}
STRENGTHS = (1.0, 0.6)
PREFIX = {"unet": "lora_unet", "text_encoder": "lora_te"}
BLOCKS = [  # diffusers' to LDM's of tiny: three levels of one block
    (r"down_blocks\.(\d)\.resnets\.0\.", lambda m: f"input_blocks.{1 + 2 * int(m[1])}.0."),
    (r"down_blocks\.(\d)\.attentions\.0\.", lambda m: f"input_blocks.{1 + 2 * int(m[1])}.1."),
    (r"down_blocks\.(\d)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{2 + 2 * int(m[1])}.0.op"),
    (r"mid_block\.attentions\.0\.", lambda m: "middle_block.1."),
    (r"up_blocks\.(\d)\.attentions\.(\d)\.", lambda m: f"output_blocks.{2 * int(m[1]) + int(m[2])}.1."),
    (r"\.conv1$", lambda m: ".in_layers.2"),
]


def layer(parts, name):
    return parts[name.split(".")[0]].get_submodule(name.split(".", 1)[1])


def flat(name, ldm=False):
    part, path = name.split(".", 1)
    for pattern, to in BLOCKS if ldm else []:
        path = re.sub(pattern, to, path)
    return PREFIX[part] + "_" + path.replace(".", "_")


def module(parts, form, name):
    """A LyCORIS module over the layer with random numbers in all its parameters."""
    kind, _, arguments = FORMS[form]
    seed = sum((form + name).encode())
    torch.manual_seed(seed)
    m = kind(flat(name), layer(parts, name), 1.0, **arguments)
    gen = generator(seed)
    for key, p in m.named_parameters():
        noise = torch.randn(p.shape, generator=gen)
        if "dora_scale" in key:
            p.mul_(1 + 0.3 * noise)
        elif "rescale" in key:
            p.add_(0.2 * noise)
        else:
            p.copy_(noise * {2: 0.3, 4: 0.3}.get(p.dim(), 0.15))
    return m


def merged(m, strength):
    """(weight, bias or None) of the layer under the module."""
    if isinstance(m, (LohaModule, LokrModule)):
        # As their forward() does in training: get_merged_weight() scales LoHa twice, and loses the
        # shape of a convolution.
        w = m.org_module[0].weight
        return w + m.get_weight(w.shape) * strength, None
    return m.get_merged_weight(strength)


def saved(m):
    """What a trainer writes of the module."""
    if isinstance(m, FullModule):  # custom_state_dict() is for one that was put over its layer
        return {k: v for k, v in dict(diff=m.weight, diff_b=m.bias).items() if v is not None}
    return m.custom_state_dict() or m.state_dict()  # the base class's gives None


def make_form(parts, out, form, ldm):
    tensors, golden = {}, {}
    for name in FORMS[form][1]:
        m = module(parts, form, name)
        tensors |= {f"{flat(name, ldm)}.{k}": v for k, v in saved(m).items()}
        for strength in STRENGTHS[: 1 if "dora" in form else None]:
            w, b = merged(m, strength)
            golden[f"{name}.weight@{strength}"] = w
            if b is not None:
                golden[f"{name}.bias@{strength}"] = b
    save_tensors(out / "adapters" / f"{form}.safetensors", tensors)
    save_tensors(out / "golden" / "adapters" / f"{form}.safetensors", golden)


def lora(name, parts, rank=2):
    """A plain LoRA's factors for a layer: (down, up)."""
    w = layer(parts, name).weight
    gen = generator(sum(name.encode()))
    down = torch.randn((rank, *w.shape[1:]), generator=gen) * 0.3
    up = torch.randn((w.shape[0], rank, *([1] * (w.dim() - 2))), generator=gen) * 0.3
    return down, up


ATTENTION = [LINEAR, OUT, TEXT]


def dotted(name, end, old=False):
    part, path = name.split(".", 1)
    if old and part == "unet":
        path = path.replace(".to_", ".processor.to_").replace("to_out.0", "to_out") + "_lora"
    elif part == "text_encoder" and "lora." in end:
        end = end.replace("lora.", "lora_linear_layer.")
    elif old is False and end.startswith("lora."):
        path += ".lora"
    return f"{part}.{path}.{end.split('.', 1)[1] if path.endswith(('lora', '_lora')) else end}"


def make_names(parts, out):
    """One adapter in each naming; the layers are the same."""
    golden, files = {}, {k: {} for k in ("peft-names", "middle-names", "old-names", "ldm-dots")}
    for name in ATTENTION:
        down, up = lora(name, parts)
        w = layer(parts, name).weight
        golden[f"{name}.weight@1.0"] = w + up @ down
        files["peft-names"] |= {dotted(name, "lora_A.weight"): down, dotted(name, "lora_B.weight"): up}
        files["middle-names"] |= {dotted(name, f"lora.{k}.weight"): v for k, v in (("down", down), ("up", up))}
        files["old-names"] |= {
            dotted(name, f"lora.{k}.weight", old=True): v for k, v in (("down", down), ("up", up))
        }
        ldm = name.replace("unet.", "diffusion_model.").replace(
            "text_encoder.", "text_encoders.clip_l.transformer."
        )
        for pattern, to in BLOCKS:
            ldm = re.sub(pattern, to, ldm)
        files["ldm-dots"] |= {f"{ldm}.lora_down.weight": down, f"{ldm}.lora_up.weight": up}
    for file, tensors in files.items():
        save_tensors(out / "adapters" / f"{file}.safetensors", tensors)
        save_tensors(out / "golden" / "adapters" / f"{file}.safetensors", golden)


def make_peft(parts, out):
    """A directory that PEFT itself saves, with alpha in its configuration, and DoRA."""
    for folder, arguments in {
        "peft-dir": dict(lora_alpha=3, use_rslora=True, rank_pattern={"proj_in": 3}),
        "peft-dora": dict(lora_alpha=4, use_dora=True, alpha_pattern={"proj_in": 6}),
    }.items():
        unet = copy.deepcopy(parts["unet"])
        targets = [n.split(".", 1)[1] for n in (LINEAR, POINT, CONV)]
        model = peft.get_peft_model(unet, peft.LoraConfig(r=2, target_modules=targets, **arguments))
        gen = generator(7)
        for key, p in model.named_parameters():
            if "lora_" in key:
                noise = torch.randn(p.shape, generator=gen)
                p.copy_(p * (1 + 0.2 * noise) if "magnitude" in key else noise * 0.3)
        model.save_pretrained(out / "adapters" / folder)
        (out / "adapters" / folder / "README.md").unlink(missing_ok=True)
        config = json.loads((out / "adapters" / folder / "adapter_config.json").read_text())
        config["target_modules"] = sorted(config["target_modules"])
        save_json(out / "adapters" / folder / "adapter_config.json", config)
        whole = model.merge_and_unload()
        golden = {f"{n}.weight@1.0": layer(dict(unet=whole), n).weight for n in (LINEAR, POINT, CONV)}
        save_tensors(out / "golden" / "adapters" / f"{folder}.safetensors", golden)


def make_diffusers(parts, out):
    """What diffusers' own save_lora_weights() writes, with the notes of its configuration."""
    unet = copy.deepcopy(parts["unet"])
    config = peft.LoraConfig(r=3, lora_alpha=5, target_modules=["to_q", "to_out.0"])
    unet.add_adapter(config)
    gen = generator(11)
    for key, p in unet.named_parameters():
        if "lora_" in key:
            p.copy_(torch.randn(p.shape, generator=gen) * 0.3)
    layers = convert_state_dict_to_diffusers(peft.utils.get_peft_model_state_dict(unet))
    diffusers.StableDiffusionPipeline.save_lora_weights(
        out / "adapters",
        unet_lora_layers=layers,
        weight_name="diffusers-notes.safetensors",
        unet_lora_adapter_metadata={
            k: sorted(v) if isinstance(v, set) else v for k, v in config.to_dict().items()
        },
    )
    unet.fuse_lora()
    golden = {}
    for key, m in unet.named_modules():
        if hasattr(m, "base_layer"):
            golden[f"unet.{key}.weight@1.0"] = m.base_layer.weight
    save_tensors(out / "golden" / "adapters" / "diffusers-notes.safetensors", golden)


def make(out):
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(
        out / "models" / "tiny", torch_dtype=torch.float32, safety_checker=None
    )
    parts = dict(unet=pipe.unet, text_encoder=pipe.text_encoder)
    for i, form in enumerate(FORMS):
        make_form(parts, out, form, ldm=i % 2 == 1)
    make_names(parts, out)
    make_peft(parts, out)
    make_diffusers(parts, out)


def load(parts, adapters):
    """Copies of the networks with the adapters' layers as LyCORIS makes them, one after the other."""
    parts = {k: copy.deepcopy(parts[k]) for k in PREFIX}
    for a in adapters:
        for name in FORMS[a["name"]][1]:
            text = name.startswith("text")
            strength = a.get("text_strength", a["strength"]) if text else a["strength"]
            m = module(parts, a["name"], name)
            w, b = merged(m, strength)
            layer(parts, name).weight.copy_(w)
            if b is not None:
                layer(parts, name).bias.copy_(b)
    return parts
