"""What compositions of flows are exact for, on Gaussians of the plane whose answers are known.

    python benchmarks/composition_laws.py --threads 1

tracked      rms error of the tracked log densities of both flows, and of their difference, along a path of OR
AND          rms difference of the true log densities at the samples of AND, by the paper's system and with a gain
product      mean and standard deviation of the first coordinate of samples of the product, with Langevin corrections
weighted     the same by weighted particles
projected    the mean of two numbers that a projection keeps equal
"""

from __future__ import annotations

import torch

import headwater as hw
from common import options, write
from headwater.flows.composed import stack_flows
from headwater.recipes.composition import AnnealedProduct, Projected, Superposition, WeightedProduct

MEANS = (torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.5]))
F64 = torch.float64


def laws(one: list[float], two: list[float]) -> list[hw.Gaussian]:
    """Two Gaussians with these standard deviations."""
    return [hw.Gaussian(m, torch.tensor(s)) for m, s in zip(MEANS, (one, two), strict=True)]


def show(x: torch.Tensor) -> float:
    """The root of the mean square, rounded."""
    return round(float(x.square().mean().sqrt()), 3)


def tracked(count: int) -> list[dict[str, object]]:
    """The estimator."""
    rows: list[dict[str, object]] = []
    pair = laws([1.0, 0.5], [0.7, 1.0])
    for spread in (0.0, 1.0):
        for steps in (25, 100, 400):
            method = Superposition("or", spread=spread, steps=steps)
            found = method([law.flow for law in pair], range(count), dtype=F64)
            off = found.log_densities - torch.stack(
                [law.log_density(found.state, found.time) for law in pair], 1
            )
            setting = f"{steps} steps, spread {spread:g}"
            rows.append({"what": "tracked, one flow", "setting": setting, "found": show(off), "exact": 0})
            gap = show(off[:, 0] - off[:, 1])
            rows.append({"what": "tracked, difference", "setting": setting, "found": gap, "exact": 0})
    return rows


def equal(count: int) -> list[dict[str, object]]:
    """The gaps of AND."""
    rows: list[dict[str, object]] = []
    pairs = {
        "other covariances": laws([1.0, 0.5], [0.7, 1.0]),
        "one covariance": laws([1.0, 0.5], [1.0, 0.5]),
    }
    for name, pair in pairs.items():
        for gain in (None, 0.3):
            for steps in (50, 200, 400):
                method = Superposition("and", gain=gain, steps=steps)
                found = method([law.flow for law in pair], range(count), dtype=F64)
                values = [law.log_density(found.state, found.time) for law in pair]
                how = "paper" if gain is None else f"gain {gain:g}"
                gap = show(values[0] - values[1])
                rows.append(
                    {"what": f"AND, {name}", "setting": f"{how}, {steps} steps", "found": gap, "exact": 0}
                )
    return rows


def product(count: int) -> list[dict[str, object]]:
    """The product and its plain sum of scores."""
    rows: list[dict[str, object]] = []
    pair = laws([1.0, 0.5], [0.4, 1.0])
    for weights in ((1.0, 1.0), (2.0, -0.1)):
        precision = [w / law.eigenvalues[0, 0] for w, law in zip(weights, pair, strict=True)]
        total = sum(precision)
        centre = sum(p * law.means[0, 0] for p, law in zip(precision, pair, strict=True)) / total
        methods = {
            f"{k} corrections, 24 steps": AnnealedProduct(weights, corrections=k) for k in (0, 2, 4, 8)
        }
        methods |= {
            f"weighted, {k} particles, {steps} steps": WeightedProduct(
                weights, particles=k, steps=steps, at_once=100_000
            )
            for k, steps in ((4, 24), (16, 48), (64, 120))
        }
        for setting, method in methods.items():
            x = method([law.flow for law in pair], range(count)).x1[:, 0].double()
            for word, value, exact in (("mean", x.mean(), centre), ("std", x.std(), total**-0.5)):
                what = f"product, weights {weights[0]:g} and {weights[1]:g}, {word}"
                rows.append(
                    {
                        "what": what,
                        "setting": setting,
                        "found": round(float(value), 3),
                        "exact": round(float(exact), 3),
                    }
                )
    return rows


def projected(count: int) -> list[dict[str, object]]:
    """Two numbers that are to be equal."""
    rows: list[dict[str, object]] = []
    same = Projected(lambda x1: x1.mean(1, keepdim=True).expand_as(x1))
    for std in (1.0, 0.25):
        parts = [hw.Gaussian(torch.tensor([m]), torch.tensor([s])).flow for m, s in ((-1.0, 1.0), (2.0, std))]
        flow = stack_flows(parts)
        x1 = hw.solve_stochastic(flow, flow.noise(range(count), F64), range(count), method=same, steps=60)
        exact = round((-1 + 2 / std**2) / (1 + 1 / std**2), 3)
        rows.append(
            {
                "what": "projected, mean",
                "setting": f"standard deviations 1 and {std:g}, 60 steps",
                "found": round(float(x1.mean()), 3),
                "exact": exact,
            }
        )
    return rows


def main() -> None:
    """Work out every line and write the table."""
    o = options(__doc__.splitlines()[0], count=200)
    write(
        o.results / "composition_laws",
        [*tracked(o.count), *equal(o.count), *product(2 * o.count), *projected(2 * o.count)],
        "python benchmarks/composition_laws.py --threads 1",
        f"{o.count} samples, twice as many of products and projections, whose means have standard errors of about "
        f"{(2 * o.count) ** -0.5:.2f} standard deviations.",
    )


if __name__ == "__main__":
    main()
