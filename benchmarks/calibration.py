"""Do the samplers of `posterior` draw from the posterior, and what does an effective draw cost?

    python benchmarks/calibration.py
    python benchmarks/calibration.py --cases sharp,curved,ring --replicates 200 --out calibration_hard \
        --samplers PCN,InfinityHMC,InfinityHMC-thin15@curved,estimate,pigdm@sharp
    python benchmarks/calibration.py --cases digits --replicates 20 --draws 5 --out calibration_digits \
        --samplers PerturbAndMAP,estimate,plausible,flower,pigdm,ot-ode
    python benchmarks/calibration.py --cases digits --replicates 100 --draws 4 --precision bfloat16 \
        --samplers estimate,plausible,flower,pigdm,ot-ode,diffpir,flow-dps --out calibration_digits_100
    python benchmarks/calibration.py --cases photographs,pictograms,music --replicates 100 --draws 5 \
        --samplers estimate --out calibration_flows
    python benchmarks/calibration.py --cases digits --draws 4 --precision bfloat16 \
        --samplers estimate,from-estimates --out calibration_digits_500
    python benchmarks/calibration.py --cases pictograms --replicates 100 --draws 4 --precision bfloat16 \
        --samplers from-estimates --out calibration_pictograms
    python benchmarks/calibration.py --cases photographs --replicates 100 --draws 4 --precision bfloat16 \
        --samplers from-estimates --out calibration_photographs
    python benchmarks/calibration.py --cases gaussian,mixture,sharp,curved,ring --samplers DecoupledAnnealing \
        --out calibration_daps
    python benchmarks/calibration.py --cases pictograms,photographs,music --replicates 100 --draws 4 \
        --precision bfloat16 --samplers DecoupledAnnealing --out calibration_daps_flows
    python benchmarks/calibration.py --cases digits --draws 4 --precision bfloat16 --samplers DecoupledAnnealing \
        --out calibration_daps_digits
    python benchmarks/calibration.py --cases pictograms,photographs --replicates 100 --draws 4 --precision bfloat16 \
        --samplers flow-dps,diffpir,flower,ot-ode@pictograms,pigdm@pictograms --out calibration_rivals

Simulation-based calibration (Talts et al., 2018): a replicate draws x0* ~ N(0, I), solves for x1*, measures it with
noise, and samples the posterior. The rank of the truth among the draws is then uniform, coordinate by coordinate,
and so is that of its misfit. All replicates are problems of one batch, of large flows of a few. In the small cases
mean and std of every posterior are known, by algebra or by quadrature over a grid of x0 through the same solve.

`--samplers` may name methods that give one sample per seed as well, ours and those of other papers: their spread over
seeds is judged as if it were a posterior. They know nothing of a coarse solve, so the small cases have 24 steps then.
`NAME@CASE` is run on that case alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import kept, lower, options, with_precision, write
from digits import digits_flow
from headwater import (
    PCN,
    SGLD,
    DecoupledAnnealing,
    Estimate,
    Flow,
    Gaussian,
    GaussianMixture,
    InfinityHMC,
    InfinityMALA,
    Misfit,
    PerturbAndMAP,
    Posterior,
    Preconditioned,
    RandomiseThenOptimise,
    find_method,
    image,
    logit_grid,
    posterior,
    solve,
)
from headwater.audio import load_prior
from headwater.image.answers import plausible
from headwater.image.operators import Inpaint

SAMPLERS = {
    "PCN": PCN(),
    "InfinityMALA": InfinityMALA(),
    "InfinityHMC": InfinityHMC(),
    "InfinityHMC-thin15": InfinityHMC(thin=15),
    "PerturbAndMAP": PerturbAndMAP(),
    "RandomiseThenOptimise": RandomiseThenOptimise(),
    "SGLD": SGLD(),
    "PreconditionedPCN": Preconditioned(PCN(burn_in=100, thin=10)),
    "PreconditionedHMC": Preconditioned(InfinityHMC()),
    "from-estimates": PerturbAndMAP(gradients=8, first_step=0.002, estimate=Estimate(fresh=0.0)),
}
LATER = ("from-estimates", "InfinityHMC-thin15")
"""Samplers that are run only if they are named."""
RECIPES = {"DecoupledAnnealing": replace(DecoupledAnnealing().estimate, perturb=True)}
"""Recipes beside those of `headwater methods`, one sample a seed."""
BINS = 20


@dataclass(frozen=True)
class Case:
    """A flow and what is measured of it.

    `inside` are the coordinates that are judged, by default all; `at_once` the replicates that are solved together.
    """

    flow: Flow
    operator: Callable[[Tensor], Tensor]
    sigma_y: float
    grid: tuple[float, ...]
    exact: Callable[[Case, Tensor], tuple[Tensor, Tensor]] | None = None
    guess: Callable[[Tensor], Tensor] | None = None
    inside: Tensor | None = None
    at_once: int | None = None

    def solve(self, x0: Tensor) -> Tensor:
        with torch.no_grad():
            return solve(self.flow, x0, steps=self.grid)


@dataclass(frozen=True)
class Rows:
    """x -> A x, with its adjoint."""

    a: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.a.T.to(x)

    def adjoint(self, y: Tensor) -> Tensor:
        return y @ self.a.to(y)


def by_algebra(case: Case, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and std `[replicates, d]` where x1 is linear in x0 and A a matrix."""
    d = case.flow.shape[0]
    ends = case.solve(torch.cat([torch.zeros(1, d), torch.eye(d)])).double()
    m, shift, a = (ends[1:] - ends[0]).T, ends[0], case.operator.a.double()
    s = m @ m.T
    gain = s @ a.T @ torch.linalg.inv(a @ s @ a.T + case.sigma_y**2 * torch.eye(len(a)).double())
    mean = shift + (y.double() - a @ shift) @ gain.T
    return mean, (s - gain @ a @ s).diagonal().sqrt().expand_as(mean)


def by_quadrature(case: Case, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and std `[replicates, 2]` by a sum over a fine grid of x0."""
    axis = torch.linspace(-5, 5, 401, dtype=torch.float64)
    x0 = torch.cartesian_prod(axis, axis)
    x1 = torch.cat([case.solve(part) for part in x0.split(20000)])
    shown, prior = case.operator(x1), -0.5 * x0.square().sum(1)
    means, stds = [], []
    for one in y.double():
        w = torch.softmax(prior - 0.5 * ((shown - one) / case.sigma_y).square().sum(1), 0)[:, None]
        means.append((w * x1).sum(0))
        stds.append((w * (x1 - means[-1]).square()).sum(0).sqrt())
    return torch.stack(means), torch.stack(stds)


def curve(x: Tensor) -> Tensor:
    """One number of two, of which one enters squared: the posterior is a bent ridge."""
    return x[:, :1] + 0.5 * x[:, 1:].square()


def radius(x: Tensor) -> Tensor:
    """The distance of two numbers from the origin: the posterior is a ring, denser on one side."""
    return x.norm(dim=1, keepdim=True)


def load_case(name: str, precision: str) -> Case:
    """A case, with its network in a precision."""
    case = cases()[name]()
    return replace(case, flow=lower(case.flow, precision))


def cases() -> dict[str, Callable[[], Case]]:
    a = torch.tensor([[1.0, 0.5, 0.0, 0.0], [0.0, 1.0, -1.0, 0.5]])
    cov = torch.tensor(
        [[1.0, 0.8, 0.2, 0.0], [0.8, 1.0, 0.4, 0.1], [0.2, 0.4, 0.5, 0.2], [0.0, 0.1, 0.2, 2.0]]
    )
    means, wide = torch.tensor([[-2.0, 0.0], [2.0, 0.5], [0.0, -2.0]]), torch.tensor([0.5, 0.4, 0.6])
    second = torch.tensor([[0.3, 1.0]])
    grid = logit_grid(2)
    return {
        "gaussian": lambda: Case(Gaussian(torch.ones(4), cov).flow, Rows(a), 0.3, grid, by_algebra),
        "sharp": lambda: Case(Gaussian(torch.ones(4), cov).flow, Rows(a), 0.01, grid, by_algebra),
        "mixture": lambda: Case(
            GaussianMixture([0.5, 0.3, 0.2], means, wide).flow, Rows(second), 0.3, grid, by_quadrature
        ),
        "curved": lambda: Case(
            Gaussian(torch.zeros(2), torch.tensor([1.0, 1.5])).flow, curve, 0.1, grid, by_quadrature
        ),
        "ring": lambda: Case(
            Gaussian(torch.tensor([0.5, 0.0]), torch.tensor([1.0, 1.5])).flow,
            radius,
            0.1,
            grid,
            by_quadrature,
        ),
        "digits": digits,
        "photographs": photographs,
        "music": music,
        "pictograms": pictograms,
    }


def digits() -> Case:
    """A hole of 12 x 12 in digits of 32 x 32, with noise 0.1."""
    keep = torch.ones(1, 32, 32)
    keep[:, 10:22, 10:22] = 0
    return hole(digits_flow(), keep, 0.1, every=3)


def photographs() -> Case:
    """A hole of 20 x 20 in pictures that photo64 draws, with noise 0.05."""
    keep = torch.ones(3, 64, 64)
    keep[:, 22:42, 22:42] = 0
    return replace(hole(image.flow("photo64"), keep, 0.05, every=17), at_once=10)


def music() -> Case:
    """A gap of 12 of 64 frames in states that music16 draws, with noise 0.1."""
    flow = load_prior().flow
    keep = torch.ones(flow.shape)
    keep[26:38] = 0
    return replace(hole(flow, keep, 0.1, every=13), at_once=10)


def pictograms() -> Case:
    """A hole of 8 x 8 of 16 x 16 in latents of drawings that pictograms draws without words, with noise 0.1."""
    flow = image.latent_model().flow
    keep = torch.ones(flow.shape)
    keep[:, 4:12, 4:12] = 0
    return replace(hole(flow, keep, 0.1, every=3), at_once=10)


def hole(flow: Flow, keep: Tensor, sigma_y: float, every: int) -> Case:
    """Coordinates where keep is 0 are lost; every so many of them are judged."""
    inside = torch.nonzero(keep.flatten() == 0).flatten()[::every]
    return Case(flow, Hole(keep), sigma_y, logit_grid(8), guess=lambda y: y, inside=inside)


@dataclass(frozen=True)
class Hole:
    """x -> keep x."""

    keep: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return self.keep.to(x) * x

    adjoint = __call__

    def count(self, y: Tensor) -> Tensor:
        return self.keep.sum().long().expand(len(y))


def replicate(case: Case, count: int) -> tuple[Tensor, Misfit]:
    """Truths `[count, *event]` that the flow drew, and what was measured of them."""
    x1 = case.solve(case.flow.noise(range(10**6, 10**6 + count)))
    y = case.operator(x1)
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    keep = getattr(case.operator, "keep", None)
    measured = None if keep is None else keep.bool()[None]
    y = y + case.sigma_y * noise
    return x1, Misfit(case.operator, y if measured is None else y * measured, case.sigma_y, measured=measured)


def ranks(draws: Tensor, weights: Tensor, truth: Tensor) -> Tensor:
    """Where the truth `[n, k]` lies among weighted draws `[n, L, k]`, uniform in (0, 1) if they are exact.

    The rank (r + u) / (L + 1) with u uniform: an interval from 0.05 to 0.95 then covers 90 % exactly.
    """
    count = draws.shape[1]
    below = (weights[..., None] * (draws < truth[:, None])).sum(1)
    u = torch.rand(below.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return (below * count + u) / (count + 1)


def crps(draws: Tensor, weights: Tensor, truth: Tensor) -> float:
    """The continuous ranked probability score in data units, mean of problems and coordinates; smaller is better.

    sum_i w_i |x_i - t| - sum_ij w_i w_j |x_i - x_j| / 2, the second term without i = j, so that few draws do not look
    worse than many (Ferro, 2014). Arguments as of `ranks`.
    """
    w = weights[..., None]
    off = (w * (draws - truth[:, None]).abs()).sum(1)
    order = draws.sort(1)
    w = w.expand_as(draws).gather(1, order.indices)
    below = w.cumsum(1) - w
    # sum_i<j w_i w_j (x_j - x_i), by sorting
    inside = (w * (order.values * below - (w * order.values).cumsum(1) + w * order.values)).sum(1)
    return float((off - inside / (1 - w.square().sum(1)).clamp(min=1e-9)).mean())


def uniformity(u: Tensor) -> float:
    """The p value of a chi-square test of u `[n]` with 20 bins of (0, 1)."""
    expected = len(u) / BINS
    statistic = (torch.histc(u.double(), BINS, 0, 1) - expected).square().sum() / expected
    half = torch.tensor((BINS - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(half, statistic.double() / 2))


def first(found: Posterior, count: int) -> Posterior:
    """The first problems of a posterior."""
    names = ("x0", "x1", "potential", "log_weights", "acceptance", "status", "evaluations", "gradients")
    return replace(found, **{name: getattr(found, name)[:count] for name in names})


def split(case: Case, misfit: Misfit, count: int) -> list[tuple[Tensor, Flow, Misfit]]:
    """The replicates that are solved together: their numbers, and their flow and misfit."""
    parts = torch.arange(count).split(case.at_once or count)
    return [(rows, case.flow.select(rows), misfit.select(rows)) for rows in parts]


def guess_of(case: Case, y: Tensor) -> Tensor:
    """A rough x1 for every measurement; zero where nothing better is at hand."""
    if case.guess is not None:
        return case.guess(y)
    adjoint = getattr(case.operator, "adjoint", None)
    return torch.zeros(len(y), *case.flow.shape) if adjoint is None else adjoint(y)


def draw_samples(name: str, case: Case, misfit: Misfit, count: int, each: int) -> tuple[Tensor, Tensor]:
    """`each` samples of a method for every problem `[count, each, *event]`, and the calls of one; a gradient is 3."""
    samples, calls = [], []
    for problems, _, _ in split(case, misfit, count):
        rows = problems.repeat_interleave(each)
        many = misfit.select(rows)
        guess = guess_of(case, many.y)
        if name in RECIPES:
            recipe: Any = RECIPES[name]
        elif name == "plausible":
            recipe = plausible(Inpaint(case.operator.keep.bool()[None]), least=0.8)
        else:
            recipe = find_method(name)
        seeds = range(int(problems[0]) * each, int(problems[0]) * each + len(rows))
        result = recipe(case.flow.select(rows), many, seeds, guess=guess)
        samples.append(result.x1.unflatten(0, (len(problems), each)))
        calls.append(result.evaluations + 2 * result.gradients * result.nfe_per_gradient)
    return torch.cat(samples), torch.cat(calls).double().mean()


def judge_method(case_name: str, name: str, count: int, each: int, precision: str) -> dict[str, object]:
    """One line: the spread over seeds of a method that makes one sample a seed."""
    case = load_case(case_name, precision)
    if case.inside is None:
        case = replace(case, grid=logit_grid(24))
    truth, misfit = replicate(case, count)
    before = time.perf_counter()
    x1, calls = draw_samples(name, case, misfit, count, each)
    seconds = time.perf_counter() - before
    x, t = x1.flatten(2).double(), truth.flatten(1).double()
    even = torch.full(x.shape[:2], 1 / each, dtype=torch.float64)
    with torch.no_grad():
        phi = misfit.select(torch.arange(count).repeat_interleave(each))(x1.flatten(0, 1)).double()
    of_misfit = ranks(phi.reshape(count, each, 1), even, misfit(truth).double()[:, None])[:, 0]
    if case.inside is not None:
        x, t = x[:, :, case.inside], t[:, case.inside]
    u, score = ranks(x, even, t), crps(x, even, t)
    several = [uniformity(u[:, i]) for i in range(u.shape[1])] if u.shape[1] <= 16 else []
    row = {
        "case": case_name,
        "sampler": name,
        "replicates": count,
        "coverage of 90 %": round(100 * float(((u > 0.05) & (u < 0.95)).double().mean()), 1),
        "CRPS": float(f"{score:.3g}"),
        **({"least p of ranks": float(f"{min(several):.2g}")} if several else {}),
        "p of the misfit's rank": float(f"{uniformity(of_misfit):.2g}"),
        "mean rank of the misfit": round(float(of_misfit.double().mean()), 2),
        "calls a draw": round(float(calls)),
        "seconds": round(seconds, 1),
    }
    if case.exact is None:
        return row
    exact = case.exact(case, misfit.y)
    off, ratio = (x.mean(1) - exact[0]) / exact[1], x.std(1) / exact[1]
    return row | {
        "bias of the mean": round(float(off.mean(0).abs().max()), 3),
        "std ratio": round(float(ratio.mean()), 3),
    }


def judge(
    case_name: str, name: str, count: int, chains: int, draws: int, precision: str
) -> dict[str, object]:
    """One line: a sampler on a case."""
    case, row = load_case(case_name, precision), {"case": case_name, "sampler": name}
    truth, misfit = replicate(case, count)
    exact = case.exact(case, misfit.y) if case.exact else None
    settings = {"method": SAMPLERS[name], "chains": chains, "draws": draws, "steps": case.grid}
    before = time.perf_counter()
    parts = [
        posterior(flow, part, rows.tolist(), **settings) for rows, flow, part in split(case, misfit, count)
    ]
    seconds = time.perf_counter() - before
    x = torch.cat([found.x1.flatten(1, 2).flatten(2) for found in parts]).double()
    w = torch.cat([found.weights.flatten(1) for found in parts])
    potential = torch.cat([found.potential.flatten(1) for found in parts])
    t = truth.flatten(1).double()
    if case.inside is not None:
        x, t = x[:, :, case.inside], t[:, case.inside]
    u, score = ranks(x, w, t), crps(x, w, t)
    of_misfit = ranks(potential[..., None], w, misfit(truth).double()[:, None])[:, 0]
    several = [uniformity(u[:, i]) for i in range(u.shape[1])] if u.shape[1] <= 16 else []
    few = first(parts[0], 100)  # diagnostics take longer than some of the samplers
    gradients, evaluations = few.gradients.sum(1).double(), few.evaluations.sum(1).double()
    row |= {
        "replicates": count,
        "coverage of 90 %": round(100 * float(((u > 0.05) & (u < 0.95)).double().mean()), 1),
        "CRPS": float(f"{score:.3g}"),
        **({"least p of ranks": float(f"{min(several):.2g}")} if several else {}),
        "p of the misfit's rank": float(f"{uniformity(of_misfit):.2g}"),
        "R-hat, median": round(float(few.r_hat.median()), 3),
        "said to agree": f"{sum('The chains agree' in s for s in few.verdict())} of {len(few.x0)}",
        "effective draws, median": round(float(few.ess.median())),
        "gradients per effective draw": round(float((gradients / few.ess).median()), 1),
        "evaluations per effective draw": round(float((evaluations / few.ess).median())),
        "acceptance": round(float(few.acceptance.nanmean()), 2),
        "seconds": round(seconds, 1),
    }
    if exact is None:
        return row
    (found,) = parts  # small cases are one batch
    off, ratio = (found.mean.double() - exact[0]) / exact[1], found.std.double() / exact[1]
    worst = off.mean(0).abs().max()
    return row | {"bias of the mean": round(float(worst), 3), "std ratio": round(float(ratio.mean()), 3)}


def list_lines(cases: str, samplers: str) -> list[tuple[str, str]]:
    """The case and the sampler of every line, of lists with commas; `NAME@CASE` is for that case alone."""
    asked = [entry.partition("@")[::2] for entry in samplers.split(",")]
    return [(case, name) for case in cases.split(",") for name, only in asked if only in ("", case)]


def main() -> None:
    counts = {"replicates": 500, "chains": 2, "draws": 10}
    o = options(
        __doc__.splitlines()[0],
        **counts,
        precision="float32",
        keep="",
        cases="gaussian,mixture",
        samplers=",".join(name for name in SAMPLERS if name not in LATER),
        out="calibration",
    )
    rows = [
        kept(
            o.keep,
            with_precision(f"{case} {name} {o.replicates}", o.precision),
            lambda c=case, n=name: (
                judge(c, n, o.replicates, o.chains, o.draws, o.precision)
                if n in SAMPLERS
                else judge_method(c, n, o.replicates, o.chains * o.draws, o.precision)
            ),
        )
        for case, name in list_lines(o.cases, o.samplers)
    ]
    note = (
        f"{o.replicates} replicates of {o.chains} chains with {o.draws} draws each, own settings. By chance "
        f"the coverage of one coordinate is off by {100 * 1.96 * (0.09 / o.replicates) ** 0.5:.1f}, the bias, in "
        f"posterior stds and the worst of the coordinates, by about {2 / o.replicates**0.5:.2f}. A std of 20 "
        "independent draws is 0.97 of the true one. Effective draws and R-hat are of the first 100 replicates, of "
        "large flows of the first 10."
    )
    given = "".join(f" --{name} {getattr(o, name)}" for name in counts if getattr(o, name) != counts[name])
    if o.precision != "float32":
        given += f" --precision {o.precision}"
    command = f"python benchmarks/calibration.py --cases {o.cases}{given} --samplers {o.samplers}"
    write(Path(o.results) / o.out, rows, command, note)


if __name__ == "__main__":
    main()
