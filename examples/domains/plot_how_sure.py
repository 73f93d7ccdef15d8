"""
How sure is a filled hole?
==========================

A filled hole looks certain, and it is not. The measurement leaves open what was there, and one picture cannot say how
much. The posterior of the source can: many source points :math:`x_0`, each with the probability

.. math:: p(x_0 | y) \\propto \\exp(-|A(x_1(x_0)) - y|^2 / 2 \\sigma_y^2) \\, N(x_0; 0, I),

give pictures that all agree with the measurement, and differ where it says nothing. The command line does the same
with ``headwater image inpaint photo.png --box 22,22,20,20 --posterior 16``.
"""

import os
from dataclasses import replace

import matplotlib.pyplot as plt
import torch

import headwater as hw

# "short" is a five-second run, for the tests
SHORT = os.environ.get("HEADWATER_EXAMPLES") == "short"

flow = hw.image.flow("photo64")
photo, _ = hw.image.read_image(hw.image.photos.path("cat"))
known = torch.ones(64, 64, dtype=torch.bool)
known[22:42, 22:42] = False

hole = hw.image.Inpaint(known)
task = hw.image.ImageTask(hole, hole(photo), noise=0.0, size=(64, 64))
problem = task.pose(flow)

# %%
# Each draw is an annealing of its own (:py:obj:`headwater.DecoupledAnnealing`): at every time the denoiser says what
# is likely, and a draw of it that agrees with the measurement is noised again. There is no gradient of the network.
# No noise was stated, so the unit is what the known pixels around the hole show.

method = hw.DecoupledAnnealing()
if SHORT:
    method = hw.DecoupledAnnealing(replace(method.estimate, times=2))
found = problem.posterior(
    seeds=[0],
    method=method,
    chains=2 if SHORT else 4,
    draws=1 if SHORT else 4,
    steps=2 if SHORT else 8,
)
print(f"{found.evaluations.sum()} evaluations of the network")
print(found.verdict()[0])

# %%
# Finished pictures have the known pixels as they were. Their mean is nearer to the truth than any of them; the one
# nearest to the mean is a picture that the flow makes.

pictures = hw.image.finish_posterior(found, task, problem)
std = pictures.std[0].square().mean(0).sqrt()


def show(axes, image, title):
    axes.imshow((image.permute(1, 2, 0).clamp(-1, 1) + 1) / 2, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


fig, axes = plt.subplots(1, 5, figsize=(9, 2.3), layout="constrained")
mean, sample = pictures.mean[0], pictures.nearest()[0]
show(axes[0], hole(photo)[0], "what is known")
show(axes[1], mean, f"mean, {hw.image.psnr(mean[None], photo).item():.1f} dB")
show(axes[2], sample, f"a draw, {hw.image.psnr(sample[None], photo).item():.1f} dB")
bar = axes[3].imshow(std, cmap="magma", vmin=0)
axes[3].set_title("standard deviation", fontsize=9)
axes[3].set_axis_off()
fig.colorbar(bar, ax=axes[3], shrink=0.7)
show(axes[4], photo[0], "true photo")

# %%
# An event is any question to a picture that is answered with yes or no, such as whether the hole is darker than
# what is around it.

inside, around = ~known, known.clone()
around[:18], around[46:], around[:, :18], around[:, 46:] = False, False, False, False


def is_darker(x):
    return x[..., inside].mean((1, 2)) < x[..., around].mean((1, 2))


p, error = pictures.probability(is_darker)
print(f"darker than its surroundings: {p.item():.2f} +- {error.item():.2f}")
print("in the true photo:", bool(is_darker(photo)[0]))

# %%
# What this shows, and what not: the map says where the draws differ, in the units of the data range. Sixteen
# draws make rough quantiles, and an annealing comes near the posterior without being exact.
# ``--sampler hmc`` has no such bias, and takes far longer.
