"""Costs and batches of problems for the tests of `control`."""

import torch
from core_laws import F64, mixture, normal
from torch.testing import assert_close

EXACT = {"rtol": 0, "atol": 0}


def half_square(x0):
    """-log N(x0; 0, I) + const: the prior that makes the minimiser a MAP estimate."""
    return 0.5 * x0.flatten(1).square().sum(1)


def quadratic(target):
    """|x1 - target|^2 / 2 of a shared target."""
    return lambda x1: 0.5 * (x1 - target).square().sum(1)


class Target:
    """|w (x1 - target)|^2 / 2 with data per problem, which follow the active ones."""

    def __init__(self, target, weight):
        self.target, self.weight = target, weight

    def __call__(self, x1):
        return 0.5 * (self.weight * (x1 - self.target)).square().sum(1)

    def select(self, index):
        return Target(self.target[index], self.weight[index])


def several(k=5, d=3, seed=0):
    """k problems of different difficulty: weights from 1 to 1000."""
    weight = torch.logspace(0, 3, k, dtype=F64)[:, None] * (0.5 + normal(k, d, seed=seed + 1).abs())
    return mixture(d).flow, Target(normal(k, d, seed=seed), weight), normal(k, d, seed=seed + 2)


def same(result, i, other, j, **tolerance):
    """Problem i of one result is problem j of another."""
    assert result.status[i] is other.status[j]
    assert result.gradients[i] == other.gradients[j]
    for name in ("x0", "x1", "cost", "measure"):
        assert_close(getattr(result, name)[i], getattr(other, name)[j], equal_nan=True, **tolerance)
