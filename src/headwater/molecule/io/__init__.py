"""Molecules as files, tables, pictures and pages."""
