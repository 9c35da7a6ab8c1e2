"""Whole images: requests in our own format, run through the diffusers pipelines.

A case is a JSON file {"request": ..., "reference": ...}, a PNG per image, and a safetensors file:
noise   [n,4,h,w]  first Gaussian draw of the image's generator that becomes latent noise
latent  [n,4,h,w]  the last latent, still multiplied by scaling_factor
Images that a request names lie next to it.
"""

import copy
import functools

import diffusers
import numpy as np
import torch
from PIL import Image, ImageDraw

import embeddings
import samplers
import weights
from common import generator, save_json, save_tensors

PROMPT = "a red apple on a wooden table"
SIZE = dict(width=40, height=48)


def picture(kind, width, height):
    """Small test pictures, the same for every run."""
    rng = np.random.default_rng(len(kind) * 1000 + width + height)
    image = Image.new("L" if kind == "mask" else "RGB", (width, height))
    draw = ImageDraw.Draw(image)
    if kind == "mask":
        draw.rectangle([width // 4, height // 3, width - 6, height - 5], fill=255)
        draw.rectangle([1, 1, 6, 6], fill=127)  # below one half: kept
        draw.rectangle([9, 1, 14, 6], fill=128)
    elif kind == "edges":
        draw.ellipse([4, 6, width - 8, height - 9], outline=(255, 255, 255))
        draw.line([0, height - 3, width - 1, height // 2], fill=(255, 255, 255))
    elif kind == "blocks":
        for _ in range(9):
            x, y = rng.integers(0, width - 8), rng.integers(0, height - 8)
            w, h = rng.integers(4, 20), rng.integers(4, 20)
            draw.rectangle(
                [int(x), int(y), int(x + w), int(y + h)],
                fill=tuple(rng.integers(0, 256, 3).tolist()),
            )
    else:  # photo
        y, x = np.mgrid[0:height, 0:width]
        waves = [
            np.sin(x / a + p) * np.cos(y / b - p) for a, b, p in [(7, 9, 0), (5, 13, 1), (11, 6, 2)]
        ]
        noise = rng.normal(0, 0.05, (height, width, 3))
        image = Image.fromarray(
            np.uint8(np.clip(np.stack(waves, -1) * 0.45 + 0.5 + noise, 0, 1) * 255), "RGB"
        )
    return image


def named_picture(folder, name):
    """Opens folder/name, made when absent from its name kind-WIDTHxHEIGHT.png."""
    path = folder / name
    if not path.exists():
        kind, size = path.stem.split("-")
        picture(kind, *map(int, size.split("x"))).save(path, optimize=True)
    return Image.open(path)


def is_xl(parts):
    return "text_encoder_2" in parts


@functools.cache
def components(model):
    base = diffusers.DiffusionPipeline.from_pretrained(model, torch_dtype=torch.float32)
    return base.components


@functools.cache
def control_net(path):
    return diffusers.ControlNetModel.from_pretrained(path, torch_dtype=torch.float32)


def conditional_only(net):
    """The same ControlNet with zeros for the negative half of the rows ("branch": "cond")."""
    net = copy.copy(net)
    plain = net.forward

    def forward(*args, **kwargs):
        down, mid = plain(*args, **kwargs)
        rows = len(mid) // 2
        for out in (*down, mid):
            out[:rows] = 0
        return down, mid

    net.forward = forward
    return net


def control_of(models, entry):
    net = control_net(models / entry["model"])
    return conditional_only(net) if entry.get("branch") == "cond" else net


def pipeline_class(request, xl):
    family = "StableDiffusionXL" if xl else "StableDiffusion"
    kind = "Inpaint" if "mask" in request else "Img2Img" if "init_image" in request else ""
    control = "ControlNet" if request.get("controls") else ""
    if request["model"] == "tinylcm" and not kind:
        return diffusers.LatentConsistencyModelPipeline
    if request["model"] == "tiny5":
        return diffusers.StableDiffusionDepth2ImgPipeline
    if "pag_scale" in request:
        return getattr(diffusers, f"{family}{control}PAG{kind}Pipeline")
    return getattr(diffusers, f"{family}{control}{kind}Pipeline")


def build(models, request):
    parts = dict(components(models / request["model"]))
    config = parts["scheduler"].config
    parts["scheduler"] = samplers.sampler(
        request["sampler"],
        request.get("spacing", config.timestep_spacing),
        request.get("schedule", "default"),
        config.prediction_type,
        **{key: config[key] for key in samplers.BETAS},
    )
    if "adapters" in request:
        import adapters  # which wants LyCORIS

        parts |= adapters.load(parts, request["adapters"])
    nets = [control_of(models, entry) for entry in request.get("controls", [])]
    if nets:
        parts["controlnet"] = nets[0] if len(nets) == 1 else list(nets)
    if "depth" in request:
        parts = {k: parts[k] for k in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")}
        more = dict(depth_estimator=None, feature_extractor=None)
    else:
        more = {} if is_xl(parts) else dict(requires_safety_checker=False)
    pipe = pipeline_class(request, is_xl(parts))(**parts, **more)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def control_arguments(folder, request):
    controls = request.get("controls", [])
    if not controls:
        return {}
    lists = dict(
        control_image=[named_picture(folder, c["image"]) for c in controls],
        controlnet_conditioning_scale=[float(c["strength"]) for c in controls],
        control_guidance_start=[c.get("start", 0.0) for c in controls],
        control_guidance_end=[c.get("end", 1.0) for c in controls],
    )
    if len(controls) == 1:
        lists = {k: v[0] for k, v in lists.items()}
    if "init_image" not in request:
        lists["image"] = lists.pop("control_image")
    return lists


def prompts(pipe, request, folder):
    words = request["prompt"] + request.get("negative_prompt", "")
    if words in map("".join, [weights.EMBEDDED, PLAIN_EMBEDDED]):
        embeddings.load(pipe, folder)
    if request.get("prompt_syntax") == "a1111":
        return weights.arguments(pipe, request)
    found = dict(prompt=request["prompt"], negative_prompt=request.get("negative_prompt", ""))
    if "negative_prompt" not in request and is_xl(pipe.components):
        found["negative_prompt"] = None  # zeros
    return found


def sizes(request):
    """What a model that was trained with sizes is told of them."""

    def pair(field, first, second):
        return {field: tuple(request[names[field]][k] for k in (first, second))}

    names = dict(original_size="original_size", crops_coords_top_left="crop", target_size="target_size")
    found = {}
    for field, name in names.items():
        if name in request:
            found |= pair(field, *(("top", "left") if name == "crop" else ("height", "width")))
    return found


OPTIONS = ("guidance_rescale", "eta", "pag_scale", "pag_adaptive_scale")


def arguments(pipe, folder, request):
    """Keyword arguments of the pipeline call."""
    found = prompts(pipe, request, folder.parents[2] / "embeddings")
    found |= dict(
        width=request["width"],
        height=request["height"],
        num_inference_steps=request["steps"],
        guidance_scale=request["guidance_scale"],
        clip_skip=None if "prompt_embeds" in found else request.get("clip_skip") or None,
        num_images_per_prompt=request.get("n", 1),
        generator=[generator(request["seed"] + i) for i in range(request.get("n", 1))],
    )
    found |= {k: request[k] for k in OPTIONS if k in request}
    found |= sizes(request)
    found |= control_arguments(folder, request)
    if request.get("init_image") == "":  # a latent stands for it
        found |= dict(strength=request["denoise"])
    elif "init_image" in request:
        found |= dict(
            image=named_picture(folder, request["init_image"]).convert("RGB"),
            strength=request["denoise"],
        )
    if "mask" in request:
        found["mask_image"] = named_picture(folder, request["mask"])
    elif "init_image" in request and "controls" not in request:
        found.pop("width"), found.pop("height")
    if request["model"] == "tinylcm" and "init_image" not in request:
        found.pop("negative_prompt")
    if "depth" in request:
        levels = np.asarray(named_picture(folder, request["depth"]).convert("L"), dtype=np.float32)
        found |= dict(depth_map=torch.from_numpy(levels)[None])
    return found


def first_noise(request, shape):
    """The draw that becomes the latent noise: after the posterior of the init image, if any."""
    skipped = 1 if encodes_init(request) else 0
    rows = []
    for i in range(shape[0]):
        gen = generator(request["seed"] + i)
        for _ in range(skipped + 1):
            noise = torch.randn((1, *shape[1:]), generator=gen)
        rows.append(noise)
    return torch.cat(rows)


def encodes_init(request):
    """Whether a posterior sample of the init image is drawn before the noise."""
    if "init_image" not in request:
        return False
    return request["denoise"] < 1.0 or request["model"] != "tiny9"


def draws(request):
    """What each image's generator is asked for, in order."""
    order = ["posterior of init_image"] if encodes_init(request) else []
    order.append("noise")
    if "mask" in request:
        order.append("posterior of masked image")
    if request["sampler"] in ("euler_a", "dpmpp_2m_sde", "lcm"):
        order.append("steps")
    return order


LATENT = {  # mode of interpolate, antialias
    "latent": ("bilinear", False),
    "latent_nearest": ("nearest", False),
    "latent_nearest_exact": ("nearest-exact", False),
    "latent_antialiased": ("bilinear", True),
    "latent_bicubic": ("bicubic", False),
    "latent_bicubic_antialiased": ("bicubic", True),
}
OWN = ("sampler", "schedule", "prompt", "negative_prompt", "guidance_scale")


def enlarged(latent, hires, size, factor):
    """The latent as large as covers the picture, cut in the middle."""
    (h, w), (rows, columns) = latent.shape[2:], [n // factor for n in size]
    wide = w * rows < h * columns
    cover = (columns * h // w, columns) if wide else (rows, rows * w // h)
    cover = (max(cover[0], rows), max(cover[1], columns))
    mode, antialias = LATENT[hires["upscaler"]]
    latent = torch.nn.functional.interpolate(latent, size=cover, mode=mode, antialias=antialias)
    top, left = (cover[0] - rows) // 2, (cover[1] - columns) // 2
    return latent[:, :, top : top + rows, left : left + columns]


def run_passes(models, folder, request):
    """The picture of the first pass, then img2img from its latent, or from itself."""
    hires = request["hires"]
    first = {k: v for k, v in request.items() if k != "hires"}
    images, latent, calls, _ = run(models, folder, first)
    size = [hires.get(k) or int(request[k] * hires["scale"]) // 8 * 8 for k in ("height", "width")]
    steps, levels = hires.get("steps") or request["steps"], 1
    while int(levels * hires["strength"]) < steps:
        levels += 1
    second = dict(init_image="", denoise=hires["strength"], steps=levels)
    second = first | {k: hires[k] for k in OWN if k in hires} | second
    second |= dict(height=size[0], width=size[1])
    if hires["upscaler"] in LATENT:
        start = enlarged(latent, hires, size, request["height"] // latent.shape[2])
    else:
        how = Image.Resampling[hires["upscaler"].upper()]
        start = [image.resize(size[::-1], how) for image in images]
    images, latent, more, name = run(models, folder, second, start)
    return images, latent, calls + more, name


def run(models, folder, request, start=None):
    """(images, last latents, number of network calls) of a request."""
    if "hires" in request:
        return run_passes(models, folder, request)
    pipe = build(models, request)
    seen = {}

    def after_step(pipe, i, t, values):
        seen.update(latent=values["latents"].clone(), calls=i + 1)
        return {}

    found = arguments(pipe, folder, request) | ({} if start is None else dict(image=start))
    images = pipe(**found, callback_on_step_end=after_step).images
    return images, seen["latent"], seen["calls"], type(pipe).__name__


def write_case(models, folder, name, request):
    images, latent, calls, pipeline = run(models, folder, request)
    tensors = dict(noise=first_noise(request, latent.shape), latent=latent)
    save_tensors(folder / f"{name}.safetensors", tensors)
    for i, image in enumerate(images):
        image.save(folder / (f"{name}.{i}.png" if i else f"{name}.png"), optimize=True)
    reference = dict(pipeline=pipeline, calls=calls, draws=draws(request))
    save_json(folder / f"{name}.json", dict(request=request, reference=reference))


def few_steps(sampler, usual, few):
    """How many steps a case of the sampler takes, and the gamma that diffusers' class has and its pipelines do not."""
    more = dict(eta=0.3) if sampler == "tcd" else {}
    spaced = dict(spacing="linspace") if sampler == "dpmpp_2m_sde_heun" else {}
    return dict(sampler=sampler, steps=few if sampler in ("lcm", "tcd") else usual) | more | spaced


def base(model, size, **more):
    request = dict(model=model, prompt=PROMPT, negative_prompt="blurry", **size)
    return request | dict(steps=6, guidance_scale=7.5, sampler="euler", seed=42) | more


def control(model, image, strength=1.0, **more):
    return dict(model=model, image=image, strength=strength, **more)


def sampler_cases():
    """Every sampler, without guidance and with it, on other schedules and spacings."""
    edges = control("tiny-control-a", "edges-40x48.png")
    for name, (_, _, sigmas, spacings) in samplers.SAMPLERS.items():
        plain = base("tiny", SIZE, **few_steps(name, 6, 4), controls=[edges])
        yield f"{name}-cfg1", plain | dict(guidance_scale=1.0)
        other = dict(schedule="karras") if sigmas else dict(spacing=spacings[-1])
        yield f"{name}-cfg7.5", plain | other | dict(seed=7)


def control_cases():
    a, b = "tiny-control-a", "tiny-control-b"
    edges, blocks = "edges-40x48.png", "blocks-40x48.png"
    yield "no-control", base("tiny", SIZE)
    yield "strength-0.5", base("tiny", SIZE, controls=[control(a, edges, 0.5)])
    yield "cond-branch", base("tiny", SIZE, controls=[control(a, edges, branch="cond")])
    two = [control(a, edges, 0.8), control(b, blocks, 1.3)]
    yield "two-controls", base("tiny", SIZE, sampler="dpmpp_2m", controls=two)
    window = control(a, blocks, 1.0, start=0.25, end=0.75)
    yield "window", base("tiny", SIZE, steps=8, controls=[window])
    early = control(a, edges, 1.0, start=0.0, end=0.5)
    late = control(b, blocks, 0.7, start=0.5, end=1.0)
    yield "two-windows", base("tiny", SIZE, steps=8, sampler="ddim", controls=[early, late])


def other_cases():
    edges = control("tiny-control-a", "edges-40x48.png")
    yield "clip-skip", base("tiny", SIZE, clip_skip=1, controls=[edges])
    yield "clip-skip-all", base("tiny", SIZE, clip_skip=3, controls=[edges])
    yield "no-negative", base("tiny", SIZE, negative_prompt="", controls=[edges])
    yield "two-images", base("tiny", SIZE, sampler="euler_a", n=2, controls=[edges])
    yield "big-seed", base("tiny", SIZE, seed=2**32 + 42, controls=[edges])
    wide = control("tiny-control-b", "blocks-72x40.png")
    yield "wide", base("tiny", dict(width=72, height=40), controls=[wide])
    small = control("tiny-control-b", "blocks-24x32.png")
    yield "rescaled", base("tiny", SIZE, sampler="dpmpp_2m", guidance_rescale=0.7)
    yield "pag", base("tiny", SIZE, pag_scale=3.0)
    yield "pag-control", base("tiny", SIZE, sampler="heun", pag_scale=2.0, controls=[edges])
    adaptive = dict(pag_scale=4.0, pag_adaptive_scale=0.005, guidance_rescale=0.5)
    yield "pag-adaptive", base("tiny", SIZE, sampler="dpmpp_2m", **adaptive)
    yield "pag-alone", base("tiny", SIZE, guidance_scale=1.0, pag_scale=5.0)
    start = dict(init_image="photo-40x48.png", denoise=0.6)
    yield "pag-img2img", base("tiny", SIZE, pag_scale=3.0, **start)
    hires = dict(scale=1.7, strength=0.6, upscaler="latent")
    yield "hires", base("tiny", SIZE, n=2, hires=hires)
    hires = dict(width=72, height=56, steps=4, strength=0.7, upscaler="latent_nearest")
    yield "hires-cut", base("tiny", SIZE, sampler="dpmpp_2m_sde", hires=hires)
    for name in ("latent_bicubic", "latent_bicubic_antialiased", "latent_nearest_exact"):
        hires = dict(scale=1.7, steps=3, strength=0.6, upscaler=name)
        yield "hires-" + name.replace("_", "-"), base("tiny", SIZE, hires=hires)
    for name in ("lanczos", "nearest", "bicubic"):
        hires = dict(scale=1.7, steps=3, strength=0.4, upscaler=name)
        yield f"hires-{name}", base("tiny", SIZE, n=2, hires=hires)
    own = dict(prompt="a blue house", negative_prompt="dark", guidance_scale=3.0, sampler="heun")
    hires = dict(scale=1.7, steps=3, strength=0.6, upscaler="latent_antialiased", schedule="karras")
    yield "hires-own", base("tiny", SIZE, hires=hires | own)
    yield "small", base("tiny", dict(width=24, height=32), steps=4, controls=[small])


def weight_cases():
    """Weights of words, BREAK, prompts of several chunks, AND, and texts that change with the steps."""
    edges = control("tiny-control-a", "edges-40x48.png")
    first, dark, long, blurry = weights.PARTS
    composed, edited, alternating, twice = weights.CHANGING
    read = dict(prompt_syntax="a1111", controls=[edges])
    yield "weights", base("tiny", SIZE, prompt=first, negative_prompt=dark, **read)
    read |= dict(sampler="dpmpp_2m", guidance_scale=5.0)
    yield "long-prompt", base("tiny", SIZE, prompt=long, negative_prompt=blurry, **read)
    yield "composed", base("tiny", SIZE, prompt=composed, negative_prompt=dark, **read)
    read |= dict(clip_skip=2)
    yield "edited", base("tiny", SIZE, prompt=edited, negative_prompt=alternating, **read)
    read |= dict(sampler="heun")
    yield "edited-heun", base("tiny", SIZE, prompt=twice, negative_prompt=blurry, **read)
    start = dict(init_image="photo-40x48.png", denoise=0.6, steps=6)
    yield "edited-img2img", base("tiny", SIZE, prompt=edited, negative_prompt=alternating, **(read | start | dict(sampler="euler")))


PLAIN_EMBEDDED = ["a <cat-toy> of style-token, <soft>", "badhand, wide"]


def embedding_cases():
    """Words that are vectors, in both syntaxes."""
    edges = control("tiny-control-a", "edges-40x48.png")
    for name, (prompt, negative), syntax in (
        ("embedded", weights.EMBEDDED, dict(prompt_syntax="a1111")),
        ("embedded-plain", PLAIN_EMBEDDED, {}),
    ):
        texts = dict(prompt=prompt, negative_prompt=negative) | syntax
        yield name, base("tiny", SIZE, **texts, controls=[edges])


def adapter_cases():
    """The model under one adapter, and under several that do not commute, beside a ControlNet."""
    one = dict(adapters=[dict(name="locon", strength=0.8, text_strength=0.5)])
    yield "adapter", base("tiny", SIZE, **one)
    edges = control("tiny-control-a", "edges-40x48.png")
    three = [dict(name=n, strength=s) for n, s in (("lokr", 0.7), ("oft", 1.0), ("loha", -0.4))]
    yield "adapters", base("tiny", SIZE, adapters=three, controls=[edges])


def image_cases():
    """Starting from an image: denoise 0.6 with every sampler, then with a mask."""
    edges = control("tiny-control-a", "edges-40x48.png")
    start = dict(init_image="photo-40x48.png", denoise=0.6, controls=[edges])
    for name in samplers.SAMPLERS:
        if name != "lms":  # there it begins otherwise
            yield f"img2img-{name}", base("tiny", SIZE, **few_steps(name, 10, 5), **start)
    yield "img2img-no-control", base("tiny", SIZE, init_image="photo-40x48.png", denoise=0.75)
    karras = dict(sampler="dpmpp_2m", schedule="karras", spacing="linspace")
    yield "img2img-karras", base("tiny", SIZE, steps=10, **karras, **start)
    mask = start | dict(mask="mask-40x48.png")
    for name in ("ddim", "euler", "euler_a", "dpmpp_2m", "unipc", "heun", "dpm2", "dpm2_a"):
        yield f"inpaint-{name}", base("tiny", SIZE, sampler=name, steps=8, **mask)
    yield "inpaint-whole", base("tiny", SIZE, steps=6, **(mask | dict(denoise=1.0)))
    yield (
        "inpaint-no-control",
        base("tiny", SIZE, **{k: v for k, v in mask.items() if k != "controls"}),
    )


def tiny2_cases():
    hint = control("tiny2-control", "edges-48x64.png")
    size = dict(width=48, height=64)
    for name in samplers.SAMPLERS:
        more = few_steps(name, 6, 4)
        yield name, base("tiny2", size, guidance_scale=3.0, **more, controls=[hint])
    karras = dict(sampler="dpmpp_2m", schedule="karras")
    yield "karras", base("tiny2", size, guidance_scale=3.0, **karras, controls=[hint])
    start = dict(init_image="photo-48x64.png", denoise=0.5)
    yield "img2img", base("tiny2", size, guidance_scale=3.0, steps=8, **start, controls=[hint])


def tiny9_cases():
    size = dict(width=24, height=32)
    start = dict(init_image="photo-24x32.png", mask="mask-24x32.png")
    yield "inpaint-whole", base("tiny9", size, sampler="ddim", denoise=1.0, **start)
    yield "inpaint-euler_a", base("tiny9", size, sampler="euler_a", denoise=1.0, **start)
    yield "inpaint-part", base("tiny9", size, sampler="dpmpp_2m", steps=8, denoise=0.75, **start)


def tinyxl_cases():
    def case(**more):
        return base("tinyxl", SIZE, **more)

    a, mid, small = "tinyxl-control", "tinyxl-control-mid", "tinyxl-control-small"
    edges, blocks = control(a, "edges-40x48.png"), "blocks-40x48.png"
    no_negative = case(sampler="dpmpp_2m")
    del no_negative["negative_prompt"]
    yield "no-negative", no_negative
    told = dict(
        original_size=dict(width=512, height=640),
        crop=dict(left=16, top=4),
        target_size=dict(width=1024, height=768),
    )
    yield "sizes", case(sampler="ddim", **told)
    yield "clip-skip", case(clip_skip=1, negative_prompt="", controls=[edges])
    three = [edges, control(mid, blocks, 0.7), control(small, blocks, 1.2, start=0.2)]
    yield "three-controls", case(sampler="euler_a", n=2, controls=three)
    start = dict(init_image="photo-40x48.png", denoise=0.6, controls=[edges])
    yield "img2img", case(sampler="unipc", **start)
    yield "inpaint", case(**start | dict(mask="mask-40x48.png", controls=[]))
    first, dark, _, _ = weights.PARTS
    _, edited, alternating, _ = weights.CHANGING
    read = dict(prompt_syntax="a1111", controls=[edges])
    yield "weights", case(prompt=first, negative_prompt=dark, clip_skip=2, **read)
    texts = dict(prompt=edited, negative_prompt=alternating, clip_skip=3)
    yield "edited", case(sampler="dpmpp_2m", **texts, **read)


def odd_cases():
    """Depth-to-image and latent consistency models."""
    size = dict(width=24, height=32)
    start = dict(init_image="photo-24x32.png", depth="blocks-24x32.png", denoise=0.8)
    yield "depth", base("tiny5", size, **start)
    yield "depth-ddim", base("tiny5", size, sampler="ddim", steps=8, **(start | dict(denoise=1.0)))
    for n, scale in ((4, 8.0), (2, 1.5)):
        yield f"lcm-{n}", base("tinylcm", size, sampler="lcm", steps=n, guidance_scale=scale, n=2)
    start = dict(init_image="photo-24x32.png", denoise=0.6)
    yield "lcm-img2img", base("tinylcm", size, sampler="lcm", **(start | dict(steps=5)))


CASES = {
    "tiny": [
        sampler_cases,
        control_cases,
        other_cases,
        weight_cases,
        embedding_cases,
        adapter_cases,
        image_cases,
    ],
    "tiny2": [tiny2_cases],
    "tiny9": [tiny9_cases],
    "tinyxl": [tinyxl_cases],
    "odd": [odd_cases],
}


def shipped_cases(model, control_model, side, prompts):
    """A few images of a trained model with one ControlNet."""
    size = dict(width=side, height=side)
    hint = [control(control_model, f"edges-{side}x{side}.png")]
    common = dict(negative_prompt="", steps=10)

    def case(prompt, **more):
        return base(model, size, prompt=prompt, **(common | more))

    yield "plain", case(prompts[0])
    yield "control", case(prompts[0], controls=hint)
    yield "no-guidance", case(prompts[1], guidance_scale=1.0, sampler="ddim", controls=hint)
    yield "ancestral", case(prompts[1], sampler="euler_a", controls=hint)
    yield "multistep", case(prompts[0], sampler="dpmpp_2m", schedule="karras", controls=hint)
    yield (
        "image",
        case(
            prompts[1],
            sampler="unipc",
            init_image=f"photo-{side}x{side}.png",
            denoise=0.5,
            controls=hint,
        ),
    )


def write_cases(models, folder, cases):
    folder.mkdir(parents=True, exist_ok=True)
    for name, request in cases:
        write_case(models, folder, name, request)


def make(models, out):
    for model, groups in CASES.items():
        for group in groups:
            folder = models.parent / "odd-models" if model == "odd" else models
            write_cases(folder, out / model, group())
