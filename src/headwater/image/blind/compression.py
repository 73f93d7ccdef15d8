"""The JPEG compression that a decoded picture still shows (Fan & de Queiroz 2003).

The DCT coefficients of a picture that was a JPEG file lie near multiples of its quantisation steps. At frequency f
with the step s = s_f(quality) a coefficient c of the luminance has the law

    p(c | s) = (1 - 1e-3) sum_k P_k N(c; k s, sigma^2) + 1e-3 p(c | 1)

with P_k the mass of a Laplace law between (k - 1/2) s and (k + 1/2) s, its scale the likeliest at s = 1, and sigma
the error of 8 bits in the decoder. The quality is the likeliest over all blocks and frequencies but the mean, which
is the same in all blocks of a flat picture and proves nothing there. At quality 100 all steps are 1, which is next to
no compression, so what is not far likelier than that is none. The last term is for pixels that were touched since.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.operators.base import require_images
from headwater.image.operators.jpeg import CHROMINANCE, JPEG, LUMINANCE, TO_YCC, dct_matrix, scaled_table

SIGMA = math.sqrt((1 + 0.299**2 + 0.587**2 + 0.114**2) / 12)
"""Of a luminance that was rounded to 8 bits, and again as red, green and blue; chroma has nearly the same."""
BLOCKS = 1024
"""As many blocks are looked at, evenly over the picture."""
TOUCHED = 1e-3


def find_jpeg(y: Tensor, least: float = 20.0) -> list[JPEG | None]:
    """The JPEG compression that pictures went through before they were decoded; None where they show none.

    Parameters
    ----------
    y
        Pictures `[batch, 1 or 3, h, w]` in [-1, 1], of 8 bits. The blocks must lie as in the file: a crop begins at
        multiples of 8 pixels, and a picture was not resized.
    least
        By how many nats a compression must be likelier than that of quality 100.

    Raises
    ------
    Misuse
        y are no pictures of 1 or 3 channels, or not finite.

    Notes
    -----
    The subsampling is 4:4:4 where the chroma, too, lies near multiples, and else 4:2:0, the usual one. Tables other
    than those of libjpeg are taken for the nearest of its, if any is near. Blocks with a value at the end of the
    range are left out, as it was cut there.

    References
    ----------
    Fan & de Queiroz, "Identification of bitmap compression history: JPEG detection and quantizer estimation", IEEE
    TIP 12(2), 2003.

    Examples
    --------
    >>> import headwater as hw
    >>> photo, _ = hw.image.read_image(hw.image.photos.path("cat"))
    >>> hw.image.find_jpeg(hw.image.JPEG(60)(photo))[0].name, hw.image.find_jpeg(photo)
    ('dejpeg (quality 60)', [None])
    """
    require_images(y, JPEG(50))
    if y.shape[1] not in (1, 3):
        raise Misuse(f"The pictures have {y.shape[1]} channels.", "Give 1 or 3, without transparency.")
    if not bool(y.isfinite().all()):
        raise Misuse("The pictures are not finite.", "Give some without NaN and infinity.")
    return [_find_one(one, least) for one in y.detach()]


def _find_one(y: Tensor, least: float) -> JPEG | None:
    least_cut, most_cut = (v / 127.5 - 1 for v in (0.5, 254.5))
    inside = _blocks(((y > least_cut) & (y < most_cut)).all(0)).flatten(1).all(1)
    chosen = inside.nonzero()[:, 0]
    chosen = chosen[:: max(1, math.ceil(len(chosen) / BLOCKS))]
    if len(chosen) == 0:
        return None
    samples = torch.stack([_blocks(plane)[chosen] for plane in y]).to("cpu", torch.float64) * 127.5 + 127.5
    if len(samples) == 3:
        samples = torch.einsum("ij,jbhw->ibhw", torch.tensor(TO_YCC, dtype=torch.float64), samples)
    coefficients = [_transform(blocks) for blocks in samples]
    tables = torch.stack([scaled_table(LUMINANCE, q) for q in range(1, 101)]).flatten(1)[:, 1:]
    gain = _gains(coefficients[0], tables)
    quality = int(gain.argmax()) + 1
    if gain[quality - 1] < least:
        return None
    if len(coefficients) == 1:
        return JPEG(quality, "4:4:4")
    chroma = scaled_table(CHROMINANCE, quality).flatten()[None, 1:]
    full = sum(float(_gains(c, chroma)) for c in coefficients[1:]) > 0
    return JPEG(quality, "4:4:4" if full else "4:2:0")


def _blocks(plane: Tensor) -> Tensor:
    """The whole blocks of a plane `[h, w]`, `[count, 8, 8]`."""
    h, w = (8 * (n // 8) for n in plane.shape)
    return plane[:h, :w].reshape(h // 8, 8, w // 8, 8).transpose(1, 2).reshape(-1, 8, 8)


def _transform(blocks: Tensor) -> Tensor:
    """Their DCT coefficients but the first, `[count, 63]`."""
    d = dct_matrix()
    return (d @ blocks @ d.T).flatten(1)[:, 1:]


def _gains(c: Tensor, tables: Tensor) -> Tensor:
    """By how many nats coefficients c `[count, k]` are likelier by tables `[n, k]` than by steps of 1, `[n]`."""
    scales = torch.logspace(-2, 3, 41, dtype=torch.float64)
    one = torch.ones(c.shape[1], dtype=torch.float64)
    likely = torch.stack([_log_law(c, one, b * one).sum(0) for b in scales])
    scale = scales[likely.argmax(0)]
    base, gains = _log_law(c, one, scale), torch.empty(256, c.shape[1], dtype=torch.float64)
    for s in torch.unique(tables).tolist():
        law = _log_law(c, s * one, scale) + math.log1p(-TOUCHED)
        gains[int(s)] = (torch.logaddexp(law, base + math.log(TOUCHED)) - base).sum(0)
    return gains.gather(0, tables.long()).sum(1)


def _log_law(c: Tensor, s: Tensor, scale: Tensor) -> Tensor:
    """log sum_k P_k N(c; k s, sigma^2) over the three nearest k."""
    k = torch.round(c / s) + torch.tensor([-1.0, 0.0, 1.0], dtype=c.dtype).reshape(3, 1, 1)
    width = s / scale
    tail = math.log(0.5) - (k.abs() - 0.5) * width + torch.log(-torch.expm1(-width))
    mass = torch.where(k == 0, torch.log(-torch.expm1(-width / 2)), tail)
    normal = -0.5 * ((c - k * s) / SIGMA).square() - math.log(SIGMA * math.sqrt(2 * math.pi))
    return torch.logsumexp(mass + normal, 0)
