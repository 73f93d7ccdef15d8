"""Speech-like sound: glottal pulses whose pitch glides, through moving resonances, with hisses, pauses and a room."""

import numpy as np
from scipy.signal import lfilter

VOWELS = ((700, 1200, 2500), (300, 2300, 3000), (350, 800, 2300), (500, 1800, 2500), (450, 1000, 2400))
"""The formants of five vowels, Hz."""


def speak(seconds, seed=0, rate=16_000, room=-50.0):
    """The voice `[samples]`, and the room alone, `room` dB below full scale."""
    r = np.random.default_rng(seed)
    voice, at, base = np.zeros(round(seconds * rate)), 0, r.uniform(95, 210)
    while at < len(voice):
        if r.random() < 0.18:
            at += round(r.uniform(0.15, 0.5) * rate)
            continue
        sound = hiss(r, rate) if r.random() < 0.3 else vowel(base, r, rate)
        end = min(at + len(sound), len(voice))
        voice[at:end] += sound[: end - at]
        at += round(0.95 * len(sound))
    hum = lfilter([1.0], [1.0, -0.8], r.standard_normal(len(voice)))
    tone = 10 ** (room / 20) * hum / hum.std()
    return 0.7 * voice / np.abs(voice).max() + tone, tone


def hiss(r, rate):
    count = round(r.uniform(0.05, 0.12) * rate)
    return 0.15 * np.diff(r.standard_normal(count + 1)) * np.hanning(count)


def vowel(base, r, rate, block=80):
    """One syllable: its pitch falls or rises by up to half an octave, its formants move from one vowel to another."""
    count = round(r.uniform(0.12, 0.3) * rate)
    way = np.linspace(0, 1, count)
    start, stop = r.uniform(0.05, 0.4), r.uniform(-0.4, -0.05)
    pitch = base * 2 ** (start + (stop - start) * way) * 2 ** (0.01 * np.sin(40 * way + r.uniform(0, 6)))
    pulses = np.diff(np.floor(np.cumsum(pitch) / rate), prepend=0.0)
    breath = 0.01 * r.standard_normal(count)
    sound = lfilter([1.0, -1.0], np.convolve([1.0, -0.99], [1.0, -0.95]), pulses) + breath  # no constant part
    a, b = (np.array(VOWELS[k]) for k in r.integers(len(VOWELS), size=2))
    for k in range(3):
        out, state = np.zeros(count), np.zeros(2)
        for first in range(0, count, block):
            f = a[k] + (b[k] - a[k]) * first / count
            radius = np.exp(-np.pi * (60 + 40 * k) / rate)
            filter_ = [1.0, -2 * radius * np.cos(2 * np.pi * f / rate), radius**2]
            part = sound[first : first + block]
            out[first : first + block], state = lfilter([1 - radius], filter_, part, zi=state)
        sound = out
    rise = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.02 * rate))
    return r.uniform(0.4, 1.0) * rise * sound / np.abs(sound).max()
