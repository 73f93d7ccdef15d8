"""Goals without a gradient at equal evaluations of the network: search of the source, steering along the path.

    python benchmarks/blackbox.py --threads 1
    python benchmarks/blackbox.py --threads 1 --tasks music,xtb --molecules 8 --out blackbox_rules

Every method gets the same number of evaluations of the network for each problem; a search spends them on whole
solves, a steered sample on particles that go along the path together. Best of n is the honest rival. `reward` is in
standard deviations among draws, `error` its standard error over the problems.

mixture   a Gaussian mixture in 16 coordinates, the reward linear. `log p` is the log density of the samples less that
          of draws, in nats: what the reward cost. The law p(x1) exp(2 r) is known, and so is the mean of its reward.
digits    the flow of digits; many bytes as a JPEG file, and much ink. `judge` is the kernel distance of features of a
          classifier that guided nothing, to draws.
qed       molecules of the shipped generator; RDKit's drug-likeness, which is NaN for a molecule that is not sound.
          `sound %` are those that have one; the means are over these.
xtb       the same, and the gap by GFN2-xTB, in eV on the scale of B3LYP.
music     the shipped model of music, 4 s: the share of the notes C, E and G, and 8 onsets a second. `strangeness` is
          the distance of CDPAM's embedding, which guided nothing, to the nearest of 8 draws, 1 for the median draw.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import headwater as hw
from common import kept, options, write
from digits import digit_features, digits_flow
from headwater.audio.rewards import SoundJudge, read_reward
from headwater.flows.windowed import extend_to_canvas
from headwater.image.metrics.kernel import kernel_distance
from headwater.image.rewards.file_size import JpegSize
from headwater.molecule.model.models import Networks
from headwater.molecule.targets.design import DesignTask
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.scores import StructureScore
from headwater.problem.rewards import RewardThrough, standardise_reward
from headwater.recipes.blackbox import (
    CMAES,
    BestOf,
    CoDe,
    FeynmanKac,
    NaturalEvolution,
    StochasticControl,
)

Methods = dict[str, Any]
FAR = 50_000
"""The first seed of draws that standardise, and that the judge compares with."""


def make_methods(
    draws: int, particles: int, solver: hw.solvers.Method, solve_steps: int, steps: int
) -> Methods:
    """The methods for as many evaluations as `draws` solves take; `particles` of `steps` cost the same."""
    how = {"draws": draws, "steps": solve_steps, "method": solver, "at_once": 128}
    along = {"steps": steps, "at_once": 128}
    pairs = max(draws // 10, 1)
    return {
        "a draw": BestOf(**(how | {"draws": 1})),
        f"best of {draws}": BestOf(**how),
        "CMA, separable": CMAES(**how, separable=True),
        "CMA, subspaces": CMAES(**how, dimension=16, stages=2),
        "natural evolution": NaturalEvolution(**how, pairs=pairs),
        "Feynman-Kac, difference": FeynmanKac(particles=particles, **along),
        "Feynman-Kac, max": FeynmanKac(particles=particles, potential="max", every=4, **along),
        "Feynman-Kac, sum": FeynmanKac(particles=particles, potential="sum", every=4, **along),
        "CoDe, blocks of a fourth": CoDe(candidates=particles, block=steps // 4, **along),
        "stochastic control": StochasticControl(candidates=particles, **along),
    }


def run(
    method: Any, flow: hw.Flow, reward: Any, count: int, look: Callable[[Any], dict[str, object]]
) -> dict[str, object]:
    """A line of the table."""
    began = time.process_time()
    result = method(flow, reward, range(count))
    seconds = (time.process_time() - began) / count
    good = torch.isfinite(result.reward)
    value = result.reward[good]
    return {
        "reward": show(value.mean(), 2),
        "error": show(value.std() / max(len(value), 1) ** 0.5, 2),
        **look(result),
        "NFE": round(float(result.evaluations.double().mean())),
        "calls of the reward": round(float(result.calls.double().mean())),
        "seconds": round(seconds, 2),
    }


def show(value: Tensor, digits: int) -> float | str:
    """A number for the table; nothing where there is none."""
    return round(float(value), digits) if bool(torch.isfinite(value)) else ""


def mixture(count: int, keep: str) -> list[dict[str, object]]:
    """The table of the mixture."""
    g, d = torch.Generator().manual_seed(0), 16
    means = 2 * torch.randn(3, d, generator=g)
    law = hw.GaussianMixture([0.5, 0.3, 0.2], means, torch.tensor([1.0, 0.7, 0.5]))
    a = torch.randn(d, generator=g)
    w, m, s2 = law.log_weights.exp(), law.means @ a.double(), law.eigenvalues[:, 0] * float(a @ a)
    centre = float((w * m).sum())
    spread = float((w * (s2 + (m - centre) ** 2)).sum()) ** 0.5

    def reward(x1: Tensor) -> Tensor:
        return (x1 @ a - centre) / spread

    # p exp(2 r) is a mixture of N(m + 2 s^2 a / spread, s^2) with weights w exp(2 m / spread + 2 s^2 / spread^2)
    tilt = torch.log_softmax(w.log() + 2 * m / spread + 2 * s2 / spread**2, 0).exp()
    exact = float((tilt * (m + 2 * s2 / spread)).sum() - centre) / spread
    typical = float(law.log_density(law.sample(range(2000))).mean())

    def look(result: Any) -> dict[str, object]:
        return {"log p": round(float(law.log_density(result.x1).mean()) - typical, 1)}

    methods = make_methods(64, 64, hw.DDIM, 24, 24)
    for k in (16, 64):
        name = f"Feynman-Kac, a draw of exp(2 r) by {k} particles; exact {exact:.2f}"
        methods[name] = FeynmanKac(2.0, particles=k, pick="draw", steps=24 * 64 // k, at_once=128)
    return table("mixture: a . x1", methods, law.flow, reward, count, look, keep)


def table(
    what: str,
    methods: Methods,
    flow: hw.Flow,
    reward: Any,
    count: int,
    look: Callable[[Any], dict[str, object]],
    keep: str,
) -> list[dict[str, object]]:
    """The lines of one task."""
    rows = []
    for name, method in methods.items():
        work = partial(run, method, flow, reward, count, look)
        rows.append({"task": what, "method": name} | kept(keep, f"{what}, {name}", work))
    return rows


def digits(count: int, keep: str) -> list[dict[str, object]]:
    """The tables of the digits."""
    flow = digits_flow()
    draws = BestOf(draws=1, steps=12)(flow, lambda x1: torch.zeros(len(x1)), range(FAR, FAR + 64)).x1.clamp(
        -1, 1
    )
    rewards: dict[str, Any] = {
        "digits: bytes of JPEG": JpegSize(),
        "digits: ink": lambda x1: (x1.clamp(-1, 1).flatten(1).mean(1) + 1) / 2,
    }

    def look(result: Any) -> dict[str, object]:
        with torch.no_grad():
            distance = kernel_distance(digit_features(result.x1), digit_features(draws))
        return {"judge": round(float(distance.value), 2), "judge's error": round(float(distance.error), 2)}

    methods = make_methods(64, 64, hw.DDIM, 12, 12)
    rows = []
    for name, reward in rewards.items():
        number = count if name.endswith("JPEG") else count // 3
        rows += table(name, methods, flow, standardise_reward(reward, draws), number, look, keep)
    return rows


def molecules(count: int, keep: str, name: str = "qed", shown: str = "QED") -> list[dict[str, object]]:
    """The table of the molecules, for one score."""
    task = DesignTask(Request(count, atoms=18))
    problem = task.pose(Networks.load())
    score = StructureScore(name, problem.misfit.mask)
    plain = BestOf(draws=4, steps=6, method=hw.MIDPOINT)(problem.flow, score, range(FAR, FAR + count)).reward
    seen = plain[torch.isfinite(plain)]
    mean, spread = float(seen.mean()), float(seen.std())

    def look(result: Any) -> dict[str, object]:
        good = torch.isfinite(result.reward)
        value = result.reward[good] * spread + mean
        return {shown: show(value.mean(), 3), "sound %": round(100 * float(good.double().mean()))}

    reward = StandardisedScore(score, mean, spread)
    methods = make_methods(24, 12, hw.MIDPOINT, 6, 24)
    chosen = (
        "a draw",
        "best of 24",
        "CMA, separable",
        "natural evolution",
        "Feynman-Kac, difference",
        "CoDe, blocks of a fourth",
    )
    if name != "qed":
        chosen = chosen[:4]  # no steered molecule is sound
    some = {k: methods[k] for k in chosen}
    return table(f"molecules: {shown}", some, problem.flow, reward, count, look, keep)


def music(count: int, keep: str) -> list[dict[str, object]]:
    """The tables of two rules of music."""
    prior = hw.audio.load_prior()
    frames = -(-4 * prior.rate // prior.space.bins)
    flow = extend_to_canvas(prior.flow, (frames,), axes=(-2,))
    with torch.no_grad():
        draws = hw.solve(flow, flow.noise(range(FAR, FAR + 8)), method=hw.DDIM, steps=12)
    judge = SoundJudge(prior.space.decode(draws), prior.rate)

    def look(result: Any) -> dict[str, object]:
        return {"strangeness": show(judge.strangeness(prior.space.decode(result.x1)).mean(), 2)}

    methods = make_methods(16, 16, hw.DDIM, 12, 12)
    chosen = ("a draw", "best of 16", "CMA, separable", "Feynman-Kac, difference", "CoDe, blocks of a fourth")
    rows = []
    for words in ("chroma: C E G", "onsets: 8"):
        heard = RewardThrough(read_reward(words, prior.rate, gradient=False), prior.space.decode)
        reward = standardise_reward(heard, draws)
        some = {k: methods[k] for k in chosen}
        rows += table(f"music: {words}", some, flow, reward, count, look, keep)
    return rows


class StandardisedScore:
    """A score of structures in standard deviations of the draws that have one."""

    def __init__(self, score: StructureScore, mean: float, spread: float) -> None:
        self.score, self.mean, self.spread = score, mean, spread

    def select(self, index: Tensor) -> StandardisedScore:
        """The score of the molecules in `index`."""
        return StandardisedScore(self.score.select(index), self.mean, self.spread)

    def __call__(self, x1: Tensor) -> Tensor:
        return (self.score(x1) - self.mean) / self.spread


def main() -> None:
    """Work out every line, or read it from --keep, and write the table."""
    o = options(
        __doc__.splitlines()[0],
        mixture=64,
        digits=24,
        molecules=10,
        music=4,
        keep="",
        tasks="mixture,digits,qed",
        out="blackbox",
    )
    makers = {
        "mixture": partial(mixture, o.mixture, o.keep),
        "digits": partial(digits, o.digits, o.keep),
        "qed": partial(molecules, o.molecules, o.keep),
        "xtb": partial(molecules, o.molecules, o.keep, "xtb: gap", "gap, eV"),
        "music": partial(music, o.music, o.keep),
    }
    counts = {
        "mixture": f"{o.mixture} problems of the mixture",
        "digits": f"{o.digits} digits (a third of them for ink)",
        "qed": f"{o.molecules} molecules of 18 atoms for QED",
        "xtb": f"{o.molecules} molecules of 18 atoms for their gap",
        "music": f"{o.music} sounds",
    }
    tasks = o.tasks.split(",")
    rows: list[dict[str, object]] = [line for name in tasks for line in makers[name]()]
    write(
        o.results / o.out,
        rows,
        f"python benchmarks/blackbox.py --threads 1 --tasks {o.tasks}",
        f"Means over {', '.join(counts[name] for name in tasks)}. "
        "`reward` in standard deviations among draws; the other columns as the script says; "
        "`NFE` evaluations of the network, `seconds` of CPU a problem, beside other work.",
    )


if __name__ == "__main__":
    main()
