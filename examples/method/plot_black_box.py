r"""
A goal without a gradient
=========================

Some goals are not differentiable: the size of a file, a count, a rule, the verdict of another program. This page
raises a staircase, whose gradient is zero almost everywhere, on a mixture of Gaussians in the plane, where the right
answer is known. It compares a *search of the source* with *steering along the path*, at equal evaluations.
"""

import os

import matplotlib.pyplot as plt
import torch

import headwater as hw
from headwater.recipes.blackbox import CMAES, BestOf, CoDe, FeynmanKac

SHORT = (
    os.environ.get("HEADWATER_EXAMPLES") == "short"
)  # a five-second run, for the tests
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")

# %%
# A mixture, and a reward that is a staircase
# -------------------------------------------
#
# Three modes; the one on the right has a tenth of the weight. The reward counts steps of half a unit to the right. It
# returns plain numbers: nothing here is differentiated.

law = hw.GaussianMixture(
    [0.6, 0.3, 0.1],
    torch.tensor([[-2.0, 0.0], [0.0, 2.0], [2.0, -1.0]]),
    torch.tensor([0.4, 0.5, 0.4]),
)
flow = law.flow


def stairs(x1):
    """Whole steps of 0.5 to the right, a list of numbers."""
    return (2 * x1[:, 0]).floor().tolist()


# %%
# Four ways, each with about 32 solves of 24 evaluations
# ------------------------------------------------------
#
# - *best of 32*: draw, look, keep the best;
# - *CMA-ES*: a Gaussian over the source moves towards what was rewarded; ``strength`` keeps it near the origin, as
#   the source of two coordinates has no shell to speak of;
# - *CoDe*: after every sixth step the best of 32 stochastic continuations goes on;
# - *Feynman-Kac*: 32 particles, resampled by the reward of their denoised state; here the best of them.

seeds = range(10 if SHORT else 150)
strength = 0.5
common = {"steps": 24, "at_once": 8192}
methods = {
    "best of 32": BestOf(draws=32, **common),
    "CMA-ES": CMAES(draws=32, strength=strength, **common),
    "CoDe": CoDe(candidates=32, **common),
    "Feynman-Kac": FeynmanKac(strength, particles=32, **common),
}
results = {name: method(flow, stairs, seeds) for name, method in methods.items()}

figure, axes = plt.subplots(1, 5, figsize=(10, 2.4), sharey=True, layout="constrained")
draws = hw.solve(flow, flow.noise(range(5000, 5000 + len(seeds))), steps=24)
axes[0].scatter(*draws.T, s=6, color="0.4")
axes[0].set_title("draws", fontsize=9)
for ax, (name, result), color in zip(axes[1:], results.items(), COLORS, strict=True):
    ax.scatter(*result.x1.T, s=6, color=color)
    ax.set_title(f"{name}\n{float(result.reward.mean()):.2f} steps", fontsize=9)
for ax in axes:
    ax.axvline(2.0, color="0.8", lw=1, zorder=0)
    ax.set(xlim=(-4, 5), ylim=(-3.5, 4))

# %%
# The known answer
# ----------------
#
# The particles aim at the law :math:`p(x_1) \exp(\lambda r(x_1))`, and it is known here: add up the stairs.
# ``pick="draw"`` takes one particle by its weight. The weights give an estimate of the normaliser, too, which is
# unbiased for any number of particles, for the law of the discrete sampler. Its steps are of order one, so that 24 of
# them were enough for a maximum, and are not for a law.

step = torch.arange(-20, 21)
normal = torch.distributions.Normal(law.means[:, 0], law.eigenvalues[:, 0].sqrt())
share = normal.cdf((step[:, None] + 1) / 2) - normal.cdf(step[:, None] / 2)
tilted = (share @ law.log_weights.exp()) * torch.exp(strength * step)
expected = float((tilted * step).sum() / tilted.sum())
fine = {"steps": 24 if SHORT else 150, "at_once": 8192}
particles = FeynmanKac(strength, particles=32, pick="draw", **fine)(flow, stairs, seeds)
weights = torch.softmax(particles.log_weights, 1)
found = float((weights * particles.rewards).sum(1).mean())
drawn = float(particles.reward.mean())

print("                 mean reward  evaluations  calls of the reward")
print(f"{'tilted law':14}  {expected:11.2f}")
print(f"{'by particles':14}  {found:11.2f}")
print(f"{'one drawn':14}  {drawn:11.2f}")
for name, result in results.items():
    line = f"{float(result.reward.mean()):11.2f}  {int(result.evaluations[0]):11}"
    print(f"{name:14}  {line}  {int(result.calls[0]):19}")
z = float(particles.log_normaliser.exp().mean())
print(f"normaliser: {z:.3f} by particles, {float(tilted.sum()):.3f} exactly")

# %%
# All four maximise, each in its way, and their samples gather where the staircase is high. Drawn by their weights,
# the particles follow a law that says how much the reward counts.
#
# **What this shows, and what not.** Choosing along the path reaches further than choosing among finished samples,
# because each choice builds on the last one. It also leaves the data further, and nothing but the strength of the
# particles says where to stop. In thousands of dimensions the order of the methods may be another:
# :doc:`Black-box goals </black-box>` has the figures.
