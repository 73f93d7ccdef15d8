"""Two prompts in one picture: AND, OR, products and sums of scores beside the joined caption, at equal evaluations.

    python benchmarks/compositions.py --threads 1

Samples of `pictograms` for pairs of captions, guidance 3, each of at most 144 calls of the network. A step of two
prompts takes 3 calls (both, and the empty one), a step of the joined caption "A and B" takes 2. FOCUS controls the
joined caption, or the sum of scores, until t = 1/2, by the gradients of 3 calls more, each of which counts as 3;
`overlap` is that of the captions' maps at the last controlled step, from 0, apart, to 1. Best of n chooses the
draw whose worse caption is nearest by the shipped regression "guide"; everything is judged by the regression
"judge", which shares neither network nor drawings with it: the places of both captions among 1,919, and their
cosines. "better" and "worse" are the two captions of a picture. Regions have a canvas of 128 x 256, and each half is
judged by its own caption.

    python benchmarks/compositions.py --sheet sheet.png

also draws the pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import normalize

import headwater as hw
from common import kept, options, write
from headwater.flows.composed import combine_flows
from headwater.flows.regions import Region, place_regions
from headwater.flows.windowed import extend_to_canvas
from headwater.image.pictograms.models import known_captions
from headwater.image.rewards import caption_model
from headwater.recipes.composition import FOCUS, AnnealedProduct, Superposition

PAIRS = (
    ("red apple", "smiling face with sunglasses"),
    ("cat face", "crown"),
    ("snowman", "top hat"),
    ("ghost", "red heart"),
    ("sunflower", "sun"),
    ("banana", "crescent moon"),
    ("cactus", "guitar"),
    ("dog face", "glasses"),
    ("lemon", "star"),
    ("balloon", "cherries"),
    ("cloud", "umbrella"),
    ("frog", "green apple"),
    ("blue heart", "star"),
    ("rose", "fire"),
    ("owl", "light bulb"),
    ("panda", "pear"),
)
BUDGET = 144


@dataclass
class Bench:
    """The flows of all pairs, and what the judge says of pictures."""

    count: int
    guidance: float = 3.0
    overlap: float | None = None
    """Of the subjects, where a method just measured it."""

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        return list(PAIRS[: self.count])

    @cached_property
    def seeds(self) -> range:
        return range(7000, 7000 + self.count)

    def model(self, prompts: Sequence[str] | None, guidance: float | None = 1.0) -> hw.LatentModel:
        return hw.image.latent_model(None if prompts is None else list(prompts), guidance=guidance)

    @cached_property
    def flows(self) -> list[hw.Flow]:
        """Of the empty prompt, of all first and of all second captions, without guidance."""
        first, second = zip(*self.pairs, strict=True)
        return [self.model(prompts).flow for prompts in (None, first, second)]

    @cached_property
    def joined(self) -> hw.Flow:
        return self.model([f"{a} and {b}" for a, b in self.pairs], self.guidance).flow

    def decode(self, z: Tensor) -> Tensor:
        """Pictures `[n, 3, 128, 128]` in [-1, 1]."""
        return torch.cat([self.model(None).decode(part) for part in z.split(8)]).clamp(-1, 1)

    def solve(self, flow: hw.Flow, calls: int, draws: int) -> list[Tensor]:
        """`draws` pictures of every pair by Euler's method, for all of the budget."""
        steps = BUDGET // (calls * draws)
        sources = (flow.noise([100 * s + k for s in self.seeds]) for k in range(draws))
        return [self.decode(hw.solve(flow, x0, method=hw.EULER, steps=steps)) for x0 in sources]

    def choose(self, flow: hw.Flow, calls: int, draws: int) -> Tensor:
        """The draw of every pair whose worse caption is nearest, by the guide."""
        found = torch.stack(self.solve(flow, calls, draws))
        worse = torch.stack([self.cosines(x, "guide").amin(1) for x in found])
        return found[worse.argmax(0), torch.arange(self.count)]

    @cached_property
    def captions(self) -> list[str]:
        return known_captions()

    def all_cosines(self, pictures: Tensor, part: Any) -> Tensor:
        """With every known caption, `[n, captions]`."""
        model = caption_model(part)
        texts = normalize(model.embed_texts(self.captions), dim=1)
        return torch.cat([normalize(model.embed_pictures(x), dim=1) @ texts.T for x in pictures.split(8)])

    def cosines(self, pictures: Tensor, part: Any) -> Tensor:
        """With both captions of each pair, `[n, 2]`."""
        return self.all_cosines(pictures, part).gather(1, self.places)

    @cached_property
    def places(self) -> Tensor:
        return torch.tensor([[self.captions.index(text) for text in pair] for pair in self.pairs])

    def judge(self, pictures: Tensor) -> dict[str, object]:
        """What the judge says of one picture of every pair."""
        every = self.all_cosines(pictures, "judge")
        own = every.gather(1, self.places)
        rank = (every[:, None] > own[:, :, None]).sum(2)
        return summarise(own, rank)

    def judge_halves(self, halves: Sequence[Tensor]) -> dict[str, object]:
        """The same, where the first caption belongs to the first picture and the second to the second."""
        every = torch.stack([self.all_cosines(x, "judge") for x in halves], 1)
        own = every.gather(2, self.places[:, :, None])[..., 0]
        return summarise(own, (every > own[:, :, None]).sum(2))

    def line(self, name: str, way: Callable[[], Tensor], shown: dict[str, Tensor]) -> dict[str, object]:
        """One line; its pictures are put into `shown`."""
        self.overlap, began = None, time.process_time()
        shown[name] = way()
        seconds = {"seconds": round((time.process_time() - began) / self.count, 2)}
        known = {} if self.overlap is None else {"overlap": round(self.overlap, 2)}
        return self.judge(shown[name]) | seconds | known

    def line_of_regions(self, shown: dict[str, Tensor]) -> dict[str, object]:
        """The line of a canvas of regions; its pictures are put into `shown`."""
        halves = self.regions()
        shown["regions, left"], shown["regions, right"] = halves
        return self.judge_halves(halves)

    def regions(self) -> tuple[Tensor, Tensor]:
        """Halves of a canvas of 128 x 256: the first caption left, the second right, the empty one beneath."""
        flows = (*(self.guided(k) for k in (1, 2)), self.flows[0])
        ground = extend_to_canvas(flows[2], (16, 32), stride=16)
        form = torch.full((16, 32), 0.05)
        flow = place_regions(
            [Region(flows[0]), Region(flows[1], left=16), Region(ground, weight=form)], (16, 32)
        )
        z = hw.solve(flow, flow.noise(self.seeds), method=hw.EULER, steps=24)
        wide = self.decode(z)
        return wide[..., :128], wide[..., 128:]

    def guided(self, which: int) -> hw.Flow:
        """The flow of the captions alone, with guidance."""
        return combine_flows([self.flows[0], self.flows[which]], (1 - self.guidance, self.guidance))


def summarise(own: Tensor, rank: Tensor) -> dict[str, object]:
    """Cosines and places `[n, 2]` as the entries of a line."""
    worse = rank.amax(1)
    error = own.amin(1).std() / len(own) ** 0.5
    return {
        "cosine, better": round(float(own.amax(1).mean()), 3),
        "cosine, worse": round(float(own.amin(1).mean()), 3),
        "error": round(float(error), 3),
        "median place, better": int(rank.amin(1).median()),
        "median place, worse": int(worse.median()),
        "both among 100 (%)": round(100 * float((worse < 100).double().mean())),
    }


def ways(bench: Bench) -> dict[str, Callable[[], Tensor]]:
    """Every method as a function that makes one picture of every pair."""
    null, a, b = bench.flows
    g = bench.guidance

    def superpose(kind: Any, **settings: Any) -> Tensor:
        method = Superposition(kind, guidance=g, steps=BUDGET // 3, **settings)
        return bench.decode(method([a, b], bench.seeds, base=null).x1)

    def multiply(weight: float, corrections: int) -> Tensor:
        levels = BUDGET // (3 * (1 + corrections))
        method = AnnealedProduct((1 - 2 * weight, weight, weight), corrections=corrections, steps=levels)
        return bench.decode(method([null, a, b], bench.seeds).x1)

    def separate(weight: float, scene: hw.Flow, steps: int) -> Tensor:
        found = FOCUS(weight, steps=steps)([a, b], bench.seeds, base=null, scene=scene)
        bench.overlap = float(found.overlap[(steps - 1) // 2].mean())
        return bench.decode(found.x1)

    average = combine_flows([null, a, b], (1 - g, g / 2, g / 2))
    both = combine_flows([null, a, b], (1 - 2 * g, g, g))
    return {
        "first caption alone, a draw": lambda: bench.solve(bench.guided(1), 2, 1)[0],
        "joined caption, a draw": lambda: bench.solve(bench.joined, 2, 1)[0],
        "joined caption, best of 6": lambda: bench.choose(bench.joined, 2, 6),
        "sum of scores, 1.5 each, a draw": lambda: bench.solve(average, 3, 1)[0],
        "sum of scores, 1.5 each, best of 4": lambda: bench.choose(average, 3, 4),
        "sum of scores, 3 each, best of 4": lambda: bench.choose(both, 3, 4),
        "product, 1.5 each, 3 corrections": partial(multiply, g / 2, 3),
        "product, 3 each, 3 corrections": partial(multiply, g, 3),
        "superposition, OR": partial(superpose, "or"),
        "superposition, AND": partial(superpose, "and"),
        "superposition, AND, gain 0.3": partial(superpose, "and", gain=0.3),
        # 11 controlled steps of 2 + 3 * 3 calls and 11 of 2; or 9 of 3 + 3 * 3 and 9 of 3
        "FOCUS, joined caption, almost no weight": partial(separate, 1e-9, bench.joined, 22),
        "FOCUS, joined caption, weight 100": partial(separate, 100.0, bench.joined, 22),
        "FOCUS, joined caption, weight 300": partial(separate, 300.0, bench.joined, 22),
        "FOCUS, sum of scores, 1.5 each, weight 100": partial(separate, 100.0, average, 18),
    }


@torch.no_grad()
def main() -> None:
    """Work out every line, write the table, and the sheet if one is asked for."""
    o = options(__doc__.splitlines()[0], count=16, sheet="", keep="")
    if o.sheet and o.keep:
        raise SystemExit("A sheet needs the pictures, which --keep does not hold.")
    bench, rows, shown = Bench(o.count), [], {}
    for name, way in ways(bench).items():
        line = partial(bench.line, name, way, shown)
        rows.append({"method": name} | kept(o.keep, name, line))
    name = "regions, 24 steps, each half"
    rows.append({"method": name} | kept(o.keep, name, partial(bench.line_of_regions, shown)))
    write(
        o.results / "compositions",
        rows,
        "python benchmarks/compositions.py --threads 1",
        f"{o.count} pairs of captions, one picture of each, at most {BUDGET} calls of the network; places among "
        f"{len(bench.captions)} captions, from 0; `error` is the standard error of the worse cosine; seconds of "
        "CPU a picture with its choice, beside other work.",
    )
    if o.sheet:
        draw_sheet(bench, shown).savefig(o.sheet)


def draw_sheet(bench: Bench, shown: dict[str, Tensor], most: int = 12) -> Figure:
    """A row for every method, a column for every pair."""
    columns = min(bench.count, most)
    figure = Figure(figsize=(1.15 * columns + 1.5, 1.2 * len(shown)), dpi=80)
    axes = figure.subplots(len(shown), columns, squeeze=False)
    for line, (name, pictures) in zip(axes, shown.items(), strict=True):
        for axis, x in zip(line, pictures, strict=False):
            axis.imshow((x / 2 + 0.5).permute(1, 2, 0).numpy())
            axis.set_axis_off()
        line[0].text(-6, 64, name.replace(", ", "\n"), fontsize=7, ha="right", va="center")
    for axis, (a, b) in zip(axes[0], bench.pairs, strict=False):
        axis.set_title(f"{a}\n{b}", fontsize=6)
    wide, high = figure.get_size_inches()
    figure.subplots_adjust(1.5 / wide, 0.05 / high, 0.995, 1 - 0.4 / high, 0.02, 0.02)
    return figure


if __name__ == "__main__":
    main()
