"""Every method on laws whose posterior is known: where its samples are exact, and how far off they are elsewhere.

    python benchmarks/method_bias.py

The flows are exact, so what is left is the method's own bias. `--count` problems with one measurement and different
seeds are a batch; the methods have their own settings. Laws:

    noise    x1 ~ N(0, diag(0.3, 1, 3)^2), y = x1 + 0.5 n
    mask     x1 ~ N(0, I), the first two of four coordinates are known with noise 0.1
    weak     the same with noise 0.5
    sum      x1 ~ N(0, diag(0.3, 1, 3)^2), the sum of the three is known with noise 0.2
    modes    two Gaussians of std 0.3 at (-2, 0) and (2, 0), the second coordinate is known with noise 0.2

Columns: the largest |mean - exact mean| over coordinates, in standard deviations of the posterior; the least and
largest std / exact std (1 for samples of the posterior, 0 for a method that gives one answer); for `modes` the share
of the left mode (exact 0.5) and, within a mode, the same. A mean of k samples has ratios of about k^(-1/2).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from common import kept, options, write
from headwater import Flow, Gaussian, GaussianMixture, Identity, Misfit, Misuse
from headwater.recipes.methods import METHODS, find_method, require_fit


@dataclass(frozen=True)
class Linear:
    """x -> A x."""

    a: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.a.T.to(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.a.to(y)


@dataclass(frozen=True)
class Mask:
    """x -> keep x."""

    keep: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return self.keep.to(x) * x

    adjoint = __call__

    def count(self, y: Tensor) -> Tensor:
        return self.keep.sum().long().expand(len(y))

    def known_pixels(self, shape: tuple[int, ...]) -> Tensor:
        return self.keep.bool()[None]


@dataclass(frozen=True)
class Law:
    """A flow, what is measured of it, and the exact mean and std of every coordinate (in a mode)."""

    flow: Flow
    operator: Linear | Mask | Identity
    y: Tensor
    sigma_y: float
    mean: Tensor
    std: Tensor
    modes: bool = False


def gaussian(
    std: list[float], operator: Linear | Mask | Identity, a: Tensor, y: list[float], sigma: float
) -> Law:
    """N(0, diag(std)^2), of which y = A x1 + sigma n is known; the operator shows it in its own place."""
    s, a, known = torch.tensor(std).double().square().diag(), a.double(), torch.tensor(y).double()
    gain = s @ a.T @ torch.linalg.inv(a @ s @ a.T + sigma**2 * torch.eye(len(a)).double())
    shown = (a.T @ known).float() if isinstance(operator, Mask) else known.float()
    flow = Gaussian(torch.zeros(len(std)), torch.tensor(std)).flow
    return Law(flow, operator, shown, sigma, gain @ known, (s - gain @ a @ s).diagonal().sqrt())


def two_modes() -> Law:
    """The law `modes`, with the mean and std within the right mode."""
    sigma, std, y = 0.2, 0.3, 0.3
    flow = GaussianMixture([0.5, 0.5], torch.tensor([[-2.0, 0.0], [2.0, 0.0]]), torch.tensor([std, std])).flow
    share = std**2 / (std**2 + sigma**2)
    mean, spread = torch.tensor([2.0, share * y]), torch.tensor([std, std * (1 - share) ** 0.5])
    second = Mask(torch.tensor([0.0, 1.0]))
    return Law(flow, second, torch.tensor([0.0, y]), sigma, mean.double(), spread.double(), modes=True)


def laws() -> dict[str, Law]:
    wide, half, ones = [0.3, 1.0, 3.0], Mask(torch.tensor([1.0, 1.0, 0.0, 0.0])), torch.ones(1, 3)
    first = torch.eye(4)[:2]
    return {
        "noise": gaussian(wide, Identity(), torch.eye(3), [0.3, -1.0, 2.0], 0.5),
        "mask": gaussian([1.0] * 4, half, first, [1.0, -0.5], 0.1),
        "weak": gaussian([1.0] * 4, half, first, [1.0, -0.5], 0.5),
        "sum": gaussian(wide, Linear(ones), ones, [2.0], 0.2),
        "modes": two_modes(),
    }


def compare(x: Tensor, law: Law) -> dict[str, object]:
    """How far the mean of the samples x `[count, d]` is off and how wide they are; within a mode if there are two."""
    row: dict[str, object] = {}
    if law.modes:
        left = x[:, 0] < 0
        row["left"] = round(float(left.double().mean()), 2)
        x = torch.where(left[:, None], torch.stack([-x[:, 0], x[:, 1]], 1), x)  # both modes on the right one
    off = ((x.mean(0) - law.mean) / law.std).abs().max()
    ratio = x.std(0) / law.std
    return {
        "bias": round(float(off), 2),
        "least": round(float(ratio.min()), 2),
        "largest": round(float(ratio.max()), 2),
    } | row


def judge(name: str, law_name: str, law: Law, count: int) -> dict[str, object]:
    """One line: a method on a law."""
    row: dict[str, object] = {"method": name, "law": law_name}
    y = law.y.expand(count, -1)
    misfit = Misfit(law.operator, y, law.sigma_y)
    guess = law.operator.adjoint(y)
    start = time.perf_counter()
    try:
        require_fit(name, law.operator, denoising=law_name == "noise")
        result = find_method(name)(law.flow, misfit, range(count), guess=guess)
    except Misuse:
        return row | {"note": "does not take it"}
    seconds = time.perf_counter() - start
    x = result.x1.double()
    whole = x.isfinite().all(1)
    cost = {
        "evaluations": int(result.preparation),
        "gradients": round(float(result.gradients.double().mean()), 1),
        "ms a sample": round(1000 * seconds / count, 1),
    }
    lost = {} if bool(whole.all()) else {"note": f"{int((~whole).sum())} of {count} diverged"}
    return row | compare(x[whole], law) | cost | lost


def main() -> None:
    o = options(__doc__.splitlines()[0], count=1000, keep="")
    rows = [
        kept(
            o.keep,
            f"{name} {law_name} {o.count}",
            lambda n=name, w=law_name, law=law: judge(n, w, law, o.count),
        )
        for name in METHODS
        for law_name, law in laws().items()
    ]
    note = (
        f"{o.count} seeds of one measurement; own settings of each method; bias in posterior stds, within "
        f"{3 / o.count**0.5:.2f} by chance; least and largest ratio of stds, 1 for samples of the posterior, within "
        f"{3 / (2 * o.count) ** 0.5:.2f} by chance."
    )
    write(o.results / "method_bias", rows, "python benchmarks/method_bias.py", note)


if __name__ == "__main__":
    main()
