"""Photographs blurred by a kernel that is not known: how much of the loss is recovered, and how wrong is the kernel?

    python benchmarks/blind_deblur.py --data val.zip --threads 1

Pictures of 64 x 64 and kernels of up to 15 x 15 pixels: two of three are random paths of a shaken camera (6, 9 or 12
pixels long), the third a Gaussian (1, 1.5 or 2 pixels). Noise 0.02 in [-1, 1].

PSNR is over the pixels 8 and more from the border, and over the best shift by up to 3 pixels, for every method alike:
a kernel may be moved against its picture. `kernel error` is |k - truth| / |truth| at the best such shift; `point` is
the kernel that does not blur.

The lines on sharp photos are of the same pictures without a blur, with the noise.

`--few` pictures are given to the methods that take gradients; DMPlug has fewer iterations than its paper gives it, as
the table says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad

import headwater as hw
from common import kept, options, write
from headwater.image.blind import (
    ANSWER,
    Caution,
    KernelSearch,
    UnknownBlur,
    kernel_logits,
    kernel_prior,
    shake_kernel,
)
from headwater.image.operators import Blur, gaussian_kernel
from headwater.recipes.blind import BlindDPS, BlindMisfit, DMPlug, Joint
from images import held_out

NOISE, SIZE, REACH = 0.02, 15, 3


def make_kernels(count: int) -> Tensor:
    """The kernels, `[count, 15, 15]`."""
    stds, lengths = (1.0, 1.5, 2.0), (6.0, 9.0, 12.0)
    return torch.stack(
        [
            gaussian_kernel(stds[i // 3 % 3], SIZE)
            if i % 3 == 2
            else shake_kernel(SIZE, lengths[i // 2 % 3], 1000 + i)
            for i in range(count)
        ]
    )


def shifts() -> list[tuple[int, int]]:
    """All shifts up to REACH."""
    return [(i, j) for i in range(-REACH, REACH + 1) for j in range(-REACH, REACH + 1)]


def psnr(found: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB at the best shift, `[batch]`."""
    best = torch.full((len(found),), -torch.inf)
    inner = truth[..., 8:-8, 8:-8]
    for shift in shifts():
        moved = found.clamp(-1, 1).roll(shift, (-2, -1))[..., 8:-8, 8:-8]
        best = torch.maximum(best, 10 * torch.log10(4 / (moved - inner).square().flatten(1).mean(1)))
    return best


def kernel_error(found: Tensor, truth: Tensor) -> Tensor:
    """|k - truth| / |truth| at the best shift, `[batch]`."""
    wide, best = pad(found.to(truth), [REACH] * 4), torch.full((len(found),), torch.inf).to(truth)
    for i, j in shifts():
        part = wide[:, REACH + i : REACH + i + SIZE, REACH + j : REACH + j + SIZE]
        best = torch.minimum(best, (part - truth).flatten(1).norm(dim=1))
    return best / truth.flatten(1).norm(dim=1)


def wiener(y: Tensor, kernels: Tensor) -> Tensor:
    """Wiener's filter with a constant ratio of noise to signal, the best of a few for the true kernels."""
    operator = Blur(kernels, "circular")
    return torch.cat([operator.select([i]).pinv(y[i : i + 1], ridge=0.01) for i in range(len(y))])


def main() -> None:
    """Work out every line, or read it from --keep, and write the table."""
    o = options(__doc__.splitlines()[0], "data", count=50, few=2, iterations=400, keep="")
    flow = hw.image.flow("photo64")
    x, truth = held_out(o.data, o.count), make_kernels(o.count)
    g = torch.Generator().manual_seed(0)
    y = (Blur(truth)(x) + NOISE * torch.randn(x.shape, generator=g)).float()
    sharp = (x + NOISE * torch.randn(x.shape, generator=g)).float()
    seeds = list(range(o.count))
    few, told, memory = o.few, dict[str, int](), dict[str, tuple[Tensor, Tensor]]()

    def known(kernels: Tensor, noise: float, seen: Tensor = y) -> Tensor:
        task = hw.image.ImageTask(Blur(kernels), seen[: len(kernels)], noise, (64, 64), check_span=False)
        return hw.image.restore(task, flow, seeds[: len(kernels)], recipe=ANSWER).images

    def line(
        name: str, work: Callable[[], tuple[Tensor, Tensor | None]], count: int = o.count
    ) -> dict[str, object]:
        def measure() -> dict[str, object]:
            began = time.process_time()
            images, kernels = work()
            seconds = (time.process_time() - began) / count
            p = psnr(images, x[:count])
            before = sharp if name.startswith("sharp") else y
            gain = p - psnr(before[:count], x[:count])
            row: dict[str, object] = {
                "pictures": count,
                "PSNR": round(float(p.mean()), 2),
                "gain": round(float(gain.mean()), 2),
                "error of the gain": round(float(gain.std() / count**0.5), 2),
                "worst gain": round(float(gain.min()), 2),
                "worse than nothing": int((gain < 0).sum()),
            }
            if "left" in told:
                row["left as it was"] = told.pop("left")
            if kernels is not None:
                e = kernel_error(kernels, (point if before is sharp else truth)[:count])
                row |= {
                    "kernel error": round(float(e.mean()), 2),
                    "median": round(float(e.median()), 2),
                    "motion": round(float(e[[i % 3 != 2 for i in range(count)]].mean()), 2),
                }
            return row | {"seconds": round(seconds, 2)}

        return {"method": name} | kept(o.keep, f"{name} {count}", measure)

    point = torch.zeros(o.count, SIZE, SIZE)
    point[:, SIZE // 2, SIZE // 2] = 1
    search = KernelSearch()

    photos = {"blurred": y, "sharp": sharp}

    def sought(which: str) -> tuple[Tensor, Tensor]:
        """Kernels found by turns, and the pictures with them."""
        if which not in memory:
            kernels = search(flow, UnknownBlur(SIZE), photos[which], NOISE, seeds).parameters.float()
            memory[which] = known(kernels, 0.04, photos[which]), kernels
        return memory[which]

    def careful(which: str) -> tuple[Tensor, Tensor]:
        """What the command writes."""
        images, kernels = sought(which)
        written, left = Caution()(images, photos[which], Blur(kernels), NOISE)
        told["left"] = int(left.sum())
        return written, kernels

    def other(recipe: object, guess: Tensor) -> tuple[Tensor, Tensor]:
        problem = BlindMisfit(UnknownBlur(SIZE), y[:few], NOISE)
        result = recipe(flow, problem, seeds[:few], guess=guess)  # type: ignore[operator]
        return result.x1, result.parameters

    def joint() -> tuple[Tensor, Tensor]:
        problem = BlindMisfit(UnknownBlur(SIZE), y[:few], NOISE)
        kernels = sought("blurred")[1][:few]
        phi = problem.unknown.phi_of(kernels)  # type: ignore[attr-defined]
        found = Joint(gradients=8)(flow, problem, seeds[:few], guess=known(kernels, 0.04), phi=phi)
        return found.x1, found.parameters

    plug, dps = DMPlug(gradients=o.iterations), BlindDPS(kernel_prior(SIZE), kernel_logits, steps=1000)
    rows = [
        line("nothing", lambda: (y, point)),
        line("known kernel", lambda: (known(truth, NOISE), truth)),
        line("known kernel, Wiener", lambda: (wiener(y, truth), truth)),
        line("by turns, then noise 0.04", partial(sought, "blurred")),
        line("the same with caution (the command)", partial(careful, "blurred")),
        line("by turns, then Wiener", lambda: (wiener(y, sought("blurred")[1]), sought("blurred")[1])),
        line("sharp photo, nothing", lambda: (sharp, point)),
        line("sharp photo, by turns, then noise 0.04", partial(sought, "sharp")),
        line("sharp photo, the same with caution (the command)", partial(careful, "sharp")),
        line("nothing", lambda: (y[:few], point[:few]), few),
        line("by turns (the same pictures)", lambda: tuple(z[:few] for z in sought("blurred")), few),
        line("by turns, then joint descent, 8 gradients", joint, few),
        line(f"DMPlug, {o.iterations:,} of 10,000 iterations", partial(other, plug, y[:few]), few),
        line("BlindDPS, 1,000 steps, Gaussian kernels", partial(other, dps, y[:few]), few),
    ]
    write(
        o.results / "blind_deblur",
        rows,
        "python benchmarks/blind_deblur.py --data val.zip --threads 1",
        f"{o.count} held-out pictures of 64 x 64, photo64, noise {NOISE}, kernels of up to {SIZE} x {SIZE}; the last "
        f"lines on {few} of them. `gain` in dB over doing nothing; `seconds` of CPU a picture, beside other work.",
    )


if __name__ == "__main__":
    main()
