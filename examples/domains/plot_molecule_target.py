"""
A molecule with a target
========================

We ask for molecules whose HOMO-LUMO gap is 5 eV. A flow trained on QM9 draws molecules. One network, the *guide*,
predicts their gap and leads the search. Another one, the *evaluator*, was trained on other molecules; it judges what
was found and never leads. Neither is physics: a hit is a prediction.
"""

import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import headwater as hw
from headwater.molecule import (
    Control,
    Interval,
    Request,
    Search,
    SearchThenControl,
    Target,
)

# "short" is a five-second run, for the tests
SHORT = os.environ.get("HEADWATER_EXAMPLES") == "short"

# %%
# A request says how many molecules, and what they should have. Targets are in eV for the gap, HOMO and LUMO,
# debye for the dipole moment, Bohr^3 for the polarisability, and cal/mol/K for the heat capacity. The default
# recipe, ``Search``, makes up to 100 draws for each molecule. ``SearchThenControl`` makes up to 32, then up to 8
# gradients from the best of them, and all of it twice. The settings here are smaller, so that the page takes
# seconds.

count = 2 if SHORT else 6
gap = Target("gap", 5.0)
request = Request(count, seed=0, targets=(gap,))
recipe = SearchThenControl(
    candidates=4 if SHORT else 24, gradients=2 if SHORT else 4, attempts=1
)
found = hw.molecule.design(request, recipe=recipe)

chemistry = hw.molecule.examine(found.molecules)

print(" k  asked  guide  evaluator  found by   sound  SMILES")
for k, what in enumerate(chemistry):
    by = "gradient" if found.by_gradient[k] else "draw"
    values = f"{found.guide['gap'][k]:5.2f}      {found.evaluator['gap'][k]:5.2f}"
    print(
        f"{k + 1:2}   5.00  {values}  {by:10} {'yes' if what.sound else 'no':5}  {what.structure}"
    )

# %%
# A molecule hits if it is sound (one molecule, no radicals, no formal charges, no atoms that touch) and the
# evaluator is within the tolerance, twice the published error of such networks. ``REACHED`` is what the guide says.

hits, sound = found.hits(request), hw.molecule.is_sound(found.molecules)
print(f"{int(found.reached.sum())} of {count} reached the target by the guide,", end=" ")
print(
    f"{int(hits.sum())} are hits by the evaluator (within {gap.tolerance} eV), {int(sound.sum())} are sound"
)
print(
    f"by gradient: {int(found.by_gradient.sum())}; evaluations of the generator: {int(found.evaluations.sum())}"
)

# %%
# The sheet that the command writes, as a picture. ``hw.molecule.check_physics(found.molecules, found.evaluator)``
# would add what GFN2-xTB says, as a third argument of ``make_cards`` (see :doc:`/molecules`).

cards = hw.molecule.make_cards(found, request)
with tempfile.TemporaryDirectory() as folder:
    png, sdf = Path(folder) / "sheet.png", Path(folder) / "found.sdf"
    picture = plt.imread(
        hw.molecule.write_sheet(png, cards, title="Asked: a gap of 5 eV", columns=3)
    )
    hw.molecule.write_sdf(sdf, hw.molecule.to_molecules(found.molecules))
    print(f"read again from SDF: {len(hw.molecule.read_molecules(sdf))} molecules")

fig, axis = plt.subplots(
    figsize=(8, 8 * picture.shape[0] / picture.shape[1]), layout="constrained"
)
axis.imshow(picture)
axis.set_axis_off()

# %%
# Does the gradient help?
# -----------------------
# Three searches from the same seeds: one draw for each molecule, the same draw and up to 8 gradients, and nine
# draws of which the best is kept. The last two evaluate the generator about equally often. A gradient takes
# longer, as it goes back through its evaluations, too.

trials = {
    "one draw": Search(candidates=1),
    "one draw, 8 gradients": Control(gradients=2 if SHORT else 8, attempts=1),
    "nine draws": Search(candidates=3 if SHORT else 9),
}
tried = {
    name: hw.molecule.design(request, recipe=trial) for name, trial in trials.items()
}

fig, axis = plt.subplots(figsize=(7, 2.2), layout="constrained")
for row, (name, trial) in enumerate(tried.items()):
    good, values = hw.molecule.is_sound(trial.molecules), trial.evaluator["gap"]
    print(
        f"{name:22} mean |gap - 5 eV| {float((values - 5).abs().mean()):.2f} eV,", end=" "
    )
    print(
        f"{int(good.sum())} of {count} sound, {int(trial.evaluations.sum())} evaluations"
    )
    height = torch.full_like(values, row)
    sound_dots = axis.scatter(values[good], height[good], color="#1f6f8b")
    other_dots = axis.scatter(
        values[~good], height[~good], facecolor="none", edgecolor="#c8553d", marker="s"
    )
axis.axvspan(5 - gap.tolerance, 5 + gap.tolerance, color="#1f6f8b", alpha=0.15)
axis.set_yticks(range(len(tried)), tried)
axis.set_ylim(len(tried) - 0.5, -0.5)
axis.set_xlabel("gap by the evaluator, eV")
axis.legend([sound_dots, other_dots], ["sound", "not sound"], fontsize=8)

# %%
# Control moves the molecules towards the target. For the same evaluations draws do better here, and sooner. On
# a hundred molecules a property they do as well as draws with control on most (:doc:`/molecules`), so ``Search``
# is the default.
#
# A range
# -------
# A range is hit anywhere inside. One end may be open, as in ``Interval(low=8.0)``. With eight draws for each
# molecule and no control some are outside: then the nearest draw is returned, and ``reached`` is False. Here is
# the result as a list of SMILES, with the stereochemistry of the positions:

wide = Request(count, targets=(Target("gap", Interval(5.0, 6.0)),))
draws = Search(candidates=4 if SHORT else 8)
ranged = hw.molecule.design(wide, recipe=draws)
print([what.structure for what in hw.molecule.examine(ranged.molecules)])
print("evaluator, eV:", [round(value, 2) for value in ranged.evaluator["gap"].tolist()])
print("reached:", ranged.reached.tolist())

# %%
# What this shows, and what not: a handful of seeds, on small settings. The molecules are of QM9's kind, at most
# nine heavy atoms as a rule, and their geometry is a draw and no minimum. Check a hit by physics before you
# rely on it: ``hw.molecule.check_physics``, or ``headwater molecule target --gap 5.0eV --check xtb``.
