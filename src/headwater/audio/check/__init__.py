"""Damage found in a recording: clicks, drop-outs, clipping, samples that are not finite, hum. It needs scipy."""

from headwater.extras import import_optional

import_optional("scipy", "audio")
