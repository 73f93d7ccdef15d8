"""Phase retrieval: estimates from noise, and from what hybrid input-output finds without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

ASK_EVERY = 10
"""Iterations between two questions whether to go on; those of a large picture take seconds."""

Ask = Callable[[], object]


def go_on() -> None:
    """The answer where nobody ends a run."""


@dataclass(frozen=True)
class PhaseEstimate:
    """Two estimates of a picture from its amplitudes, of which the one with the smaller misfit is kept.

    One begins with noise. The other begins late, at a picture that `retrieve_phases` finds without a network, its
    channels as the twins that the flow's denoiser changes least (`choose_twins`). A wrong picture of amplitudes is a
    local minimum, and its misfit says so, so a second try is worth its calls.

    Attributes
    ----------
    from_noise, from_start
        The two estimates. Where the operator is more than a `PhaseRetrieval`, a chain, the first is the answer.
    starts, iterations
        Of `retrieve_phases`.

    Examples
    --------
    >>> flow = Flow(lambda x, t: (2 * t - 1) / (t**2 + (1 - t) ** 2) * x, shape=(1, 8, 8))  # to N(0, I)
    >>> x = flow.noise([0])
    >>> misfit = Misfit(PhaseRetrieval(), PhaseRetrieval()(x), 0.1)
    >>> recipe = PhaseEstimate(Estimate(times=16), Estimate(times=16, first=0.3), iterations=200)
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
        """The better of the two for every problem, `[len(seeds), *event]`; the first if the watch ends the second.

        The watch sees the first, too, while the start of the second is made.
        """
        first = self.from_noise.sample(flow, misfit, seeds, guess=guess, watch=watch)
        if watch.ended is not None or not isinstance(misfit.operator, PhaseRetrieval):
            return first
        own = [derive_seed(seed, 1) for seed in seeds]
        try:
            start = self.begin(flow, misfit, own, first, watch)
        except Ended as ended:
            watch.end(ended.status)
            return first
        second = self.from_start.sample(flow, misfit, own, guess=start, watch=watch)
        if watch.ended is not None:
            return first
        costs = [misfit(x).nan_to_num(nan=torch.inf, posinf=torch.inf) for x in (first, second)]
        return torch.where(per_problem(costs[1] < costs[0], first), second, first)

    def begin(
        self, flow: Flow, misfit: Misfit, seeds: Sequence[int], shown: Tensor, watch: EstimateWatch
    ) -> Tensor:
        """The start of the second estimate, like `shown` `[len(seeds), *event]`, which the watch sees meanwhile.

        Raises
        ------
        Ended
            The watch or a watched flow ended it.
        """

        def ask(evaluated: bool) -> None:
            if watch(shown) if evaluated else watch.report(shown):
                assert watch.ended is not None
                raise Ended(watch.ended)

        bounds = flow.range or (-torch.inf, torch.inf)
        start = retrieve_phases(
            misfit, seeds, self.starts, self.iterations, bounds, lambda: ask(evaluated=False)
        )
        return choose_twins(flow, start.to(shown), seeds, ask=lambda: ask(evaluated=True))[0]


def retrieve_phases(
    misfit: Misfit,
    seeds: Sequence[int],
    starts: int,
    iterations: int,
    bounds: tuple[float, float],
    ask: Ask = go_on,
) -> Tensor:
    """The picture `[len(seeds), c, h, w]` within bounds and its margin of zeros with nearly the measured amplitudes.

    Hybrid input-output with beta = 0.9, then error reduction for a tenth as many iterations, from some random starts
    for each channel, of which the one nearest to the amplitudes is kept. Channels are problems of their own here, so
    each is any of its twins. `ask` is called every few iterations, and may raise `Ended`.

    References
    ----------
    Fienup, "Phase retrieval algorithms: a comparison", Applied Optics 21 (1982).

    Examples
    --------
    >>> x = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> misfit = Misfit(PhaseRetrieval(), PhaseRetrieval()(x), 0.01)
    >>> found = retrieve_phases(misfit, [0], starts=16, iterations=500, bounds=(0, 1))
    >>> min(float((found - twin).abs().max()) for twin in twins(x)) < 0.05
    True
    """
    amplitude, known = average_mirrored(misfit, len(seeds))
    c, h, w = amplitude.shape[1], amplitude.shape[2] // 2, amplitude.shape[3] // 2
    draws = draw_normal((c, starts, h, w), make_generators(seeds)).to(amplitude) / 2
    # one by one, as rounding, which may depend on the batch, grows over so many iterations
    found = [
        retrieve_one(x, a[:, None, :, : w + 1], k[:, None, :, : w + 1], iterations, bounds, ask)
        for x, a, k in zip(draws, amplitude, known, strict=True)
    ]
    return torch.stack(found)


def retrieve_one(
    x: Tensor, amplitude: Tensor, known: Tensor, iterations: int, bounds: tuple[float, float], ask: Ask
) -> Tensor:
    """The channels `[c, h, w]` of one picture from starts x `[c, starts, h, w]`; see `retrieve_phases`.

    The amplitudes, and which of them are known, are those of half the spectrum, `[c, 1, 2 h, w + 1]`.
    """
    h, w = x.shape[-2:]
    inside = functional.pad(torch.ones_like(x[:1, :1], dtype=torch.bool), (0, w, 0, h))
    x = functional.pad(x, (0, w, 0, h))
    for step in range(iterations + iterations // 10):
        if step % ASK_EVERY == 0:
            ask()
        shown = torch.fft.irfft2(
            impose(torch.fft.rfft2(x, norm="ortho"), amplitude, known), (2 * h, 2 * w), norm="ortho"
        )
        nearest = shown.clamp(*bounds) * inside
        feedback = nearest if step >= iterations else x - 0.9 * shown
        x = torch.where(inside & (nearest == shown), shown, feedback)
    off = (torch.fft.rfft2(x, norm="ortho").abs() - amplitude).square() * known
    best = x[torch.arange(len(x)), off.sum((-2, -1)).argmin(1), :h, :w]
    return best.clamp(*bounds)


def average_mirrored(misfit: Misfit, rows: int) -> tuple[Tensor, Tensor]:
    """The amplitudes |F P x| `[rows, c, 2 h, 2 w]`, 0 where they are unknown, and where they are known.

    A frequency k and its mirror -k have the same amplitude, so each is the mean of what was measured at both.
    """
    y = misfit.y.expand(rows, *misfit.y.shape[1:]).float()
    measured = torch.ones_like(y, dtype=torch.bool)
    if misfit.measured is not None:
        measured &= misfit.measured.to(y.device)
    y = torch.where(measured, y, torch.zeros_like(y))  # it may be NaN there
    count = measured.to(y) + mirror_frequencies(measured).to(y)
    mean = (y + mirror_frequencies(y)) / count.clamp(min=1)
    eps = getattr(misfit.operator, "eps", 0.0)  # y = sqrt(|F P x|^2 + eps)
    return (mean.clamp(min=0).square() - eps).clamp(min=0).sqrt(), count > 0


def mirror_frequencies(spectrum: Tensor) -> Tensor:
    """What a full spectrum `[..., rows, columns]` has at -k, in the place of k."""
    return spectrum.flip((-2, -1)).roll((1, 1), (-2, -1))


def impose(spectrum: Tensor, amplitude: Tensor, known: Tensor) -> Tensor:
    """The spectrum with its own phases and the amplitudes that are known."""
    size = spectrum.abs().clamp(min=1e-12)
    return spectrum * torch.where(known, amplitude / size, torch.ones_like(size))


def twins(x: Tensor) -> Tensor:
    """What has the amplitudes of x `[..., h, w]`: itself, its half turn, and minus both, `[4, ..., h, w]`."""
    turned = x.flip((-2, -1))
    return torch.stack([x, turned, -x, -turned])


def choose_twins(
    flow: Flow, x: Tensor, seeds: Sequence[int], t: float = CHOICE, ask: Ask = go_on
) -> tuple[Tensor, int]:
    """The twins of the channels of x `[batch, c, h, w]` that suit each other, and the evaluations a problem took.

    They are those that the denoiser at t changes least once there is noise on them: of all 4^c choices for up to
    three channels. Of more channels one after another is chosen, the others as they are, and all of them twice over.
    """
    noise, channels = draw_normal(flow.shape, make_generators(seeds)).to(x), x.shape[1]
    together = [tuple(range(channels))] if channels <= 3 else [(i,) for i in range(channels)] * 2
    every, rows, spent = twins(x), torch.arange(len(x)), 0  # [4, batch, c, h, w]

    def take(index: Tensor) -> Tensor:
        """Channel i of problem b as its twin index[b, i]."""
        return every[index, rows[:, None], torch.arange(channels)]

    chosen = torch.zeros(len(x), channels, dtype=torch.long)
    for group in together:
        choices, changes = [], []
        for kinds in product(range(TWINS), repeat=len(group)):
            choices.append(chosen.clone())
            choices[-1][:, group] = torch.tensor(kinds)
            changes.append(change(flow, take(choices[-1]), noise, t))
            spent += 1
            ask()
        # argmin would take what is NaN
        best = torch.stack(changes).nan_to_num(nan=torch.inf, posinf=torch.inf).argmin(0).cpu()
        chosen = torch.stack(choices)[best, rows]
    return take(chosen), spent


def change(flow: Flow, x: Tensor, noise: Tensor, t: float) -> Tensor:
    """The squared distance `[batch]` of x from what the denoiser makes of x_t."""
    when = torch.tensor(t, dtype=torch.float64)
    with torch.no_grad():
        seen = flow.denoise(flow.path.interpolate(noise, x, when), when)
    return (seen - x).flatten(1).square().sum(1)
