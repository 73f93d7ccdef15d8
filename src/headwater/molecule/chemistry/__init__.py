"""Bonds, soundness and alignment of molecules."""
