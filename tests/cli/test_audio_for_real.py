"""From file to file with the shipped music model: better than what needs no model."""

import numpy as np
import soundfile
import torch
from cli_tools import call, report

from headwater.audio import recordings
from headwater.audio.damage import attenuated
from headwater.audio.metrics import log_spectral_distance
from headwater.audio.prediction import bridged


def distance(x, truth):
    """The log-spectral distance of `[samples, channels]`, dB."""
    return log_spectral_distance(*(torch.from_numpy(z.T.copy()) for z in (x, truth))).mean().item()


def sdr(x, truth):
    return 10 * np.log10(np.sum(truth**2) / np.sum((x - truth) ** 2))


def test_a_gap_of_a_guitar_sounds_as_what_was_there(here):
    truth, rate = soundfile.read(recordings.GUITAR, always_2d=True)
    start, stop = round(1.8 * rate), round(2.2 * rate)
    lost = np.zeros(len(truth), dtype=bool)
    lost[start:stop] = True
    y = np.where(lost[:, None], 0.0, truth)
    soundfile.write("lost.flac", y, rate, subtype="PCM_24")
    assert call("audio inpaint lost.flac --gap 1.8-2.2 --quiet") == 0
    x = soundfile.read("lost-inpaint.flac", always_2d=True)[0]
    assert np.array_equal(x[~lost], soundfile.read("lost.flac", always_2d=True)[0][~lost])
    predicted = np.stack([bridged(z, lost, ~lost, rate) for z in y.T], axis=1)
    heard = slice(start - rate // 4, stop + rate // 4)
    assert distance(x[heard], truth[heard]) < 0.85 * distance(predicted[heard], truth[heard])
    level = 10 * np.log10(np.sum(x[lost] ** 2) / np.sum(truth[lost] ** 2))
    assert abs(level) < 2.5
    (stretch,) = report(here / "lost-inpaint.json")["stretches"]
    assert stretch["filled_by"] == "flow and linear prediction" and max(stretch["misfit"]) <= 1.1


def test_noise_is_removed_and_sounds_better_than_by_spectral_subtraction(here):
    truth, rate = soundfile.read(recordings.GUITAR, always_2d=True)
    truth = truth[: round(1.6 * rate), :1]
    level = float(truth.std()) * 10 ** (-10 / 20)
    y = truth + level * np.random.default_rng(0).standard_normal(truth.shape)
    soundfile.write("noisy.wav", y, rate, subtype="FLOAT")
    assert call(f"audio denoise noisy.wav --noise {level} --quiet") == 0
    x = soundfile.read("noisy-denoise.wav", always_2d=True)[0]
    other = attenuated(y[:, 0], level, rate)[:, None]
    assert sdr(x, truth) > max(sdr(other, truth) - 0.3, sdr(y, truth) + 8)
    assert distance(x, truth) < distance(other, truth) < distance(y, truth)
