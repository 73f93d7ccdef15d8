"""The kernel of a whole picture, found on the part of it that has most detail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from headwater.dflow.result import Callback
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.windowed import extend_to_canvas
from headwater.image.blind.blur import UnknownBlur
from headwater.image.canvas import Crop, extend_mirrored
from headwater.problem.compose import compose
from headwater.recipes.average import Average
from headwater.recipes.blind.alternate import Alternate
from headwater.recipes.blind.result import BlindResult
from headwater.recipes.blind.unknown import BlindMisfit, Map, Unknown
from headwater.recipes.covariance import White
from headwater.recipes.estimate import Estimate
from headwater.recipes.recipe import RecipeOptions

ANSWER = Average(Estimate(times=16, last=0.99, covariance=White(1.12)), count=4)
"""The recipe of a picture whose kernel was found: that of a known kernel, without control.

Control would go on until the misfit is that of the noise, and fit what the kernel gets wrong.
"""


@dataclass(frozen=True)
class KernelSearch:
    """How a kernel is sought: by `Alternate`, on at most `most` x `most` pixels of the picture.

    The blur is the same everywhere, so a part of the picture tells it: the part with the largest differences.

    Parameters
    ----------
    levels
        Of the noise that the rounds assume, in data units: no less than that of the picture is assumed.
    restore
        The recipe of x1 in a round.
    most
        Pixels along the part, at least the model's window.

    References
    ----------
    Laroche, Almansa & Coupete, "Fast diffusion EM", WACV 2024, for the two steps.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> flow = hw.Flow(lambda x, t: -x, (1, 16, 16), range=(-1, 1))
    >>> y = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    >>> search = hw.image.KernelSearch(levels=(0.1,), most=16)
    >>> found = search(flow, hw.image.UnknownBlur(5), y, 0.05, [0])
    >>> found.parameters.shape, found.x1.shape
    (torch.Size([1, 5, 5]), torch.Size([1, 1, 16, 16]))
    """

    levels: Sequence[float] = (0.3, 0.3, 0.2, 0.2, 0.12, 0.12, 0.12, 0.12, 0.08, 0.08)
    restore: Estimate = field(default_factory=lambda: Estimate(times=8, last=0.99, covariance=White(1.12)))
    most: int = 128

    def __call__(
        self,
        flow: Flow,
        unknown: UnknownBlur,
        y: Tensor,
        noise: float,
        seeds: Sequence[int],
        *,
        callback: Callback | None = None,
    ) -> BlindResult:
        """The kernels of pictures y `[batch, c, h, w]`, one per seed, with their noise in data units.

        Parameters
        ----------
        flow
            The prior on its window `[c, height, width]`.
        unknown
            What is known of the kernel.
        y, noise, seeds
            The blurred pictures, the standard deviation of their noise, and one seed for each.
        callback
            As of `control`.

        Raises
        ------
        Misuse
            The picture is smaller than three kernels, or no picture of the model's channels.
        """
        if y.ndim != 4 or y.shape[1] != flow.shape[0]:
            raise Misuse(
                f"The picture is {list(y.shape)} and the model makes {list(flow.shape)}.",
                "Give pictures [batch, channels, height, width] with the channels of the model.",
            )
        if min(y.shape[-2:]) < 3 * unknown.size:
            raise Misuse(
                f"A picture of {y.shape[-2]} x {y.shape[-1]} pixels is too small for a kernel of {unknown.size}.",
                "Give a kernel of at most a third of the picture.",
            )
        part, guess, canvas, seen = self.prepare(flow, unknown, y)
        sigma = max(noise, 1e-6)
        levels = tuple(max(level, sigma) / sigma for level in self.levels)
        recipe = Alternate(self.restore, None, levels)
        options = RecipeOptions(callback=callback)
        return recipe(canvas, BlindMisfit(seen, part, sigma), seeds, guess=guess, options=options)

    def prepare(
        self, flow: Flow, unknown: UnknownBlur, y: Tensor
    ) -> tuple[Tensor, Tensor, Flow, UnknownBlur | OnCanvas]:
        """The parts `[batch, c, h, w]`, a guess on the canvas, the flow on it, and the family as it sees it."""
        window = (flow.shape[1], flow.shape[2])
        parts = torch.cat([busiest_part(one[None], self.most, window) for one in y])
        size = (parts.shape[-2], parts.shape[-1])
        canvas = (max(size[0], window[0]), max(size[1], window[1]))
        whole = flow if canvas == window else extend_to_canvas(flow, canvas)
        seen = unknown if canvas == size else OnCanvas(unknown, Crop(*size, canvas))
        return parts, extend_mirrored(parts, canvas), whole, seen


@dataclass(frozen=True)
class OnCanvas(Unknown):
    """An unknown operator that sees the picture's part of a larger canvas.

    Attributes
    ----------
    unknown
        The operator of the picture.
    crop
        The map from the canvas to the picture.
    """

    unknown: Unknown
    crop: Crop

    def start(self, y: Tensor) -> Tensor:
        """As of the picture, `[batch, p]`."""
        return self.unknown.start(y)

    def operator(self, phi: Tensor) -> Map:
        """A_phi of the crop, phi `[batch, p]`."""
        found: Map = compose(self.unknown.operator(phi), self.crop)
        return found

    def penalty(self, phi: Tensor) -> Tensor:
        """As of the picture, `[batch]`."""
        return self.unknown.penalty(phi)

    def parameters(self, phi: Tensor) -> Tensor:
        """As of the picture, `[batch, ...]`."""
        return self.unknown.parameters(phi)

    def warnings(self, phi: Tensor) -> list[tuple[str, ...]]:
        """As of the picture."""
        return self.unknown.warnings(phi)

    def fit(self, phi: Tensor, draws: Sequence[Tensor], y: Tensor, sigma_y: Tensor) -> Tensor:
        """As of the cropped draws, `[batch, p]`."""
        return self.unknown.fit(phi, [self.crop(x) for x in draws], y, sigma_y)


def busiest_part(y: Tensor, most: int, window: tuple[int, int]) -> Tensor:
    """The part of a picture y `[1, c, h, w]`, up to `most` pixels along but at least a window, that has most detail.

    Examples
    --------
    >>> y = torch.zeros(1, 1, 40, 40)
    >>> y[..., 30:, 30:] = torch.eye(10)
    >>> int(busiest_part(y, 16, (8, 8)).sum())
    10
    """
    h, w = (min(n, max(most, least)) for n, least in zip(y.shape[-2:], window, strict=True))
    if (h, w) == tuple(y.shape[-2:]):
        return y
    grey = y.mean(1, keepdim=True)
    energy = torch.zeros_like(grey)
    energy[..., 1:, :] += grey.diff(dim=-2).square()
    energy[..., 1:] += grey.diff(dim=-1).square()
    step = max(min(h, w) // 8, 1)
    total = avg_pool2d(energy, (h, w), stride=step)[0, 0]
    top, left = (step * i for i in divmod(int(total.argmax()), total.shape[1]))
    return y[..., top : top + h, left : left + w]
