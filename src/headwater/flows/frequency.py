"""Spatial frequencies of a sample: the orthonormal cosine transform, and low and high bands.

    c = C x along every axis,   C_kj = sqrt((2 - [k = 0]) / n) cos(pi k (2 j + 1) / (2 n))        (DCT-II)

C is orthogonal, so x = C^T c, white noise stays white, and a mask of coefficients is an orthogonal projection. The
cosines mirror a picture at its borders, where Fourier's would join its left to its right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from headwater.errors import Misuse

Axes = tuple[int, ...]


@lru_cache(maxsize=32)
def cosine_matrix(n: int) -> Tensor:
    """The orthonormal matrix of the cosine transform, `[n, n]` float64; row k has the frequency k / 2 per n entries.

    Examples
    --------
    >>> matrix = cosine_matrix(4)
    >>> bool((matrix @ matrix.T - torch.eye(4)).abs().max() < 1e-12), matrix[0].tolist()
    (True, [0.5, 0.5, 0.5, 0.5])
    """
    with torch.inference_mode(
        False
    ):  # the matrix is kept, and a tensor of inference mode has no gradient later on
        k, j = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
        matrix = torch.cos(math.pi * k * (2 * j + 1) / (2 * n)) * math.sqrt(2 / n)
        matrix[0] /= math.sqrt(2)
    return matrix


def to_frequencies(x: Tensor, axes: Axes) -> Tensor:
    """The cosine coefficients of x `[..., *event]` along `axes`, counted from the last; in the same shape."""
    return _transform(x, axes, forward=True)


def from_frequencies(c: Tensor, axes: Axes) -> Tensor:
    """x `[..., *event]` of its cosine coefficients c along `axes`; the inverse of `to_frequencies`."""
    return _transform(c, axes, forward=False)


def _transform(x: Tensor, axes: Axes, forward: bool) -> Tensor:
    for axis in axes:
        matrix = cosine_matrix(x.shape[axis]).to(x)
        x = (x.movedim(axis, -1) @ (matrix.T if forward else matrix)).movedim(-1, axis)
    return x


def frequency_radius(shape: Sequence[int], axes: Axes) -> Tensor:
    """The length of the frequency of every coefficient, float64, broadcastable to an event of this `shape`.

    0 is the mean, 1 the highest frequency along all axes together.

    Examples
    --------
    >>> frequency_radius((3, 2, 2), (-2, -1)).round(decimals=2).tolist()
    [[[0.0, 0.71], [0.71, 1.0]]]
    """
    square = torch.zeros([1] * len(shape), dtype=torch.float64)
    for axis in axes:
        n = shape[axis]
        ramp = torch.arange(n, dtype=torch.float64) / max(n - 1, 1)
        square = square + ramp.square().reshape(-1, *[1] * (-1 - axis)) / len(axes)
    return square.sqrt()


def check_axes(axes: Axes, shape: Sequence[int]) -> None:
    """Refuse axes that an event of this shape does not have.

    Raises
    ------
    Misuse
        If an axis is not counted from the last, or the event has too few.
    """
    if len(set(axes)) < len(axes) or any(not -len(shape) <= axis <= -1 for axis in axes):
        raise Misuse(
            f"The axes {axes} are none of an event of shape {tuple(shape)}.",
            "Give different axes counted from the last, such as (-2, -1) for a picture or (-1,) for a recording.",
        )


def require_cutoff(cutoff: float) -> None:
    """Refuse a cutoff that is not above 0."""
    if not cutoff > 0:
        raise Misuse(
            f"A cutoff of {cutoff} leaves no low frequencies.", "Give a radius above 0; 1 is the highest."
        )


@dataclass(frozen=True)
class LowPass:
    """The low frequencies of a sample, a linear map of x `[batch, *event]` in the same shape.

    Coefficients of the cosine transform are multiplied by h(r), with r their radius from 0 to 1: h = [r <= cutoff],
    an orthogonal projection, or with `soft` h = exp(-(r / cutoff)^2 / 2), a blur. The high frequencies are the
    remainder x - h(x).

    Parameters
    ----------
    cutoff
        The radius, above 0.
    axes
        The axes with frequencies, counted from the last.
    soft
        Whether the band ends softly, as that of a Gaussian blur.

    Raises
    ------
    Misuse
        If the cutoff is not above 0; at a call, if the event lacks an axis.

    Examples
    --------
    The lowest band of all is the mean.

    >>> LowPass(0.01, axes=(-1,))(torch.tensor([[1.0, 2.0, 3.0]])).round(decimals=4).tolist()
    [[2.0, 2.0, 2.0]]
    """

    cutoff: float
    axes: Axes = (-2, -1)
    soft: bool = False

    def __post_init__(self) -> None:
        require_cutoff(self.cutoff)

    def __call__(self, x: Tensor) -> Tensor:
        """The low frequencies of x `[batch, *event]`, in the same shape.

        Raises
        ------
        Misuse
            If the event lacks an axis.
        """
        check_axes(self.axes, x.shape[1:])
        r = frequency_radius(x.shape[1:], self.axes)
        weight = torch.exp(-0.5 * (r / self.cutoff).square()) if self.soft else (r <= self.cutoff).to(r)
        return from_frequencies(weight.to(x) * to_frequencies(x, self.axes), self.axes)


@dataclass(frozen=True)
class ScaleBands:
    """Low and high frequencies of a sample, each multiplied by a factor of its own: FreSca's scaling.

    l h(x) + u (x - h(x)), with h the orthogonal projection on the frequencies up to a radius. With `energy` the
    radius is that of each problem within which this share of |x|^2 lies, the authors' choice; else it is `cutoff`.

    Parameters
    ----------
    low, high
        The factors l and u.
    cutoff
        The radius, above 0; 1 is the highest frequency.
    energy
        A share between 0 and 1, in place of the cutoff; the authors take 0.5 to 0.9.
    axes
        The axes with frequencies, counted from the last.

    Raises
    ------
    Misuse
        If the cutoff is not above 0, a factor is not finite, or `energy` is not between 0 and 1.

    References
    ----------
    Huang et al., "FreSca: Scaling in Frequency Space Enhances Diffusion Models", 2025.

    Examples
    --------
    >>> ScaleBands(low=1.0, high=0.0, cutoff=0.01, axes=(-1,))(torch.tensor([[1.0, 3.0]])).round(decimals=4).tolist()
    [[2.0, 2.0]]
    """

    low: float = 1.0
    high: float = 1.25
    cutoff: float = 0.3
    energy: float | None = None
    axes: Axes = (-2, -1)

    def __post_init__(self) -> None:
        require_cutoff(self.cutoff)
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise Misuse(f"The factors {self.low} and {self.high} are not finite.", "Give 1.0 for no change.")
        if self.energy is not None and not 0 < self.energy < 1:
            raise Misuse(
                f"{self.energy} is no share of the energy.", "Give one between 0 and 1, such as 0.7."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """The scaled x `[batch, *event]`, in the same shape.

        Raises
        ------
        Misuse
            If the event lacks an axis.
        """
        check_axes(self.axes, x.shape[1:])
        c, r = to_frequencies(x, self.axes), frequency_radius(x.shape[1:], self.axes).to(x)
        is_low = r <= (self.cutoff if self.energy is None else self.energy_radius(c, r))
        return from_frequencies(torch.where(is_low, self.low * c, self.high * c), self.axes)

    def energy_radius(self, c: Tensor, r: Tensor) -> Tensor:
        """The radius within which the share `energy` of the coefficients c `[batch, *event]` lies, one per problem.

        `[batch, 1, ...]`; r is broadcastable to an event.
        """
        radius, order = r.expand(c.shape[1:]).flatten().sort(stable=True)
        power = c.detach().flatten(1).square()[:, order].cumsum(1)
        first = (power < (self.energy or 1.0) * power[:, -1:]).sum(1).clamp(max=len(radius) - 1)
        return radius[first].reshape(-1, *[1] * (c.ndim - 1))


@dataclass(frozen=True)
class BandGuidance:
    """Classifier-free guidance with a weight of its own for low and high frequencies, for `Guided(combine=)`.

    v = v_null + w S(v_condition - v_null), with S the `bands` and w the guidance (FreSca, which scales the difference
    of the two predictions). With factors of 1 it is plain guidance.

    Parameters
    ----------
    bands
        What is done to the difference, a linear map.

    References
    ----------
    Huang et al., "FreSca: Scaling in Frequency Space Enhances Diffusion Models", 2025.

    Examples
    --------
    >>> from headwater.flows.frequency import ScaleBands
    >>> guide = BandGuidance(ScaleBands(low=1.0, high=0.0, cutoff=0.01, axes=(-1,)))
    >>> guide(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]), 2.0).round(decimals=4).tolist()
    [[4.0, 4.0]]
    """

    bands: ScaleBands = ScaleBands()

    def __call__(self, null: Tensor, v: Tensor, guidance: float) -> Tensor:
        """The guided velocity of the two, `[batch, *event]` each."""
        return null + guidance * self.bands(v - null)
