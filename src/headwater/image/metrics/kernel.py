"""The kernel distance of two sets of pictures and its error: how far restored are from real ones as a law."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.metrics.perceptual import pooled_features


@dataclass(frozen=True)
class KernelDistance:
    """A squared kernel distance with its standard error.

    Attributes
    ----------
    value
        The estimate, a float64 scalar; it can be negative.
    error
        The standard deviation of the resampled estimates, a float64 scalar.
    resampled
        The estimate on each bootstrap sample, float64 `[draws]`. Two distances with one seed and the same numbers of
        images were resampled alike, so the spread of the difference of both is the error of their difference.

    Examples
    --------
    Whether one of two methods is nearer to the clean pictures, all of the same 50 pictures:

    >>> import torch
    >>> import headwater as hw
    >>> clean = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    >>> one, two = (hw.image.kernel_distance(clean + gap, clean, paired=True) for gap in (0.3, 0.4))
    >>> difference = two.value - one.value
    >>> bool(difference > 3 * (two.resampled - one.resampled).std())
    True
    """

    value: Tensor
    error: Tensor
    resampled: Tensor


def kernel_distance(
    a: Tensor, b: Tensor, *, paired: bool = False, draws: int = 1000, seed: int = 0
) -> KernelDistance:
    """The unbiased squared maximum mean discrepancy of two sets of features, with the polynomial kernel of the "KID".

    With k(u, v) = (u . v / d + 1)^3,

        MMD^2 = mean_(i != j) k(a_i, a_j) + mean_(i != j) k(b_i, b_j) - 2 mean_(i, j) k(a_i, b_j),

    in float64. Its mean over draws of both sets is the same for any n and m, and 0 for two sets of one law, so a
    single value can be negative. The features are taken as they are, neither centred nor scaled, as published.

    The error is that of a bootstrap over images. A pair of an image with its own copy is left out as in the formula,
    else each copy would add k(u, u). For two sets of one law, where the value is 0, the error is too large, by a
    factor of about sqrt(3): the bootstrap does not know that the terms of first order vanish there.

    Parameters
    ----------
    a, b
        Features `[n, d]` and `[m, d]` of a network; name the network with the number.
    paired
        Whether a_i and b_i belong to one picture: restored pictures and the clean ones they came from. Then the pairs
        k(a_i, b_i), which say how well pictures are restored one by one, are left out, else the value would be too
        small; and the bootstrap draws a_i and b_i together. The mean is that of two sets that have nothing to do with
        each other, and the error is smaller, as both sets show the same things.
    draws
        How often the images are resampled.
    seed
        Of the resampling.

    Returns
    -------
    distance
        The value, its standard error and the resampled values.

    Raises
    ------
    Misuse
        The features are not `[n, d]` with one d, a set has fewer than two, two paired sets differ in number, or there
        are fewer than two draws.

    References
    ----------
    Gretton et al., "A kernel two-sample test", JMLR 13 (2012), Lemma 6, for the estimate of two sets and of pairs.
    Binkowski et al., "Demystifying MMD GANs", ICLR 2018, for the kernel.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> a = torch.tensor([[0.0], [0.0], [1.0]])
    >>> distance = hw.image.kernel_distance(a, a + 1)
    >>> round(distance.value.item(), 4), bool(distance.error > 0)  # 1 + 62/3 - 2 * 49/9
    (10.7778, True)
    """
    _require_sets(a, b, paired, draws)
    a, b = a.double(), b.double()
    within_a, within_b, between = _kernel(a, a), _kernel(b, b), _kernel(a, b)

    def estimate(copies_a: Tensor, copies_b: Tensor) -> Tensor:
        return (
            _mean(within_a, copies_a, copies_a, distinct=True)
            + _mean(within_b, copies_b, copies_b, distinct=True)
            - 2 * _mean(between, copies_a, copies_b, distinct=paired)
        )

    (value,) = estimate(a.new_ones(1, len(a)), b.new_ones(1, len(b)))
    generator = torch.Generator().manual_seed(seed)
    copies_a = _resample(len(a), draws, generator).to(a)
    copies_b = copies_a if paired else _resample(len(b), draws, generator).to(b)
    resampled = estimate(copies_a, copies_b).detach()
    return KernelDistance(value, resampled.std(), resampled)


def image_kernel_distance(
    x: Tensor,
    reference: Tensor,
    features: Callable[[Tensor], Tensor] = pooled_features,
    *,
    paired: bool = False,
    draws: int = 1000,
    seed: int = 0,
) -> KernelDistance:
    """The kernel distance of two sets of images, on the features of a network.

    Parameters
    ----------
    x, reference
        Images in [-1, 1], `[n, 3, h, w]` and `[m, 3, h, w]` for the default features.
    features
        A function from a set of images to features `[n, d]`. The default, EfficientNet-Lite0's pooled last layer with
        d = 1280, makes other numbers than the Inception network of the "KID".
    paired
        Whether x_i was restored from reference_i, see `kernel_distance`.
    draws
        How often the images are resampled.
    seed
        Of the resampling.

    Returns
    -------
    distance
        The value, its standard error and the resampled values.

    Raises
    ------
    Misuse
        As `kernel_distance`; or the images are not RGB, or the package of the default features is not installed.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> x = torch.rand(6, 1, 8, 8) * 2 - 1
    >>> distance = hw.image.image_kernel_distance(x, x / 2, lambda x: x.flatten(1), paired=True)
    >>> distance.value.shape, distance.resampled.shape
    (torch.Size([]), torch.Size([1000]))
    """
    with torch.no_grad():
        a, b = features(x), features(reference)
    return kernel_distance(a, b, paired=paired, draws=draws, seed=seed)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """k(a_i, b_j), `[n, m]`."""
    return (a @ b.mT / a.shape[1] + 1) ** 3


def _mean(kernel: Tensor, copies_a: Tensor, copies_b: Tensor, *, distinct: bool) -> Tensor:
    """The mean of k over pairs of images, of which there are copies `[draws, n]` and `[draws, m]`: `[draws]`.

    With `distinct`, image i of one set never meets image i of the other.
    """
    total = ((copies_a @ kernel) * copies_b).sum(1)
    pairs = copies_a.sum(1) * copies_b.sum(1)
    if distinct:
        both = copies_a * copies_b
        total, pairs = total - both @ kernel.diagonal(), pairs - both.sum(1)
    return total / pairs


def _resample(count: int, draws: int, generator: torch.Generator) -> Tensor:
    """How often each of `count` images is drawn in `count` draws with replacement, `[draws, count]`.

    A sample of copies of one image, which holds no pair, gets another one; beyond a few images there is none.
    """
    drawn = torch.randint(count, (draws, count), generator=generator)
    one = (drawn == drawn[:, :1]).all(1)
    drawn[one, 0] = (drawn[one, 0] + 1) % count
    return torch.zeros(draws, count).scatter_add_(1, drawn, torch.ones(draws, count))


def _require_sets(a: Tensor, b: Tensor, paired: bool, draws: int) -> None:
    if a.ndim != 2 or a.shape[1:] != b.shape[1:]:
        shapes = f"{list(a.shape)} and {list(b.shape)}"
        raise Misuse(
            f"The features {shapes} are not [n, d] with the same d.", "Use one feature layer for both."
        )
    if min(len(a), len(b)) < 2:
        raise Misuse("A kernel distance needs at least two images in each set.", "Give more images.")
    if paired and len(a) != len(b):
        raise Misuse(
            f"There are {len(a)} images in one set and {len(b)} in the other.",
            "Give the clean picture of each, or paired=False.",
        )
    if draws < 2:
        raise Misuse(f"An error cannot come from {draws} draws.", "Give 2 or more, 1000 if there is time.")
