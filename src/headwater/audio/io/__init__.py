"""Recordings as files: reading, writing, times, regions."""
