"""How near a restored recording is to the true one: one number per recording, with the definition beside it.

Recordings are `[batch, samples]`; what has a rate gets it in Hz.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.extras import import_optional

CDPAM_RATE = 22_050


def si_sdr(x: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB, `[batch]`.

    10 log10(|a r|^2 / |a r - x|^2) with a = <x, r> / |r|^2; nothing is made zero-mean. Silence has -inf.

    Parameters
    ----------
    x, reference
        The restored and the true recordings, `[batch, samples]`.

    Raises
    ------
    Misuse
        The two are not floating batches of one shape.

    References
    ----------
    Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> f"{hw.audio.si_sdr(torch.tensor([[2.0, 2.2]]), torch.tensor([[1.0, 1.0]])).item():.1f}"
    '26.4'
    """
    _same(x, reference)
    tiny = torch.finfo(x.dtype).tiny
    a = (x * reference).sum(1) / reference.square().sum(1).clamp(min=tiny)
    wanted = a[:, None] * reference
    return 10 * torch.log10(wanted.square().sum(1) / (wanted - x).square().sum(1).clamp(min=tiny))


def spectrogram(x: Tensor, size: int = 512) -> Tensor:
    """Power spectrogram `[batch, size / 2 + 1, frames]`, Hann window of `size` samples, a quarter of it apart."""
    window = torch.hann_window(size, dtype=x.dtype, device=x.device)
    found = torch.stft(
        x, size, size // 4, window=window, center=True, pad_mode="constant", return_complex=True
    )
    return found.abs().square() / window.square().sum()


def log_spectral_distance(x: Tensor, reference: Tensor, size: int = 512, floor: float = 1e-8) -> Tensor:
    """Log-spectral distance in dB, `[batch]`: the mean over frames of the rms over frequencies of the difference.

    LSD = mean_t sqrt(mean_f (10 log10 (P_x + floor) / (P_r + floor))^2), P the power spectrogram with a Hann window,
    a quarter of it apart.

    Parameters
    ----------
    x, reference
        The restored and the true recordings, `[batch, samples]`.
    size
        Samples of the window.
    floor
        Added to the power; 1e-8 is 80 dB below a sample of 1.

    Raises
    ------
    Misuse
        The two are not floating batches of one shape, or the window is shorter than 4 samples.

    References
    ----------
    Gray and Markel, "Distance measures for speech processing", IEEE Trans. ASSP 24 (1976).

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> x = torch.randn(1, 4000, dtype=torch.float64)
    >>> hw.audio.log_spectral_distance(10 * x, x).round(decimals=2).tolist()
    [20.0]
    """
    _same(x, reference)
    if size < 4:
        raise Misuse(f"A window of {size} samples has no spectrum.", "Give at least 4.")
    ratio = 10 * torch.log10((spectrogram(x, size) + floor) / (spectrogram(reference, size) + floor))
    return ratio.square().mean(1).sqrt().mean(1)


@cache
def _cdpam() -> Any:
    """The network of CDPAM, from its package's own file; the package itself would import much more."""
    found = importlib.util.find_spec("cdpam")
    if found is None or not found.submodule_search_locations:
        raise Misuse("The distance CDPAM needs the package cdpam.", "Run: pip install 'headwater[cdpam]'")
    folder = Path(found.submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location("cdpam_models", folder / "models.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.FINnet(
        dev=torch.device("cpu"),
        encoder_layers=16,
        encoder_filters=64,
        ndim=[16, 6],
        classif_dp=0.05,
        classif_BN=0,
        classif_act="no",
        input_size=512,
    )
    weights = folder / "CDPAM_trained" / "scratchJNDdefault_best_model.pth"
    # an old pickle that weights_only refuses; it belongs to the installed package, as its code does
    net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=False)["state"])
    return net.eval().requires_grad_(False)


def cdpam_embedding(x: Tensor, rate: int) -> Tensor:
    """CDPAM's acoustic embedding, `[batch, 512]`, of unit length; full scale of x is 1."""
    julius = import_optional("julius", "cdpam")
    x = x.float() if rate == CDPAM_RATE else julius.resample_frac(x.float(), rate, CDPAM_RATE)
    acoustic = _cdpam().base_encoder(32768 * x[:, None])[1]
    return torch.nn.functional.normalize(acoustic, dim=1)


def cdpam(x: Tensor, reference: Tensor, rate: int) -> Tensor:
    """CDPAM, a learned perceptual distance, `[batch]`: 0 for equal recordings, small is good.

    Source: Manocha et al., CDPAM: Contrastive learning for perceptual audio similarity, ICASSP 2021; weights of the
    package cdpam.
    """
    _same(x, reference)
    return cdpam_distance(cdpam_embedding(x, rate), cdpam_embedding(reference, rate))


def cdpam_distance(a: Tensor, b: Tensor) -> Tensor:
    """CDPAM between recordings whose embeddings `[batch, 512]` are known, `[batch]`."""
    distance: Tensor = _cdpam().model_dist(a, b)
    return distance.flatten()


def loudness(x: Tensor, rate: int) -> float:
    """Integrated loudness of one recording `[channels, samples]` in LUFS (ITU-R BS.1770-4), at least 0.4 s long."""
    meter = import_optional("pyloudnorm", "cdpam").Meter(rate)
    return float(meter.integrated_loudness(x.T.double().numpy()))


def seam_jump(x: Tensor, edge: int, rate: int) -> Tensor:
    """How much a joint stands out, `[batch]`: the prediction error there over that of its neighbourhood.

    The largest second difference of the samples within 1 ms of `edge` over the largest of those within 20 ms: a click
    is far above 1.
    """
    curve = torch.diff(x, n=2).abs()  # of samples k, k + 1 and k + 2
    close, reach = max(round(0.001 * rate), 2), max(round(0.02 * rate), 8)
    first, last = max(edge - close - 1, 0), edge + close
    near = curve[:, first:last]
    sides = torch.cat([curve[:, max(edge - reach, 0) : first], curve[:, last : edge + reach]], dim=1)
    return near.amax(1) / sides.amax(1).clamp(min=torch.finfo(x.dtype).tiny)


def _same(x: Tensor, reference: Tensor) -> None:
    if x.shape != reference.shape or x.ndim != 2:
        raise Misuse(
            f"The recordings are {list(x.shape)} and {list(reference.shape)}.",
            "Give two batches [batch, samples] of the same shape.",
        )
    if not (x.is_floating_point() and reference.is_floating_point()):
        raise Misuse(
            f"The recordings are {x.dtype} and {reference.dtype}.", "Give floats, full scale being 1."
        )
