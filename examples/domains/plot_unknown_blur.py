r"""
A blur that nobody knows
========================

A hand shook, and no one wrote down how. :math:`y = k * x_1 + n` with both the kernel :math:`k` and the picture
:math:`x_1` unknown has a useless answer, the blurred picture and a kernel that is a point. The flow knows what
pictures look like, and tells the useful one from it: picture and kernel are found by turns, without a gradient of the
network.
"""

import os

import matplotlib.pyplot as plt
import torch

import headwater as hw
from headwater.image.blind import ANSWER, Caution

# "short" is a few seconds, for the tests
SHORT = os.environ.get("HEADWATER_EXAMPLES") == "short"
noise, size, seeds = 0.02, 15, [0] if SHORT else [0, 1]
options = hw.RecipeOptions(steps=4) if SHORT else hw.RecipeOptions()

# %%
# Two photos, two shaken hands
# ----------------------------
#
# Paths of a hand, nine pixels long, as Boracchi & Foi draw them, and a little noise.

names = ["coffee", "rocket"][: len(seeds)]
photos = torch.cat(
    [hw.image.read_image(hw.image.photos.path(name))[0][..., :64, :64] for name in names]
)
kernels = torch.stack([hw.image.shake_kernel(size, 9.0, 3 + i) for i in seeds])
generator = torch.Generator().manual_seed(0)
y = hw.image.Blur(kernels)(photos)
y = y + noise * torch.randn(y.shape, generator=generator)

# %%
# The kernel, then the picture
# ----------------------------
#
# ``KernelSearch`` finds the kernels of the whole batch, each its own. Then they count as known, and the picture is
# the answer of a known blur, at a noise of 0.04: the kernel is not exact. ``Caution`` holds the result near the
# photo.

flow = hw.image.flow("photo64")
search = hw.image.KernelSearch()
found = search(flow, hw.image.UnknownBlur(size), y, noise, seeds).parameters.float()


def restore(blur, level):
    """The answer of a known blur."""
    task = hw.image.ImageTask(hw.image.Blur(blur), y, level, (64, 64), check_span=False)
    return hw.image.restore(task, flow, seeds, recipe=ANSWER, options=options).images


blind, left = Caution()(restore(found, 0.04), y, hw.image.Blur(found), noise)
known = restore(kernels, noise)
wiener = hw.image.Blur(found).pinv(y, ridge=0.01)

# %%
# What came out
# -------------
#
# Wiener's filter with the same kernel, which needs no model, and the answer for the true kernel stand beside it.

columns = {
    "photo": photos,
    "shaken": y,
    "Wiener, found kernel": wiener,
    "found kernel": blind,
    "known kernel": known,
}
figure, axes = plt.subplots(
    len(seeds), 7, figsize=(10, 1.7 * len(seeds)), layout="constrained", squeeze=False
)
for i, line in enumerate(axes):
    for axis, (title, pictures) in zip(line, columns.items(), strict=False):
        axis.imshow((pictures[i].clamp(-1, 1).movedim(0, 2) + 1) / 2)
        value = hw.image.psnr(pictures[i : i + 1].clamp(-1, 1), photos[i : i + 1]).item()
        axis.set_title(
            title if title == "photo" else f"{title}\n{value:.1f} dB", fontsize=8
        )
    for axis, kernel, title in zip(
        line[5:], (found[i], kernels[i]), ("its kernel", "the true one"), strict=True
    ):
        axis.imshow(kernel, cmap="gray")
        axis.set_title(title, fontsize=8)
    for axis in line:
        axis.axis("off")

for name, one in zip(names, left.tolist(), strict=True):
    print(f"{name}: {'left as it was' if one else 'written'}")

# %%
# **What this shows, and what not.** The path over the cup is found. The sky beside the rocket has almost no edges
# to tell a path from, its kernel is a wide blot, and nothing gets sharper. Over 50 pictures a kernel that was found
# brings a fifth of what the known one does, and 2 come out worse than they were (:doc:`Operators that are not known
# </blind>`). A kernel may be moved against its picture, which costs PSNR and nothing else; the table allows for it,
# the numbers here do not.
