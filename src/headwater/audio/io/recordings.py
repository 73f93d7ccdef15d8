"""The recording that ships for the demo: CC0, see recordings/LICENSES.md."""

from __future__ import annotations

from pathlib import Path

GUITAR = Path(__file__).parent / "recordings" / "guitar.flac"
"""A chord on an electric guitar with echo: 4 s, 44.1 kHz, stereo, 16 bit."""
