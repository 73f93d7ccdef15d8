"""`headwater audio ...`."""
