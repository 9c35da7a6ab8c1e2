"""Trajectories of the samplers with an analytic function in place of the network.

    out_i = 0.3 tanh(x_i) + 0.1 x_i cos(t / 200) + 0.05 sin(i)

x is the scaled model input, i the flat element index; computed in double, rounded to float32 once.
"""

import inspect

import diffusers
import torch

from common import generator, randn, save_rows, save_tensors

SHAPE = (1, 4, 2, 3)  # 24 elements: randn redraws its last 16
SCHEDULES = {"default": {}, "karras": dict(use_karras_sigmas=True)}
SCHEDULES["exponential"] = dict(use_exponential_sigmas=True)
ALL_SPACINGS = ("leading", "trailing", "linspace")

# name: (class, options, has Karras and exponential, spacings)
SAMPLERS = {
    "ddim": ("DDIMScheduler", dict(clip_sample=False, set_alpha_to_one=False), False, ALL_SPACINGS),
    "euler": ("EulerDiscreteScheduler", {}, True, ALL_SPACINGS),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}, False, ALL_SPACINGS),
    "heun": ("HeunDiscreteScheduler", {}, True, ALL_SPACINGS),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}, True, ALL_SPACINGS),
    "dpmpp_2m_sde": (
        "DPMSolverMultistepScheduler",
        dict(algorithm_type="sde-dpmsolver++"),
        True,
        ALL_SPACINGS,
    ),
    "unipc": ("UniPCMultistepScheduler", {}, True, ALL_SPACINGS),
    "lcm": ("LCMScheduler", dict(set_alpha_to_one=False), False, ("leading",)),
    "pndm": (
        "PNDMScheduler",
        dict(skip_prk_steps=True, set_alpha_to_one=False),
        False,
        ALL_SPACINGS,
    ),
    "dpm2": ("KDPM2DiscreteScheduler", {}, True, ALL_SPACINGS),
    "dpm2_a": ("KDPM2AncestralDiscreteScheduler", {}, True, ALL_SPACINGS),
    "lms": ("LMSDiscreteScheduler", {}, True, ALL_SPACINGS),
    "deis": ("DEISMultistepScheduler", {}, True, ALL_SPACINGS),
    "tcd": ("TCDScheduler", dict(set_alpha_to_one=False), False, ("leading",)),
    "dpmpp_2m_sde_heun": (
        "DPMSolverMultistepScheduler",
        dict(algorithm_type="sde-dpmsolver++", solver_type="heun"),
        True,
        ("linspace",),
    ),
}

# The settings of scheduler_config.json that the classes know: 8 steps each, 20 where that matters.
SETTINGS = [
    ("dpmpp_2m", dict(solver_order=3)),
    ("dpmpp_2m", dict(solver_order=3, lower_order_final=False)),
    ("dpmpp_2m", dict(solver_order=1)),
    ("dpmpp_2m", dict(solver_type="heun")),
    ("dpmpp_2m", dict(final_sigmas_type="sigma_min")),
    ("dpmpp_2m", dict(final_sigmas_type="sigma_min", lower_order_final=False)),
    ("dpmpp_2m", dict(final_sigmas_type="sigma_min", euler_at_final=True, steps=20)),
    ("dpmpp_2m", dict(use_lu_lambdas=True)),
    ("dpmpp_2m", dict(use_karras_sigmas=True)),
    ("dpmpp_2m", dict(use_beta_sigmas=True)),
    ("dpmpp_2m", dict(lambda_min_clipped=-1.0)),
    ("dpmpp_2m_sde", dict(solver_order=3, steps=20)),
    ("dpmpp_2m_sde", dict(solver_type="heun")),
    ("unipc", dict(solver_order=1)),
    ("unipc", dict(solver_type="bh1")),
    ("unipc", dict(final_sigmas_type="sigma_min")),
    ("unipc", dict(final_sigmas_type="sigma_min", use_karras_sigmas=True)),
    ("unipc", dict(use_beta_sigmas=True)),
    ("euler", dict(final_sigmas_type="sigma_min")),
    ("euler", dict(use_karras_sigmas=True, sigma_min=0.1, sigma_max=10.0)),
    ("euler", dict(use_beta_sigmas=True)),
    ("heun", dict(clip_sample=True, clip_sample_range=0.5)),
    ("heun", dict(use_beta_sigmas=True)),
    ("ddim", dict(clip_sample=True, clip_sample_range=0.5)),
    ("lcm", dict(clip_sample=True)),
    ("lcm", dict(original_inference_steps=100, timestep_scaling=5.0)),
    ("pndm", dict(skip_prk_steps=False)),
    ("pndm", dict(skip_prk_steps=False, steps=20)),
    ("deis", dict(solver_order=3)),
    ("deis", dict(solver_order=3, lower_order_final=False, use_karras_sigmas=True)),
    ("deis", dict(use_exponential_sigmas=True, steps=20)),
]

# with Karras or exponential sigmas these ignore the spacing
SPACING_OR_SIGMAS = ("DPMSolverMultistepScheduler", "UniPCMultistepScheduler")

BETAS = dict(
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    num_train_timesteps=1000,
    steps_offset=1,
)


def sampler(name, spacing="leading", schedule="default", prediction="epsilon", **betas):
    """The diffusers object for our names; betas: the noise schedule where it is not SD 1.5's."""
    cls, options, sigmas, _ = SAMPLERS[name]
    if schedule != "default" and not sigmas:
        return injected(name, spacing, schedule, prediction, **betas)
    more = {**BETAS, **options, **SCHEDULES[schedule], **betas}
    return getattr(diffusers, cls)(timestep_spacing=spacing, prediction_type=prediction, **more)


def injected(name, spacing, schedule, prediction, **betas):
    """Euler a has no Karras option in diffusers: give it the sigmas and timesteps of Euler."""
    assert name == "euler_a"
    donor = sampler("euler", spacing, schedule, prediction, **betas)
    target = sampler(name, spacing, "default", prediction, **betas)

    def set_timesteps(steps, device=None):
        donor.set_timesteps(steps)
        target.num_inference_steps = steps
        target.timesteps, target.sigmas = donor.timesteps, donor.sigmas
        target._step_index = target._begin_index = None

    target.set_timesteps = set_timesteps
    return target


def network(x, t):
    x = x.double()
    i = torch.arange(x.numel(), dtype=torch.float64).reshape(x.shape)
    wave = torch.cos(torch.as_tensor(t, dtype=torch.float64) / 200)
    return (0.3 * torch.tanh(x) + 0.1 * x * wave + 0.05 * torch.sin(i)).float()


def start_at(s, steps, strength):
    """Timesteps to visit, as the img2img pipelines choose them."""
    s.set_timesteps(steps)
    if strength is None:
        return s.timesteps
    if isinstance(s, diffusers.LCMScheduler):
        s.set_timesteps(steps, strength=1.0)
    skipped = max(steps - min(int(steps * strength), steps), 0) * s.order
    if hasattr(s, "set_begin_index"):
        s.set_begin_index(skipped)
    return s.timesteps[skipped:]


def run(case):
    """One trajectory: (tensors, numbers for the JSON)."""
    settings = case.get("settings", {})
    s = sampler(case["sampler"], case["spacing"], case["schedule"], case["prediction"], **settings)
    gen = generator(case["seed"])
    noise = torch.randn(SHAPE, generator=gen)
    strength = case.get("strength")
    timesteps = start_at(s, case["steps"], strength)
    tensors = dict(timesteps=timesteps.float())
    if strength is None:
        x = noise * s.init_noise_sigma
    else:
        tensors["start"] = randn(SHAPE, 77)
        x = s.add_noise(tensors["start"], noise, timesteps[:1])
    tensors |= dict(noise=noise, init=x)
    takes = "generator" in inspect.signature(s.step).parameters
    inputs, latents = [], []
    for t in timesteps:
        scaled = s.scale_model_input(x, t)
        inputs.append(scaled)
        out = network(scaled, t)
        x = s.step(out, t, x, **(dict(generator=gen) if takes else {})).prev_sample
        latents.append(x)
    tensors |= dict(inputs=torch.cat(inputs), latents=torch.cat(latents))
    if hasattr(s, "sigmas"):
        tensors["sigmas"] = torch.as_tensor(s.sigmas).float()
    numbers = dict(init_noise_sigma=float(s.init_noise_sigma), calls=len(timesteps))
    return tensors, numbers


def combinations(name):
    """(spacing, schedule) pairs of one sampler."""
    _, _, sigmas, spacings = SAMPLERS[name]
    schedules = SCHEDULES if sigmas else ["default"]
    pairs = [(spacing, schedule) for spacing in spacings for schedule in schedules]
    if name == "euler_a":
        pairs += [("linspace", "karras"), ("linspace", "exponential")]
    return pairs


def variants(name, spacing, schedule):
    """(steps, prediction, strength) of one combination."""
    plain = (spacing, schedule) == ("leading", "default")
    ignored = SAMPLERS[name][0] in SPACING_OR_SIGMAS and schedule != "default"
    if name in ("lcm", "tcd"):
        steps = (1, 2, 4, 8)
    elif ignored and spacing == "trailing":
        steps = (3,)
    else:
        steps = (1, 2, 4, 10, 20, 25) if plain else (3, 10)
    found = [(n, "epsilon", None) for n in steps]
    if schedule == "default" or spacing == "leading":
        found.append((7, "v_prediction", None))
    if name != "lms" and (plain or (spacing, schedule) == ("linspace", "karras")):
        found += [(10, "epsilon", 0.6), (5, "v_prediction", 0.5)]
    return found


def cases():
    for name in SAMPLERS:
        for spacing, schedule in combinations(name):
            for steps, prediction, strength in variants(name, spacing, schedule):
                letter = prediction[0]
                title = f"{name}-{spacing}-{schedule}-{letter}-{steps}"
                case = dict(
                    name=title + (f"-from{strength}" if strength else ""),
                    sampler=name,
                    spacing=spacing,
                    schedule=schedule,
                    prediction=prediction,
                    steps=steps,
                    seed=1000 + steps,
                )
                yield case | (dict(strength=strength) if strength else {})
    for i, (name, settings) in enumerate(SETTINGS):
        steps = settings.get("steps", 8)
        yield dict(
            name=f"{name}-settings-{i}",
            sampler=name,
            spacing="leading" if name in ("lcm", "pndm") else "linspace",
            schedule="default",
            prediction="epsilon",
            steps=steps,
            seed=2000 + i,
            settings={k: v for k, v in settings.items() if k != "steps"},
        )


def make(out):
    tensors, listed = {}, []
    for case in cases():
        found, numbers = run(case)
        listed.append(case | numbers)
        tensors.update({f"{case['name']}/{k}": v for k, v in found.items()})
    save_tensors(out / "samplers.safetensors", tensors)
    about = dict(
        network="out[i] = 0.3*tanh(x[i]) + 0.1*x[i]*cos(t/200) + 0.05*sin(i), double, rounded once",
        noise="torch CPU generator(seed): first draw = noise of SHAPE, then one draw per step of "
        "euler_a, dpmpp_2m_sde (every step) and lcm (every step but the last)",
        shape=list(SHAPE),
        betas=BETAS,
    )
    save_rows(out / "samplers.json", listed, **about)
