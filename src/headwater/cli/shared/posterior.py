"""`--posterior`: draws in place of one answer, by chains whose state is kept in a file until they are done."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.atomic import read_bytes, write_atomically
from headwater.cli.shared.progress import Watch, clock
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.optimizers.status import Status
from headwater.recipes.estimate import Estimate
from headwater.recipes.posterior.chains import Sampler
from headwater.recipes.posterior.checks import move_state
from headwater.recipes.posterior.decoupled_annealing import DecoupledAnnealing
from headwater.recipes.posterior.diagnostics import FEW, largest_r_hat
from headwater.recipes.posterior.forecast import forecast_posterior
from headwater.recipes.posterior.hmc import InfinityHMC
from headwater.recipes.posterior.mala import InfinityMALA
from headwater.recipes.posterior.pcn import PCN
from headwater.recipes.posterior.perturb_and_map import PerturbAndMAP
from headwater.recipes.posterior.result import Posterior, Sampling
from headwater.recipes.posterior.sgld import SGLD
from headwater.recipes.problem import Problem
from headwater.solvers.differentiation import Auto
from headwater.text import counted

SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "daps": DecoupledAnnealing,
    "perturb-and-map": partial(PerturbAndMAP, gradients=8, first_step=0.002),
    "pcn": PCN,
    "mala": InfinityMALA,
    "hmc": InfinityHMC,
    "sgld": SGLD,
}
"""The samplers by the names of --sampler, the default one first."""
MORE = {"daps": "more --steps, or ", "perturb-and-map": "more --gradients, or "}
"""What brings the draws of a sampler nearer to the measurement; the others have no such option."""
CHAINS = 4
"""Chains of a problem, which R-hat compares."""
STEPS = 8
"""Midpoint steps of a solve, as those of `WarmStart`."""
MISSED = 1.6
"""The rms misfit of the draws above which they miss the measurement. Draws of a Markov chain come to 1, and those of
perturb-and-MAP and daps, which fit y with noise of their own, to at most 1.41."""
DEFINITIONS = {
    "r_hat": "the largest rank-normalised split R-hat of up to 32 values, the misfit and |x0|^2: 1 if chains agree",
    "agree": "whether R-hat is no larger than that of independent draws; null for draws that are independent by the"
    " way they are made, as those of daps and perturb-and-map, of which R-hat says nothing",
    "effective_draws": "the smallest bulk effective sample size of the same: independent draws that these are worth",
    "acceptance": "the mean acceptance probability of a chain; of independent draws the share that are finite",
    "misfit_of_draws": "the rms over the draws of rms(A(x1) - y) / misfit_unit, before known values are put back",
    "evaluations": "forward calls of the network, of all chains together; those of gradients count",
    "gradients": "gradient evaluations of all chains: each a forward solve and a vector-Jacobian product",
    "probability": "the share of the draws with the event, and the standard error of as many independent draws",
}


@dataclass(frozen=True)
class Plan:
    """How a posterior is drawn.

    Attributes
    ----------
    draws
        Of each chain.
    sampler
        Its name.
    method
        The sampler.
    steps
        Midpoint steps of a solve; those of --steps are the times of an annealing.
    gradient
        How a solve is differentiated.
    estimate
        Where Markov chains begin; None means where the sampler says.
    """

    draws: int
    sampler: str
    method: Sampler
    steps: int = STEPS
    gradient: Auto = Auto()  # noqa: RUF009 (frozen)
    estimate: Estimate | None = None

    @property
    def count(self) -> int:
        """Draws of all chains."""
        return CHAINS * self.draws

    def anneal(self, times: int) -> Plan:
        """The plan with as many times of an annealing, if there is one."""
        if not isinstance(self.method, DecoupledAnnealing):
            return self
        estimate = replace(self.method.estimate, times=times)
        return replace(self, method=replace(self.method, estimate=estimate))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings for a report."""
        steps = self.method.estimate.times if isinstance(self.method, DecoupledAnnealing) else self.steps
        return {"posterior": self.count, "sampler": self.sampler, "chains": CHAINS, "steps": steps}

    def begin_at(self, estimate: Estimate) -> Plan:
        """The plan whose chains, or optimisations, begin at estimates: those of a domain, with no new noise.

        Decoupled annealing begins nowhere.
        """
        if isinstance(self.method, DecoupledAnnealing):
            return self
        estimate = replace(estimate, fresh=0.0)
        if isinstance(self.method, PerturbAndMAP):
            return replace(self, method=replace(self.method, estimate=estimate))
        return replace(self, estimate=estimate)

    def cost(self, problem: Problem, problems: int = 1) -> str:
        """One sentence on what drawing takes; the network is evaluated a few times for it."""
        need = forecast_posterior(
            problem.flow,
            problem.misfit,
            problems,
            method=self.method,
            chains=CHAINS,
            draws=self.draws,
            steps=self.steps,
            gradient=self.gradient,
            start=self.estimate,
        )
        spent = f"{problems * need.evaluations:,} evaluations, {problems * need.gradients:,} gradients"
        groups = f", {need.at_once} at a time" if need.at_once < CHAINS * problems else ""
        return (
            f"{self.count} draws in {CHAINS} chains{groups}: at most {spent}, about {clock(need.seconds)},"
            f" {need.bytes / 1e6:,.0f} MB"
        )


def plan_posterior(o: Any) -> Plan | None:
    """The plan of the options `posterior`, `sampler`, `steps`, `gradients`, `memory`; None without --posterior.

    Raises
    ------
    Misuse
        An option says nothing without another, or with it.
    """
    if o.posterior is None:
        for name in ("sampler", "event"):
            if getattr(o, name) is not None:
                raise Misuse(f"Nothing is drawn, so --{name} has no effect.", "Give --posterior 16.")
        return None
    if o.method != "default":
        raise Misuse(
            "--method finds one answer and --posterior draws many.", "Give --sampler in place of --method."
        )
    name = o.sampler or next(iter(SAMPLERS))
    if o.gradients is not None and name != "perturb-and-map":
        raise Misuse(
            f"The sampler {name} has no limit of gradients.",
            "Leave out --gradients, or give --sampler perturb-and-map.",
        )
    import_optional("arviz_stats.base", extra="posterior")  # R-hat, which is asked for after the work
    given = {} if o.gradients is None else {"gradients": o.gradients}
    auto, method = Auto(memory=getattr(o, "memory", None)), SAMPLERS[name](**given)
    plan = Plan(-(-o.posterior // CHAINS), name, method, gradient=auto)
    if not o.steps:
        return plan
    return plan.anneal(o.steps) if isinstance(method, DecoupledAnnealing) else replace(plan, steps=o.steps)


@dataclass
class ChainFile:
    """The state of chains, in a file beside the output from one draw to the next; removed when all is written.

    Parameters
    ----------
    path
        The file.
    about
        A digest of all that the draws depend on.

    Raises
    ------
    Misuse
        The file is there, and holds chains of something else.
    """

    path: Path
    about: str
    replaced: bool = False

    def __post_init__(self) -> None:
        if self.goes_on and not self.replaced and self._read()[0] != self.about:
            raise Misuse(
                f"{self.path} holds the draws of another run.",
                "Repeat that command, name another output, or give --overwrite.",
            )

    @property
    def goes_on(self) -> bool:
        """Whether an earlier run left something."""
        return self.path.is_file()

    def load(self, device: torch.device) -> dict[str, Tensor] | None:
        """The state that an earlier run left; None if there is none."""
        about, state = self._read() if self.goes_on else ("", {})
        if about != self.about:
            return None
        return move_state(state, device)

    def _read(self) -> tuple[str, dict[str, Tensor]]:
        from safetensors import SafetensorError
        from safetensors.torch import load

        data = read_bytes(self.path)
        try:
            state = load(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            return header["__metadata__"]["about"], state
        except (SafetensorError, KeyError, ValueError):
            raise Misuse(f"{self.path} is damaged.", "Remove it, and all draws are made again.") from None

    def save(self, state: Mapping[str, Tensor]) -> None:
        """Write a state, whole or not at all."""
        from safetensors.torch import save_file

        own = {k: v.detach().cpu().contiguous().clone() for k, v in state.items()}
        with write_atomically(self.path) as temporary:
            save_file(own, temporary, {"about": self.about})

    def remove(self) -> None:
        """Remove the file, once what was drawn is written elsewhere."""
        self.path.unlink(missing_ok=True)


def digest(inputs: Sequence[Path], settings: Mapping[str, Any]) -> str:
    """What the draws of a run depend on, in one word: the bytes of its files and its settings."""
    found = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in inputs:
        found.update(hashlib.sha256(read_bytes(path)).digest())
    return found.hexdigest()


@dataclass
class Follower:
    """The callback of a posterior: it shows how far the chains are, and keeps their state after every draw.

    Attributes
    ----------
    watch
        Whose line is written, and which ends the run.
    file
        Where the state is kept.
    plan
        What is drawn.
    pause
        Seconds after which the state is kept during the burn-in, too.
    """

    watch: Watch
    file: ChainFile
    plan: Plan
    pause: float = 60.0
    first: int | None = None
    saved: float = field(default_factory=time.perf_counter)

    def __call__(self, event: Sampling) -> Status | None:
        """Note one step of all chains."""
        self.first = event.round - 1 if self.first is None else self.first
        method, now = self.plan.method, time.perf_counter()
        kept, since = divmod(event.round - method.burn_in, method.thin)
        if (not event.burn_in and since == 0) or now - self.saved > self.pause:
            self.file.save(event.save())
            self.saved = time.perf_counter()
        spent = now - self.watch.turned
        left = spent / (event.round - self.first) * (event.steps - event.round)
        stage = "burn-in" if event.burn_in else f"{CHAINS * kept} of {self.plan.count} draws"
        line = f"{self.watch.title}  {stage}  {clock(spent)} elapsed, about {clock(left)} left"
        if self.watch.draw is not None:
            self.watch.feed.show(partial(self.watch.draw, event))
        self.watch.feed.put(line=line, round=event.round)
        self.watch.tell(line)
        return self.watch.check()


def draw(
    problem: Problem, seeds: Sequence[int], plan: Plan, watch: Watch, file: ChainFile, device: torch.device
) -> Posterior:
    """The draws of a posed problem, on from where an earlier run ended; the state stays in the file.

    Raises
    ------
    Misuse
        The run ended before the first draw.
    """
    state = file.load(device)
    found = problem.posterior(
        seeds,
        method=plan.method,
        chains=CHAINS,
        draws=plan.draws,
        steps=plan.steps,
        gradient=plan.gradient,
        callback=Follower(watch, file, plan),
        state=state,
        start=plan.estimate if state is None else None,
    )
    if not is_complete(found, plan):
        file.save(found.state)
    if not found.x1.shape[2] and not watch.interrupt.asked:
        raise Misuse(
            "The time was up before the first draw.",
            "Give more --seconds; the command goes on from what it has.",
        )
    return found


def is_complete(found: Posterior, plan: Plan) -> bool:
    """Whether all draws were made."""
    return found.x1.shape[2] == plan.draws


def rms_of_draws(problem: Problem, found: Posterior) -> list[float]:
    """The rms misfit over the draws of each problem, in units of the noise, before anything was put back."""
    rows = []
    for i, draws in enumerate(found.x1.flatten(1, 2)):
        misfit = problem.misfit.select(torch.tensor([i])) if len(found.x1) > 1 else problem.misfit
        with torch.no_grad():  # one by one, as a decoder takes memory
            each = [float(misfit.rms(x[None])[0]) ** 2 for x in draws if bool(x.isfinite().all())]
        rows.append(math.sqrt(sum(each) / len(each)) if each else math.nan)
    return rows


def describe(found: Posterior, plan: Plan, misfits: Sequence[float]) -> list[dict[str, Any]]:
    """What a report says of the chains, one row for each problem."""
    independent, count = not plan.method.needs_start, found.x1.shape[1] * found.x1.shape[2]
    drawn = f"{counted(count, 'independent draw')}{'; quantiles are rough' if count < FEW else ''}."
    return [
        {
            "sampler": plan.sampler,
            "chains": found.x1.shape[1],
            "draws": found.x1.shape[1] * found.x1.shape[2],
            "acceptance": rounded(found.acceptance[i].nanmean()),
            "r_hat": rounded(found.r_hat[i]),
            "effective_draws": rounded(found.ess[i], 1),
            "agree": None if independent else bool(found.r_hat[i] <= largest_r_hat(found.x1.shape[2])),
            "verdict": f"{drawn} {found.caveat}".rstrip() if independent else sentence,
            "misfit_of_draws": rounded(misfits[i]),
            "evaluations": int(found.evaluations[i].sum()),
            "gradients": int(found.gradients[i].sum()),
        }
        for i, sentence in enumerate(found.verdict())
    ]


def rounded(value: Tensor | float, digits: int = 4) -> float | None:
    """A number for a report; None for NaN and infinity, which JSON has not."""
    number = float(value)
    return round(number, digits) if math.isfinite(number) else None


def doubts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Sentences on what is wrong with the rows of `describe`, if something is.

    Examples
    --------
    >>> row = {"sampler": "hmc", "agree": False, "verdict": "They do not agree.", "misfit_of_draws": 1.0}
    >>> doubts([row]), doubts([{**row, "agree": True}])
    (['They do not agree.'], [])
    """
    found = []
    for row in rows:
        if row["agree"] is False:
            found.append(row["verdict"])
        if row["misfit_of_draws"] is not None and row["misfit_of_draws"] > MISSED:
            found.append(
                f"The draws miss the measurement by {row['misfit_of_draws']:.1f} times its noise: give"
                f" {MORE.get(row['sampler'], '')}another --sampler."
            )
    return list(dict.fromkeys(found))
