r"""
A drawing that shows what a text says
=====================================

The model ``pictograms`` draws from words by itself, badly: its flow was trained for 37 minutes. Here the text comes
once more, as a reward :math:`r(x_1) = \cos(f(x_1), e)`, with :math:`e` the embedding of the words and :math:`f` what
a regression says of the picture. A second regression, by another network from other drawings, never guides: it says
at which place among 1,919 captions the text is.
"""

import os

import matplotlib.pyplot as plt
import torch

import headwater as hw
from headwater.image import rewards

# "short" is a few seconds, for the tests
SHORT = os.environ.get("HEADWATER_EXAMPLES") == "short"

model = hw.image.latent_model("star", style="fluent-emoji-flat", guidance=2.0)
recipe = hw.MaximiseReward(
    strength=6.0, gradients=2 if SHORT else 6, steps=2 if SHORT else 4
)
seeds = [3] if SHORT else [3, 8]


def draw(seeds):
    """Drawings without a reward."""
    with torch.no_grad():
        z = hw.solve(
            model.flow,
            model.flow.noise(seeds),
            method=recipe.method,
            steps=recipe.steps,
        )
        return model.decode(z).clamp(-1, 1)


# %%
# Three wishes
# ------------
#
# A reward of pictures becomes one of latents through the decoder. Each is in standard deviations among a few
# drawings that nothing was asked of. The last wish has two parts. Its colours count from the start, and the weight
# of its text rises from 0 to 2 while the gradients are spent: ``hw.Ramp``. ``--reward "0..2 * text: star"`` is the
# same on the command line.

draws = draw(range(100, 103 if SHORT else 108))
text, blue = (
    rewards.read_reward("text: star"),
    rewards.read_reward("palette: #2060d0, #fff"),
)
wishes = {
    "text: star": ((1.0, text),),
    "blue and white": ((1.0, blue),),
    "blue, then a star": ((1.0, blue), (hw.Ramp(0.0, 2.0), text)),
}

before, columns = draw(seeds), {}
for name, terms in wishes.items():
    total = hw.RewardSum(terms).standardise(draws)
    through = hw.problem.rewards.RewardThrough(total, model.decode)
    result = recipe(model.flow, through, seeds)
    with torch.no_grad():
        columns[name] = model.decode(result.x1).clamp(-1, 1)

# %%
# What the other regression says
# ------------------------------
#
# The reward is a cosine by the guide. The place is by the judge, 1 the best; half of all captions would stand before
# one that has nothing to do with the picture.

print(f"{'':20} cosine by the guide    place by the judge")
for name, pictures in {"no reward": before, **columns}.items():
    with torch.no_grad():
        cosines = text(pictures).tolist()
    places = (1 + rewards.rank_text(pictures, "star")).tolist()
    for cosine, place in zip(cosines, places, strict=True):
        print(f"{name:20} {cosine:19.2f} {place:21}")

figure, axes = plt.subplots(
    len(seeds), 4, figsize=(8, 2.2 * len(seeds)), layout="constrained", squeeze=False
)
for axis, (name, pictures) in zip(
    axes.T, {"no reward": before, **columns}.items(), strict=True
):
    axis[0].set_title(name, fontsize=9)
    for ax, picture in zip(axis, pictures, strict=True):
        ax.imshow(((picture + 1) / 2).movedim(0, 2).numpy())
        ax.axis("off")

# %%
# Look before you believe a number: a regression of 2,600 drawings is easily led astray. Where the place does not fall
# while the cosine rises, only the guide was convinced. A model of your own, such as CLIP, is told by
# ``rewards.TextPictureModel`` or ``--reward "clip: FOLDER: a star"``.
