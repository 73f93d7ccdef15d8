"""One source for all pictures: the seed with which a restorer does best on tuning problems, used for every other.

Optimal boundary conditions (Ma et al., ICLR 2024): the samples of a restorer differ in quality from seed to seed, and
for a restorer that is told the measurement a seed that is good for one picture is good for others:

    for k in candidates:   s_k = mean_i d(restore(x0_k, y_i), z_i)      over tuning pairs (z_i, y_i)
    k* = argmin_k s_k;     x1 = restore(x0_k*, y) for every new y

Whether a seed *is* good for all can be seen in the distances: `SharedSeed.shared` is the part of their variance
between seeds, less what chance puts there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.optimizers.status import Status
from headwater.problem.cost import Misfit
from headwater.recipes.recipe import Recipe, RecipeOptions

Distance = Callable[[Tensor, Tensor], Tensor]
"""d(x1, truth) -> one number per problem `[batch]`, smaller is better."""


@dataclass(frozen=True)
class SharedSeed:
    """The best seed among candidates, and what was measured of all.

    Attributes
    ----------
    seed
        The candidate with the smallest mean distance.
    candidates
        All of them.
    distance
        Of each candidate on each tuning problem, `[candidates, problems]`; infinite where a run diverged, or where
        the distance is not a number.

    Examples
    --------
    >>> choice = SharedSeed(7, (3, 7), torch.tensor([[1.0, 2.0], [0.5, 1.5]]))
    >>> choice.mean.tolist(), choice.shared
    ([1.5, 1.0], 1.0)
    """

    seed: int
    candidates: tuple[int, ...]
    distance: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean distance of each candidate, `[candidates]`."""
        return self.distance.mean(1)

    @property
    def shared(self) -> float:
        """The share of the variance within a problem that belongs to the seed, 0 (chance) to 1 (the same for all).

        The intraclass correlation of a two-way table, (M_s - M_e) / (M_s + (n - 1) M_e) with the mean squares of
        seeds and of the rest, not below 0; NaN with fewer than two candidates or problems.

        References
        ----------
        Shrout & Fleiss, "Intraclass correlations", Psychological Bulletin 86 (1979), ICC(3, 1).
        """
        k, n = self.distance.shape
        if k < 2 or n < 2:
            return float("nan")
        d = self.distance.to(torch.float64)
        seeds, problems, grand = d.mean(1, keepdim=True), d.mean(0, keepdim=True), d.mean()
        between = n * (seeds - grand).square().sum() / (k - 1)
        rest = (d - seeds - problems + grand).square().sum() / ((k - 1) * (n - 1))
        return float(((between - rest) / (between + (n - 1) * rest)).clamp(min=0))


def mean_square(x1: Tensor, truth: Tensor) -> Tensor:
    """The mean square of x1 - truth, `[batch, *event]` each, `[batch]`."""
    return (x1 - truth).flatten(1).square().mean(1)


def find_shared_seed(
    recipe: Recipe,
    flow: Flow,
    misfit: Misfit,
    truth: Tensor,
    candidates: Sequence[int],
    *,
    guess: Tensor,
    distance: Distance = mean_square,
    options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
) -> SharedSeed:
    """The seed with which a recipe does best on tuning problems; give it to every new one, `seeds=[choice.seed] * n`.

    With the mean square the best seed is the one whose sample lies nearest to the mean of the posterior, which is
    smoother than a sample should be; the mean of several samples lies nearer still. A perceptual distance is what the
    authors take.

    Parameters
    ----------
    recipe
        A restorer whose answer depends on the seed, such as `Estimate(fresh=0)`, whose seed is its source alone.
    flow
        The model, with events `[*event]`.
    misfit
        The measurements of the tuning problems.
    truth
        What was measured, `[problems, *event]`.
    candidates
        Seeds; the authors try 1,000 on 300 pictures.
    guess
        As a `Recipe` takes it, `[problems or 1, *event]`.
    distance
        d(x1, truth), one number per problem, smaller is better.
    options
        Handed to the recipe.

    Returns
    -------
    choice
        A `SharedSeed`.

    Raises
    ------
    Misuse
        If there is no candidate or no tuning problem, the distance is not one number per problem, or no candidate
        served all of them.

    References
    ----------
    Ma et al., "Solving Diffusion ODEs with Optimal Boundary Conditions for Better Image Super-Resolution", ICLR 2024.

    Examples
    --------
    >>> from headwater import Estimate, Gaussian, Identity, Misfit
    >>> law = Gaussian(torch.zeros(2), torch.ones(2))
    >>> truth = law.sample(range(8)).float()
    >>> misfit = Misfit(Identity(), truth, 1.0)
    >>> choice = find_shared_seed(Estimate(), law.flow, misfit, truth, range(4), guess=truth)
    >>> choice.seed == int(choice.mean.argmin()), choice.distance.shape
    (True, torch.Size([4, 8]))
    """
    if len(candidates) == 0 or len(truth) == 0:
        raise Misuse(
            f"There are {len(candidates)} candidates and {len(truth)} tuning problems.", "Give some of each."
        )
    rows = []
    for seed in candidates:
        result = recipe(flow, misfit, [seed] * len(truth), guess=guess, options=options)
        with torch.no_grad():
            d = torch.as_tensor(distance(result.x1, truth))
        if d.shape != (len(truth),):
            raise Misuse(
                f"The distance has the shape {tuple(d.shape)} for {len(truth)} problems.",
                "Return one number per problem, such as a mean over the entries of each.",
            )
        diverged = torch.tensor([status is Status.DIVERGED for status in result.status], device=d.device)
        lost = diverged | d.isnan()
        rows.append(torch.where(lost, torch.inf, d.to(torch.float64)))
    table = torch.stack(rows)
    if not bool(table.mean(1).isfinite().any()):
        raise Misuse(
            f"None of {len(candidates)} seeds served all {len(truth)} tuning problems.",
            "Leave out the problems on which the recipe diverges, or give another recipe.",
        )
    return SharedSeed(int(candidates[int(table.mean(1).argmin())]), tuple(map(int, candidates)), table)
