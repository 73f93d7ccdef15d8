r"""
Memory and steps
================

Control differentiates through the solver, and a graph of the whole solve needs memory for every evaluation of the
network. Three strategies decide what is kept, and all three give the gradient of the *same* discrete solve:

- :py:obj:`headwater.Direct` keeps everything;
- :py:obj:`headwater.Checkpoint` keeps states, and evaluates the network again in the backward pass;
- :py:obj:`headwater.Auto`, what ``control`` uses if nothing is said, takes ``Direct`` if its forecast fits into the
  memory, else ``Checkpoint``.

With :math:`n` evaluations per solve, :math:`A` bytes of activations per evaluation, :math:`s` bytes per state, and
:math:`F` and :math:`V` seconds for a forward and a backward call:

================  ===================================  ===================================
strategy          memory                               seconds per gradient
================  ===================================  ===================================
``Direct``        :math:`n A`                          :math:`n (F + V)`
``Checkpoint``    :math:`A + \min(n, 24)\, s`          :math:`n (2F + V)` to :math:`n (3F + V)`
================  ===================================  ===================================
"""

import os
import time

import matplotlib.pyplot as plt
import torch
from torch import nn

import headwater as hw
from headwater.solvers.memory import PeakMemory, activation_bytes

BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
SHORT = (
    os.environ.get("HEADWATER_EXAMPLES") == "short"
)  # a five-second run, for the tests

# %%
# A small network
# ---------------
#
# Its weights are random: memory and seconds do not depend on them.


class Network(nn.Module):
    """A velocity of 3 x 32 x 32 images: convolutions with the time as a fourth channel."""

    def __init__(self, width=16):
        super().__init__()
        sizes = [(4, width), (width, width), (width, width), (width, 3)]
        self.layers = nn.ModuleList([nn.Conv2d(a, b, 3, padding=1) for a, b in sizes])

    def forward(self, x, t):
        """v(x, t) for x [batch, 3, 32, 32] and t a scalar or one per problem."""
        h = torch.cat([x, t.reshape(-1, 1, 1, 1).expand(len(x), 1, 32, 32)], dim=1)
        for layer in self.layers[:-1]:
            h = nn.functional.silu(layer(h))
        return self.layers[-1](h)


torch.manual_seed(0)
flow = hw.Flow(Network().eval(), shape=(3, 32, 32))
x0 = flow.noise(seeds=[0])

# %%
# One gradient, measured
# ----------------------
#
# ``PeakMemory`` counts the bytes of all tensors that a block of code
# creates, at their peak, the backward pass included. Seconds are CPU
# time, the least of two calls.


def gradient(strategy, steps):
    """The gradient of a cost in x0, through midpoint steps of 2 evaluations."""
    z = x0.clone().requires_grad_()
    cost = hw.solve(flow, z, steps=steps, gradient=strategy).square().sum()
    return torch.autograd.grad(cost, z)[0]


def seconds(function):
    """CPU seconds, the least of two calls."""
    times = []
    for _ in range(1 if SHORT else 2):
        begin = time.process_time()
        function()
        times.append(time.process_time() - begin)
    return min(times)


strategies = {
    "Direct": hw.Direct(),
    "Checkpoint": hw.Checkpoint(),
    "Auto, 10 MB": hw.Auto(memory=10e6),
}
counts = [3, 6, 12] if SHORT else [3, 6, 12, 24, 48]
peak, spent = {name: [] for name in strategies}, {name: [] for name in strategies}
for steps in counts:
    gradient(hw.Direct(), steps)  # a first call warms up
    plain = seconds(lambda steps=steps: hw.solve(flow, x0, steps=steps))
    for name, strategy in strategies.items():
        with PeakMemory() as memory:
            gradient(strategy, steps)
        peak[name].append(memory.peak / 1e6)
        spent[name].append(
            seconds(lambda s=strategy, steps=steps: gradient(s, steps)) / plain
        )

# %%
# Left: memory against the number of evaluations; the thin line is the law :math:`n A`, with :math:`A` measured on one
# evaluation by ``activation_bytes``. Right: seconds of a gradient, in units of a plain solve of the same steps.

evaluations = [2 * steps for steps in counts]
A = activation_bytes(flow, x0) / 1e6
figure, axes = plt.subplots(1, 2, figsize=(7.5, 3), layout="constrained")
axes[0].loglog(
    evaluations, [A * n for n in evaluations], color="0.5", lw=1, label="law $n A$"
)
axes[0].axhline(10, color=GREEN, lw=1, ls=":")
styles = zip(strategies, ("o-", "s-", "x--"), (BLUE, ORANGE, GREEN), strict=True)
for name, style, color in styles:
    axes[0].loglog(evaluations, peak[name], style, color=color, label=name)
    axes[1].semilogx(evaluations, spent[name], style, color=color, label=name)
axes[0].set(xlabel="evaluations of the network", ylabel="peak memory in MB")
axes[1].set(
    xlabel="evaluations of the network",
    ylabel="CPU seconds / plain solve",
    ylim=(0, None),
)
axes[0].legend(fontsize=8)
for ax in axes:
    ax.set_xticks(evaluations, evaluations)
    ax.minorticks_off()

print(f"one evaluation keeps A = {A:.1f} MB")
print("evaluations            " + "".join(f"{n:6}" for n in evaluations))
for name in strategies:
    print(f"{name:12}      MB   " + "".join(f"{m:6.1f}" for m in peak[name]))
    print(f"{'':12}  seconds   " + "".join(f"{s:6.1f}" for s in spent[name]))

# %%
# ``Direct`` grows with the number of steps. ``Checkpoint`` does not: for up to 24 evaluations it holds every state
# and computes each evaluation once more; beyond, it holds only the starts of some segments, solves each segment once
# more without a graph, and takes up to one plain solve longer. ``Auto`` follows the first until its forecast passes
# the budget (dotted), and the second from there on. Which one it takes can be asked:

for steps in counts:
    print(
        f"{2 * steps:3} evaluations: {hw.Auto(memory=10e6).choose(flow, hw.MIDPOINT, x0, steps)}"
    )

# %%
# The same gradient
# -----------------
#
# No strategy approximates. What is recomputed is computed by the same operations, so gradients agree to rounding.

exact = gradient(hw.Direct(), counts[-1])
for strategy in (hw.Checkpoint(), hw.Checkpoint(states=4)):
    difference = (gradient(strategy, counts[-1]) - exact).abs().max() / exact.abs().max()
    print(f"{strategy}: largest relative difference to Direct {difference:.0e} (float32)")

# %%
# **What this shows, and what not.** With ``control(..., gradient=hw.Checkpoint())`` memory no longer limits the
# number of steps, only the size of one evaluation: a larger image or batch still needs more. Seconds are those of
# this machine; on others the ratio of :math:`V` to :math:`F` differs. The adjoint ODE, which needs even less, is not
# offered: its gradient belongs to another discretisation than the sample that is returned.
