"""Files of torch.save(), and beside each the same tensors as torch.load() reads them, as safetensors.

The names in the .safetensors files are those that the reader gives: keys joined by dots, without "state_dict".
"""

import argparse
import collections
import datetime
import pathlib
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file


def numbers(*shape, dtype=torch.float32, seed=0):
    g = torch.Generator().manual_seed(seed)
    if dtype == torch.bool or not dtype.is_floating_point:
        return torch.randint(0, 2 if dtype == torch.bool else 100, shape, generator=g).to(dtype)
    return torch.randn(*shape, generator=g).to(dtype)


def every_type(extra=()):
    kinds = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
             torch.uint8, torch.bool, *extra]
    return OrderedDict((str(t).removeprefix("torch."), numbers(3, 2, dtype=t, seed=i)) for i, t in enumerate(kinds))


def views():
    whole = numbers(6, 5, 4)
    wide = numbers(4, 6, seed=1)
    return {
        "whole": whole,
        "part": whole[2:4],
        "transposed": wide.t(),
        "column": wide[:, 2],
        "every-other": whole[::2, 1:4, ::3],
        "permuted": whole.permute(2, 0, 1),
        "channels-last": numbers(2, 3, 2, 2, seed=2).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "one": numbers(1, 1, 1, seed=3).expand(1, 1, 1),
        "ids": torch.arange(7).expand(1, -1),
    }


def parameters():
    layer = torch.nn.Sequential(OrderedDict(conv=torch.nn.Conv2d(2, 3, 1), norm=torch.nn.BatchNorm2d(3)))
    with torch.no_grad():
        for i, p in enumerate(layer.state_dict().values()):
            p.copy_(numbers(*p.shape, dtype=p.dtype, seed=i))
    return layer


def foreign(module, name):
    """A class of a library that need not be installed."""
    if module not in sys.modules:
        parts = module.split(".")
        for i in range(len(parts)):
            sys.modules[".".join(parts[: i + 1])] = types.ModuleType(".".join(parts[: i + 1]))
        setattr(sys.modules[module], name, type(name, (), {"__module__": module, "__qualname__": name}))
    return getattr(sys.modules[module], name)


def lightning():
    """As the trainers of Stable Diffusion leave it: weights beside callbacks, settings and an optimizer's state."""
    cls = foreign("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    layer = parameters()
    return {
        "epoch": 3,
        "global_step": 875000,
        "pytorch-lightning_version": "1.4.2",
        "state_dict": layer.state_dict(),
        "callbacks": {cls: {"monitor": "val/loss", "best_model_score": numbers(1)[0], "saver": cls()}},
        "optimizer_states": [{"state": {0: {"step": 5, "exp_avg": numbers(3)}}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.99)}]}],
        "notes": [numpy.float64(3.5), numpy.arange(4), argparse.Namespace(a=1), pathlib.Path("x"), {1, 2},
                  collections.defaultdict(list, {"k": [1]}), datetime.date(2022, 8, 22), torch.__version__,
                  torch.device("cpu"), torch.Size([1, 2]), torch.float16, b"bytes", bytearray(b"more")],
        "lr": float("nan"),
        "big": 1 << 70,
    }


def embedding():
    vectors = torch.nn.ParameterDict({"*": torch.nn.Parameter(numbers(2, 8))})
    return {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": vectors, "name": "toy", "step": 1000,
            "sd_checkpoint": None, "sd_checkpoint_name": "v1-5"}


def attributes():
    t = numbers(2, 2)
    t.note = "a tensor with an attribute"
    return {"t": t, "list": [numbers(2), (numbers(1), {"deep": numbers(3)})]}


def flat(value, name=""):
    if isinstance(value, torch.nn.ParameterDict):
        value = dict(value.items())
    if isinstance(value, torch.Tensor):
        yield name, value.detach().contiguous().clone()
    elif isinstance(value, dict):
        for k, v in value.items():
            if isinstance(k, (str, int)):
                yield from flat(v, f"{name}.{k}" if name else str(k))
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from flat(v, f"{name}.{i}" if name else str(i))


def make(out):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    old = dict(_use_new_zipfile_serialization=False)
    files = {
        "types.pt": (every_type((torch.float8_e4m3fn, torch.float8_e5m2)), {}),
        "types-old.pt": (every_type(), old),
        "views.pt": (views(), {}),
        "views-old.pt": (views(), old),
        "protocol-4.pth": (views(), dict(pickle_protocol=4)),
        "module.bin": (parameters().state_dict(), {}),
        "parameters.bin": (dict(parameters().named_parameters()), {}),
        "lightning.ckpt": (lightning(), {}),
        "lightning-old.ckpt": (lightning(), old),
        "lightning-5.ckpt": (lightning(), dict(pickle_protocol=5)),
        "embedding.pt": (embedding(), {}),
        "attributes.pt": (attributes(), {}),
        "tensor.pt": (numbers(2, 3), {}),
    }
    for name, (value, options) in files.items():
        torch.save(value, out / name, **options)
        loaded = torch.load(out / name, weights_only=False)
        if isinstance(loaded, dict) and "state_dict" in loaded:
            loaded = loaded["state_dict"]
        tensors = dict(flat(loaded))
        save_file({k or "tensor": v for k, v in tensors.items()}, out / (name + ".safetensors"))
