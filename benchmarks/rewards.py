"""Rewards against realism: raised from the source, or the best of as many draws as cost the same.

    python benchmarks/rewards.py --data val.zip --threads 1
    python benchmarks/rewards.py --drawings pictograms.npz --threads 1 --count 8 --gradients 6

Of photographs by `photo64`, or of drawings by `pictograms`, whose rewards go through the decoder. A text has one more
rival: the model told the text itself, with classifier-free guidance, which no reward leads.

Each picture costs `gradients` gradients through a solve; a gradient counts as three calls of the network for each of
its steps, and `best of n` draws as often as that pays for. The reward is in standard deviations among draws. Realism
is the kernel distance to clean pictures on the features of EfficientNet-Lite1, which guided nothing; so is the
probability of the class, the place of a text among the captions, and the strangeness, 1 for a draw.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import headwater as hw
from common import kept, options, write
from headwater.image.metrics.efficientnet import pool_features
from headwater.image.metrics.kernel import kernel_distance
from headwater.image.pictograms import data as pictograms
from headwater.image.pictograms.evaluate import first_of_each
from headwater.image.pictograms.train_autoencoder import to_range
from headwater.image.rewards import RewardJudge, read_reward
from headwater.problem.rewards import RewardSum, RewardThrough
from headwater.recipes.reward import MaximiseReward
from images import held_out

PHOTOGRAPHS = ("class: volcano", "palette: #e33,#fff", "symmetry")
DRAWINGS = ("palette: #e33,#fff", "symmetry", "text: red apple")
GUIDANCES = (1.0, 3.0, 7.0, 16.0)


def main() -> None:
    """Work out every line, or read it from --keep, and write the table."""
    o = options(__doc__, data="", drawings="", count=3, gradients=MaximiseReward.gradients, clean=60, keep="")
    recipe = MaximiseReward(gradients=o.gradients)
    if o.drawings:
        held_back = first_of_each(pictograms.load(Path(o.drawings)).part("held-out"), o.clean)
        bench = Bench(recipe, o.count, to_range(held_back.pixels), hw.image.latent_model())
    else:
        bench = Bench(recipe, o.count, held_out(Path(o.data), o.clean), hw.image.flow("photo64"))
    rewards, strengths = (DRAWINGS, (1.0, 4.0, 16.0, 64.0)) if o.drawings else (PHOTOGRAPHS, (4.0, 16.0))
    rows = []
    for name in rewards:
        ways = {"a draw": bench.draw, f"best of {bench.paid}": bench.choose}
        ways |= {f"control, strength {s:g}": partial(bench.control, s) for s in strengths}
        if o.drawings and name.startswith("text: "):
            ways |= {f"prompt, guidance {g:g}": partial(bench.tell, g) for g in GUIDANCES}
        rows += [
            kept(o.keep, f"{name}, {way}", lambda n=name, w=way, f=f: {"reward": n, "way": w} | f(n))
            for way, f in ways.items()
        ]
    given = "--drawings pictograms.npz" if o.drawings else "--data val.zip"
    counts = f" --count {o.count} --gradients {o.gradients}" if o.drawings else ""
    write(
        o.results / ("rewards_drawings" if o.drawings else "rewards"),
        rows,
        f"python benchmarks/rewards.py {given} --threads {o.threads}{counts}",
        f"Means over `pictures` of {'pictograms' if o.drawings else 'photo64'}, and {o.clean} clean ones; "
        f"{o.gradients} gradients through {bench.recipe.steps} steps a picture. `calls` counts a step of a gradient "
        "as three; `seconds` a picture, beside other work. `error` is the standard error of the kernel distance.",
    )


@dataclass
class Bench:
    """A recipe, how many pictures, clean pictures `[n, 3, h, w]` to compare with, and the model."""

    recipe: MaximiseReward
    count: int
    clean: Tensor
    model: hw.Flow | hw.LatentModel

    @property
    def paid(self) -> int:
        """How many draws cost what the gradients of one picture cost."""
        return 3 * self.recipe.gradients

    @property
    def flow(self) -> hw.Flow:
        """The flow, of latents where the model has them."""
        return self.model.flow if isinstance(self.model, hw.LatentModel) else self.model

    def show(self, x1: Tensor) -> Tensor:
        """The pictures of samples, `[batch, 3, h, w]`, not clamped."""
        return self.model.decode(x1) if isinstance(self.model, hw.LatentModel) else x1

    def sample(self, seeds: range) -> Tensor:
        """Pictures without a reward, with the solve of the recipe, `[len(seeds), 3, h, w]`."""
        parts = [seeds[i : i + 16] for i in range(0, len(seeds), 16)]
        solver: dict[str, Any] = {"method": self.recipe.method, "steps": self.recipe.steps}
        with torch.no_grad():
            found = [self.show(hw.solve(self.flow, self.flow.noise(p), **solver)) for p in parts]
        return torch.cat(found).clamp(-1, 1)

    @cached_property
    def judge(self) -> RewardJudge:
        """The judge, on draws that nothing else uses."""
        return RewardJudge(self.sample(range(20_000, 20_016)))

    @cached_property
    def pool(self) -> tuple[Tensor, float]:
        """The draws of which the best are taken, and the seconds of one."""
        began = time.perf_counter()
        draws = self.sample(range(10_000, 10_000 + self.count * self.paid))
        return draws, (time.perf_counter() - began) / len(draws)

    @cached_property
    def totals(self) -> dict[str, RewardSum]:
        """Rewards that were standardised before."""
        return {}

    @cached_property
    def clean_features(self) -> Tensor:
        """Those of the clean pictures."""
        return features(self.clean)

    def total(self, name: str) -> RewardSum:
        """A reward in standard deviations among the draws."""
        if name not in self.totals:
            one = RewardSum(((1.0, read_reward(name)),), (name,))
            self.totals[name] = one.standardise(self.pool[0])
        return self.totals[name]

    def draw(self, name: str) -> dict[str, object]:
        """Draws without a reward."""
        x = self.sample(range(self.count))
        return self.describe(name, x, calls=self.recipe.steps, seconds=self.pool[1])

    def tell(self, guidance: float, name: str) -> dict[str, object]:
        """Draws of the model that is told the text of the reward, on the seeds of the draws without a reward."""
        model, began = (
            hw.image.latent_model(name.removeprefix("text: "), guidance=guidance),
            time.perf_counter(),
        )
        x = replace(self, model=model).sample(range(self.count))
        seconds = (time.perf_counter() - began) / self.count
        calls = (1 if guidance == 1 else 2) * self.recipe.steps
        return self.describe(name, x, calls=calls, seconds=seconds)

    def choose(self, name: str) -> dict[str, object]:
        """The best of as many draws as the gradients cost, in groups of their own for each picture."""
        total, (draws, seconds) = self.total(name), self.pool
        with torch.no_grad():
            best = [group[total(group).argmax()] for group in draws.split(self.paid)]
        calls = self.paid * self.recipe.steps
        return self.describe(name, torch.stack(best), calls=calls, seconds=self.paid * seconds)

    def control(self, strength: float, name: str) -> dict[str, object]:
        """The reward raised from the source point."""
        total, began = self.total(name), time.perf_counter()
        result = replace(self.recipe, strength=strength)(
            self.flow, RewardThrough(total, self.show), range(self.count)
        )
        seconds = (time.perf_counter() - began) / self.count
        radius = float(result.x0.flatten(1).norm(dim=1).mean()) / self.flow.event_size**0.5
        calls = self.paid * self.recipe.steps
        with torch.no_grad():
            x = self.show(result.x1).clamp(-1, 1)
        return self.describe(name, x, calls=calls, seconds=seconds, radius=radius)

    def describe(
        self, name: str, x: Tensor, *, calls: int, seconds: float, radius: float = 1.0
    ) -> dict[str, object]:
        """The columns of one set of pictures."""
        total = self.total(name)
        with torch.no_grad():
            rise = float(total(x).mean())
        distance = kernel_distance(features(x), self.clean_features)
        classes, places = self.judge.read_classes(x, total), self.judge.read_texts(x, total)
        return {
            "pictures": len(x),
            "reached": round(rise, 2),
            "kernel distance": round(float(distance.value), 3),
            "error": round(float(distance.error), 3),
            "strangeness": round(float(self.judge.strangeness(x).mean()), 2),
            "judge: class": round(float(next(iter(classes.values())).mean()), 3) if classes else "",
            "judge: place of the text": round(float(next(iter(places.values())).double().mean()))
            if places
            else "",
            "norm of x0": round(radius, 3),
            "calls": calls,
            "seconds": round(seconds, 1),
        }


def features(x: Tensor) -> Tensor:
    """The judge's features, `[n, 1280]`."""
    with torch.no_grad():
        return torch.cat([pool_features(part, "lite1") for part in x.split(16)])


if __name__ == "__main__":
    main()
