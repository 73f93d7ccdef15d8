"""The problem to be solved: operators, costs, per-problem data, least squares."""
