"""Molecules: a QM9 flow, property regressors, targets, chemistry checks, files and pictures."""
