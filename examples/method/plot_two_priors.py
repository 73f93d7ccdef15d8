r"""
Two priors at once
==================

Two flows of the plane, and four ways to sample both: their mixture (OR), points that are equally likely under both
(AND), their product, and the sum of their scores, which looks like a product and is none. The laws are Gaussian
mixtures, so that every answer is known.
"""

import os

import matplotlib.pyplot as plt
import torch

import headwater as hw
from headwater.flows.composed import combine_flows
from headwater.recipes.composition import AnnealedProduct, Superposition

SHORT = (
    os.environ.get("HEADWATER_EXAMPLES") == "short"
)  # a five-second run, for the tests
BLUE, RED = "#0072b2", "#d55e00"

# %%
# Two laws
# --------
#
# One has its mass on two places at the top and at the bottom left, the other on a bar from left to right.

one = hw.GaussianMixture(
    [0.5, 0.5], torch.tensor([[-1.5, 1.0], [-0.5, -1.5]]), torch.tensor([0.7, 0.7])
)
two = hw.Gaussian(torch.tensor([1.0, -0.5]), torch.tensor([1.2, 0.4]))
flows, seeds = [one.flow, two.flow], range(12 if SHORT else 250)

# %%
# Four ways
# ---------
#
# ``Superposition`` tracks the log densities of both flows along one stochastic path, without a divergence: OR mixes
# the velocities by them, AND chooses the mixture that keeps them equal. ``AnnealedProduct`` adds the scores, and
# corrects each level of noise by Langevin steps; without corrections it is the plain sum.

steps = 24 if SHORT else 60
mixed = Superposition("or", steps=steps)(flows, seeds)
equal = Superposition("and", gain=0.3, steps=2 * steps)(flows, seeds)
summed = AnnealedProduct((1.0, 1.0), corrections=0, steps=24)(flows, seeds)
product = AnnealedProduct((1.0, 1.0), corrections=6, steps=24)(flows, seeds)
found = {
    "OR": mixed.x1,
    "AND": equal.x1,
    "sum of scores": summed.x1,
    "corrected product": product.x1,
}

# %%
# The contours are the two laws; for the sum and the product those of the true product.

side = torch.linspace(-4, 4, 81, dtype=torch.float64)
grid = torch.cartesian_prod(side, side)
log_p = torch.stack([law.log_density(grid) for law in (one, two)])
figure, axes = plt.subplots(1, 4, figsize=(10, 2.7), sharey=True, layout="constrained")
for ax, (name, x) in zip(axes, found.items(), strict=True):
    shown = (
        [(log_p[0], BLUE), (log_p[1], RED)]
        if name in ("OR", "AND")
        else [(log_p.sum(0), "0.5")]
    )
    for values, color in shown:
        p = values.exp().reshape(81, 81).T
        ax.contour(side, side, p, levels=[0.1 * p.max(), 0.5 * p.max()], colors=color)
    ax.scatter(*x.T, s=5, color="k", alpha=0.5)
    ax.set(title=name, xlim=(-4, 4), ylim=(-4, 4))
    ax.title.set_fontsize(10)

# %%
# What is right, and by how much
# ------------------------------
#
# The mean of the product by quadrature, and the difference of the two log densities where it should be nothing.

weight = torch.softmax(log_p.sum(0), 0)
exact = (weight[:, None] * grid).sum(0)
print("mean of the product:  ", exact.numpy().round(2))
print("  by the sum of scores", summed.x1.mean(0).numpy().round(2))
print("  corrected           ", product.x1.mean(0).numpy().round(2))
for name in ("OR", "AND"):
    gap = one.log_density(found[name]) - two.log_density(found[name])
    print(f"gap of the densities, {name}: {gap.square().mean().sqrt():.2f} nats rms")

# %%
# **What this shows, and what not.** A product needs corrections wherever its parts differ. AND draws a curve, not a
# region: to be equally likely under both is another wish than to be likely under both. In pictures neither is what a
# caption with "and" means: :doc:`Several priors at once </compositions>` has the figures.

# %%
# With weights of sum one the sum of scores is a flow of its own, which any solver and any recipe takes. Here the
# first law is pushed away from the second:

pushed = combine_flows(flows, (1.3, -0.3))
x1 = hw.solve(pushed, pushed.noise(seeds), steps=24)
print("pushed away from the bar:", x1.mean(0).numpy().round(2))
