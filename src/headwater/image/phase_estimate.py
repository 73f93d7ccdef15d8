"""Phase retrieval: estimates from noise, and from what hybrid input-output finds without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from headwater.flows.flow import Flow
from headwater.flows.seeds import derive_seed, draw_normal, make_generators
from headwater.flows.watched import Ended
from headwater.image.operators.phase import PhaseRetrieval
from headwater.problem.batch import per_problem
from headwater.problem.cost import Misfit
from headwater.recipes.estimate import Estimate, EstimateWatch

TWINS = 4
"""x, -x and both turned by half a turn have the same amplitudes."""
CHOICE = 0.4
"""The time at which the denoiser chooses between twins (`benchmarks/decisions/phases.py`)."""


@dataclass(frozen=True)
class PhaseEstimate:
    """Two estimates of a picture from its amplitudes, of which the one with the smaller misfit is kept.

    One begins with noise. The other begins late, at a picture that `retrieve_phases` finds without a network, its
    channels as the twins that the flow's denoiser changes least (`choose_twins`). A wrong picture of amplitudes is a
    local minimum, and its misfit says so, so a second try is worth its calls.

    Attributes
    ----------
    from_noise, from_start
        The two estimates. Where the operator is no `PhaseRetrieval` alone, or has no start, the first is the answer.
    starts, iterations
        Of `retrieve_phases`.

    Examples
    --------
    >>> flow = Flow(lambda x, t: (2 * t - 1) / (t**2 + (1 - t) ** 2) * x, shape=(1, 8, 8))  # to N(0, I)
    >>> x = flow.noise([0])
    >>> misfit = Misfit(PhaseRetrieval(), PhaseRetrieval()(x), 0.1)
    >>> recipe = PhaseEstimate(iterations=200)
    >>> found = recipe.sample(flow, misfit, [1], guess=torch.zeros_like(x), watch=EstimateWatch(misfit, None))
    >>> bool(misfit.rms(found) < 1.5)
    True
    """

    from_noise: Estimate = field(default_factory=lambda: Estimate(times=128, last=0.99))
    from_start: Estimate = field(default_factory=lambda: Estimate(times=64, first=0.3, last=0.99))
    starts: int = 4
    iterations: int = 600

    def sample(
        self, flow: Flow, misfit: Misfit, seeds: Sequence[int], *, guess: Tensor, watch: EstimateWatch
    ) -> Tensor:
        """The better of the two for every problem, `[len(seeds), *event]`; the first if the watch ends the second."""
        first = self.from_noise.sample(flow, misfit, seeds, guess=guess, watch=watch)
        if watch.ended is not None or not isinstance(misfit.operator, PhaseRetrieval):
            return first
        own = [derive_seed(seed, 1) for seed in seeds]
        low, high = flow.range or (-torch.inf, torch.inf)
        start = retrieve_phases(misfit, own, self.starts, self.iterations, (low, high)).to(first)
        try:
            start, spent = choose_twins(flow, start, own)
        except Ended as ended:
            watch.end(ended.status)
            return first
        watch.evaluations += spent
        second = self.from_start.sample(flow, misfit, own, guess=start, watch=watch)
        if watch.ended is not None:
            return first
        return torch.where(per_problem(misfit(second) < misfit(first), first), second, first)


def retrieve_phases(
    misfit: Misfit, seeds: Sequence[int], starts: int, iterations: int, bounds: tuple[float, float]
) -> Tensor:
    """The picture `[len(seeds), c, h, w]` within bounds and its margin of zeros with nearly the measured amplitudes.

    Hybrid input-output with beta = 0.9, then error reduction for a tenth as many iterations, from some random starts
    for each channel, of which the one nearest to the amplitudes is kept. Channels are problems of their own here, so
    each is any of its twins.

    References
    ----------
    Fienup, "Phase retrieval algorithms: a comparison", Applied Optics 21 (1982).

    Examples
    --------
    >>> x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> misfit = Misfit(PhaseRetrieval(), PhaseRetrieval()(x), 0.01)
    >>> found = retrieve_phases(misfit, [0], starts=4, iterations=500, bounds=(0, 1))
    >>> min(float((found - twin).abs().max()) for twin in twins(x)) < 0.05
    True
    """
    y = misfit.y.expand(len(seeds), *misfit.y.shape[1:]).float()
    c, h, w = y.shape[1], y.shape[2] // 2, y.shape[3] // 2
    amplitude = y.clamp(min=0).flatten(0, 1)[:, None, :, : w + 1]  # [n c, 1, 2 h, w + 1]
    measured = torch.ones_like(y, dtype=torch.bool)
    if misfit.measured is not None:
        measured &= misfit.measured
    known = measured.flatten(0, 1)[:, None, :, : w + 1]
    size = (2 * h, 2 * w)
    draws = draw_normal((c, starts, h, w), make_generators(seeds)).to(y.device).flatten(0, 1)
    x = functional.pad(draws / 2, (0, w, 0, h))
    inside = functional.pad(torch.ones_like(draws[:1], dtype=torch.bool), (0, w, 0, h))
    for step in range(iterations + iterations // 10):
        shown = torch.fft.irfft2(
            impose(torch.fft.rfft2(x, norm="ortho"), amplitude, known), size, norm="ortho"
        )
        nearest = shown.clamp(*bounds) * inside
        feedback = nearest if step >= iterations else x - 0.9 * shown
        x = torch.where(inside & (nearest == shown), shown, feedback)
    off = (torch.fft.rfft2(x, norm="ortho").abs() - amplitude).square() * known
    best = x[torch.arange(len(x)), off.sum((-2, -1)).argmin(1), :h, :w]
    return best.reshape(len(seeds), c, h, w).clamp(*bounds)


def impose(spectrum: Tensor, amplitude: Tensor, known: Tensor) -> Tensor:
    """The spectrum with its own phases and the amplitudes that are known."""
    return torch.where(known, spectrum * (amplitude / spectrum.abs().clamp(min=1e-12)), spectrum)


def twins(x: Tensor) -> Tensor:
    """What has the amplitudes of x `[..., h, w]`: itself, its half turn, and minus both, `[4, ..., h, w]`."""
    turned = x.flip((-2, -1))
    return torch.stack([x, turned, -x, -turned])


def choose_twins(flow: Flow, x: Tensor, seeds: Sequence[int], t: float = CHOICE) -> tuple[Tensor, int]:
    """The twins of the channels of x `[batch, c, h, w]` that suit each other, and the evaluations a problem took.

    Of all choices, 4^c of them, with noise the one that the denoiser at t changes least. More than three channels
    have the same twin.
    """
    noise, channels = draw_normal(flow.shape, make_generators(seeds)).to(x), x.shape[1]
    kinds = (
        list(product(range(TWINS), repeat=channels))
        if channels <= 3
        else [(k,) * channels for k in range(TWINS)]
    )
    every = twins(x)  # [4, batch, c, h, w]

    def choose(index: Tensor) -> Tensor:
        """Channel i of problem b as its twin index[b, i]."""
        return every[index, torch.arange(len(x))[:, None], torch.arange(channels)]

    choices = [torch.tensor(kind).expand(len(x), -1) for kind in kinds]
    changes = torch.stack([change(flow, choose(index), noise, t) for index in choices])
    return choose(torch.tensor(kinds)[changes.argmin(0).cpu()]), len(kinds)


def change(flow: Flow, x: Tensor, noise: Tensor, t: float) -> Tensor:
    """The squared distance `[batch]` of x from what the denoiser makes of x_t."""
    when = torch.tensor(t, dtype=torch.float64)
    with torch.no_grad():
        seen = flow.denoise(flow.path.interpolate(noise, x, when), when)
    return (seen - x).flatten(1).square().sum(1)
