r"""
A picture with more of something
================================

No measurement, only a wish: :math:`r(x_1)` should be larger. Three rewards are raised from the same two draws of the
shipped model: the logit of a class, colours of a palette, and symmetry. A second network, which guided nothing, says
what became of the pictures.
"""

import os

import matplotlib.pyplot as plt
import torch

import headwater as hw
from headwater.image import rewards

# "short" is a few seconds, for the tests
SHORT = os.environ.get("HEADWATER_EXAMPLES") == "short"

flow = hw.image.flow("photo64")
recipe = (
    hw.MaximiseReward(strength=4.0, gradients=1, steps=2)
    if SHORT
    else hw.MaximiseReward(strength=4.0)
)
seeds = [0, 1]

# %%
# The scale of a reward
# ---------------------
#
# A logit, a distance of colours and a symmetry have different units. So each reward is measured on a few draws of the
# model, and counts in their standard deviations from then on. The same draws tell the judge what the model makes
# when nothing is asked of it.


def sample(seeds):
    """Draws without a reward."""
    with torch.no_grad():
        x1 = hw.solve(flow, flow.noise(seeds), method=recipe.method, steps=recipe.steps)
    return x1.clamp(-1, 1)


draws = sample(range(100, 104 if SHORT else 116))
judge = rewards.RewardJudge(draws)
wishes = {
    words: hw.RewardSum(((1.0, rewards.read_reward(words)),), (words,)).standardise(draws)
    for words in ("class: volcano", "palette: #e33,#fff", "symmetry")
}

# %%
# Raise each of them
# ------------------
#
# The cost is :math:`-\lambda r(x_1) + \lVert x_0 - z \rVert^2 / 2`, with :math:`z` the draw of the seed: as much of
# the reward as the way from the draw is worth.

before = sample(seeds)
results = {words: recipe(flow, total, seeds) for words, total in wishes.items()}

figure, axes = plt.subplots(2, 4, figsize=(8, 4.4), layout="constrained")
columns = {
    "no reward": before,
    **{words: result.x1.clamp(-1, 1) for words, result in results.items()},
}
for axis, (name, pictures) in zip(axes.T, columns.items(), strict=True):
    for ax, picture in zip(axis, pictures, strict=True):
        ax.imshow(((picture + 1) / 2).movedim(0, 2).numpy())
        ax.axis("off")
    axis[0].set_title(name, fontsize=9)

# %%
# What the judge says
# -------------------
#
# *Strangeness* is the distance to the nearest draw in the features of EfficientNet-Lite1; the draws themselves have a
# median of 1. The logit that was raised is that of EfficientNet-Lite0.

volcano = rewards.ClassLogit("volcano").number
print(f"{'':20}  reward before and after    strangeness    P(volcano), judge")
for words, total in wishes.items():
    after = columns[words]
    rows = zip(
        total(before).tolist(),
        total(after).tolist(),
        judge.strangeness(after).tolist(),
        judge.probability(after, volcano).tolist(),
        strict=True,
    )
    for was, now, strange, chance in rows:
        print(f"{words:20}  {was:10.1f} {now:10.1f} {strange:14.2f} {chance:18.3f}")
print(f"the strangest of the draws: {judge.farthest:.2f}")

# %%
# A number that rose is not yet a picture that shows it. Compare the last column with the first: where the judge stays
# at zero, only the guide was convinced. How much is too much: :doc:`the page on rewards
# <../method/plot_reward>` over-optimises one on purpose.
