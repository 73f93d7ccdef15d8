"""The law of the source, detail, diversity and shared seeds: what each changes, and at what cost.

    python benchmarks/source_laws.py --data val.zip --threads 1

leak       photo64 begun at t = 0.1 of its path, where a tenth of the picture is in the state: from plain noise, from
           the fitted law of the leak, and from states that are right. `brightness` is the standard deviation of the
           mean grey among samples, `kernel` the kernel distance of features to other held-out pictures.
detail     photo64, the same seeds with density guidance, prior guidance, scaled noise and scaled bands: bytes a pixel
           as JPEG, the share of |x|^2 in the upper half of the frequencies, and the kernel distance.
mixture    a conditional mixture of four classes with three modes each: `modes` is the effective number of modes that
           the draws of a class use (the exponential of the entropy; the data have 2.80), `right %` the share of draws
           nearest to a mode of their class, `off` the distance to it in its own standard deviations (the data 1.25).
pictograms eight prompts, eight seeds each: `diversity` is the mean distance of features between two seeds of a
           prompt, `place` the median place of the prompt among 1,919 captions by a judge that guided nothing.
seeds      super-resolution by two of photographs with Estimate: the seed that was best on tuning pictures, others,
           and the mean of four. `shared` is the part of the variance between seeds, over tuning pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import headwater as hw
from common import kept, options, write
from headwater.dflow.source_law import SourceLaw, whiten_source
from headwater.flows.annealed import AnnealedCondition
from headwater.flows.density import guide_density, scale_to_quantile
from headwater.flows.frequency import BandGuidance, ScaleBands, frequency_radius, to_frequencies
from headwater.flows.scaled import scale_noise
from headwater.flows.switched import switch_flows
from headwater.image.metrics.fidelity import psnr
from headwater.image.metrics.kernel import kernel_distance
from headwater.image.metrics.perceptual import perceptual_distance, pooled_features
from headwater.image.model import models
from headwater.image.operators import SuperResolution
from headwater.image.rewards import rank_text
from headwater.image.rewards.file_size import JpegSize
from headwater.recipes.shared_seed import find_shared_seed, mean_square
from images import held_out, measure

Line = dict[str, object]
Make = Callable[[], Line]
LEFT = 0.1
"""The time of photo64's path at which the task "leak" begins."""


@dataclass(frozen=True)
class Cut(hw.CondOT):
    """The straight path from t = LEFT on, with the time from 0 to 1."""

    def alpha(self, t: Tensor) -> Tensor:
        return LEFT + (1 - LEFT) * t

    def sigma(self, t: Tensor) -> Tensor:
        return (1 - LEFT) * (1 - t)

    def dalpha(self, t: Tensor) -> Tensor:
        return torch.full_like(t, 1 - LEFT)

    def dsigma(self, t: Tensor) -> Tensor:
        return torch.full_like(t, LEFT - 1)


def in_parts(work: Callable[[Tensor], Tensor], x: Tensor, size: int = 16) -> Tensor:
    """The work on parts of a batch."""
    with torch.no_grad():
        return torch.cat([work(part) for part in x.split(size)])


def lines(task: str, makers: dict[str, Make], keep: str) -> list[Line]:
    """The lines of a task, each read from `keep` if it is there."""
    return [
        {"task": task, "method": name} | kept(keep, f"{task}, {name}", make) for name, make in makers.items()
    ]


def looks(x: Tensor, reference: Tensor) -> Line:
    """What is said of pictures `[n, 3, h, w]`."""
    x = x.clamp(-1, 1)
    distance = kernel_distance(pooled_features(x), reference)
    power = to_frequencies(x - x.mean((-2, -1), keepdim=True), (-2, -1)).square()
    upper = (power * (frequency_radius(x.shape[1:], (-2, -1)) > 0.5)).sum() / power.sum()
    return {
        "brightness": round(float(x.mean((1, 2, 3)).std()), 3),
        "bytes a pixel": round(float(JpegSize()(x).mean()), 2),
        "upper %": round(100 * float(upper), 2),
        "kernel": round(float(distance.value), 3),
        "kernel's error": round(float(distance.error), 3),
    }


def leak(data: Path, count: int, keep: str) -> list[Line]:
    """Plain noise, a fitted law and true states, from t = LEFT on."""
    flow, everything = models.flow(), held_out(data, 400)
    reference, fitting = everything[::2][:count], everything[1::2]
    features = pooled_features(reference)
    cut = hw.Flow(
        lambda x, t: (1 - LEFT) * flow(x, LEFT + (1 - LEFT) * t), flow.shape, Cut(), modules=flow.modules
    )
    z = flow.noise(range(count))
    laws = {
        "entries": SourceLaw.of_leak(Cut(), fitting, axes=()),
        "frequencies": SourceLaw.of_leak(Cut(), fitting),
        "frequencies, also of channels": SourceLaw.of_leak(Cut(), fitting, axes=(-3, -2, -1)),
    }
    true = LEFT * fitting[:count] + (1 - LEFT) * z

    def sample(start: hw.Flow, x0: Tensor) -> Line:
        return looks(in_parts(lambda x: hw.solve(start, x, steps=6), x0), features)

    makers: dict[str, Make] = {"held-out pictures": lambda: looks(fitting[:count], features)}
    makers["plain noise, sigma z"] = lambda: sample(cut, (1 - LEFT) * z)
    makers |= {
        f"law of the leak, {k}": partial(sample, whiten_source(cut, law), z) for k, law in laws.items()
    }
    makers["true states"] = lambda: sample(cut, true)
    return lines("leak", makers, keep)


def detail(data: Path, count: int, keep: str) -> list[Line]:
    """The same seeds with more and less detail."""
    flow, features = models.flow(), pooled_features(held_out(data, 400)[::2][:64])
    z = flow.noise(range(count))

    def sample(guided: hw.Flow, x0: Tensor) -> Line:
        return looks(in_parts(lambda x: hw.solve(guided, x, method=hw.DDIM, steps=12), x0), features)

    makers: dict[str, Make] = {"plain": lambda: sample(flow, z)}
    makers |= {
        f"density, gain {g:+} nats": partial(sample, guide_density(flow, gain=g), z) for g in (-200.0, 200.0)
    }
    makers |= {
        f"density, quantile {q}": partial(sample, guide_density(flow, quantile=q), z) for q in (0.4, 0.6)
    }
    makers |= {
        f"prior, quantile {q}": partial(sample, flow, scale_to_quantile(z, q)) for q in (1e-9, 1 - 1e-9)
    }
    makers |= {f"scaled noise, {w}": partial(sample, scale_noise(flow, w), z) for w in (0.98, 1.02)}
    bands = {
        w: scale_noise(flow, lambda eps, t, w=w: ScaleBands(1.0, w)(eps), begin=0.3) for w in (0.98, 1.02)
    }
    makers |= {f"scaled high band of the noise, {w}": partial(sample, f, z) for w, f in bands.items()}
    return lines("detail", makers, keep)


class Classes:
    """Four classes of three modes in the plane, an embedding each, and the velocity of p(x | y) for any embedding."""

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(0)
        self.embedding = torch.linalg.qr(torch.randn(16, 4, generator=g, dtype=torch.float64))[0].T * 4
        angle = torch.arange(12, dtype=torch.float64) * 2 * torch.pi / 12
        order = torch.tensor([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])  # a class has modes on all sides
        self.means = 4 * torch.stack([angle.cos(), angle.sin()], 1)[order]
        self.spread, self.share = 0.35, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)

    def __call__(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        weight = torch.log_softmax(y.double() @ self.embedding.T, 1).repeat_interleave(3, 1)
        weight = weight + self.share.log().repeat(4)
        t = t.double()
        gap, m = x.double()[:, None] - t * self.means, t**2 * self.spread**2 + (1 - t) ** 2
        part = torch.softmax(weight - gap.square().sum(2) / (2 * m), 1)[..., None]
        v = self.means + (t * self.spread**2 - (1 - t)) * gap / m
        return (part * v).sum(1).to(x)

    def judge(self, x1: Tensor, label: int) -> Line:
        """What draws of a class look like."""
        distance = torch.cdist(x1.double(), self.means) / self.spread
        near, mode = distance.min(1)
        own = distance[:, 3 * label : 3 * label + 3].argmin(1)
        share = torch.bincount(own, minlength=3) / len(own)
        modes = float(torch.special.entr(share.double()).sum().exp())
        return {
            "modes": modes,
            "right %": 100 * float((mode // 3 == label).double().mean()),
            "off": float(near.mean()),
        }


def mixture(_: Path, count: int, keep: str) -> list[Line]:
    """Guidance, annealing and a first step without guidance, where the modes are known."""
    classes = Classes()

    def guided(label: int, weight: float) -> hw.Guided:
        y = classes.embedding[label : label + 1]
        return hw.Guided(classes, {"y": y}, {"y": torch.zeros_like(y)}, guidance=weight)

    def run(make: Callable[[int], hw.Flow]) -> Line:
        found = []
        for label in range(4):
            flow = make(label)
            x0 = flow.noise(range(count), dtype=torch.float64)
            found.append(classes.judge(hw.solve(flow, x0, steps=25), label))
        return {key: round(sum(float(one[key]) for one in found) / 4, 2) for key in found[0]}  # type: ignore[arg-type]

    def flow(label: int, weight: float) -> hw.Flow:
        return hw.Flow(guided(label, weight), (2,))

    def annealed(label: int, **how: Any) -> hw.Flow:
        return hw.Flow(AnnealedCondition(guided(label, 4.0), range(count), **how), (2,))

    def switched(label: int, at: float) -> hw.Flow:
        return switch_flows(flow(label, 1.0), flow(label, 4.0), at)

    makers: dict[str, Make] = {
        f"guidance {w:g}": partial(run, partial(flow, weight=w)) for w in (1.0, 2.0, 4.0)
    }
    for scale in (0.25, 1.0):
        makers[f"guidance 4, CADS, s = {scale}"] = partial(run, partial(annealed, scale=scale))
        makers[f"guidance 4, CADS, s = {scale}, one draw a path"] = partial(
            run, partial(annealed, scale=scale, fresh=False)
        )
    makers["guidance 4, CADS, s = 1.0, not rescaled"] = partial(run, partial(annealed, scale=1.0, mixing=0.0))
    for at in (0.2, 0.4):
        makers[f"guidance 1 up to t = {at:g}, then 4"] = partial(run, partial(switched, at=at))
    return lines("mixture", makers, keep)


CANDIDATES, TUNING = 12, 8
PROMPTS = ("red apple", "cat face", "sailboat", "house", "star", "tulip", "hot dog", "airplane")


def pictograms(_: Path, count: int, keep: str) -> list[Line]:
    """Diversity and fit of drawings of eight prompts."""
    seeds, steps = range(count), 10

    def model(prompt: str, weight: float) -> hw.LatentModel:
        return hw.image.latent_model(prompt, style="noto", guidance=weight)

    def run(make: Callable[[str], hw.Flow]) -> Line:
        spread, places = [], []
        for prompt in PROMPTS:
            flow, decode = make(prompt), model(prompt, 1.0).decode
            with torch.no_grad():
                x = decode(hw.solve(flow, flow.noise(seeds), method=hw.EULER, steps=steps)).clamp(-1, 1)
            f = pooled_features(x)
            spread.append(float(torch.pdist(f).mean()))
            places += rank_text(x, prompt).tolist()
        ranks = torch.tensor(places, dtype=torch.float64) + 1
        return {
            "diversity": round(sum(spread) / len(spread), 2),
            "place": float(ranks.median()),
            "first ten %": round(100 * float((ranks <= 10).double().mean())),
        }

    def plain(prompt: str, weight: float) -> hw.Flow:
        return model(prompt, weight).flow

    def annealed(prompt: str, **how: Any) -> hw.Flow:
        flow = plain(prompt, 3.0)
        return replace(flow, velocity=AnnealedCondition(flow.velocity, seeds, **how))  # type: ignore[arg-type]

    def bands(prompt: str) -> hw.Flow:
        flow = plain(prompt, 3.0)
        v: Any = flow.velocity
        combine = BandGuidance(ScaleBands(1.0, 1.25, energy=0.7))
        return replace(
            flow, velocity=hw.Guided(v.network, v.condition, v.null, guidance=3.0, combine=combine)
        )

    def switched(prompt: str) -> hw.Flow:
        return switch_flows(plain(prompt, 1.0), plain(prompt, 3.0), 0.2)

    makers: dict[str, Make] = {f"guidance {w:g}": partial(run, partial(plain, weight=w)) for w in (1.0, 3.0)}
    makers["guidance 3, CADS, s = 0.05"] = partial(run, partial(annealed, scale=0.05))
    makers["guidance 3, CADS, s = 0.05, one draw a path"] = partial(
        run, partial(annealed, scale=0.05, fresh=False)
    )
    makers["guidance 1 for two of ten steps, then 3"] = partial(run, switched)
    makers["guidance 3, high band of it times 1.25"] = partial(run, bands)
    return lines("pictograms", makers, keep)


def seeds(data: Path, count: int, keep: str) -> list[Line]:
    """The best of CANDIDATES seeds on TUNING pictures, on others."""
    flow, everything = models.flow(), held_out(data, count + TUNING)
    test, tuning = everything[:count], everything[count:]
    operator = SuperResolution(2)
    alone = hw.Estimate(times=4, fresh=0.0)
    cases: dict[str, tuple[hw.Estimate, Any]] = {
        "source alone, by mean square": (alone, mean_square),
        "source alone, by perceptual distance": (alone, perceptual_distance),
    }
    makers = {
        name: partial(one_choice, flow, recipe, operator, tuning, test, distance)
        for name, (recipe, distance) in cases.items()
    }
    return lines("seeds", makers, keep)


def one_choice(
    flow: hw.Flow, recipe: hw.Estimate, operator: Any, tuning: Tensor, test: Tensor, distance: Any
) -> Line:
    """What the choice of a seed by a distance is worth on other pictures."""
    trial, misfit = measure(operator, 0.05, tuning), measure(operator, 0.05, test)
    choice = find_shared_seed(
        recipe, flow, trial, tuning, range(CANDIDATES), guess=operator.pinv(trial.y), distance=distance
    )

    def restore(seed: int) -> Tensor:
        return recipe(flow, misfit, [seed] * len(test), guess=operator.pinv(misfit.y)).x1

    def score(x: Tensor) -> tuple[float, float]:
        with torch.no_grad():
            return float(psnr(x.clamp(-1, 1), test).mean()), float(
                perceptual_distance(x.clamp(-1, 1), test).mean()
            )

    others = [restore(seed) for seed in range(1000, 1006)]
    found = {
        "the best": score(restore(choice.seed)),
        "the mean of four": score(torch.stack(others[:4]).mean(0)),
    }
    each = torch.tensor([score(x) for x in others], dtype=torch.float64)
    line: Line = {"shared": round(choice.shared, 3)}
    line |= {f"{k}: PSNR": round(v[0], 2) for k, v in found.items()}
    line["6 other seeds: PSNR"] = f"{each[:, 0].mean():.2f} +- {each[:, 0].std():.2f}"
    line |= {f"{k}: perceptual": round(v[1], 3) for k, v in found.items()}
    line["6 other seeds: perceptual"] = f"{each[:, 1].mean():.3f} +- {each[:, 1].std():.3f}"
    return line


def main() -> None:
    """Work out every line, or read it from --keep, and write a table for each task."""
    o = options(
        __doc__.splitlines()[0],
        "data",
        leak=24,
        detail=12,
        mixture=400,
        pictograms=8,
        seeds=12,
        keep="",
        tasks="mixture,pictograms,seeds,leak,detail",
    )
    tasks = {"leak": leak, "detail": detail, "mixture": mixture, "pictograms": pictograms, "seeds": seeds}
    rows: list[Line] = []
    for name in o.tasks.split(","):
        rows += tasks[name](o.data, getattr(o, name), o.keep)
    write(
        o.results / "source_laws",
        rows,
        "python benchmarks/source_laws.py --data val.zip --threads 1",
        f"{o.leak} samples of a leak, {o.detail} of detail, {o.mixture} of each class of the mixture, "
        f"{o.pictograms} of each of {len(PROMPTS)} prompts, {CANDIDATES} seeds on {TUNING} tuning and {o.seeds} test "
        "pictures. What each column means is at the head of the script.",
    )


if __name__ == "__main__":
    main()
