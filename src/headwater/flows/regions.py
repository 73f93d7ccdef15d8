"""A canvas whose regions have flows of their own: other prompts, other models, one picture.

    v(x, t) = sum_k w_k P_k^T v_k(P_k x, t) / sum_k w_k

with P_k the crop to region k and w_k its weight at every place. Where regions overlap their velocities are averaged,
so that what they draw fits together; where they do not, they are independent. It is `windowed` with a velocity of its
own for every window.

(Mixture of Diffusers, Jimenez 2023; MultiDiffusion, Bar-Tal et al., ICML 2023, eq. 5.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.composed import have_one_path
from headwater.flows.flow import Flow
from headwater.flows.windowed import bump
from headwater.problem.batch import select


@dataclass(frozen=True, eq=False)
class Region:
    """A flow at a place of a canvas.

    Parameters
    ----------
    flow
        With events `[..., h, w]`, the size of the region; `extend_to_canvas` makes a larger one of a window.
    top, left
        Where the region begins.
    weight
        How much it counts at each of its places, `[h, w]`, not negative; 0 outside of a form that is no box. None is
        a smooth bump, of which no edge shows.

    Raises
    ------
    Misuse
        If the place is negative, or the weight has another shape, is negative or not finite.

    Examples
    --------
    >>> from headwater import Flow
    >>> Region(Flow(lambda x, t: -x, shape=(1, 4, 4)), left=2).box
    (slice(0, 4, None), slice(2, 6, None))
    """

    flow: Flow
    top: int = 0
    left: int = 0
    weight: Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.flow.shape) < 2 or self.top < 0 or self.left < 0:
            raise Misuse(
                f"A flow of events {self.flow.shape} cannot stand at ({self.top}, {self.left}).",
                "Give a flow of pictures [..., h, w], and where its region begins, from 0.",
            )
        if self.weight is not None and (
            tuple(self.weight.shape) != self.flow.shape[-2:]
            or not bool(((self.weight >= 0) & self.weight.isfinite()).all())
        ):
            raise Misuse(
                f"The weight {list(self.weight.shape)} of a region of {list(self.flow.shape[-2:])} is negative, not "
                "finite or of another shape.",
                "Give one number from 0 for each place of the region, [h, w].",
            )

    @property
    def box(self) -> tuple[slice, slice]:
        """The rows and columns of the canvas."""
        h, w = self.flow.shape[-2:]
        return slice(self.top, self.top + h), slice(self.left, self.left + w)

    def mass(self) -> Tensor:
        """The weight at each place, float64 `[h, w]`."""
        if self.weight is not None:
            return self.weight.to(torch.float64)
        h, w = self.flow.shape[-2:]
        return (bump(h)[:, None] * bump(w)).to(torch.float64)


@dataclass(frozen=True, eq=False)
class RegionalVelocity:
    """The weighted mean of the velocities of regions, on x `[batch, ..., height, width]`."""

    regions: tuple[Region, ...]
    total: Tensor

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        v = torch.zeros_like(x)
        for region in self.regions:
            place = (..., *region.box)
            share = (region.mass().to(x.device) / self.total.to(x.device)[region.box]).to(x.dtype)
            v[place] += share * region.flow(x[place], t)
        return v

    def select(self, index: Tensor) -> RegionalVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return replace(self, regions=tuple(replace(r, flow=select(r.flow, index)) for r in self.regions))


def place_regions(regions: Sequence[Region], canvas: tuple[int, int]) -> Flow:
    """The flow on a canvas whose regions have flows of their own.

    v(x, t) = sum_k w_k P_k^T v_k(P_k x, t) / sum_k w_k, with P_k the crop to region k. An evaluation is one of every
    region. Its samples have the laws of the flows where regions do not overlap, and there only: a mean of velocities
    belongs to no law that is known.

    Parameters
    ----------
    regions
        With flows on one path and of the same channels; together they cover the canvas.
    canvas
        Height and width.

    Returns
    -------
    flow
        With events `[..., *canvas]`.

    Raises
    ------
    Misuse
        If there is no region, one leaves the canvas, a place of it has no weight, or the flows differ in channels or
        path.

    References
    ----------
    Jimenez, "Mixture of Diffusers for scene composition and high resolution image generation", 2023; Bar-Tal et al.,
    "MultiDiffusion", ICML 2023, eq. 5.

    Examples
    --------
    Ones on the left, threes on the right, and between them a mean:

    >>> from headwater import Flow, solve
    >>> from headwater.flows.regions import Region
    >>> one, three = (Flow(lambda x, t, k=k: (k - x) / (1 - t), shape=(1, 1, 2)) for k in (1.0, 3.0))
    >>> flow = place_regions([Region(one), Region(three, left=1)], (1, 3))
    >>> solve(flow, torch.zeros(1, 1, 1, 3), steps=4).flatten().round(decimals=3).tolist()
    [1.0, 2.0, 3.0]
    """
    found = tuple(regions)
    if not found:
        raise Misuse("No region was given.", "Give one region or more.")
    first = found[0].flow
    total = torch.zeros(canvas, dtype=torch.float64)
    for region in found:
        if region.flow.shape[:-2] != first.shape[:-2] or not have_one_path(first, region.flow):
            raise Misuse(
                f"The regions have events {first.shape} and {region.flow.shape}, or paths that differ.",
                "Give flows of the same channels on one path.",
            )
        if any(place.stop > length for place, length in zip(region.box, canvas, strict=True)):
            raise Misuse(
                f"A region at ({region.top}, {region.left}) of {list(region.flow.shape[-2:])} leaves the canvas "
                f"{list(canvas)}.",
                "Give a larger canvas, or put the region inside of it.",
            )
        if region.flow.support is not None:
            raise Misuse(
                "The states of a region lie in a subspace, which a canvas does not know.",
                "Give flows without a support.",
            )
        total[region.box] += region.mass()
    if not bool((total > 0).all()):
        raise Misuse(
            f"{int((total <= 0).sum())} places of the canvas belong to no region.",
            "Cover them, for instance by one large region beneath all others.",
        )
    common = first.range if all(r.flow.range == first.range for r in found) else None
    return Flow(RegionalVelocity(found, total), (*first.shape[:-2], *canvas), first.path, common)
