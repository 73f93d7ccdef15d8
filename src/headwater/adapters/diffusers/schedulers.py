"""How the noise levels of each scheduler of diffusers are read.

A scheduler is a state machine; it is copied, asked for its timesteps and sigmas, and never stepped. Schedulers of
higher order (PNDM, DPM-Solver++, UniPC, Heun ...) sample the same flow as Euler's method on the same levels, with
other steps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from headwater.adapters.diffusers.schedule import Clock, Levels, config_of, straight_clock, table_clock
from headwater.errors import Misuse, suggest
from headwater.extras import import_optional

PREDICTIONS = ("epsilon", "v_prediction", "sample")


def read_levels(scheduler: Any, steps: int, arguments: dict[str, Any]) -> Levels:
    """The noise levels of a scheduler with `steps` steps; `arguments` are those of its `set_timesteps`.

    Raises
    ------
    Misuse
        If the scheduler is unknown, or its sampler is no flow.
    """
    name = type(scheduler).__name__
    if name not in READERS:
        raise Misuse(
            f"The scheduler {name} is unknown, or draws noise in every step.", suggest(name, READERS)
        )
    require_flow(scheduler)
    return READERS[name](copy.deepcopy(scheduler), steps, arguments)


def require_flow(scheduler: Any) -> None:
    """Refuse what makes a sampler something else than a flow: clipping, thresholds and noise in every step."""
    name = type(scheduler).__name__
    for entry in ("clip_sample", "thresholding"):
        if config_of(scheduler, entry, False):
            raise Misuse(
                f"The {name} has {entry}=True: it changes the prediction in every step, which is no flow.",
                f"Give it without, {name}.from_config(pipeline.scheduler.config, {entry}=False).",
            )
    if config_of(scheduler, "stochastic_sampling", False) or str(
        config_of(scheduler, "algorithm_type", "")
    ).startswith("sde"):
        raise Misuse(
            f"The {name} draws noise in every step, which is no flow.",
            "Set its stochastic_sampling to False and its algorithm_type to 'dpmsolver++'.",
        )
    if config_of(scheduler, "invert_sigmas", False):
        raise Misuse(f"The {name} has invert_sigmas=True.", "Give a pipeline of a family in the table.")


def prediction_of(scheduler: Any) -> str:
    """What the network of a diffusion scheduler predicts; a `Misuse` if that is unknown."""
    prediction = str(config_of(scheduler, "prediction_type", "epsilon"))
    if prediction not in PREDICTIONS:
        raise Misuse(
            f"The prediction type {prediction!r} of the {type(scheduler).__name__} is unknown.",
            f"Known are: flow_prediction, {', '.join(PREDICTIONS)}.",
        )
    return prediction


def set_timesteps(scheduler: Any, steps: int, arguments: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The sigmas `[n + 1]` and timesteps `[n]` of a scheduler, in float64."""
    try:
        scheduler.set_timesteps(None if "sigmas" in arguments and steps is None else steps, **arguments)
    except ValueError as error:
        raise Misuse(
            f"The {type(scheduler).__name__} cannot take {steps} steps: {str(error).strip().rstrip('.')}.",
            "Give fewer steps, or another scheduler.",
        ) from error
    sigmas = getattr(scheduler, "sigmas", torch.empty(0))
    return torch.as_tensor(sigmas).double().cpu(), torch.as_tensor(scheduler.timesteps).double().cpu()


def read_flow_matching(scheduler: Any, steps: int, arguments: dict[str, Any]) -> Levels:
    """Sigmas of a straight path; the timestep is 1000 sigma."""
    sigmas, timesteps = set_timesteps(scheduler, steps, arguments)
    clock = straight_clock(config_of(scheduler, "num_train_timesteps"))
    return Levels(1 - sigmas, sigmas, timesteps, "flow", clock)


def read_ddim(scheduler: Any, steps: int, arguments: dict[str, Any]) -> Levels:
    """Indices of the table of DDIM, each of which has to be the end of the step before."""
    _, timesteps = set_timesteps(scheduler, steps, arguments)
    index = timesteps.long()
    ends = index - config_of(scheduler, "num_train_timesteps") // steps
    if not bool((ends[:-1] == index[1:]).all()):
        raise Misuse(
            f"With {steps} steps in {config_of(scheduler, 'timestep_spacing')!r} spacing a step of DDIM ends at "
            "another noise level than the next begins, which is no flow.",
            "Take EulerDiscreteScheduler.from_config(pipeline.scheduler.config), or steps that divide the table with "
            "'trailing'.",
        )
    table = scheduler.alphas_cumprod.double()
    final = table[ends[-1]] if ends[-1] >= 0 else scheduler.final_alpha_cumprod.double()
    product = torch.cat([table[index], final.reshape(1)])
    return preserving(scheduler, product.sqrt(), (1 - product).sqrt(), timesteps, table_clock(table))


def preserving(
    scheduler: Any, alpha: Tensor, sigma: Tensor, timesteps: Tensor, clock: Clock, exact: bool = True
) -> Levels:
    """Levels with alpha^2 + sigma^2 = 1; without any data at the first level only a v-prediction can be used."""
    prediction = prediction_of(scheduler)
    if prediction == "epsilon" and float(alpha[0]) < 1e-6:
        raise Misuse(
            "The noisiest level holds no data (zero terminal SNR), and there predicted noise says nothing.",
            "Give a checkpoint that was trained for it, with prediction_type='v_prediction'.",
        )
    return Levels(alpha, sigma, timesteps, prediction, clock, exact=exact)


def through(scheduler_class: str, **changes: Any) -> Callable[[Any, int, dict[str, Any]], Levels]:
    """A reader that takes the levels of another scheduler of the same configuration."""

    def read(scheduler: Any, steps: int, arguments: dict[str, Any]) -> Levels:
        other = getattr(import_optional("diffusers", "diffusers"), scheduler_class)
        levels = READERS[scheduler_class](other.from_config(scheduler.config, **changes), steps, arguments)
        return Levels(**{**vars(levels), "exact": False})

    return read


def read_euler(scheduler: Any, steps: int, arguments: dict[str, Any]) -> Levels:
    """Sigmas with alpha = 1; the pipeline scales its noise by `init_noise_sigma`."""
    sigmas, timesteps = set_timesteps(scheduler, steps, arguments)
    if config_of(scheduler, "timestep_type", "discrete") != "discrete":
        raise Misuse(
            "The EulerDiscreteScheduler has continuous timesteps.", "Set timestep_type to 'discrete'."
        )
    clock = table_clock(scheduler.alphas_cumprod)
    first = float(scheduler.init_noise_sigma)
    return Levels(torch.ones_like(sigmas), sigmas, timesteps, prediction_of(scheduler), clock, first)


def read_multistep(scheduler: Any, steps: int, arguments: dict[str, Any]) -> Levels:
    """Sigmas of DPM-Solver++ and its kin, of a straight path or relative to alpha."""
    sigmas, timesteps = set_timesteps(scheduler, steps, arguments)
    exact = config_of(scheduler, "solver_order", 2) == 1
    if config_of(scheduler, "use_flow_sigmas", False):
        clock = straight_clock(config_of(scheduler, "num_train_timesteps"))
        return Levels(1 - sigmas, sigmas, timesteps, "flow", clock, exact=exact)
    alpha = 1 / (1 + sigmas**2).sqrt()
    return preserving(
        scheduler, alpha, sigmas * alpha, timesteps, table_clock(scheduler.alphas_cumprod), exact
    )


def read_edm(scheduler: Any, steps: int, arguments: dict[str, Any]) -> Levels:
    """Sigmas with alpha = 1 and the scalings of EDM for data of unit variance, which are those of v-prediction."""
    if config_of(scheduler, "sigma_data") != 1.0 or prediction_of(scheduler) != "v_prediction":
        raise Misuse(
            f"The {type(scheduler).__name__} has the scalings of EDM for data of another spread than 1.",
            "Give one with sigma_data=1 and prediction_type='v_prediction'.",
        )
    sigmas, timesteps = set_timesteps(scheduler, steps, arguments)
    cosine = type(scheduler).__name__.startswith("Cosine")
    first = float(scheduler.init_noise_sigma)
    exact = not cosine and config_of(scheduler, "solver_order", 1) == 1
    return Levels(
        torch.ones_like(sigmas),
        sigmas,
        timesteps,
        "v_prediction",
        angle_clock if cosine else log_clock,
        first,
        exact,
    )


def angle_clock(alpha: Tensor, sigma: Tensor) -> Tensor:
    """(2 / pi) atan(sigma / alpha), the timestep of StableAudio."""
    return torch.atan2(sigma, alpha) / math.pi * 2


def log_clock(alpha: Tensor, sigma: Tensor) -> Tensor:
    """log(sigma / alpha) / 4, the timestep of EDM; the data itself, without a logarithm, counts as sigma = 1e-8."""
    return 0.25 * torch.log((sigma / alpha).clamp(min=1e-8))


READERS: dict[str, Callable[[Any, int, dict[str, Any]], Levels]] = {
    "FlowMatchEulerDiscreteScheduler": read_flow_matching,
    "FlowMatchHeunDiscreteScheduler": through("FlowMatchEulerDiscreteScheduler"),
    "DDIMScheduler": read_ddim,
    "DDPMScheduler": through("DDIMScheduler"),
    "PNDMScheduler": through("DDIMScheduler", clip_sample=False),
    "EulerDiscreteScheduler": read_euler,
    "HeunDiscreteScheduler": through("EulerDiscreteScheduler"),
    "KDPM2DiscreteScheduler": through("EulerDiscreteScheduler"),
    "LMSDiscreteScheduler": through("EulerDiscreteScheduler"),
    "DPMSolverMultistepScheduler": read_multistep,
    "DPMSolverSinglestepScheduler": read_multistep,
    "DEISMultistepScheduler": read_multistep,
    "UniPCMultistepScheduler": read_multistep,
    "EDMEulerScheduler": read_edm,
    "EDMDPMSolverMultistepScheduler": read_edm,
    "CosineDPMSolverMultistepScheduler": read_edm,
}
"""The reader of every scheduler, by its class."""
