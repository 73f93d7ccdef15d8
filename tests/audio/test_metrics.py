"""Measures of restored recordings against their definitions and what they must notice."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from headwater import Misuse
from headwater.audio.metrics import (
    cdpam,
    cdpam_embedding,
    log_spectral_distance,
    loudness,
    seam_jump,
    si_sdr,
    spectrogram,
)

RATE = 16_000


def tone(hertz=440.0, seconds=1.0, rate=RATE):
    return torch.sin(2 * torch.pi * hertz * torch.arange(round(seconds * rate), dtype=torch.float64) / rate)[
        None
    ]


def noise(samples=RATE, seed=0):
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_si_sdr_is_the_ratio_of_orthogonal_parts_at_any_scale():
    r, e = noise(), noise(seed=1)
    e = e - (e * r).sum() / (r * r).sum() * r
    e = e * (r.norm() / e.norm()) * 10 ** (-7 / 20)
    for scale in (1.0, 0.01, -3.0):
        assert_close(si_sdr(scale * (r + e), r), torch.tensor([7.0], dtype=torch.float64))


def test_si_sdr_of_silence_is_minus_infinity():
    assert si_sdr(torch.zeros(1, 10), torch.ones(1, 10)).item() == -float("inf")
    assert si_sdr(torch.ones(1, 10), torch.zeros(1, 10)).item() == -float("inf")


def test_the_spectrogram_of_white_noise_has_its_variance():
    assert spectrogram(3 * noise(40_000))[..., 2:-2].mean().item() == pytest.approx(9, rel=0.05)


def test_a_lost_octave_weighs_more_than_a_change_of_level():
    full, low = (
        noise(),
        torch.fft.irfft(torch.fft.rfft(noise()) * (torch.arange(RATE // 2 + 1) < RATE // 4), n=RATE),
    )
    assert log_spectral_distance(full, full).item() == 0
    assert log_spectral_distance(0.9 * full, full).item() == pytest.approx(-20 * np.log10(0.9), abs=0.01)
    assert log_spectral_distance(low, full).item() > 30


def test_cdpam_orders_noise_levels_and_knows_the_rate():
    short = 0.2  # s: the network takes two seconds of CPU for one of sound
    r = 0.3 * tone(seconds=short) + 0.2 * tone(880, short)
    distances = [cdpam(r + level * noise(r.shape[1]), r, RATE).item() for level in (0.0, 0.003, 0.03)]
    assert distances[0] == pytest.approx(0, abs=1e-4)
    assert distances[0] < distances[1] < distances[2]
    same = (
        cdpam_embedding(torch.cat([r, 0.3 * tone(300, short)]), RATE)
        @ cdpam_embedding(0.3 * tone(440, short, 22_050) + 0.2 * tone(880, short, 22_050), 22_050).T
    )
    assert same[0].item() > 0.98 > same[1].item()


def test_loudness_of_the_standards_tone():
    """BS.1770: a 997 Hz sine of full scale in one channel is -3.01 LUFS."""
    assert loudness(tone(997, 3.0, 48_000), 48_000) == pytest.approx(-3.01, abs=0.05)


def test_a_click_stands_out_and_a_smooth_joint_does_not():
    x = tone(300)
    clicked = x.clone()
    clicked[:, 8000:] += 0.2
    assert seam_jump(x, 8000, RATE).item() < 1.2
    assert seam_jump(clicked, 8000, RATE).item() > 5
    burst = x.clone()  # it begins on the waveform and is over within a millisecond
    burst[0, 8000:8008] += 0.5 * torch.tensor([0.2, -0.6, 1.0, -1.0, 1.0, -0.6, 0.4, -0.2], dtype=x.dtype)
    assert seam_jump(burst, 8000, RATE).item() > 5


@pytest.mark.parametrize("shapes", [((1, 10), (1, 11)), ((10,), (10,))])
def test_shapes_are_refused(shapes):
    with pytest.raises(Misuse, match="same shape"):
        si_sdr(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
