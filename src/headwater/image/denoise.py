"""Denoising a picture: one evaluation of the denoiser for every view of it, at the noise that it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.flows.seeds import draw_normal, make_generators
from headwater.image.noise import (
    NoiseLevels,
    estimate_levels,
    from_luma_chroma,
    to_luma_chroma,
)
from headwater.problem.batch import per_problem, select
from headwater.problem.cost import Misfit
from headwater.recipes.one_evaluation import (
    OneEvaluation,
    View,
    denoise_in_views,
    follow,
    require_measured_state,
)
from headwater.recipes.recipe import RecipeOptions


def mirror(*axes: int) -> View:
    """The mirror image along some axes."""
    return partial(torch.flip, dims=axes)


MIRRORS: tuple[View, ...] = (mirror(), mirror(-1), mirror(-2), mirror(-2, -1))


@dataclass(frozen=True)
class DenoisePicture:
    """The mean of what is likely for a noisy picture `[3, h, w]`, `OneEvaluation` made fit for pictures.

    The network knows white noise. Noise of another kind is raised to it, each part of the picture at its own level:

    1. The luma is taken from the picture whose chroma has got fresh noise, up to that of the luma. In a grey picture,
       whose channels have the same noise sigma_y, that is sqrt(3) sigma_y (n_c - mean_c n), and nothing else is done:
       the channels are averaged.
    2. The chroma is taken from the picture with that luma, to which as much noise is added as the chroma has.

    With white noise both are one, and no noise is added. The misfit is below the noise level by nature, see
    `OneEvaluation`.

    Attributes
    ----------
    views
        Mirror images that are their own inverse, and keep the size of the picture.

    Examples
    --------
    >>> from headwater import Flow
    >>> y = torch.zeros(1, 3, 8, 8)
    >>> result = DenoisePicture()(Flow(lambda x, t: -x, (3, 8, 8)), Misfit(lambda x: x, y, 0.1), [0], guess=y)
    >>> result.status[0].name, result.evaluations.tolist()
    ('COMPUTED', [4])
    """

    views: tuple[View, ...] = MIRRORS

    def __call__(
        self,
        flow: Flow,
        misfit: Misfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> Result:
        """Denoise a batch; see `Recipe`. `guess` is the measurement on the flow's canvas."""
        require_measured_state(misfit, guess)
        y = guess.expand(len(seeds), *flow.shape)
        if flow.shape[0] != 3:
            return OneEvaluation(self.views)(flow, misfit, seeds, guess=guess, options=options)
        sigma_y = torch.as_tensor(misfit.sigma_y, device=y.device).expand(len(seeds))
        measured = misfit.y.to(y).expand(len(seeds), 3, *misfit.y.shape[2:])  # a grey one was measured once
        levels = estimate_levels(measured, sigma_y)
        return follow(self.denoise(flow, y, levels, seeds), misfit, y, options)

    def denoise(self, flow: Flow, y: Tensor, levels: NoiseLevels, seeds: Sequence[int]) -> Iterator[Tensor]:
        """The running means of both steps, `[batch, 3, h, w]` each, one evaluation after the other."""
        generators = make_generators(seeds)
        missing = (levels.luma**2 - levels.chroma**2).clamp(min=0).sqrt()

        def draw() -> Tensor:
            fresh = to_luma_chroma(draw_normal(flow.shape, generators).to(y))
            return y + from_luma_chroma(
                join_luma_chroma(torch.zeros_like(y), per_problem(missing, y) * fresh)
            )

        x1 = y
        for x1 in denoise_in_views(flow, draw, levels.luma, self.views):
            yield self.keep_grey(x1, levels)
        rows = torch.nonzero(~levels.grey & (missing > 0)).flatten()
        if len(rows):
            yield from self.denoise_chroma(flow, y, x1, levels, rows, generators)

    def denoise_chroma(
        self,
        flow: Flow,
        y: Tensor,
        x1: Tensor,
        levels: NoiseLevels,
        rows: Tensor,
        generators: Sequence[torch.Generator],
    ) -> Iterator[Tensor]:
        """The second step for the problems in `rows` `[k]`: x1 `[batch, 3, h, w]` with another chroma."""
        # Below this level the rounding of 8 bits is all there is.
        level = levels.chroma[rows].clamp(min=0.005)
        luma, chroma = to_luma_chroma(x1)[rows], to_luma_chroma(y)[rows]
        own = [generators[i] for i in rows.tolist()]

        def draw() -> Tensor:
            noise = to_luma_chroma(draw_normal(flow.shape, own).to(y))
            return from_luma_chroma(join_luma_chroma(luma + per_problem(level, y) * noise, chroma))

        for found in denoise_in_views(select(flow, rows), draw, level, self.views):
            whole = x1.clone()
            whole[rows] = from_luma_chroma(join_luma_chroma(luma, to_luma_chroma(found)))
            yield self.keep_grey(whole, levels)

    def keep_grey(self, x1: Tensor, levels: NoiseLevels) -> Tensor:
        """x1 `[batch, 3, h, w]` with the mean of the channels in each of them where the picture is grey."""
        return torch.where(per_problem(levels.grey, x1), x1.mean(1, keepdim=True), x1)


def join_luma_chroma(luma: Tensor, chroma: Tensor) -> Tensor:
    """The luma of one and the chroma of the other, all `[batch, 3, h, w]` in the axes of `to_luma_chroma`."""
    return torch.cat([luma[:, :1], chroma[:, 1:]], 1)
