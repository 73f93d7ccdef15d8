"""Recover both fields from 3 % of their points by control of the source, and draw from what is likely.

    python -m fields.recover

`Control` is our method: the misfit of the points and of the equation, and the prior of the source.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import headwater as hw

from .costs import find_residual, pose
from .data import SCALE, choose_sensors, simulate, to_fields
from .model import load_flow
from .rivals import GaussianProcess

POINTS = 31
"""3 % of the 1,024 points."""
NOISE = 0.02
"""Of a measured point, in the units of a state: a fiftieth of the spread of the solution."""
TOLERANCE = 0.05


@dataclass(frozen=True)
class Control:
    """min over x0 of misfit(x1(x0)) + |x0|^2 / 2: the most likely source, given the points and the equation.

    Attributes
    ----------
    tolerance
        How far the residual r may be off, in the units of a state; None leaves the equation out.
    steps
        DDIM steps of a solve.
    gradients
        The most gradients.
    """

    tolerance: float | None = TOLERANCE
    steps: int = 4
    gradients: int = 60

    def __call__(self, flow: hw.Flow, y: Tensor, sensors: Tensor, seeds: range) -> Tensor:
        """Fields `[n, 2, 32, 32]` that were measured as y where `sensors` is true, `[n, 2, 32, 32]` each."""
        misfit = pose(y, sensors, NOISE, self.tolerance)
        return hw.control(
            flow,
            misfit,
            flow.noise(seeds),
            prior=hw.GaussianPrior(),
            method=hw.DDIM,
            steps=self.steps,
            gradients=self.gradients,
            optimizer=hw.LBFGS(first_step=0.05),
        ).x1


def draw_fields(
    flow: hw.Flow,
    y: Tensor,
    sensors: Tensor,
    seeds: range,
    draws: int,
    tolerance: float | None = TOLERANCE,
) -> Tensor:
    """Draws of the posterior, `[n, draws, 2, 32, 32]`, each an optimisation of 20 gradients (perturb-and-MAP)."""
    found = hw.posterior(
        flow,
        pose(y, sensors, NOISE, tolerance),
        seeds,
        method=hw.PerturbAndMAP(gradients=20),
        chains=1,
        draws=draws,
        steps=4,
        solver=hw.DDIM,
    )
    return found.x1[:, 0]


def measure_fields(count: int, points: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """True fields, what is measured of them, and where: `[count, 2, 32, 32]` each."""
    truth = simulate(count, seed)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed + 1))
    return truth, truth + NOISE * noise, choose_sensors(count, points, seed + 2)


def find_errors(x: Tensor, truth: Tensor) -> dict[str, Tensor]:
    """Relative errors of a and u in %, and the residual r in % of u, `[n]` each, of fields `[n, 2, 32, 32]`."""
    (a, u), (a_true, u_true) = to_fields(x), to_fields(truth)

    def percent(error: Tensor, size: Tensor) -> Tensor:
        return 100 * error.flatten(1).norm(dim=1) / size.flatten(1).norm(dim=1)

    return {
        "error of a %": percent(a - a_true, a_true),
        "error of u %": percent(u - u_true, u_true),
        "residual %": percent(SCALE * find_residual(x), u_true),
    }


def judge(x: Tensor, truth: Tensor) -> dict[str, float]:
    """The means of `find_errors` over the fields."""
    found = find_errors(x, truth)
    return {name: round(float(each.mean()), 2) for name, each in found.items()}


def draw_picture(file: Path, seed: int = 100) -> None:
    """The true fields, and what a Gaussian process and control make of 31 points of each."""
    import matplotlib.pyplot as plt

    truth, y, sensors = measure_fields(1, POINTS, seed)
    panels = {
        "truth, and where it is measured": truth,
        "Gaussian process": GaussianProcess(True, NOISE)(y, sensors),
        "control, points and equation": Control()(load_flow(), y, sensors, range(1)),
    }
    figure, axes = plt.subplots(2, 3, figsize=(7.2, 4.9), layout="constrained")
    for column, (title, x) in zip(axes.T, panels.items(), strict=True):
        for ax, field, at, name in zip(
            column, to_fields(x), sensors[0], ("a", "u"), strict=True
        ):
            true = to_fields(truth)[0 if name == "a" else 1][0]
            ax.imshow(field[0], vmin=true.min(), vmax=true.max(), cmap="cividis")
            if x is truth:
                ax.plot(
                    *at.nonzero().T.flip(0),
                    "o",
                    ms=2.5,
                    mfc="white",
                    mec="black",
                    mew=0.4,
                )
            else:
                error = judge(x, truth)[f"error of {name} %"]
                ax.set_xlabel(f"{name}, error {error:.1f} %", fontsize=9)
            ax.set_xticks([])
            ax.set_yticks([])
        column[0].set_title(title, fontsize=9)
    axes[0, 0].set_ylabel("coefficient a", fontsize=9)
    axes[1, 0].set_ylabel("solution u", fontsize=9)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Recover four fields, and say how far they are off."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--picture", type=Path, help="draw one of them into this file")
    o = p.parse_args()
    torch.set_flush_denormal(True)
    if o.picture:
        draw_picture(o.picture)
        return
    truth, y, sensors = measure_fields(4, POINTS, seed=100)
    flow = load_flow()
    for name, method in (
        ("points alone", Control(tolerance=None)),
        ("points and equation", Control()),
    ):
        print(f"{name:20s}", judge(method(flow, y, sensors, range(4)), truth))


if __name__ == "__main__":
    main()
