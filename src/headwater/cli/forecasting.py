"""`headwater forecast`: memory and seconds of a restoration before it runs."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from headwater.cli.image.options import Common
from headwater.cli.image.prior import load_model, on_canvas
from headwater.cli.shared.machine import device_named, use_idle_cores
from headwater.cli.shared.terminal import say
from headwater.dflow.forecast import forecast
from headwater.errors import Misuse
from headwater.flows.latent import LatentModel
from headwater.image.io.files import read_image
from headwater.image.latent import canvas_of, latents_on_canvas
from headwater.problem.compose import compose
from headwater.solvers.differentiation import Checkpoint, Direct
from headwater.solvers.memory import available_memory

STRATEGIES: dict[str, Direct | Checkpoint] = {"direct": Direct(), "checkpoint": Checkpoint()}


def show(
    photo: Path | None,
    size: tuple[int, int] | None,
    samples: int,
    steps: int,
    strategy: str | None,
    common: Common,
) -> int:
    """Print one line per strategy; an image smaller than the model's window counts as the window."""
    if photo is not None and size is not None:
        raise Misuse("Both a photo and --size say how large the image is.", "Give one of them.")
    if photo is not None:
        x, _ = read_image(photo, span=common.range)
        size = (x.shape[-2], x.shape[-1])
    use_idle_cores()
    device = device_named(common.device)
    model = load_model(common, device)
    height, width = (
        model.shape[1:] if size is None else (max(n, m) for n, m in zip(size, model.shape[1:], strict=True))
    )
    if isinstance(model, LatentModel):
        (height, width), cost = canvas_of((height, width), model), compose(_some_cost, model.decode)
        flow = latents_on_canvas(model, (height, width))
    else:
        flow, cost = on_canvas(model, (height, width), samples=samples), _some_cost
    say(
        f"{samples} x {height} x {width}, {steps} midpoint steps, {device}; "
        f"{available_memory(device) / 1e9:.1f} GB free"
    )
    for name in [strategy] if strategy else STRATEGIES:
        need = forecast(flow, cost, samples, steps=steps, gradient=STRATEGIES[name])
        say(f"{name:10s}  {need.bytes / 1e6:8.0f} MB  {need.seconds_per_gradient:8.2f} s per gradient")
    return 0


def _some_cost(x1: Tensor) -> Tensor:
    """A cost as cheap as a misfit; beside the network none matters."""
    return x1.square().sum((1, 2, 3))
