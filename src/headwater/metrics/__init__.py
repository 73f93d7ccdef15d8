"""Distances between sets of samples that belong to no domain."""
