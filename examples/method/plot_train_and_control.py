r"""
Train a flow, then control it
=============================

Headwater takes any network ``model(x, t)``. Here we train one from scratch in plain PyTorch, on small pictures of
three classes, and give it problems: half of a picture was measured, what is the rest? Each problem has its own mask
and its own label.
"""

import math
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

import headwater as hw

SHORT = (
    os.environ.get("HEADWATER_EXAMPLES") == "short"
)  # a five-second run, for the tests
NAMES = ("disc", "frame", "cross")

# %%
# The data
# --------
#
# Discs, frames and crosses of 8 x 8 pixels, of random size and place, with values in [-1, 1].

axis = torch.arange(8) - 3.5


def draw_shapes(count, generator):
    """Pictures [count, 1, 8, 8] and their labels [count]."""
    label = torch.randint(0, 3, (count,), generator=generator)
    centre = 2 * torch.rand(2, count, 1, 1, generator=generator) - 1
    size = 1.5 + 1.5 * torch.rand(count, 1, 1, generator=generator)
    dy, dx = (axis[:, None] - centre[0]).abs(), (axis[None, :] - centre[1]).abs()
    disc = size - torch.hypot(dx, dy)
    frame = 0.7 - (torch.maximum(dx, dy) - size).abs()
    cross = torch.minimum(0.7 - torch.minimum(dx, dy), size + 0.5 - torch.maximum(dx, dy))
    inside = torch.stack([disc, frame, cross])[label, torch.arange(count)]
    return (2 * torch.sigmoid(5 * inside) - 1)[:, None], label


# %%
# The network and its training
# ----------------------------
#
# Flow matching in a few lines: a point of the path :math:`x_t = \alpha_t x_1 + \sigma_t x_0`, and a regression of its
# velocity :math:`\dot\alpha_t x_1 + \dot\sigma_t x_0`. :py:obj:`headwater.CondOT` has the formulas of both.


class Network(nn.Module):
    """The velocity of 8 x 8 pictures, given a label."""

    def __init__(self, width=256):
        super().__init__()
        self.label = nn.Embedding(3, 16)
        self.layers = nn.Sequential(
            *(nn.Linear(64 + 16 + 8, width), nn.SiLU()),
            *(nn.Linear(width, width), nn.SiLU()),
            *(nn.Linear(width, width), nn.SiLU()),
            nn.Linear(width, 64),
        )

    def forward(self, x, t, label):
        """v(x, t) for x [batch, 1, 8, 8], t a scalar or one per problem, label [batch]."""
        angle = math.pi * t.reshape(-1, 1).expand(len(x), 1) * torch.arange(1, 5)
        features = [x.flatten(1), self.label(label), angle.cos(), angle.sin()]
        return self.layers(torch.cat(features, dim=1)).reshape(x.shape)


torch.manual_seed(0)
network, path, draw = Network(), hw.CondOT(), torch.Generator().manual_seed(0)
optimizer, steps = torch.optim.Adam(network.parameters(), lr=2e-3), 100 if SHORT else 1000
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
for _ in range(steps):
    x1, label = draw_shapes(256, draw)
    x0, t = torch.randn(x1.shape, generator=draw), torch.rand(len(x1), generator=draw)
    error = network(path.interpolate(x0, x1, t), t, label) - path.velocity(x0, x1, t)
    optimizer.zero_grad()
    error.square().mean().backward()
    optimizer.step()
    schedule.step()
network.eval()

# %%
# From network to flow
# --------------------
#
# The labels belong to single problems, so they are declared with :py:obj:`headwater.Each`: when a problem has ended,
# the labels of the others must follow them. A velocity that holds labels on the quiet is refused at the start.


def make_flow(label):
    """The flow of problems with these labels, [batch]."""
    return hw.Flow(hw.Each(network, label=label), shape=(1, 8, 8), range=(-1, 1))


def show(ax, picture, title=""):
    """A picture [1, 8, 8] in grey."""
    ax.imshow(picture[0].numpy(), cmap="gray", vmin=-1, vmax=1)
    ax.set_title(title, fontsize=8)
    ax.axis("off")


flow = make_flow(torch.arange(12) % 3)
samples = hw.solve(flow, flow.noise(range(12)))
data, _ = draw_shapes(12, draw)
figure, axes = plt.subplots(2, 12, figsize=(8, 1.6), layout="constrained")
for row, pictures, name in zip(axes, (data, samples), ("data", "samples"), strict=True):
    for ax, picture in zip(row, pictures, strict=True):
        show(ax, picture, name if ax is row[0] else "")

# %%
# Half of a picture
# -----------------
#
# Six new pictures, of which the left or the upper half was measured, with noise 0.1. Nobody tells us the labels, so
# we pose each problem three times, once with each label: a batch of 18. ``measured`` says which entries of ``y``
# are measurements, and the stop is the discrepancy principle. The prior :math:`\lVert x_0 \rVert^2 / 2` beside the
# misfit makes the cost minus the log of the posterior of :math:`x_0`.

limit = 10 if SHORT else 60
truth, label = draw_shapes(6, torch.Generator().manual_seed(5))
mask = torch.zeros(6, 1, 8, 8, dtype=torch.bool)
mask[0::2, :, :, :4] = True
mask[1::2, :, :4, :] = True
sigma_y = 0.1
y = truth + sigma_y * torch.randn(truth.shape, generator=draw)

misfit = hw.Misfit(
    hw.Identity(),
    y.repeat_interleave(3, 0),
    sigma_y,
    measured=mask.repeat_interleave(3, 0),
)
flow = make_flow(torch.arange(3).repeat(6))


def prior(x0):
    """Minus the log density of x0, up to a constant, [batch]."""
    return 0.5 * x0.flatten(1).square().sum(1)


result = hw.control(
    flow,
    misfit,
    flow.noise(range(18)),
    stop=hw.discrepancy(misfit, tau=1.1),
    prior=prior,
    gradients=limit,
)

figure, axes = plt.subplots(5, 6, figsize=(6, 5.4), layout="constrained")
for i, column in enumerate(axes.T):
    show(column[0], truth[i], f"{NAMES[label[i]]}\ntruth")
    show(column[1], torch.where(mask[i], y[i], torch.nan), "measured")
    for k, ax in enumerate(column[2:]):
        chosen = result.cost[3 * i : 3 * i + 3].argmin() == k
        show(ax, result.x1[3 * i + k], NAMES[k] + (" *" if chosen else ""))

# %%
# Every problem fits what was measured, also with a wrong label; what is hidden follows the label as far as it can. A
# star marks the label with the lowest cost, that is with the most probable source point. How far are the hidden
# halves from the truth?

hidden = ~mask
distance = (
    result.x1 - truth.repeat_interleave(3, 0)
).square() * hidden.repeat_interleave(3, 0)
distance = (distance.flatten(1).sum(1) / 32).sqrt().reshape(6, 3)
right = torch.arange(6), label

# %%
# Two rivals. Without a gradient one can draw as many samples with the right label as control used solves, and keep
# the one that fits best; and, since a gradient takes longer than a solve, three times as many. The simplest is one
# grey value, the mean of what was measured.

tries = int(result.gradients.float().mean().round())


def best_of(count):
    """Of `count` draws with the right label, the best fit for each problem."""
    found = []
    for i in range(6):
        drawing = make_flow(label[i].repeat(count))
        x1 = hw.solve(drawing, drawing.noise(range(count)))
        one = hw.Misfit(hw.Identity(), y[i : i + 1], sigma_y, measured=mask[i : i + 1])
        found.append(x1[one.rms(x1).argmin()])
    return torch.stack(found)


grey = torch.stack([y[i][mask[i]].mean() for i in range(6)])[
    :, None, None, None
].expand_as(truth)


def hidden_error(x1):
    """The rms error where nothing was measured, mean of six problems."""
    return float((((x1 - truth).square() * hidden).flatten(1).sum(1) / 32).sqrt().mean())


print(f"status: {sorted({status.name for status in result.status})}")
print(
    f"gradients: mean {result.gradients.float().mean():.0f}, most {int(result.gradients.max())}"
)
print(f"network evaluations per problem: mean {result.evaluations.float().mean():.0f}")
print(
    f"label of the lowest cost is right: {int((result.cost.reshape(6, 3).argmin(1) == label).sum())} of 6"
)
print("rms error of the hidden half")
print(f"  control, right label        {float(distance[right].mean()):.2f}")
print(
    f"  control, wrong labels       {float((distance.sum() - distance[right].sum()) / 12):.2f}"
)
for count in (tries, 3 * tries):
    print(f"  best of {count} draws            {hidden_error(best_of(count)):.2f}")
print(f"  one grey value              {hidden_error(grey):.2f}")

# %%
# The right label costs least in all six problems, without a look at the truth, and its hidden half is nearest to the
# truth. Drawing comes second, with the label given: few samples have the right size *and* place, which is what a
# gradient finds.
#
# **What this shows, and what not.** Any network that says where to go is enough: ten lines declare it, and nothing of
# it was trained for masks. The pictures are as rough as a training of seconds makes them. The answer is one probable
# completion for each start, not a draw from the posterior, and comparing labels by the cost at one point is a rule of
# thumb.
