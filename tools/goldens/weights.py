"""Prompts with weights and of several chunks: what the text encoder makes of each chunk is multiplied by the
weights of its tokens, gets its mean back, and the chunks stand one after the other.

The grammar is not read here: each prompt stands beside the pieces that it means.
"""

import torch

WORDS = "red green blue cat dog tree house sun sky sea car boat hat man bird"
LONG = " ".join([WORDS] * 4)  # no comma, so that chunks end after 75 tokens and nowhere else

# prompt -> what stands between BREAKs -> (text, weight)
PARTS = {
    "a (red:1.4) apple on a [wooden] table BREAK (sharp), ((bright light))": [
        [("a", 1.0), ("red", 1.4), ("apple on a", 1.0), ("wooden", 1 / 1.1), ("table", 1.0)],
        [("sharp", 1.1), (",", 1.0), ("bright light", 1.1 * 1.1)],
    ],
    "blurry, (dark:0.6)": [[("blurry,", 1.0), ("dark", 0.6)]],
    f"{LONG} (photo:1.3)": [[(LONG, 1.0), ("photo", 1.3)]],
    "blurry": [[("blurry", 1.0)]],
}


def chunks_of(tokenizer, prompt):
    """(id, weight) of each chunk, without begin and end."""
    found = []
    for part in PARTS[prompt]:
        tokens = [
            (i, weight)
            for text, weight in part
            for i in tokenizer(text, add_special_tokens=False).input_ids
        ]
        found += [tokens[i : i + 75] for i in range(0, len(tokens), 75)]
    return found


def encode(pipe, chunk):
    t = pipe.tokenizer
    rest = 75 - len(chunk)
    ids = [t.bos_token_id, *(i for i, _ in chunk), t.eos_token_id] + [t.pad_token_id] * rest
    weights = [1.0, *(w for _, w in chunk)] + [1.0] * (rest + 1)
    z = pipe.text_encoder(torch.tensor([ids]))[0]
    weighted = z * torch.tensor(weights).reshape(1, -1, 1)
    return weighted * (z.mean() / weighted.mean())


def arguments(pipe, request):
    """prompt_embeds and negative_prompt_embeds of a request, both of as many chunks."""
    texts = dict(prompt_embeds=request["prompt"], negative_prompt_embeds=request["negative_prompt"])
    chunks = {name: chunks_of(pipe.tokenizer, text) for name, text in texts.items()}
    most = max(map(len, chunks.values()))
    return {
        name: torch.cat([encode(pipe, c) for c in list_ + [[]] * (most - len(list_))], dim=1)
        for name, list_ in chunks.items()
    }
