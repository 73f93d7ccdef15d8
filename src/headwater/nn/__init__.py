"""Bodies of networks and the resumable training loop."""
