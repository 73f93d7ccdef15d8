"""
A molecule with more of something
=================================

No target, only a wish: a larger dipole moment, in molecules that are not wide. One is a property, which the *guide*
predicts and its gradient raises; the other a function of our own. The *evaluator*, a network trained on other
molecules, never led the search: it says whether the dipole moment really rose, or only the guide was convinced.
"""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt

import headwater as hw
from headwater.molecule import Control, Request, Search

# "short" is a few seconds, for the tests
SHORT = os.environ.get("HEADWATER_EXAMPLES") == "short"

count = 2 if SHORT else 6
request = Request(count, seed=0, atoms=14)

# %%
# The scale of a reward
# ---------------------
# Debye and angstrom squared do not compare. So each reward is measured on sound draws of the generator, and counts in
# their standard deviations. What comes out is a cost, minus the strength times the sum, and a part of the request.


def compactness(positions, types, mask):
    """Minus the mean squared distance of the atoms from their centre, angstrom^2."""
    return -(positions.square().sum(-1) * mask).sum(1) / mask.sum(1)


wishes = {"dipole moment": (1.0, "mu"), "compactness": (0.5, compactness)}
cost = hw.molecule.reward_cost(wishes, request, strength=4.0, draws=4 if SHORT else 16)
for name, (weight, reward) in zip(cost.total.names, cost.total.terms, strict=True):
    print(
        f"{name}: {reward.mean:.2f} +- {reward.spread:.2f} among draws, weight {weight:g}"
    )

# %%
# Draws, and control
# ------------------
# One draw for each molecule, then the best of several draws, then as many gradients from the first draw as take about
# as long. ``standard_deviations`` asks the guide, or any other network in its place.

rounds = 2 if SHORT else 8
trials = {
    "one draw": Search(candidates=1),
    "best of draws": Search(candidates=3 * rounds),
    "control": Control(gradients=rounds, attempts=1),
}
evaluator = hw.molecule.Networks.load().evaluator
found = {}
print(f"{'':16} by the guide   by the evaluator   dipole, D   sound")
for name, recipe in trials.items():
    found[name] = design = hw.molecule.design(replace(request, cost=cost), recipe=recipe)
    guide, judge = (
        cost.standard_deviations(design.molecules, net) for net in (None, evaluator)
    )
    sound = int(hw.molecule.is_sound(design.molecules).sum())
    dipole = float(design.evaluator["mu"].mean())
    print(
        f"{name:16} {float(guide.mean()):12.1f} {float(judge.mean()):18.1f} {dipole:11.2f}   {sound} of {count}"
    )

# %%
# The evaluator follows the guide, so the dipole moment is no illusion of one network. As with a target, drawing
# again gains more here than gradients from a single draw; ``SearchThenControl``, the default with a cost, does both.
# Here are the molecules of the run with gradients. A reward has no value to reach: none of them is a hit or a miss.

cards = hw.molecule.make_cards(found["control"], replace(request, cost=cost))
with tempfile.TemporaryDirectory() as folder:
    picture = plt.imread(
        hw.molecule.write_sheet(
            Path(folder) / "sheet.png", cards, title="More dipole moment", columns=3
        )
    )
fig, axis = plt.subplots(
    figsize=(8, 8 * picture.shape[0] / picture.shape[1]), layout="constrained"
)
axis.imshow(picture)
axis.set_axis_off()

# %%
# A handful of molecules on small settings show how it is done, and no more. Ask physics before you rely on one:
# ``hw.molecule.check_physics``, or ``headwater molecule generate --reward mu --check xtb``.
