"""Prompts with weights, of several chunks, of several parts, and that change: what the text encoder makes of each
chunk is multiplied by the weights of its tokens, gets its mean back, and the chunks stand one after the other.

The grammar is not read here: each prompt stands beside what it means.
"""

import copy

import embeddings
import torch

WORDS = "red green blue cat dog tree house sun sky sea car boat hat man bird"
LONG = " ".join([WORDS] * 4)  # no comma, so that chunks end after 75 tokens and nowhere else


def plain(text):
    return [[(text, 1.0)]]


class Vectors(str):
    """In the place of a text: the vectors of this file."""


# prompt -> what stands between BREAKs -> (text, weight)
EMBEDDED = {
    "a (My-Style :1.3) tree, CAT_toy, cat": [
        [
            ("a", 1.0),
            (Vectors("my-style.pt"), 1.3),
            ("tree,", 1.0),
            (Vectors("cat_toy.bin"), 1.0),
            (", cat", 1.0),
        ]
    ],
    "(badhand) BREAK soft_light, wide": [
        [(Vectors("badhand.safetensors"), 1.1)],
        [(Vectors("soft_light.safetensors"), 1.0), (", wide", 1.0)],
    ],
}

PARTS = {
    "a (red:1.4) apple on a [wooden] table BREAK (sharp), ((bright light))": [
        [("a", 1.0), ("red", 1.4), ("apple on a", 1.0), ("wooden", 1 / 1.1), ("table", 1.0)],
        [("sharp", 1.1), (",", 1.0), ("bright light", 1.1 * 1.1)],
    ],
    "blurry, (dark:0.6)": [[("blurry,", 1.0), ("dark", 0.6)]],
    f"{LONG} (photo:1.3)": [[(LONG, 1.0), ("photo", 1.3)]],
    "blurry": plain("blurry"),
}

# prompt -> (weight, [(last step, text)]) of each part; the last step of the last text is the number of steps
CHANGING = {
    "a red apple AND a (green:1.3) tree :0.7 AND blurry:-0.25": (
        6,
        [
            (1.0, [(6, plain("a red apple"))]),
            (0.7, [(6, [[("a", 1.0), ("green", 1.3), ("tree", 1.0)]])]),
            (-0.25, [(6, plain("blurry"))]),
        ],
    ),
    f"a [(cat:1.5):dog BREAK hat:0.5] AND {LONG} BREAK sea BREAK sky": (
        6,
        [
            (
                1.0,
                [
                    (3, [[("a", 1.0), ("cat", 1.5)]]),
                    (6, [[("a dog", 1.0)], [("hat", 1.0)]]),
                ],
            ),
            (1.0, [(6, [[(LONG, 1.0)], [("sea", 1.0)], [("sky", 1.0)]])]),
        ],
    ),
    "[blurry|(dark:1.2)|grey] [sea:2]": (
        6,
        [
            (
                1.0,
                [
                    (1, plain("blurry")),
                    (2, [[("dark", 1.2)]]),
                    (3, plain("grey sea")),
                    (4, plain("blurry sea")),
                    (5, [[("dark", 1.2), ("sea", 1.0)]]),
                    (6, plain("grey sea")),
                ],
            )
        ],
    ),
    # a sampler that calls the network twice has twice as many steps
    "a [cat:dog:0.25] [tree::9]": (
        12,
        [(1.0, [(3, plain("a cat tree")), (9, plain("a dog tree")), (12, plain("a dog"))])],
    ),
}


def encoders(pipe):
    """(tokenizer, text encoder) of each; two are read before their last layers."""
    found = [(pipe.tokenizer, pipe.text_encoder)]
    if hasattr(pipe, "text_encoder_2"):
        found.append((pipe.tokenizer_2, pipe.text_encoder_2))
    return found


def ids_of(pipe, text):
    """The same in all tokenizers."""
    if isinstance(text, Vectors):
        return embeddings.ids(pipe, text)
    return pipe.tokenizer(text, add_special_tokens=False).input_ids


def chunks_of(pipe, parts):
    """(id, weight) of each chunk, without begin and end."""
    found = []
    for part in parts:
        tokens = [(i, weight) for text, weight in part for i in ids_of(pipe, text)]
        found += [tokens[i : i + 75] for i in range(0, len(tokens), 75)]
    return found


def encode_with(tokenizer, encoder, chunks, skip, two):
    ids, weights, ends = [], [], []
    for chunk in chunks:
        rest = 75 - len(chunk)
        ids.append([tokenizer.bos_token_id, *(i for i, _ in chunk), tokenizer.eos_token_id])
        ids[-1] += [tokenizer.pad_token_id] * rest
        ends.append(len(chunk) + 1)
        weights.append([1.0, *(w for _, w in chunk)] + [1.0] * (rest + 1))
    out = encoder(torch.tensor(ids), output_hidden_states=True)
    norm = encoder.text_model.final_layer_norm
    z = out.hidden_states[-2 - skip] if two else norm(out.hidden_states[-1 - skip])
    weighted = z * torch.tensor(weights).unsqueeze(-1)
    pooled = None
    if two:
        last = norm(out.hidden_states[-1])
        pooled = torch.stack([last[i, end] for i, end in enumerate(ends)])
    return weighted * (z.mean() / weighted.mean()), pooled


def encode(pipe, chunks, skip=0):
    """The same chunk of all texts of a schedule: [texts, 77, width], and the pooled vectors of the last encoder."""
    both = encoders(pipe)
    found = [encode_with(*pair, chunks, skip, len(both) > 1) for pair in both]
    pooled = pipe.text_encoder_2.text_projection(found[1][1]) if len(both) > 1 else None
    return torch.cat([z for z, _ in found], -1), pooled


def texts_of(prompt):
    """(steps, [(weight, [(last step, parts)])])"""
    if prompt in CHANGING:
        return CHANGING[prompt]
    return None, [(1.0, [(None, (PARTS | EMBEDDED)[prompt])])]


def schedule(pipe, texts, skip):
    """[(last step, (context, pooled))] of one part: all texts have as many chunks as the longest."""
    chunks = [chunks_of(pipe, parts) for _, parts in texts]
    most = max(map(len, chunks))
    chunks = [c + [[]] * (most - len(c)) for c in chunks]
    encoded = [encode(pipe, [c[k] for c in chunks], skip) for k in range(most)]
    first = encoded[0][1]
    return [
        (until, (torch.cat([z[i] for z, _ in encoded]), None if first is None else first[i]))
        for i, (until, _) in enumerate(texts)
    ]


def at_call(found, call):
    return next(context for until, context in found if until is None or call <= until)


def grown(context, tokens, more):
    """context, with so many tokens of more at its end."""
    repeats = (tokens - len(context)) // len(more)
    return torch.cat([context, *[more] * repeats])


def skip_of(pipe, request):
    """Two encoders are read before their last layers, which the web UI's 1 and 2 both mean."""
    usual = len(encoders(pipe))
    return max(request.get("clip_skip", 0), usual) - usual


def rows(pipe, request):
    """(weights of the parts, contexts and pooled vectors of all rows at a call); the negative prompt's row is the
    first."""
    skip = skip_of(pipe, request)
    _, parts = texts_of(request["prompt"])
    _, negative = texts_of(request["negative_prompt"])
    found = [schedule(pipe, texts, skip) for _, texts in parts]
    uncond = schedule(pipe, negative[0][1], skip)
    empty = encode(pipe, [[]], skip)[0][0]

    def contexts(call):
        now, pooled = zip(*[at_call(f, call) for f in found])
        longest = max(map(len, now))
        now = [grown(c, longest, c[-1:]) for c in now]
        first, first_pooled = at_call(uncond, call)
        tokens = max(longest, len(first))
        pooled = None if first_pooled is None else torch.stack([first_pooled, *pooled])
        return torch.stack([grown(c, tokens, empty) for c in [first, *now]]), pooled

    return [weight for weight, _ in parts], contexts


def changing(net, contexts, weights):
    """The UNet or ControlNet with these contexts in place of the two that it is given; the UNet's answers for the
    parts are joined, so that the pipeline's guidance is u + g sum w_i (c_i - u)."""
    net = copy.copy(net)
    as_is = net.forward
    calls = iter(range(10**6))

    def forward(sample, timestep, encoder_hidden_states, *args, **kwargs):
        context, pooled = contexts(next(calls))
        sample = sample[:1].expand(len(context), *sample.shape[1:])
        if kwargs.get("controlnet_cond") is not None:
            hint = kwargs["controlnet_cond"]
            kwargs["controlnet_cond"] = hint[:1].expand(len(context), *hint.shape[1:])
        if pooled is not None:
            ids = kwargs["added_cond_kwargs"]["time_ids"][:1].expand(len(context), 6)
            kwargs["added_cond_kwargs"] = dict(text_embeds=pooled, time_ids=ids)
        out = as_is(sample, timestep, context, *args, **kwargs)
        if "controlnet_cond" in kwargs:
            return out
        u, c = out[0][:1], out[0][1:]
        joined = sum((w * (c[i : i + 1] - u) for i, w in enumerate(weights)), u)
        return (torch.cat([u, joined]),)

    net.forward = forward
    return net


def arguments(pipe, request):
    """prompt_embeds and negative_prompt_embeds of a request; the pipeline's networks are given others in each call."""
    weights, contexts = rows(pipe, request)
    pipe.unet = changing(pipe.unet, contexts, weights)
    if hasattr(pipe, "controlnet"):
        pipe.controlnet = changing(pipe.controlnet, contexts, weights)
    first, pooled = contexts(0)
    found = dict(prompt_embeds=first[1:2], negative_prompt_embeds=first[:1])
    if pooled is not None:
        found |= dict(
            pooled_prompt_embeds=pooled[1:2], negative_pooled_prompt_embeds=pooled[:1]
        )
    return found
