"""Audio: recordings, what happens to them, and a flow of music."""
