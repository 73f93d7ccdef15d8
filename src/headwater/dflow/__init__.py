"""Control from the source: Algorithm 1 of the paper, its start, its record and its forecast."""
