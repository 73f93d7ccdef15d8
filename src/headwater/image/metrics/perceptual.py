"""Distances on the features of EfficientNet-Lite0 (see `efficientnet`): not LPIPS, not FID."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from headwater.extras import import_optional
from headwater.image.metrics.efficientnet import block_features, pool_features
from headwater.image.metrics.fidelity import require_same_shape

NAME = "EfficientNet-Lite0 Frechet distance"
DEPTHS = (0, 2, 4, 10, 15)  # the last blocks at strides 2, 4, 8, 16, 32: 16, 24, 40, 112, 320 channels


def perceptual_distance(x: Tensor, reference: Tensor) -> Tensor:
    """How different two images look to EfficientNet-Lite0, per image: 0 for equal images.

    With f_l(x) [c_l, h_l, w_l] the features at depth l, scaled to unit length over the channels at
    every place,

        distance = mean_l mean_(h, w) |f_l(x) - f_l(reference)|^2,

    over five depths (strides 2 to 32). The form of LPIPS with no trained weights; its numbers are not
    comparable with LPIPS. Each depth is in [0, 4].

    Parameters
    ----------
    x, reference : Tensor [batch, 3, h, w]
        Images in [-1, 1] of any size; differentiable in both.

    Returns
    -------
    Tensor [batch]

    Raises
    ------
    Misuse
        The shapes differ, the images are not RGB, or the package of the weights is not installed.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> x = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
    >>> hw.image.perceptual_distance(x, x).tolist()
    [0.0]
    """
    require_same_shape(x, reference)
    pairs = zip(features(x), features(reference), strict=True)
    gaps = [(normalize(a, eps=1e-8) - normalize(b, eps=1e-8)).square().sum(1).mean((1, 2)) for a, b in pairs]
    return torch.stack(gaps).mean(0)


def pooled_features(images: Tensor, chunk: int = 64) -> Tensor:
    """The features that `frechet_distance` compares: EfficientNet-Lite0's last layer, averaged over space.

    Parameters
    ----------
    images : Tensor [n, 3, h, w]
        Images in [-1, 1].
    chunk : int
        How many images go through the network at a time.

    Returns
    -------
    Tensor [n, 1280]

    Raises
    ------
    Misuse
        The images are not RGB, or the package of the weights is not installed.

    Examples
    --------
    >>> pooled_features(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 1280])
    """
    return torch.cat([pool_features(part) for part in torch.split(images, chunk)])


def lpips_distance(x: Tensor, reference: Tensor, net: str = "alex") -> Tensor:
    """The classic LPIPS (v0.1, package `lpips`), `[batch]`; needs torchvision and its weights.

    x and reference are images `[batch, 3, h, w]` in [-1, 1].

    Raises
    ------
    Misuse
        The shapes differ or the package is not installed.

    References
    ----------
    Zhang, Isola, Efros, Shechtman, Wang (2018), The unreasonable effectiveness of deep features.
    """
    require_same_shape(x, reference)
    return _lpips(net)(x, reference).reshape(len(x))  # type: ignore[no-any-return]


def fid(x: Tensor, reference: Tensor) -> float:
    """The classic FID between two sets of images `[n, 3, h, w]` in [-1, 1], by torchmetrics.

    The network is the Inception-v3 of torch-fidelity.

    Needs these packages and a download of their weights; not the distance on EfficientNet-Lite0 features.

    Raises
    ------
    Misuse
        A package is not installed.

    References
    ----------
    Heusel et al. (2017), GANs trained by a two time-scale update rule converge to a local Nash equilibrium.
    """
    import_optional("torch_fidelity", extra="fid")
    metric = (
        import_optional("torchmetrics.image.fid", extra="fid")
        .FrechetInceptionDistance(normalize=True)
        .to(x.device)
    )
    for images, real in ((reference, True), (x, False)):
        for part in torch.split(images, 64):
            metric.update(((part + 1) / 2).clamp(0, 1), real=real)
    return float(metric.compute())


def features(x: Tensor, side: int | None = None) -> Iterator[Tensor]:
    """The features [batch, c_l, h_l, w_l] of images [batch, 3, h, w] in [-1, 1] at the five depths.

    The network sees the images at `side` x `side`, by default its own; what is not asked of the iterator is not
    computed.

    >>> [f.shape[1] for f in features(torch.zeros(1, 3, 32, 32))]
    [16, 24, 40, 112, 320]
    """
    for depth, out in enumerate(block_features(x, side=side)):
        if depth in DEPTHS:
            yield out


@functools.cache
def _lpips(net: str) -> Any:
    return import_optional("lpips", extra="lpips").LPIPS(net=net, verbose=False).eval().requires_grad_(False)
