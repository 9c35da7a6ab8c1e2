"""Embeddings of textual inversion in the forms that they are published in, and what prompts with them mean."""

import copy

import torch
from safetensors.torch import save_file

WIDTH = 36  # of tiny's text encoder

# file: (vectors, token in plain prompts)
FILES = {
    "my-style.pt": (3, "style-token"),
    "cat_toy.bin": (1, "<cat-toy>"),
    "badhand.safetensors": (2, "badhand"),
    "soft_light.safetensors": (1, "<soft>"),
}


def vectors(name):
    generator = torch.Generator().manual_seed(sum(name.encode()))
    return torch.randn(FILES[name][0], WIDTH, generator=generator) * 0.5


def make(folder):
    folder.mkdir(parents=True, exist_ok=True)
    style, toy, bad, soft = FILES
    params = {"*": vectors(style).requires_grad_()}
    web_ui = dict(string_to_token={"*": torch.tensor(265)}, string_to_param=params)
    torch.save(web_ui | dict(name="style-token", step=100, sd_checkpoint=None), folder / style)
    torch.save({"<cat-toy>": vectors(toy)[0].half()}, folder / toy)
    save_file({"emb_params": vectors(bad)}, folder / bad)
    save_file({"<soft>": vectors(soft)[0].bfloat16()}, folder / soft)
    save_file({"emb_params": torch.zeros(1, 48)}, folder / "wide.safetensors")  # of another model
    save_file({"a": torch.zeros(1, 36), "b": torch.zeros(1, 36)}, folder / "broken.safetensors")


def load(pipe, folder):
    """The pipeline with all of them, by diffusers' own loader."""
    pipe.tokenizer = copy.deepcopy(pipe.tokenizer)
    pipe.text_encoder = copy.deepcopy(pipe.text_encoder)
    for name, (_, token) in FILES.items():
        pipe.load_textual_inversion(str(folder / name), token=token)


def ids(pipe, name):
    """The ids of a file's vectors."""
    count, token = FILES[name]
    words = [token, *(f"{token}_{i}" for i in range(1, count))]
    return pipe.tokenizer.convert_tokens_to_ids(words)
