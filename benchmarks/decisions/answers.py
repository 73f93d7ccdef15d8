"""Which estimate should a restored picture be: what the assumed error of the denoiser and the times bring.

    python benchmarks/decisions/answers.py --data val.zip --photographs photos.zip

PSNR / perceptual distance of the mean of `count` estimates of `times` evaluations, on pictures that no table uses:
with white errors, and with the power law of pictures (`image.PowerLaw`), in several settings.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import _path  # noqa: F401
from common import kept, options, write
from comparison import score
from headwater import Average, Estimate
from headwater.image.power_law import PowerLaw
from picture_sets import load_set, pose

LAW = Average(Estimate(times=8, last=0.99, covariance=PowerLaw()), 4)
VARIANTS = {
    "white, 32 times, 4": Average(),
    "white, 32 times, 4, last 0.99": Average(Estimate(last=0.99)),
    "white, 8 times, 4": Average(Estimate(times=8, last=0.99), 4),
    "law, 8 times, 4": LAW,
    "law, 16 times, 4 (faithful)": replace(LAW, estimate=replace(LAW.estimate, times=16)),
    "law, 8 times, 4, last 0.97": replace(LAW, estimate=replace(LAW.estimate, last=0.97)),
    "law, 8 times, 4, spread 1.4": replace(
        LAW, estimate=replace(LAW.estimate, covariance=PowerLaw(spread=1.4))
    ),
    "law, 8 times, 4, deviation 0.5": replace(
        LAW, estimate=replace(LAW.estimate, covariance=PowerLaw(deviation=0.5))
    ),
    "law, 8 times, 4, correlation 0.8": replace(
        LAW, estimate=replace(LAW.estimate, covariance=PowerLaw(correlation=0.8))
    ),
    "law, 16 times, 1 (plausible)": Average(replace(LAW.estimate, times=16), 1),
    "law, 16 times, 1, fresh 0.5": Average(replace(LAW.estimate, times=16, fresh=0.5), 1),
}


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=12, photographs="photos.zip", model="photo64", keep="")
    rows: list[dict[str, object]] = []
    for name in ("pictures", "crops"):
        pictures = load_set(
            name, o.count, tuning=True, data=o.data, photographs=Path(o.photographs), model=o.model
        )
        for words, recipe in VARIANTS.items():

            def judge(r: Average = recipe) -> dict[str, object]:
                line: dict[str, object] = {}
                for task in ("deblur", "upscale", "box", "random"):
                    posed, problem = pose(pictures, task)  # noqa: B023 (called at once)
                    result = problem.solve(range(o.count), recipe=r)
                    found = score(posed.finish(result.x1, problem), pictures)  # noqa: B023
                    line[task] = f"{found['psnr']:.2f} / {found['perceptual']:.3f}"
                return line

            calls = recipe.count * recipe.estimate.times
            rows.append(
                {"set": name, "estimates": words, "calls": calls}
                | kept(o.keep, f"{name} {words} {o.count}", judge)
            )
    command = "python benchmarks/decisions/answers.py --data val.zip --photographs photos.zip"
    write(
        o.results / "answers",
        rows,
        command,
        f"{o.count} pictures a set, {o.model}; PSNR in dB / perceptual distance.",
    )


if __name__ == "__main__":
    main()
