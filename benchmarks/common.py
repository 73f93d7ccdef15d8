"""What the image benchmarks share: held-out pictures, the five tasks, scores, and where results go."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from headwater import Misfit
from headwater.image.metrics.fidelity import psnr, ssim
from headwater.image.metrics.perceptual import perceptual_distance
from headwater.image.model.train import load_images
from headwater.image.operators import (
    Blur,
    Denoise,
    Inpaint,
    LinearOperator,
    SuperResolution,
    box_mask,
    gaussian_kernel,
    random_mask,
)

RESULTS = Path(__file__).parent / "results"


DATA = {
    "data": "zip of held-out CLASS/FILE images, 64 x 64",
    "qm9": "folder of the parsed QM9",
    "music": "folder of the rendered recordings",
    "recordings": "folder of the real recordings",
}


def options(description: str, data: str = "data", **defaults: int | str) -> argparse.Namespace:
    """The common command line: the path of the `DATA`, --threads, and integers or words with their defaults."""
    p = argparse.ArgumentParser(description=description)
    p.add_argument(f"--{data}", type=Path, required=True, help=DATA[data])
    p.add_argument("--threads", type=int, default=2)
    for name, value in defaults.items():
        p.add_argument(f"--{name}", type=type(value), default=value)
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    torch.set_flush_denormal(True)
    return o


def held_out(archive: Path, count: int) -> Tensor:
    """`count` images spread evenly over the archive's sorted names, in [-1, 1]."""
    x, _, _ = load_images([archive], None)
    return x[:: len(x) // count][:count].float() / 127.5 - 1


def tasks() -> dict[str, tuple[LinearOperator, float]]:
    """The five tasks of the comparison: operator and sigma_y in the [-1, 1] range."""
    return {
        "deblur": (Blur(gaussian_kernel(std=1.0)), 0.05),
        "box": (Inpaint(box_mask(64, 64, 20, 20)), 0.05),
        "super-resolution x2": (SuperResolution(2), 0.05),
        "random 70 %": (Inpaint(random_mask(64, 64, missing=0.7, seed=1)), 0.05),
        "denoise": (Denoise(), 0.2),
    }


def measure(operator: LinearOperator, sigma_y: float, x: Tensor) -> Misfit:
    """A measurement of each image with noise that depends on its place only."""
    y = operator(x)
    noise = [
        torch.randn(y.shape[1:], generator=torch.Generator().manual_seed(10_000 + i)) for i in range(len(y))
    ]
    y = y + sigma_y * torch.stack(noise)
    return Misfit(operator, operator(operator.adjoint(y)) if isinstance(operator, Inpaint) else y, sigma_y)


def scores(x: Tensor, reference: Tensor) -> dict[str, float]:
    """Mean PSNR (dB), SSIM and EfficientNet-Lite0 perceptual distance."""
    x = x.clamp(-1, 1)
    with torch.no_grad():
        d = torch.cat(
            [perceptual_distance(a, b) for a, b in zip(x.split(25), reference.split(25), strict=True)]
        )
    return {
        "psnr": round(psnr(x, reference).mean().item(), 2),
        "ssim": round(ssim(x, reference).mean().item(), 4),
        "perceptual": round(d.mean().item(), 4),
    }


def write(name: str, rows: list[dict[str, object]], command: str, note: str = "") -> None:
    """Write rows as JSON (with machine, date, command) and as a Markdown table."""
    about = {
        "date": date.today().isoformat(),
        "command": command,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "note": note,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    head = list(dict.fromkeys(k for row in rows for k in row))
    lines = [
        f"`{command}` on {about['processor']}, torch {about['torch']}, {about['threads']} threads, "
        f"{about['date']}. {note}",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    lines += ["| " + " | ".join(str(row.get(k, "")) for k in head) + " |" for row in rows]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines), flush=True)


def kept(file: str, key: str, work: Callable[[], dict[str, object]]) -> dict[str, object]:
    """A line of a long table: read from `file` if an earlier run left it under `key`, else worked out and left.

    The key does not know the code and the weights: begin a new file after a change of either.
    """
    path = Path(file)
    if file and path.exists():
        for line in path.read_text().splitlines():
            found = json.loads(line)
            if found["key"] == key:
                return dict(found["line"])
    line = work()
    print(key, line, flush=True)
    if file:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as f:
            f.write(json.dumps({"key": key, "line": line}) + "\n")
    return line


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    names = (
        [s.split(":")[1].strip() for s in info.read_text().splitlines() if s.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()
