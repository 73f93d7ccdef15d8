"""Old noise inside holes, new noise elsewhere: what makes an estimate of a hole a sample and no mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from headwater.errors import Misuse
from headwater.flows.cover import Cover
from headwater.flows.flow import Flow
from headwater.image.canvas import covers_of
from headwater.problem.cost import Misfit
from headwater.recipes.fresh import unseen


@dataclass(frozen=True)
class InsideHoles:
    """The share of new noise in an `Estimate` of a picture with holes.

    New noise at every time draws an estimate towards the mean of what is likely: right for what was measured, a blur
    in a hole. So pixels that lie more than `depth` pixels inside a hole keep a part of the noise that the denoiser
    saw. Where every missing pixel has a known one near by, all noise is new.

    Attributes
    ----------
    inside
        The share of new noise inside holes, from 0 to 1.
    depth
        How far every known pixel lies from the inside, in rows and in columns.

    Raises
    ------
    Misuse
        The share is not from 0 to 1, or the depth is negative.

    Notes
    -----
    A step of DDPM from t to s has the share 1 - (alpha_t sigma_s / (alpha_s sigma_t))^2, which is 0.45 for 32 times
    even in the logit of t from 0.01 to 0.99. `benchmarks/decisions/large_holes.py` compares shares and depths.

    References
    ----------
    Ho et al., "Denoising Diffusion Probabilistic Models", NeurIPS 2020, eq. 7, for that share.

    Examples
    --------
    >>> import headwater as hw
    >>> import torch
    >>> known = torch.ones(1, 9, dtype=torch.bool)
    >>> known[:, 2:] = False
    >>> misfit = hw.Misfit(hw.image.Inpaint(known), torch.zeros(1, 1, 1, 9), 0.1)
    >>> flow = hw.Flow(lambda x, t: -x, (1, 1, 9))
    >>> hw.image.InsideHoles(inside=0.5, depth=2).share(flow, misfit, torch.zeros(1, 1, 1, 9)).flatten().tolist()
    [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5]
    """

    inside: float = 0.45
    depth: int = 3

    def __post_init__(self) -> None:
        if not 0 <= self.inside <= 1 or self.depth < 0:
            raise Misuse(
                f"{self} is no share of noise.", "Give a share from 0 to 1 and a depth of at least 0."
            )

    def share(self, flow: Flow, misfit: Misfit, x: Tensor) -> Tensor:
        """The share at every pixel, `[batch, 1, h, w]`; of a flow on a cover's pixels, `[batch, 1, 1, pixels]`."""
        missing = unseen(misfit, x).all(1, keepdim=True)
        covers = covers_of(flow)
        inside = self._erode_covered(missing, covers) if covers else self.of_mask(missing)
        return torch.where(inside, self.inside, 1.0).to(x)

    def of_mask(self, missing: Tensor) -> Tensor:
        """The inside of what is missing, bool `[..., h, w]`.

        Examples
        --------
        >>> import headwater as hw
        >>> known = hw.image.box_mask(8, 8, 8, 5)
        >>> int(InsideHoles(depth=2).of_mask(~known).sum())  # a column in the middle
        8
        """
        known = (~missing).float()
        return max_pool2d(known, 2 * self.depth + 1, stride=1, padding=self.depth) == 0

    def _erode_covered(self, missing: Tensor, covers: Sequence[Cover]) -> Tensor:
        """What lies beyond a cover is known."""
        if len(covers) > 1:
            rows = zip(torch.split(missing, 1), covers, strict=True)
            return torch.cat([self._erode_covered(row, [cover]) for row, cover in rows])
        cover = covers[0]
        return cover.pack(self.of_mask(cover.unpack(missing, missing.new_zeros(1, 1, *cover.canvas))))
