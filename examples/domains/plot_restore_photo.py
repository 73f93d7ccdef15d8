"""
Restore a photo
===============

A photo is blurred, scratched, or noisy. We know what happened to it, how much noise it has, and nothing of how it
looked before. :py:obj:`headwater.image.restore` finds an image that the flow takes for a photo and that agrees with
the measurement,

.. math:: y = A(x) + \\sigma_y \\varepsilon,

up to its noise. The photos on this page ship with Headwater. They are small, so that the page takes seconds; any size
works, in windows of 64 x 64 pixels.
"""

import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import headwater as hw
from headwater.image import psnr

# "short" is a five-second run, for the tests
SHORT = os.environ.get("HEADWATER_EXAMPLES") == "short"

options = hw.RecipeOptions(steps=2, gradients=1) if SHORT else hw.RecipeOptions()

flow = hw.image.flow("photo64")
photo, picture = hw.image.read_image(hw.image.photos.path("coffee"))
if SHORT:
    photo = photo[..., 16:80, 32:96]
print(
    f"{list(photo.shape)} from {photo.min():.0f} to {photo.max():.0f}, {picture.dtype} {picture.mode} in the file"
)

# %%
# An image is a tensor ``[batch, 3, height, width]`` in [-1, 1], whatever the file holds. Noise is given in
# these units: one of 255 grey levels is 2 / 255.
#
# Blur
# ----
# The photo is out of focus by a Gaussian of two pixels, and has noise of five grey levels.


def noise_like(y, seed=0):
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))


blur = hw.image.Blur(hw.image.gaussian_kernel(std=2.0))
sigma_y = 5 * 2 / 255
y = blur(photo) + sigma_y * noise_like(photo)

size = (photo.shape[2], photo.shape[3])
deblurred = hw.image.restore(hw.image.ImageTask(blur, y, sigma_y, size), flow, seeds=[0])

# %%
# The result says how it was found. The misfit is the rms of :math:`A x - y` in units of the noise, so 1 means
# that the image explains the measurement as well as its noise allows. For a blur the default is the *faithful*
# answer, the mean of four estimates of 16 evaluations each. A mean has a misfit below the noise by nature, and
# its status is ``COMPUTED``: nothing was optimised. Gradients are taken only where the estimates miss the noise.

result = deblurred.result
print(
    f"{result.status[0].name} with a misfit of {deblurred.rms(deblurred.images)[0]:.2f}"
)
print(
    f"{result.evaluations[0]} evaluations of the network, {result.gradients[0]} gradients"
)

# %%
# For comparison we take least squares, :math:`A^\top (A A^\top + \lambda)^{-1} y`. We choose the
# :math:`\lambda` that is best against the true photo, a help that the restoration does not get.

attempts = [blur.pinv(y, ridge=ridge).clamp(-1, 1) for ridge in (0.003, 0.01, 0.03, 0.1)]
linear = max(attempts, key=lambda x: psnr(x, photo).item())

panels = {
    "blurred": y,
    "least squares": linear,
    "restored": deblurred.images,
    "true photo": photo,
}


def show(axes, image, title=""):
    axes.imshow(
        (image[0].permute(1, 2, 0).clamp(-1, 1).numpy() + 1) / 2, interpolation="nearest"
    )
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


fig, axes = plt.subplots(
    2, 4, figsize=(7.5, 3.9), layout="constrained", height_ratios=[size[0], size[1]]
)
for (title, image), (whole, part) in zip(panels.items(), axes.T, strict=True):
    show(
        whole,
        image,
        title if image is photo else f"{title}\n{psnr(image, photo).item():.1f} dB",
    )
    show(part, image[..., 20:60, 10:50])

# %%
# Above the whole photo, below a part of it. Least squares leaves coloured grain and ringing, as it knows
# nothing of photos. The restored photo has neither, and sharper edges than the blurred one. What the blur
# removed does not come back.
#
# Scratches
# ---------
# A mask says which pixels are known. Four photos are solved in one call, as one batch: the first axis of ``y``
# is the problem, and each has its own seed and status. Where pixels are missing the default is the *plausible*
# answer, one estimate of 16 evaluations: a picture that the flow makes. In the comparison every lost pixel
# becomes the mean of its four neighbours.

names = ["cat"] if SHORT else ["astronaut", "cat", "coffee", "rocket"]
photos = torch.cat(
    [hw.image.read_image(hw.image.photos.path(name))[0][..., :64, -64:] for name in names]
)
row, column = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
lost = (column - row // 3) % 24 < 3

scratch = hw.image.Inpaint(~lost)
y = scratch(photos)
task = hw.image.ImageTask(scratch, y, noise=0.0, size=(64, 64))
filled = hw.image.restore(task, flow, seeds=range(len(names)), options=options)

smooth = y.clone()
for _ in range(500):
    p = torch.nn.functional.pad(smooth, (1, 1, 1, 1), mode="replicate")
    mean = (
        p[..., 1:-1, :-2] + p[..., 1:-1, 2:] + p[..., :-2, 1:-1] + p[..., 2:, 1:-1]
    ) / 4
    smooth = torch.where(lost, mean, y)

print("PSNR of the lost pixels, dB")
for k, name in enumerate(names):
    simple, ours = (
        psnr(x[[k]][..., lost], photos[[k]][..., lost]).item()
        for x in (smooth, filled.images)
    )
    print(f"{name:10} mean of neighbours {simple:.1f}, restored {ours:.1f}", end="  ")
    print(
        filled.result.status[k].name,
        f"after {filled.result.evaluations[k]} evaluations",
    )

figsize = (6, 1.5 * len(names) + 0.3)
fig, axes = plt.subplots(
    len(names), 4, figsize=figsize, layout="constrained", squeeze=False
)
for k, line in enumerate(axes):
    titles = (
        ["scratched", "mean of neighbours", "restored", "true photo"]
        if k == 0
        else [""] * 4
    )
    for panel, image, title in zip(
        line, (y, smooth, filled.images, photos), titles, strict=True
    ):
        show(panel, image[k : k + 1], title)

# %%
# Where an edge crosses a scratch, the flow continues it and the mean washes it out: see the rim of the cup and
# the tip of the rocket. In the fur of the cat the mean has the higher PSNR. There a made-up texture costs more
# than none. Known pixels are exactly those of the file:

print(
    f"largest change of a known pixel: {(filled.images - photos)[..., ~lost].abs().max():.0e}"
)

# %%
# Noise
# -----
# If the measurement is the photo itself with noise, one evaluation of the network does what four estimates do
# elsewhere: at the time of the path that has this noise, for four mirror images. We compare it with D-Flow,
# which we ask for by its name: :py:obj:`headwater.WarmStart` inverts an estimate and controls its source, so it
# draws a sample.

part = photo[..., 16:80, 32:96] if not SHORT else photo
sigma_y = 15 * 2 / 255
y = part + sigma_y * noise_like(part)
task = hw.image.ImageTask(hw.Identity(), y, sigma_y, (64, 64))
mean = hw.image.restore(task, flow, seeds=[0])
sample = hw.image.restore(task, flow, seeds=[0], recipe=hw.WarmStart(), options=options)

fig, axes = plt.subplots(1, 4, figsize=(7.5, 2.5), layout="constrained")
panels = {
    "noisy": y,
    "one evaluation": mean.images,
    "D-Flow: a sample": sample.images,
    "true photo": part,
}
for panel, (title, image) in zip(axes, panels.items(), strict=True):
    show(
        panel,
        image,
        title if image is part else f"{title}\n{psnr(image, part).item():.1f} dB",
    )
for name, found in (("one evaluation", mean), ("D-Flow", sample)):
    print(
        f"{name}: misfit {found.rms(found.images)[0]:.2f}, {found.result.evaluations[0]} evaluations,",
        f"{found.result.gradients[0]} gradients",
    )

# %%
# The mean over what is likely has the higher PSNR at a fraction of the cost. A sample has the grain of a photo,
# and that grain is made up.
#
# Back into a file
# ----------------
# ``picture`` remembers how the file came: depth, grey or colour, transparency, orientation, tags. With it the
# result comes back in the same form, rounded to the depth of the file.

with tempfile.TemporaryDirectory() as folder:
    path = hw.image.write_image(deblurred.images, Path(folder) / "deblurred.png", picture)
    again, written = hw.image.read_image(path)
off = (again - deblurred.images).abs().max() * 255 / 2
print(
    f"{written.size}, {written.dtype} {written.mode}, at most {off:.2f} grey levels off"
)

# %%
# What this shows, and what not: with a known operator and a known noise level the flow beats linear least
# squares on this blur, and a mean of neighbours on three of four scratched photos. Five pictures prove little.
# :doc:`/images` has the figures of 100, and stronger opponents.
