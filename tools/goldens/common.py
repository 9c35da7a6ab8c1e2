"""Shared by all parts: deterministic random tensors, writing and naming of goldens."""

import json
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
warnings.filterwarnings("ignore")
sys.modules["ftfy"] = (
    None  # diffusers does not require it; with it CLIPTokenizer cleans differently
)

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

torch.set_grad_enabled(False)
torch.set_num_threads(int(os.environ.get("GOLDEN_THREADS", "1")))


def generator(seed):
    return torch.Generator("cpu").manual_seed(seed)


def randn(shape, seed):
    return torch.randn(shape, generator=generator(seed))


def rand(shape, seed):
    return torch.rand(shape, generator=generator(seed))


def save_tensors(path, tensors, **metadata):
    """Writes {name: tensor} as safetensors; metadata values become strings."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().contiguous().clone() for name, t in tensors.items()}
    save_file(tensors, path, metadata={k: str(v) for k, v in metadata.items()})
    path.chmod(0o644)


def save_json(path, value, indent=1):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def save_rows(path, rows, **about):
    """A JSON object of `about` and "cases", one case a line."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    head = json.dumps(about, ensure_ascii=False)[1:-1]
    lines = [json.dumps(row, separators=(",", ":")) for row in rows]
    text = "{" + head + ',\n"cases": [\n' + ",\n".join(lines) + "\n]}\n"
    path.write_text(text, encoding="utf-8")


def fnv64(data):
    """FNV-1a, 64 bit, over bytes."""
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"
