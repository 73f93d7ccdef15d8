"""The chains of all problems of a posterior, step by step: begun or resumed, stepped, kept, saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from headwater.dflow.control import leave_room
from headwater.dflow.promises import check_promises
from headwater.errors import is_out_of_memory
from headwater.flows.networks import device_of
from headwater.flows.seeds import make_generators
from headwater.flows.watched import Ended
from headwater.optimizers.status import Status
from headwater.problem.batch import spread_sample
from headwater.recipes.estimate import Estimate
from headwater.recipes.posterior.chains import Sampler, count, join_chains, take_chains, tensors_of
from headwater.recipes.posterior.checks import check_complete, check_fingerprint, fingerprint, move_state
from headwater.recipes.posterior.groups import fit_chains, split, takes_gradients
from headwater.recipes.posterior.noise import (
    Noise,
    load_generators,
    save_generators,
    seeds_of_chains,
    seeds_of_starts,
)
from headwater.recipes.posterior.perturb_and_map import PerturbAndMAP
from headwater.recipes.posterior.potential import Potential
from headwater.recipes.posterior.result import Posterior, Sampling
from headwater.recipes.posterior.rto import RandomiseThenOptimise
from headwater.recipes.posterior.start import spread_start, start_at_estimates, start_chains

DRAWN = ("x0", "x1", "potential", "log_weight")
"""What is kept of a draw."""
COUNTED = ("done", "ahead", "live", "generators")
"""What else a state holds."""

Watcher = Callable[[Sampling], Status | None]


@dataclass
class Run:
    """The chains of all problems, step by step.

    Attributes
    ----------
    method, potential, seeds, chains, draws, callback
        What runs.
    done, ahead
        Steps so far, and how many chains, the first ones, have made one more.
    kept
        What was kept of the draws, by name, `[chains that run, *]` each.
    ended
        What ended the run early.
    """

    method: Sampler
    potential: Potential
    seeds: Sequence[int]
    chains: int
    draws: int
    callback: Watcher | None
    done: int = 0
    ahead: int = 0
    kept: dict[str, list[Tensor]] = field(default_factory=lambda: {name: [] for name in DRAWN})
    ended: Status | None = None

    @property
    def problems(self) -> int:
        """How many there are, one per seed."""
        return len(self.seeds)

    def begin(self, start: Tensor | Estimate | None) -> None:
        """Evaluate the start of every chain; those with a potential that is not finite stay out."""
        flow, own = self.potential.flow, seeds_of_starts(self.seeds, self.chains)
        if isinstance(start, Tensor):
            x0 = spread_start(start, flow, self.problems, self.chains)
        else:
            x0 = flow.noise(own, device=device_of(flow.modules))
        self._prepare(x0)
        groups = split(self.potential, 0, len(x0), self.at_once)
        state: Any = join_chains([self._begin_group(rows, part, x0, start, own) for rows, part in groups])
        self.everything = state
        self.live = state.potential.isfinite() & state.gradient.flatten(1).isfinite().all(1)
        index = torch.nonzero(self.live).flatten()
        self.state: Any = take_chains(self.everything, index)
        self._restrict(index)
        seeds_of = seeds_of_chains(self.seeds, self.chains)
        self.generators = make_generators([seeds_of[i] for i in index.tolist()]) if len(index) else []

    def _begin_group(
        self,
        rows: slice,
        potential: Potential,
        x0: Tensor,
        start: Tensor | Estimate | None,
        seeds: Sequence[int],
    ) -> Any:
        """The first state of some chains, with what their start took."""
        x, own = x0[rows], seeds[rows]
        evaluations = gradients = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        if isinstance(start, Estimate):
            x, evaluations = start_at_estimates(potential, start, own, x)
        elif start is None:
            noise = Noise(make_generators(own), potential.flow, x)
            x, gradients = start_chains(potential, self.method, noise.source(), noise)
            evaluations = gradients * potential.nfe
        return count(self.method.init(x, potential), evaluations, gradients)

    def resume(self, saved: dict[str, Tensor]) -> None:
        """Take over what an earlier run left, on the device of the network."""
        check_fingerprint(saved, fingerprint(self.method, self.seeds, self.chains))
        own = self.method.state.__dataclass_fields__
        held = {"all": own, "now": own, "kept": DRAWN}
        check_complete(
            saved, [*COUNTED, *(f"{part}.{name}" for part, names in held.items() for name in names)]
        )
        saved = move_state(saved, device_of(self.potential.flow.modules, saved["all.x0"].device))
        self.live, self.done, self.ahead = saved["live"].clone(), int(saved["done"]), int(saved["ahead"])
        index = torch.nonzero(self.live).flatten()
        parts = {part: {name: saved[f"{part}.{name}"] for name in own} for part in ("all", "now")}
        self.everything, self.state = self.method.state(**parts["all"]), self.method.state(**parts["now"])
        self._prepare(self.everything.x0)
        self._restrict(index)
        self.kept = {name: list(saved[f"kept.{name}"]) for name in DRAWN}
        self.generators = [torch.Generator(device="cpu") for _ in index]
        load_generators(self.generators, saved["generators"])

    def _prepare(self, x0: Tensor) -> None:
        """Choose how many chains are stepped at once, and check what flow and misfit promise for as many of them."""
        objective = self.potential.objective
        try:
            self.at_once, gradient = fit_chains(objective, x0, self.method, self.draws)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if not is_out_of_memory(error):
                # says it better, if what fails for one chain is data of all of them
                check_promises(objective, x0)
            raise
        objective = replace(objective, solver={**objective.solver, "gradient": gradient})
        if self.at_once == len(x0):
            check_promises(objective, x0)
            objective = leave_room(objective, x0) if takes_gradients(self.method) else objective
        else:
            some = torch.tensor(spread_sample(len(x0), self.at_once))
            check_promises(objective.select(some), x0[some])
        self.potential = replace(self.potential, objective=objective)

    def _restrict(self, index: Tensor) -> None:
        if 0 < len(index) < len(self.live):  # a misfit of no measurement is refused, and none is needed then
            self.potential = self.potential.select(index)

    @property
    def steps(self) -> int:
        """The steps of the whole run."""
        return self.method.burn_in + self.draws * self.method.thin

    def sample(self) -> None:
        """Step until all draws are kept, or something ends the run."""
        while self.done < self.steps and self.ended is None and len(self.state.x0):
            adapt = self.done < self.method.burn_in
            try:
                for rows, part in split(self.potential, self.ahead, len(self.state.x0), self.at_once):
                    self._advance(rows, part, adapt)
            except Ended as ended:
                self.ended = ended.status
                return
            self.done, self.ahead = self.done + 1, 0
            if self.done > self.method.burn_in and (self.done - self.method.burn_in) % self.method.thin == 0:
                for name in DRAWN:
                    self.kept[name].append(getattr(self.state, name))
            if self.callback is not None:
                self.ended = self.callback(self._event(adapt))

    def _advance(self, rows: slice, potential: Potential, adapt: bool) -> None:
        """One step of some chains; one that is cut short is taken again with the same draws."""
        generators, s = self.generators[rows], self.state
        before = save_generators(generators)
        try:
            noise = Noise(generators, potential.flow, s.x0)
            part = self.method.advance(take_chains(s, rows), potential, noise, adapt)
        except BaseException:  # Ctrl-C included: the step is taken again with the same noise
            load_generators(generators, before)
            raise
        self.state = join_chains(
            [take_chains(s, slice(rows.start)), part, take_chains(s, slice(rows.stop, None))]
        )
        self.ahead = rows.stop

    def _event(self, adapt: bool) -> Sampling:
        s = self.state
        return Sampling(
            round=self.done,
            active=torch.nonzero(self.live).flatten(),
            cost=s.potential,
            measure=torch.full_like(s.potential, torch.nan),
            x1=s.x1,
            best=s.potential,
            x0=s.x0,
            steps=self.steps,
            burn_in=adapt,
            save=self.save,
        )

    def save(self) -> dict[str, Tensor]:
        """The state to go on from, as tensors by name."""
        out = {name: torch.tensor(getattr(self, name)) for name in ("done", "ahead")}
        out |= {"live": self.live, "generators": save_generators(self.generators)}
        out |= fingerprint(self.method, self.seeds, self.chains)
        out |= {f"all.{name}": value for name, value in tensors_of(self.everything).items()}
        out |= {f"now.{name}": value for name, value in tensors_of(self.state).items()}
        for name, values in self.kept.items():
            now = getattr(self.state, name)
            out[f"kept.{name}"] = torch.stack(values) if values else now.new_zeros(0, *now.shape)
        return out

    def build_result(self) -> Posterior:
        """The draws of all chains, with NaN for those that could not start."""
        every = {name: self._spread(name) for name in DRAWN}
        status = [self.ended or Status.COMPUTED if ok else Status.DIVERGED for ok in self.live.tolist()]
        shape, n = (self.problems, self.chains), self.chains
        after = (self._steps_of_chains() - self.method.burn_in).clamp(min=0).reshape(shape)
        counts = {
            name: self._latest(name).reshape(shape) for name in ("evaluations", "gradients", "accepted")
        }
        return Posterior(
            x0=every["x0"],
            x1=every["x1"],
            potential=every["potential"],
            log_weights=every["log_weight"],
            acceptance=torch.where(after > 0, counts["accepted"] / after, torch.nan),
            status=tuple(tuple(status[i : i + n]) for i in range(0, len(status), n)),
            evaluations=counts["evaluations"],
            gradients=counts["gradients"],
            state=self.save(),
            notes=self._notes(),
            caveat=self.method.caveat,
        )

    def _notes(self) -> tuple[str, ...]:
        """What is to be said of the optimisations of every problem, if the draws are some."""
        if not isinstance(self.method, PerturbAndMAP | RandomiseThenOptimise):
            return ()
        shape = (self.problems, self.chains)
        unconverged = self._latest("unconverged").reshape(shape).sum(1).tolist()
        made = self._steps_of_chains().reshape(shape).sum(1).tolist()
        rows = zip(unconverged, made, strict=True)
        return tuple(self.method.describe_unconverged(n, all_) for n, all_ in rows)

    def _steps_of_chains(self) -> Tensor:
        """The steps that every chain has made, int64 `[problems * chains]`; 0 for those that could not start."""
        steps = torch.where(self.live, self.done, 0)
        steps[torch.nonzero(self.live).flatten()[: self.ahead]] += 1
        return steps

    def _spread(self, name: str) -> Tensor:
        """What was kept of the draws, for all chains: `[problems, chains, draws, *]`."""
        like, values = getattr(self.everything, name), self.kept[name][: self.draws]
        empty = -torch.inf if name == "log_weight" else torch.nan
        out = torch.full((len(like), len(values), *like.shape[1:]), empty).to(like)
        if values:
            out[self.live] = torch.stack(values, 1)
        return out.reshape(self.problems, self.chains, *out.shape[1:])

    def _latest(self, name: str) -> Tensor:
        out: Tensor = getattr(self.everything, name).clone()
        out[self.live] = getattr(self.state, name)
        return out
