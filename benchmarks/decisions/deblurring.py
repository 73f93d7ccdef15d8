"""Which error of the denoiser should an estimate of a blurred picture assume: white, or the power law of pictures?

    python benchmarks/decisions/deblurring.py --data val.zip --photographs photos.zip

PSNR / perceptual distance of the mean of four estimates of 16 evaluations, on pictures that no table uses, blurred
with a Gaussian of 1 pixel, noise 0.05; seconds a picture of the same run.
"""

from __future__ import annotations

import time
from pathlib import Path

import _path  # noqa: F401
from common import options, write
from comparison import score
from headwater import Average, Estimate, White
from headwater.image.power_law import PowerLaw
from picture_sets import load_set, pose

ERRORS = {
    "white, spread 1": White(),
    "white, spread 1.12 (the default)": White(1.12),
    "white, spread 1.4": White(1.4),
    "power law": PowerLaw(),
    "power law, spread 1.4": PowerLaw(spread=1.4),
}


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=8, photographs="photos.zip", model="photo64")
    rows: list[dict[str, object]] = []
    sets = {"pictures": o.count, "crops": o.count, "digits": 3 * o.count}
    loaded = {
        name: load_set(name, n, tuning=True, data=o.data, photographs=Path(o.photographs), model=o.model)
        for name, n in sets.items()
    }
    for words, covariance in ERRORS.items():
        row: dict[str, object] = {"errors": words}
        recipe, spent = Average(Estimate(times=16, last=0.99, covariance=covariance), 4), 0.0
        for name, pictures in loaded.items():
            posed, problem = pose(pictures, "deblur")
            start = time.perf_counter()
            result = problem.solve(range(sets[name]), recipe=recipe)
            spent += time.perf_counter() - start
            found = score(posed.finish(result.x1, problem), pictures)
            row[name] = f"{found['psnr']:.2f} / {found['perceptual']:.3f}"
        rows.append(row | {"seconds": round(spent / sum(sets.values()), 2)})
        print(rows[-1], flush=True)
    command = "python benchmarks/decisions/deblurring.py --data val.zip --photographs photos.zip"
    write(o.results / "deblurring", rows, command, f"{sets} pictures; {o.model}; 64 evaluations each.")


if __name__ == "__main__":
    main()
