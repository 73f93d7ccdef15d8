"""Few-step samplers (LCM, consistency models, turbo) as maps: each step predicts the data and adds noise again.

With all later noises drawn once, from the seed, x0 -> x1 is a deterministic and differentiable map. It is given the
form of a flow so that `solve` and `control` serve it: v = (next state - x) / h within a step of length h, whose Euler
steps are the sampler's. Between its times, and under other methods, this v has no meaning.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headwater.adapters.diffusers.schedule import Levels, Schedule, config_of, table_clock
from headwater.adapters.diffusers.schedulers import prediction_of, require_flow, set_timesteps
from headwater.adapters.diffusers.velocity import preserving_scale
from headwater.errors import Misuse
from headwater.flows.conditioned import expand_rows
from headwater.flows.prediction import Velocity
from headwater.flows.seeds import make_generators
from headwater.problem.batch import per_problem, select, select_rows

Numbers = Sequence[float]


@dataclass(frozen=True)
class FewSteps:
    """The steps of a few-step sampler, in the scale of its scheduler.

    Step k makes of the state y: data = of_output[k] out + of_state[k] y, with out = network(scale[k] y), clipped to
    `clip` if given; the next state is keep[k] y + data_weight[k] data + noise_weight[k] z.

    Attributes
    ----------
    levels
        The noise levels of the states; `levels.first` is the factor of N(0, I) in the first of them.
    scale, of_output, of_state, keep, data_weight, noise_weight
        One number per step.
    clip
        The largest absolute value of the data, or None.
    """

    levels: Levels
    scale: Numbers
    of_output: Numbers
    of_state: Numbers
    keep: Numbers
    data_weight: Numbers
    noise_weight: Numbers
    clip: float | None = None


@dataclass(frozen=True)
class FewStepVelocity:
    """v(x, t) = (next state - x) / h for x `[batch, *event]`, t `[]` or `[batch]`, with later noises held.

    Parameters
    ----------
    output
        The network, or its guidance, of (scaled state, timestep).
    schedule
        The path and times.
    steps
        The sampler.
    noises
        One draw of N(0, I) after every step, `[batch, steps, *event]`; 1 row for all problems if none is used.
    """

    output: Velocity
    schedule: Schedule
    steps: FewSteps
    noises: Tensor

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        t = self.schedule.snap(t)
        k = self.schedule.step(t)
        times = torch.tensor(self.schedule.times, dtype=t.dtype, device=t.device)
        after = self._advance(x / self._factor(times[k], x), k, x) * self._factor(times[k + 1], x)
        return (after - x) / per_problem(times[k + 1] - times[k], x)

    def _advance(self, y: Tensor, k: Tensor, x: Tensor) -> Tensor:
        """The scheduler's state after step k, from that before it, y `[batch, *event]`."""
        steps = self.steps
        at = {name: self._entry(getattr(steps, name), k, x) for name in NUMBERS}
        out = self.output(at["scale"] * y, self.schedule.timesteps.to(k.device)[k])
        data = at["of_output"] * out + at["of_state"] * y
        data = data if steps.clip is None else data.clamp(-steps.clip, steps.clip)
        noise: Tensor = expand_rows({"seeds": self.noises}, len(x))["seeds"].to(x)
        z = noise[:, k] if k.ndim == 0 else noise[torch.arange(len(x)), k]
        return at["keep"] * y + at["data_weight"] * data + at["noise_weight"] * z

    def _factor(self, t: Tensor, x: Tensor) -> Tensor:
        """The state of the path over that of the scheduler: both have the same ratio of noise and data."""
        path, levels = self.schedule.path, self.steps.levels
        a, b = path.alpha(t), path.sigma(t)
        exploding = bool((levels.alpha == 1).all())
        return per_problem(a if exploding else 1 / preserving_scale(a, b), x)

    def _entry(self, numbers: Numbers, k: Tensor, x: Tensor) -> Tensor:
        return per_problem(torch.tensor(numbers, dtype=torch.float64, device=k.device)[k], x)

    def select(self, index: Tensor) -> FewStepVelocity:
        """The velocity of the problems in `index`, int64 `[k]`, with their noises."""
        return replace(self, output=select(self.output, index), noises=select_rows(self.noises, index))


NUMBERS = ("scale", "of_output", "of_state", "keep", "data_weight", "noise_weight")


def draw_noises(steps: FewSteps, event: tuple[int, ...], seeds: Sequence[int] | None) -> Tensor:
    """The noises after each step `[batch, steps, *event]`: what the generator of a seed draws after x0.

    Raises
    ------
    Misuse
        If noise is needed and there is no seed.
    """
    count = len(steps.noise_weight)
    if not any(steps.noise_weight):
        return torch.zeros(1, count, *event)
    if seeds is None:
        raise Misuse(
            f"This sampler draws noise between its {count} steps.",
            "Give seeds=[...], one for each problem, from which it is drawn once; or give steps=1.",
        )
    draws = []
    for generator in make_generators(seeds):
        torch.randn(
            event, generator=generator, dtype=torch.float32, device="cpu"
        )  # x0, as `Flow.noise` draws it
        rows = [
            torch.randn(event, generator=generator, dtype=torch.float32, device="cpu") for _ in range(count)
        ]
        draws.append(torch.stack(rows))
    return torch.stack(draws)


def read_lcm(scheduler: Any, steps: int, arguments: dict[str, Any]) -> FewSteps:
    """Latent consistency (Luo et al. 2023): c_out xhat + c_skip y, then noise of the next level."""
    require_flow(scheduler)
    _, timesteps = set_timesteps(scheduler, steps, arguments)
    product = scheduler.alphas_cumprod.double()[timesteps.long()]
    alpha, sigma = product.sqrt(), (1 - product).sqrt()
    skips = [scheduler.get_scalings_for_boundary_condition_discrete(t) for t in timesteps]
    skip, out = (torch.stack(column) for column in zip(*skips, strict=True))
    of_output, of_state = xhat_weights(prediction_of(scheduler), alpha, sigma)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    after, noise = torch.cat([alpha[1:], one]), torch.cat([sigma[1:], zero])
    clock = table_clock(scheduler.alphas_cumprod)
    levels = Levels(torch.cat([alpha, one]), torch.cat([sigma, zero]), timesteps, "few", clock)
    return FewSteps(
        levels,
        scale=[1.0] * steps,
        of_output=(out * of_output).tolist(),
        of_state=(out * of_state + skip).tolist(),
        keep=[0.0] * steps,
        data_weight=after.tolist(),
        noise_weight=noise.tolist(),
    )


def xhat_weights(prediction: str, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of output and state in xhat, for alpha^2 + sigma^2 = 1."""
    if prediction == "epsilon":
        return -sigma / alpha, 1 / alpha
    if prediction == "v_prediction":
        return -sigma, alpha
    return torch.ones_like(alpha), torch.zeros_like(alpha)


def read_consistency(scheduler: Any, steps: int, arguments: dict[str, Any]) -> FewSteps:
    """Consistency models (Song et al. 2023), algorithm 1, with the boundary scalings of their appendix C."""
    sigmas, timesteps = set_timesteps(scheduler, steps, arguments)
    spread, least = config_of(scheduler, "sigma_data"), config_of(scheduler, "sigma_min")
    now, later = sigmas[:-1], sigmas[1:].clamp(least, config_of(scheduler, "sigma_max"))
    total = (now**2 + spread**2).sqrt()
    noise = (later**2 - least**2).clamp(min=0).sqrt() * config_of(scheduler, "s_noise")
    ends = torch.cat([now, torch.zeros(1, dtype=torch.float64)])
    levels = Levels(
        torch.ones_like(ends), ends, timesteps, "few", no_clock, float(scheduler.init_noise_sigma)
    )
    return FewSteps(
        levels,
        scale=(1 / total).tolist(),
        of_output=((now - least) * spread / total).tolist(),
        of_state=(spread**2 / ((now - least) ** 2 + spread**2)).tolist(),
        keep=[0.0] * steps,
        data_weight=[1.0] * steps,
        noise_weight=noise.tolist(),
        clip=1.0 if config_of(scheduler, "clip_denoised") else None,
    )


def read_ancestral(scheduler: Any, steps: int, arguments: dict[str, Any]) -> FewSteps:
    """Ancestral Euler (turbo): a part of the next level is reached by Euler's step, the rest is new noise."""
    require_flow(scheduler)
    sigmas, timesteps = set_timesteps(scheduler, steps, arguments)
    now, later = sigmas[:-1], sigmas[1:]
    up = (later**2 * (now**2 - later**2) / now**2).sqrt()
    keep = (later**2 - up**2).sqrt() / now  # y + (y - data) (down - now) / now
    scale = 1 / (1 + now**2).sqrt()
    of_output, of_state = xhat_weights(prediction_of(scheduler), scale, now * scale)
    levels = Levels(
        torch.ones_like(sigmas),
        sigmas,
        timesteps,
        "few",
        table_clock(scheduler.alphas_cumprod),
        float(scheduler.init_noise_sigma),
    )
    return FewSteps(
        levels,
        scale=scale.tolist(),
        of_output=of_output.tolist(),
        of_state=(of_state * scale).tolist(),
        keep=keep.tolist(),
        data_weight=(1 - keep).tolist(),
        noise_weight=up.tolist(),
    )


def no_clock(alpha: Tensor, sigma: Tensor) -> Tensor:
    """A few-step map knows only its own timesteps."""
    return torch.full_like(alpha, torch.nan)


def read_few_steps(scheduler: Any, steps: int, arguments: dict[str, Any]) -> FewSteps | None:
    """The steps of a few-step sampler, or None for any other scheduler; the scheduler is copied."""
    reader = FEW_STEP_READERS.get(type(scheduler).__name__)
    return None if reader is None else reader(copy.deepcopy(scheduler), steps, arguments)


FEW_STEP_READERS: dict[str, Callable[[Any, int, dict[str, Any]], FewSteps]] = {
    "LCMScheduler": read_lcm,
    "CMStochasticIterativeScheduler": read_consistency,
    "EulerAncestralDiscreteScheduler": read_ancestral,
}
