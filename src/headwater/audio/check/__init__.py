"""Damage found in a recording: clicks, drop-outs, clipping, samples that are not finite, hum."""
