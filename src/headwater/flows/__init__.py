"""Velocity fields with their path: networks, closed forms, windows."""
