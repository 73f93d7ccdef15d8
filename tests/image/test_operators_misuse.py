"""Bad input: every refusal is a Misuse of two sentences that says what to do."""

import numpy as np
import pytest
import torch

from headwater.errors import Misuse
from headwater.image.io.picture import to_pixels
from headwater.image.metrics.fidelity import psnr, ssim
from headwater.image.model.models import flow
from headwater.image.noise import estimate_noise
from headwater.image.operators import (
    JPEG,
    Blur,
    Clip,
    Colorize,
    Identity,
    Inpaint,
    PhaseRetrieval,
    SuperResolution,
    UserOperator,
    as_kernel,
    as_mask,
    box_mask,
    chain,
    from_physics,
    gaussian_kernel,
    motion_kernel,
    random_mask,
)

X = torch.zeros(2, 3, 8, 8)
NAN = float("nan")

CASES = {
    "images without a batch": (lambda: Colorize()(X[0]), "floating images"),
    "integer images": (lambda: Colorize()(X.byte()), "uint8"),
    "mask of another size": (lambda: Inpaint(random_mask(9, 9))(X), "9 x 9 pixels but the image is 8 x 8"),
    "mask of another size, damaged": (lambda: Inpaint(random_mask(9, 9)).damaged(X.shape), "9 x 9"),
    "mask of another size, residual": (lambda: Inpaint(random_mask(9, 9)).residual(X, X), "9 x 9"),
    "all masked": (lambda: Inpaint(torch.zeros(8, 8)), "every pixel"),
    "one problem all masked": (lambda: Inpaint(torch.eye(2)[:, :1, None, None] > 0), "every pixel"),
    "NaN in the mask": (lambda: Inpaint(torch.full((8, 8), NAN)), "NaN"),
    "mask out of range": (lambda: as_mask(torch.full((8, 8), 255.0)), "outside [0, 1]"),
    "mask of integers": (lambda: as_mask(torch.ones(8, 8, dtype=torch.int64)), "int64"),
    "colour mask": (lambda: as_mask(torch.ones(1, 3, 8, 8)), "one thing per pixel"),
    "unknown polarity": (lambda: as_mask(torch.ones(8, 8), known="brigth"), "'bright'"),
    "number of masks": (lambda: Inpaint(torch.ones(3, 1, 8, 8))(X), "3 masks but 2 problems"),
    "box outside": (lambda: box_mask(8, 8, 4, 4, top=6), "inside the image"),
    "box everywhere": (lambda: box_mask(8, 8, 8, 8), "leaves something known"),
    "empty box": (lambda: box_mask(8, 8, 0, 4), "at least one pixel"),
    "everything missing": (lambda: random_mask(8, 8, missing=1.0), "nothing known"),
    "share as NaN": (lambda: random_mask(8, 8, missing=NAN), "nothing known"),
    "kernel larger than the image": (lambda: Blur(gaussian_kernel(2.0))(X), "13 x 13 pixels"),
    "kernel larger, circular": (lambda: Blur(gaussian_kernel(2.0), "circular").norm(X.shape), "13 x 13"),
    "NaN in the kernel": (lambda: Blur(torch.full((3, 3), NAN)), "NaN"),
    "even kernel": (lambda: Blur(torch.ones(4, 3)), "no middle pixel"),
    "negative Gaussian": (lambda: gaussian_kernel(1.0, -1), "-1 pixels"),
    "Gaussian of no pixel": (lambda: gaussian_kernel(1.0, 0), "0 pixels"),
    "broken Gaussian": (lambda: gaussian_kernel(1.0, 2.5), "whole number"),
    "even Gaussian": (lambda: gaussian_kernel(1.0, 4), "odd sizes"),
    "kernel that adds up to zero": (lambda: Blur(torch.tensor([[-1.0, 0.0, 1.0]])), "zero"),
    "black kernel": (lambda: as_kernel(torch.zeros(3, 3)), "zero"),
    "kernel of one axis": (lambda: as_kernel(torch.ones(3)), "[height, width]"),
    "number of kernels": (lambda: Blur(torch.ones(3, 3, 3))(X), "3 kernels but 2 problems"),
    "unknown boundary": (lambda: Blur(torch.ones(3, 3), "refelct"), "Did you mean 'reflect'?"),
    "no blur": (lambda: gaussian_kernel(0.0), "positive"),
    "short stroke": (lambda: motion_kernel(0.5), "at least one pixel"),
    "stroke without length": (lambda: motion_kernel(NAN), "at least one pixel"),
    "factor zero": (lambda: SuperResolution(0), "at least 1"),
    "broken factor": (lambda: SuperResolution(1.5), "whole number"),
    "unknown method": (lambda: SuperResolution(2, "bicubik"), "Did you mean 'bicubic'?"),
    "indivisible size": (lambda: SuperResolution(3)(X), "Crop it to 6 x 6"),
    "unknown grey": (lambda: Colorize("lima"), "Did you mean 'luma'?"),
    "colouring a grey image": (lambda: Colorize()(X[:, :1]), "needs 3 channels but got 1"),
    "quality 0": (lambda: JPEG(0), "1 to 100"),
    "unknown subsampling": (lambda: JPEG(50, "4:2:3"), "Did you mean"),
    "fractional subsampling": (lambda: JPEG(50, ((3, 1), (2, 1), (1, 1))), "divides the largest"),
    "empty table": (lambda: JPEG(tables=torch.zeros(3, 8, 8)), "1 or more"),
    "unknown colours": (lambda: JPEG(50, colour="YCCK"), "YCbCr"),
    "one table for colour": (lambda: JPEG(tables=torch.ones(1, 8, 8))(torch.zeros(1, 3, 8, 8)), "three"),
    "unknown rounding": (lambda: JPEG(50, rounding="smoth"), "Did you mean 'smooth'?"),
    "four channels": (lambda: JPEG(50)(torch.zeros(1, 4, 8, 8)), "transparency"),
    "crossed limits": (lambda: Clip(1.0, -1.0), "low < high"),
    "no gain": (lambda: Clip(gain=0.0), "positive gain"),
    "no smoothing": (lambda: PhaseRetrieval(0.0), "small positive"),
    "measurement of another size": (lambda: Identity().residual(X, X[..., :4]), "belongs to this operator"),
    "user returns a number": (lambda: UserOperator(lambda x: 1.0, "f")(X), "'f' returned float"),
    "user returns integers": (lambda: UserOperator(lambda x: x.long(), "f")(X), "int64 values"),
    "user drops the batch": (lambda: UserOperator(lambda x: x.sum(), "f")(X), "Keep the first axis"),
    "user changes the batch": (lambda: UserOperator(lambda x: x[:1], "f")(X), "one measurement per problem"),
    "user detaches": (lambda: UserOperator(torch.Tensor.detach, "f")(X.clone().requires_grad_()), "lost"),
    "physics without A": (lambda: from_physics(3), "no method A"),
    "empty chain": (lambda: chain(), "no operator"),
    "no function": (lambda: UserOperator(3), "cannot be called"),
    "negative image": (lambda: random_mask(-3, -3), "no image of -3 x -3"),
    "broken image": (lambda: box_mask(8.0, 8, 2, 2), "no image of 8.0 x 8"),
    "broken box": (lambda: box_mask(8, 8, 2.0, 2), "not in whole pixels"),
    "no direction": (lambda: motion_kernel(3, NAN), "finite angle"),
    "empty kernel": (lambda: Blur(torch.zeros(0, 0)), "[height, width]"),
    "number of known pixels": (lambda: estimate_noise(X, X[:, :1, :4] > 0), "of the size of the pictures"),
    "noise of one picture": (lambda: estimate_noise(X[0]), "[batch, c, h, w]"),
    "noise of integers": (lambda: estimate_noise(X.byte()), "uint8"),
    "psnr of integers": (lambda: psnr(X.byte(), X.byte()), "floating images"),
    "psnr of numbers": (lambda: psnr(X.sum(), X.sum()), "[batch, ...]"),
    "psnr without range": (lambda: psnr(X, X, range=-2.0), "not positive"),
    "ssim of integers": (lambda: ssim(X.byte(), X.byte()), "floating images"),
    "ssim without range": (lambda: ssim(X, X, range=0.0), "not positive"),
    "label that is no class": (lambda: flow(label=1.5), "words, a WNID"),
    "guidance": (lambda: flow(guidance=NAN), "not finite"),
    "picture without pixels": (lambda: to_pixels(X[:1, ..., :0], "uint8", (0, 255), grey=False), "One image"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused_with_two_sentences(case):
    call, part = CASES[case]
    with pytest.raises(Misuse) as error:
        call()
    assert part in str(error.value)
    assert error.value.what.rstrip().endswith(".") and error.value.cure.rstrip()[-1] in ".?"


def test_masks_and_kernels_may_be_arrays():
    array = np.array([[1.0, 2.0, 1.0]])
    assert torch.equal(as_kernel(array), as_kernel(torch.from_numpy(array)))
    assert as_mask(array > 1).tolist() == [[[[False, True, False]]]]


def test_no_images_have_no_quality():
    assert ssim(torch.zeros(0, 3, 16, 16), torch.zeros(0, 3, 16, 16)).shape == (0,)


def test_a_user_function_may_be_called_without_gradients():
    with torch.no_grad():
        assert UserOperator(lambda x: x.detach(), "f")(X).shape == X.shape
