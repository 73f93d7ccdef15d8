r"""
Another face, and the same eyes
===============================

An edit begins at a picture that no model made: here a face of a few formulae. ``pictograms`` explains it as an
"expressionless face", and draws it as a "grinning face". The methods differ in what of the original they carry along:
noised pixels, a source point, the noise of its own path, or the difference of two velocities.
"""

import os

import matplotlib.pyplot as plt
import torch

import headwater as hw
from headwater.recipes.editing import (
    FlowEdit,
    HEdit,
    InversionEdit,
    StochasticEdit,
)

# "short" is a few seconds, for the tests
SHORT = os.environ.get("HEADWATER_EXAMPLES") == "short"
steps = 4 if SHORT else 24

# a yellow disc, two eyes and a mouth, on white
y, x = torch.meshgrid(
    torch.linspace(1.15, -1.15, 128),
    torch.linspace(-1.15, 1.15, 128),
    indexing="ij",
)
disc = torch.sigmoid((1 - (x**2 + y**2).sqrt()) * 80)
eyes = (x.abs() - 0.38).abs().lt(0.16) & (y - 0.2).abs().lt(0.06)
mouth = x.abs().lt(0.42) & (y + 0.35).abs().lt(0.06)
lines = (eyes | mouth).float()
yellow = torch.stack([1.0 + 0 * x, 0.8 - 0.15 * (1 - y) / 2, 0.15 + 0 * x])
photo = (disc * yellow + 1 - disc) * (1 - lines) + 0.25 * lines
photo = 2 * photo[None] - 1

model = hw.image.latent_model("expressionless face", guidance=1.0)
target = hw.image.latent_model("grinning face")

# %%
# Four ways to a grin
# -------------------
#
# All are free from the time 0.2 on, a strength of 0.8. Without a changed text ``InversionEdit`` and ``HEdit`` return
# the latents of the photo; ``StochasticEdit`` knows nothing but its noised latents.

methods = {
    "noise (SDEdit)": StochasticEdit(steps=steps),
    "inversion": InversionEdit(steps=steps),
    "FlowEdit": FlowEdit(steps=steps),
    "h-transform": HEdit(steps=steps),
}
pictures = {"photo": photo}
print(f"{'':16} {'changed, rms':>12} {'calls':>6}")
for name, method in methods.items():
    edit = hw.image.edit_picture(method, model, photo, [0], target=target, strength=0.8)
    pictures[name] = edit.x
    print(
        f"{name:16} {float((edit.x - photo).square().mean().sqrt()):12.3f} "
        f"{int(edit.result.evaluations[0]):6}"
    )

# %%
# A map of what may change
# ------------------------
#
# White may change, black is kept, and grey is freed late: the strength of every pixel. Here the eyes are kept.

strength = (0.5 - 3 * (y + 0.1)).clamp(0, 0.9).expand(1, 1, 128, 128)
edit = hw.image.edit_picture(
    HEdit(steps=steps), model, photo, [0], target=target, strength=strength
)
pictures["map"] = (2 * strength - 1).expand(1, 3, 128, 128)
pictures["h-transform, by the map"] = edit.x

figure, axes = plt.subplots(
    1, len(pictures), figsize=(1.7 * len(pictures), 2), layout="constrained"
)
for ax, (name, picture) in zip(axes, pictures.items(), strict=True):
    ax.imshow(((picture[0].clamp(-1, 1) + 1) / 2).movedim(0, 2).numpy())
    ax.set_title(name, fontsize=8)
    ax.axis("off")

# %%
# On the command line: ``headwater image edit face.png --source "expressionless face" --prompt "grinning face"
# --strength map.png``.
