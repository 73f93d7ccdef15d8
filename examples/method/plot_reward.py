r"""
Rewards, and how they are over-optimised
========================================

Any differentiable score :math:`r(x_1)` can be the aim: the cost is :math:`-\lambda r`. A score says nothing about
what a good picture is, so an optimiser that sees nothing else destroys the picture. This page does that on purpose,
compares four ways to hold it back, and asks whether drawing a few samples and taking the best would have done.
"""

import os

import matplotlib.pyplot as plt

import headwater as hw

SHORT = (
    os.environ.get("HEADWATER_EXAMPLES") == "short"
)  # a five-second run, for the tests
COLORS = ("#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#0072b2")

# %%
# A flow and a reward
# -------------------
#
# The flow is the shipped prior ``photo64``, with 3 steps of the midpoint method to keep this page short. The reward
# is warmth: mean red minus mean blue. Values of a picture lie in [-1, 1], so a warmth above 2 is impossible, and
# photos are far from that.

flow = hw.image.flow("photo64")


def warmth(x1):
    """Mean red minus mean blue, [batch]."""
    return (x1[:, 0] - x1[:, 2]).mean(dim=(1, 2))


def outside(x1):
    """How far the values leave the range [-1, 1]: the sum of squares, [batch]."""
    return (x1.abs() - 1).clamp(min=0).square().flatten(1).sum(1)


x0 = flow.noise(seeds=[0, 1])
weight = 20.0

# %%
# Five runs from the same two draws
# ---------------------------------
#
# - *reward alone*;
# - *in range*: :py:obj:`headwater.WeightedSum` of the reward and a penalty for values that no picture has;
# - *on the shell*: ``constraint=hw.shell`` keeps :math:`\lVert x_0 \rVert = \sqrt{d}`, where the draws of the source
#   are;
# - *chi prior*: :py:obj:`headwater.ChiPrior` is the soft form of it, minus the log density of the norm;
# - *near its draw*: the prior :math:`\lVert x_0 - z \rVert^2 / 2` with :math:`z` the draw that the problem starts
#   from. Each problem has its own, so it is declared with :py:obj:`headwater.Each`.
#
# The last one has a meaning. Where the reward is linear in :math:`x_0`, its minimum is a draw of the law of the flow
# times :math:`\exp(\lambda r)`: as warm as samples of that tilted law are, and no warmer.


def distance(x0, z):
    """Half the squared distance of x0 to a draw z, [batch]."""
    return 0.5 * (x0 - z).flatten(1).square().sum(1)


reward = hw.WeightedSum(((-weight, warmth),))
in_range = hw.WeightedSum(((-weight, warmth), (1.0, outside)))
runs = {
    "reward alone": (reward, {}),
    "in range": (in_range, {}),
    "on the shell": (reward, {"constraint": hw.shell}),
    "chi prior": (reward, {"prior": hw.ChiPrior()}),
    "near its draw": (reward, {"prior": hw.Each(distance, z=x0)}),
}
gradients = 1 if SHORT else 6
paths, results = {}, {}
for name, (cost, options) in runs.items():
    seen = paths[name] = []
    results[name] = hw.control(
        flow,
        cost,
        x0,
        steps=3,
        gradients=gradients,
        callback=lambda e, seen=seen: seen.append(e),
        **options,
    )

# %%
# The simplest rival: draw as many samples as there were solves, and keep the warmest. A gradient takes two to three
# times as long as a solve, so there is a second one with three times as many draws.

x1 = hw.solve(flow, flow.noise(range(3 * gradients)), steps=3)
best = {
    f"best of {n} draws": x1[warmth(x1[:n]).argmax()] for n in (gradients, 3 * gradients)
}

columns = {
    "start": hw.solve(flow, x0, steps=3),
    **{name: r.x1 for name, r in results.items()},
}
figure, axes = plt.subplots(2, 7, figsize=(9, 3), layout="constrained")
for axis, (name, pictures) in zip(axes.T, columns.items(), strict=False):
    for ax, picture in zip(axis, pictures, strict=True):
        ax.imshow(((picture + 1) / 2).clamp(0, 1).movedim(0, 2).numpy())
        ax.set_title(f"{float(warmth(picture[None])):.3g}", fontsize=9)
    axis[0].set_title(f"{name}\n{axis[0].get_title()}", fontsize=9)
for ax, (name, picture) in zip(axes[:, -1], best.items(), strict=True):
    ax.imshow(((picture + 1) / 2).clamp(0, 1).movedim(0, 2).numpy())
    ax.set_title(f"{name}\n{float(warmth(picture[None])):.3g}", fontsize=9)
for ax in axes.flat:
    ax.axis("off")

# %%
# The numbers are the warmth. The same runs, gradient by gradient: the reward, and how far :math:`x_0` has gone.

figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
for (name, events), color, style in zip(
    paths.items(), COLORS, ("-", "--", "-.", ":", "o-"), strict=True
):
    radius = [float(e.x0[0].norm()) / flow.event_size**0.5 for e in events]
    moved = [float((e.x0[0] - x0[0]).norm()) for e in events]
    for ax, values in zip(
        axes, ([float(warmth(e.x1)[0]) for e in events], radius, moved), strict=True
    ):
        ax.plot(range(1, len(values) + 1), values, style, ms=3, color=color, label=name)
axes[0].axhline(2.0, color="0.5", lw=1)
axes[0].set(ylabel="warmth", yscale="symlog", ylim=(0, None))
axes[1].set(ylabel=r"$\Vert x_0 \Vert / \sqrt{d}$", yscale="log")
axes[2].set(ylabel=r"$\Vert x_0 - z \Vert$", yscale="symlog", ylim=(0, None))
axes[1].set_yticks([1, 2, 4], [1, 2, 4])
axes[1].minorticks_off()
figure.legend(
    *axes[0].get_legend_handles_labels(),
    ncols=5,
    loc="outside lower center",
    frameon=False,
)
for ax in axes:
    ax.set_xlabel("gradients")

print("                      warmth        outside [-1, 1]  evaluations")
for name, result in results.items():
    wild = 100 * (result.x1.abs() > 1).flatten(1).float().mean()
    values = "  ".join(f"{w:6.2f}" for w in warmth(result.x1).tolist())
    print(f"{name:18}  {values}  {wild:13.0f} %  {int(result.evaluations[0]):11}")
for name, picture in best.items():
    wild = 100 * (picture.abs() > 1).float().mean()
    print(
        f"{name:18}  {float(warmth(picture[None])):6.2f}          {wild:13.0f} %  {6 * int(name.split()[2]):11}"
    )

# %%
# *Reward alone* leaves the shell after a few gradients: the number goes on rising and there is no picture any
# more. The *shell* and the *chi prior* hold the norm, and that is not enough. Among :math:`d` = 12,288 coordinates
# the optimiser turns :math:`x_0` into one direction, at a distance of many standard deviations from the draw, on the
# shell all the time; the reward passes 2, which no picture has. The penalty *in range* keeps the number possible. It
# says nothing about texture, and the first picture has lost some. *Near its draw* moves :math:`x_0` by a few units,
# and the picture stays what it was, in warmer light.
#
# Drawing again is no over-optimisation at all: its result is a sample of the flow. It wins as long as the aim is
# within what the flow often draws. Beyond that it does not get there: three times as many draws gain little, while
# control went far past the warmest of them.
#
# **What this shows, and what not.** Put a reward together with a prior that knows where the problem started, choose
# the weight for the change that you want, and look at the pictures, not at the number. Warmth is an easy reward,
# linear in the pixels; how a network is fooled is harder to see.
