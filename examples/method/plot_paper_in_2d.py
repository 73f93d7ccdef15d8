r"""
The paper in two dimensions
===========================

D-Flow optimises the source point :math:`x_0` until the sample :math:`x_1(x_0)` has a low cost. Why not move
:math:`x_1` itself? In two dimensions one can see the answer. The data lie on a thin spiral, and its flow is known in
closed form, so nothing on this page is an effect of training.
"""

import math
import os

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Ellipse

import headwater as hw

BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "0.75"
SHORT = (
    os.environ.get("HEADWATER_EXAMPLES") == "short"
)  # a five-second run, for the tests

# %%
# The flow
# --------
#
# The law is a mixture of 60 Gaussians along a spiral, long in the direction of the curve and 0.05 thin across it.
# :py:obj:`headwater.GaussianMixture` gives its exact velocity as a :py:obj:`headwater.Flow`. Each source point gets a
# colour by its angle, and its sample has the same colour.

angle = torch.linspace(0.6, 3.2 * math.pi, 60, dtype=torch.float64)
radius = 0.22 * angle
means = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
along = torch.gradient(means, dim=0)[0]
across = torch.nn.functional.normalize(along.flip(1) * torch.tensor([-1.0, 1.0]), dim=1)
covariances = (
    0.8 * along[:, :, None] * along[:, None, :]
    + 0.05**2 * across[:, :, None] * across[:, None, :]
)
law = hw.GaussianMixture(radius, means, covariances)

flow, grid = law.flow, hw.logit_grid(6 if SHORT else 24)
x0 = flow.noise(range(1000), dtype=torch.float64)
x1 = hw.solve(flow, x0, steps=grid)

figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained")
for ax, points, title in zip(
    axes, (x0, x1), ("source $x_0$", "samples $x_1$"), strict=True
):
    ax.scatter(*points.T, c=torch.atan2(x0[:, 1], x0[:, 0]), cmap="twilight", s=4)
    ax.set(
        title=title, aspect="equal", xlabel="first coordinate", ylabel="second coordinate"
    )

# %%
# Algorithm 1
# -----------
#
# Two costs. In the first, only one coordinate of the sample was measured, and it is 1. In the second, the sample
# should be near a target that does *not* lie on the spiral. :py:obj:`headwater.control` is Algorithm 1; with plain
# gradient descent as its optimizer, every difference to descent on :math:`x_1` comes from where the gradient is
# taken.

target = torch.tensor([0.9, 0.0], dtype=torch.float64)
costs = {
    "one coordinate is measured": lambda x1: 0.5 * (x1[:, 0] - 1.0).square(),
    "a target off the spiral": lambda x1: 0.5 * (x1 - target).square().sum(1),
}
start = flow.noise([3, 4, 6], dtype=torch.float64)


def control_path(cost):
    """x1 after every gradient, [gradients, problems, 2]."""
    path = []
    hw.control(
        flow,
        cost,
        start,
        steps=grid,
        gradients=30,
        optimizer=hw.GradientDescent(lr=0.3),
        callback=lambda event: path.append(event.x1),
    )
    return torch.stack(path)


def descent_path(cost):
    """The same descent on x1 itself."""
    x, path = hw.solve(flow, start, steps=grid), []
    for _ in range(30):
        path.append(x.detach())
        x = x.detach().requires_grad_()
        x = x - 0.3 * torch.autograd.grad(cost(x).sum(), x)[0]
    return torch.stack(path)


paths = {name: (control_path(cost), descent_path(cost)) for name, cost in costs.items()}
figure, axes = plt.subplots(1, 2, figsize=(7, 3.6), layout="constrained")
for ax, (controlled, direct) in zip(axes, paths.values(), strict=True):
    ax.scatter(*x1.T, s=2, color=GREY)
    ax.plot(*direct.movedim(2, 0), "--", color=ORANGE, label="descent on $x_1$")
    ax.plot(*controlled.movedim(2, 0), ".-", ms=4, color=BLUE, label="control of $x_0$")
    ax.plot(*controlled[0].T, "o", color="black", label="start")
axes[0].axvline(1.0, color=GREEN, lw=1, label="aim")
axes[1].plot(*target, "*", ms=11, color=GREEN)
handles, labels = axes[0].get_legend_handles_labels()
seen = dict(zip(labels, handles, strict=True))
figure.legend(
    seen.values(), seen.keys(), ncols=4, loc="outside lower center", frameon=False
)
for ax, name in zip(axes, paths, strict=True):
    ax.set(
        title=name, aspect="equal", xlabel="first coordinate", ylabel="second coordinate"
    )

# %%
# Descent on :math:`x_1` goes in a straight line through places where there are no data; on the left one of three ends
# on the spiral by chance. Control walks along the spiral. A long step may jump to another arm, but it lands on data.
# The density of the samples says the same.

figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained", sharey=True)
axes[0].set_ylabel(r"$\log p_1(x_1)$ in nats")
for ax, (name, (controlled, direct)) in zip(axes, paths.items(), strict=True):
    for path, style, color in ((direct, "--", ORANGE), (controlled, "-", BLUE)):
        ax.plot(
            [[float(p) for p in law.log_density(x)] for x in path], style, color=color
        )
    ax.set(title=name, xlabel="gradients", ylim=(-25, 1))

# %%
# Proposition 4.1: the Jacobian of the denoiser is a covariance
# -------------------------------------------------------------
#
# .. math:: \frac{\partial \hat{x}(x, t)}{\partial x} = \frac{\alpha_t}{\sigma_t^2}\, \mathrm{Var}[x_1 \mid x_t = x]
#
# Left: at a few points :math:`x_t` the ellipse of the covariance (filled), which the mixture knows in closed form,
# and that of the Jacobian times :math:`\sigma_t^2 / \alpha_t`, computed by automatic differentiation of
# ``flow.denoise`` (dashed). They are centred on the posterior mean :math:`\hat{x}`. They are long where the data are
# undecided and thin across the spiral.


def ellipse(ax, centre, matrix, scale, **style):
    """The set {centre + scale u : u' matrix^-1 u = 1} of a symmetric matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    width, height = (2 * scale * values.clamp(min=0).sqrt()).tolist()
    slope = math.degrees(math.atan2(vectors[1, 0], vectors[0, 0]))
    ax.add_patch(Ellipse(centre.tolist(), width, height, angle=slope, **style))


t = torch.tensor(0.8, dtype=torch.float64)
chosen = [0, 2, 3, 5, 6, 10, 13, 15]
xt = flow.path.interpolate(x0[chosen], law.sample(chosen), t)
xhat, variance = flow.denoise(xt, t), law.posterior_covariance(xt, t)
alpha, sigma = flow.path.alpha(t), flow.path.sigma(t)
jacobian = torch.stack(
    [
        torch.autograd.functional.jacobian(lambda x: flow.denoise(x[None], t)[0], x)
        for x in xt
    ]
)
difference = (jacobian - alpha / sigma**2 * variance).abs().max()
print(
    f"largest difference of the two sides of Prop. 4.1: {difference:.0e}, largest entry {jacobian.max():.1f}"
)

# %%
# Right: what this does to the gradient. One step of descent on :math:`x_0` moves the sample by
# :math:`-\eta\, D D^\top \nabla C(x_1)` with :math:`D = \partial x_1 / \partial x_0`. By Theorem 4.2 of the paper
# :math:`D` is made of all the covariances along the way, so its ellipse lies along the spiral. An arrow shows the
# gradient of the cost in :math:`x_1` (thin, orange), and the step that control makes of it (blue), both scaled to the
# same length.

some = torch.tensor([0, 4, 7, 12, 16, 21, 22, 30])
D = torch.stack(
    [
        torch.autograd.functional.jacobian(
            lambda x: hw.solve(flow, x[None], steps=grid)[0], x
        )
        for x in x0[some]
    ]
)
gram = D @ D.mT
direct = torch.nn.functional.normalize(target - x1[some], dim=1)
moved = torch.nn.functional.normalize(
    (gram @ (target - x1[some])[:, :, None])[:, :, 0], dim=1
)

figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained")
for ax, title in zip(
    axes, ("Prop. 4.1 at $t = 0.8$", "one step of control"), strict=True
):
    ax.scatter(*x1.T, s=2, color=GREY)
    ax.set(
        title=title, aspect="equal", xlabel="first coordinate", ylabel="second coordinate"
    )
for centre, left, right in zip(xhat, variance, jacobian * sigma**2 / alpha, strict=True):
    ellipse(axes[0], centre, left, 2.0, color=BLUE, alpha=0.4)
    ellipse(
        axes[0], centre, 0.5 * (right + right.mT), 2.0, fill=False, ls="--", color="black"
    )
for centre, matrix in zip(x1[some], gram, strict=True):
    ellipse(axes[1], centre, matrix, 0.25, color=BLUE, alpha=0.4)
axes[1].quiver(
    *x1[some].T,
    *(0.5 * direct).T,
    color=ORANGE,
    angles="xy",
    scale_units="xy",
    scale=1,
    width=5e-3,
)
axes[1].quiver(
    *x1[some].T,
    *(0.5 * moved).T,
    color=BLUE,
    angles="xy",
    scale_units="xy",
    scale=1,
    width=8e-3,
)
axes[1].plot(*target, "*", ms=11, color=GREEN)

elongation = torch.linalg.cond(gram).median()
print(
    f"along the spiral a gradient counts {elongation:.0f} times as much as across it (median)"
)

# %%
# The bias is in the path, not in the minimum
# -------------------------------------------
#
# A flow is one-to-one, so points between the arms have sources, too: a thin line in the source, where neighbours are
# torn apart. A better optimizer than plain descent finds it, and ends with a lower cost at samples that the law all
# but excludes. Four runs with L-BFGS, with a misfit of the target in units of its noise, here 0.3:

misfit = hw.Misfit(lambda x1: x1, target[None], sigma_y=0.3)
runs = {
    "nothing else": {},
    "prior of x0": {"prior": lambda x0: 0.5 * x0.square().sum(1)},
    "prior of x1": {"prior": hw.TargetLikelihood(flow, probes=None, steps=len(grid) - 1)},
    "stop at the noise": {"stop": hw.discrepancy(misfit)},
}
print("                    distance to the target    log p1(x1)")
for name, options in runs.items():
    result = hw.control(
        flow, misfit, start, steps=grid, gradients=5 if SHORT else 60, **options
    )
    away = "  ".join(f"{d:.2f}" for d in (result.x1 - target).norm(dim=1).tolist())
    density = "  ".join(f"{p:5.1f}" for p in law.log_density(result.x1).tolist())
    print(f"{name:18}  {away:22}  {density}")

# %%
# The Gaussian prior of :math:`x_0` does not help here: that line passes close to the origin, so its points are
# probable sources, although hardly any sample comes from them. :py:obj:`headwater.TargetLikelihood` counts the
# tearing, and keeps the sample on the spiral; it costs second derivatives of the network. The stop costs nothing.
#
# **What this shows, and what not.** The gradient through the flow follows the data because it is multiplied by
# posterior covariances. It is no guarantee: run to the end without a stop, control goes where the cost sends it. And
# it is local: which arm of the spiral a problem ends on depends on its start.
