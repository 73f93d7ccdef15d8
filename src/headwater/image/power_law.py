"""Second moments of photographs: power falls as 1 / f^2, and the channels of colour go together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.cover import Cover, add_windows, gather_windows
from headwater.flows.flow import Flow
from headwater.flows.windowed import bump
from headwater.image.canvas import covers_of

WINDOW = 64
"""Pixels along the window that `deviation` is measured in."""


@dataclass(frozen=True)
class PowerLaw:
    """The covariance of x1 given x_t for pictures with the power spectrum c / f^2, if they were Gaussian.

    S is diagonal in the cosine transform of the picture, which mirrors its borders, and in the axes of a correlation
    matrix of the channels. So are C = S sigma_t^2 / (alpha_t^2 S + sigma_t^2) and its root. Against white errors
    a measured pixel then says something about its neighbours, in a hole or between coarse pixels, before the network
    does; while the network, which is given xhat, still decides the detail.

    Attributes
    ----------
    deviation
        The standard deviation of the pixels of a window of 64 x 64, in units of the range [-1, 1].
    correlation
        Between the channels.
    spread
        The root is multiplied by it: above 1 the measurement counts more.

    Raises
    ------
    Misuse
        The deviation or the spread is not positive, or the correlation is outside [0, 1).

    References
    ----------
    Field, "Relations between the statistics of natural images and the response properties of cortical cells", J. Opt.
    Soc. Am. A 4 (1987), for the power law.

    Examples
    --------
    What one pixel is off by, its neighbour is too:

    >>> import headwater as hw
    >>> import torch
    >>> flow = hw.Flow(lambda x, t: -x, (1, 8, 8))
    >>> root = hw.image.PowerLaw().root(flow, alpha=0.5, sigma=0.5)
    >>> pixel = torch.zeros(1, 1, 8, 8)
    >>> pixel[..., 4, 4] = 1
    >>> covariance = root(root.adjoint(pixel))[0, 0, 4, 4:]
    >>> bool((covariance.diff() < 0).all() and covariance[1] > 0.3 * covariance[0])
    True
    """

    deviation: float = 0.35
    correlation: float = 0.9
    spread: float = 1.0

    def __post_init__(self) -> None:
        fit = 0 < self.deviation < math.inf and 0 < self.spread < math.inf and 0 <= self.correlation < 1
        if not fit:
            raise Misuse(
                f"{self} is no covariance.",
                "Give a positive deviation and spread, and a correlation from 0 to below 1.",
            )

    def root(self, flow: Flow, alpha: float, sigma: float) -> SpectralRoot | CoveredRoot:
        """The root on pictures `[batch, c, h, w]` of the flow, or on the pixels that its windows cover.

        Raises
        ------
        Misuse
            The events of the flow are no pictures.
        """
        if len(flow.shape) != 3:
            raise Misuse(
                f"The power law is one of pictures, and an event of the flow is {list(flow.shape)}.",
                "Give a flow of pictures [channels, height, width], or take the covariance White().",
            )
        covers = covers_of(flow)
        colours, axes = self._colours(flow.shape[0])
        power = colours[:, None, None] * self._power(covers[0].window if covers else flow.shape[1:])
        gain = self.spread * sigma * (power / (alpha**2 * power + sigma**2)).sqrt()
        root = SpectralRoot(gain.float(), axes.float())
        return CoveredRoot.over(covers, root) if covers else root

    def _power(self, size: Sequence[int]) -> Tensor:
        """c / f^2 at the frequencies of the real Fourier transform of the mirrored picture, `[2 h, w + 1]`.

        The mean of the picture, at f = 0, has the power of half the lowest frequency.
        """

        def law(down: Tensor, right: Tensor, longest: int) -> Tensor:
            return 1 / (down[:, None].square() + right.square()).clamp(min=0.25 / longest**2)

        k = torch.arange(WINDOW, dtype=torch.float64) / WINDOW
        h, w = size
        down, right = 2 * torch.fft.fftfreq(2 * h).double(), 2 * torch.fft.rfftfreq(2 * w).double()
        return self.deviation**2 / law(k, k, WINDOW).mean() * law(down, right, max(h, w))

    def _colours(self, channels: int) -> tuple[Tensor, Tensor]:
        """Variances and axes of the channels' correlation, `[c]` and `[c, c]`."""
        matrix = torch.full((channels, channels), self.correlation, dtype=torch.float64)
        values, vectors = torch.linalg.eigh(matrix.fill_diagonal_(1))
        return values.clamp(min=1e-3), vectors


@dataclass(frozen=True, eq=False)
class SpectralRoot:
    """A symmetric root that is diagonal in the cosine transform and in some axes of the channels.

    Attributes
    ----------
    gain
        Its diagonal, `[c, 2 h, w + 1]`, at the frequencies of the mirrored picture.
    axes
        Columns are axes of the channels, `[c, c]`.
    """

    gain: Tensor
    axes: Tensor

    def __call__(self, z: Tensor) -> Tensor:
        """R z of white pictures `[batch, c, h, w]`."""
        (h, w), axes, gain = z.shape[-2:], self.axes.to(z), self.gain.to(z)
        turned = torch.einsum("cd,nchw->ndhw", axes, z)
        wide = torch.cat([turned, turned.flip(-1)], -1)
        mirrored = torch.cat([wide, wide.flip(-2)], -2)
        filtered = torch.fft.irfft2(gain * torch.fft.rfft2(mirrored), s=mirrored.shape[-2:])
        return torch.einsum("cd,ndhw->nchw", axes, filtered[..., :h, :w])

    def adjoint(self, x: Tensor) -> Tensor:
        """R' x = R x."""
        return self(x)


@dataclass(frozen=True, eq=False)
class CoveredRoot:
    """A root on the pixels of a cover: the sum over its windows of white windows, filtered and faded out.

    R z = sum_w P_w' D_w F z_w with the root F of one window, its places P_w among the pixels, and weights D_w whose
    squares add up to 1 at every pixel, so that a pixel's variance is that of one window. Like the flow's own
    velocity it costs what the damage costs, and pixels of windows that do not touch have nothing to do with each
    other.

    Attributes
    ----------
    window
        F.
    places
        Where the pixels of every window are among those covered, int64 `[1 or batch, windows, h * w]`.
    weight
        D_w, `[1 or batch, windows, h * w]`.
    pixels
        How many are covered.
    size
        Height and width of a window.
    """

    window: SpectralRoot
    places: Tensor
    weight: Tensor
    pixels: int
    size: tuple[int, int]

    @classmethod
    def over(cls, covers: Sequence[Cover], window: SpectralRoot) -> CoveredRoot:
        """The root for the windows of one cover for all problems, or one for each."""
        (h, w), pixels = covers[0].window, len(covers[0].index)
        places = torch.stack([cover.places for cover in covers])
        share = (bump(h)[:, None] * bump(w)).flatten().double().expand(places.shape)
        total = add_windows(share[:, None], places, pixels)
        return cls(window, places, (share / gather_windows(total, places)[:, 0]).sqrt(), pixels, (h, w))

    def __call__(self, z: Tensor) -> Tensor:
        """R z `[batch, c, 1, pixels]` of white windows `[batch, c, windows, h * w]`."""
        (batch, channels), (h, w) = z.shape[:2], self.size
        windows = z.movedim(2, 1).reshape(-1, channels, h, w)
        filtered = self.window(windows).reshape(batch, -1, channels, h * w).movedim(1, 2)
        return add_windows(filtered * self.weight[:, None].to(z), self.places.to(z.device), self.pixels)

    def adjoint(self, x: Tensor) -> Tensor:
        """R' x, `[batch, c, windows, h * w]`, of covered pixels `[batch, c, 1, pixels]`."""
        (batch, channels), (h, w) = x.shape[:2], self.size
        windows = gather_windows(x, self.places.to(x.device)) * self.weight[:, None].to(x)
        filtered = self.window(windows.movedim(2, 1).reshape(-1, channels, h, w))
        return filtered.reshape(batch, -1, channels, h * w).movedim(1, 2)
