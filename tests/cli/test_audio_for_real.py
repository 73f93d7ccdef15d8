"""From file to file as shipped: better than what came, and where there is a rival without a model, than that."""

import numpy as np
import soundfile
import torch
from cli_tools import call, report
from scipy.signal import fftconvolve, firwin

from headwater.audio.io import recordings
from headwater.audio.metrics import log_spectral_distance
from headwater.audio.signal.deconvolution import deconvolve
from headwater.audio.signal.prediction import predict_gaps
from headwater.audio.signal.suppression import subtract_noise


def distance(x, truth):
    """The log-spectral distance of `[samples, channels]`, dB."""
    return log_spectral_distance(*(torch.from_numpy(z.T.copy()) for z in (x, truth))).mean().item()


def sdr(x, truth):
    return 10 * np.log10(np.sum(truth**2) / np.sum((x - truth) ** 2))


def test_a_gap_of_a_guitar_sounds_as_what_was_there(here, pictures):
    truth, rate = soundfile.read(recordings.GUITAR, always_2d=True)
    start, stop = round(1.8 * rate), round(2.2 * rate)
    lost = np.zeros(len(truth), dtype=bool)
    lost[start:stop] = True
    y = np.where(lost[:, None], 0.0, truth)
    soundfile.write("lost.flac", y, rate, subtype="PCM_24")
    assert call("audio inpaint lost.flac --gap 1.8-2.2 --quiet") == 0
    x = soundfile.read("lost-inpaint.flac", always_2d=True)[0]
    assert np.array_equal(x[~lost], soundfile.read("lost.flac", always_2d=True)[0][~lost])
    predicted = np.stack([predict_gaps(z, lost, ~lost, rate) for z in y.T], axis=1)
    heard = slice(start - rate // 4, stop + rate // 4)
    assert distance(x[heard], truth[heard]) < 0.85 * distance(predicted[heard], truth[heard])
    level = 10 * np.log10(np.sum(x[lost] ** 2) / np.sum(truth[lost] ** 2))
    assert abs(level) < 2.5
    (stretch,) = report(here / "lost-inpaint.flac.json")["stretches"]
    assert stretch["filled_by"] == "flow and linear prediction" and max(stretch["misfit"]) <= 1.1


def excerpt(start, stop):
    """A piece of the guitar, the left channel `[samples, 1]`, and its rate."""
    x, rate = soundfile.read(recordings.GUITAR, always_2d=True)
    return x[round(start * rate) : round(stop * rate), :1], rate


def repaired(words, y, rate):
    """What a command makes of a recording."""
    soundfile.write("in.wav", y, rate, subtype="FLOAT")
    assert call(f"audio {words} -o out.wav --quiet") == 0
    return soundfile.read("out.wav", always_2d=True)[0]


def test_noise_is_removed_and_sounds_better_than_by_spectral_subtraction(here, pictures):
    truth, rate = excerpt(0.0, 1.6)
    level = float(truth.std()) * 10 ** (-10 / 20)
    y = truth + level * np.random.default_rng(0).standard_normal(truth.shape)
    x = repaired(f"denoise in.wav --noise {level}", y, rate)
    other = subtract_noise(y[:, 0], level, rate)[:, None]
    assert sdr(x, truth) > max(sdr(other, truth) + 0.4, sdr(y, truth) + 10)
    assert distance(x, truth) < distance(other, truth) - 0.8 < 0.5 * distance(y, truth)


def test_a_known_room_is_removed_better_than_by_deconvolution(here):
    truth, rate = excerpt(0.8, 2.4)
    r, n = np.random.default_rng(0), round(0.3 * rate)
    h = 0.03 * r.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    h[0] = 1.0
    soundfile.write("room.wav", h, rate, subtype="FLOAT")
    level = 1e-3 * float(truth.std())
    y = fftconvolve(truth, h[:, None], axes=0)[: len(truth)] + level * r.standard_normal(truth.shape)
    x = repaired(f"dereverb in.wav --impulse room.wav --noise {level}", y, rate)
    other = deconvolve(y[:, 0], h, 1e-3)[:, None]
    assert sdr(x, truth) > sdr(other, truth) + 6 > sdr(y, truth) + 25
    assert distance(x, truth) < 0.6 * distance(other, truth)


def test_clipping_is_undone(here):
    truth, rate = excerpt(0.8, 1.6)
    level = float(np.quantile(np.abs(truth), 0.9))
    y = np.clip(truth, -level, level)
    x = repaired("declip in.wav", y, rate)
    assert sdr(x, truth) > sdr(y, truth) + 15
    assert distance(x, truth) < 0.4 * distance(y, truth)


def test_a_lost_band_is_drawn_and_what_is_below_stays(here):
    truth, rate = excerpt(0.8, 2.4)
    keep = firwin(2047, 2000, fs=rate)[:, None]
    y = fftconvolve(truth, keep, mode="same", axes=0)
    x = repaired("restore in.wav --cutoff 2kHz", y, rate)
    assert distance(x, truth) < 0.7 * distance(y, truth)
    assert sdr(fftconvolve(x, keep, mode="same", axes=0), fftconvolve(y, keep, mode="same", axes=0)) > 25


def test_a_recording_goes_on_after_its_end(here):
    truth, rate = excerpt(0.8, 2.4)
    y, end = truth[: round(1.2 * rate)], round(1.5 * rate)
    x = repaired("extend in.wav --by 300ms", y, rate)
    assert len(x) == end and np.array_equal(x[: len(y)], y.astype(np.float32))
    heard = slice(len(y) - rate // 4, end)
    lost = np.arange(end) >= len(y)
    alone = predict_gaps(np.where(lost, 0.0, truth[:end, 0]), lost, ~lost, rate)[:, None]
    assert distance(x[heard], truth[heard]) < 0.75 * distance(alone[heard], truth[heard])
    assert abs(10 * np.log10(np.mean(x[len(y) :] ** 2) / np.mean(truth[len(y) : end] ** 2))) < 4
