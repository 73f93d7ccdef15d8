"""What is asked of a sample: operators, costs, per-problem data, least squares."""
