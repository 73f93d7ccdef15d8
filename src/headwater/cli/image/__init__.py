"""`headwater image ...`."""
