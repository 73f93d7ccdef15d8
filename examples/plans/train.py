"""Train the flow of plans by flow matching, in less than five minutes on one thread.

    python -m plans.train --work build/plans --cpu-time

Minimises E |v(x_t, t) - (x1 - x0)|^2 with x_t = (1 - t) x0 + t x1 (Lipman et al., ICLR 2023), on 30,000 paths and
their mirror images, forwards and backwards. A killed run resumes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from headwater.nn.training import (
    Run,
    load_start,
    make_parser,
    prepare_device,
    train_network,
)

from .data import draw_paths
from .model import WEIGHTS, PlanNetwork


def batches_of(paths: Tensor, batch: int) -> Iterator[Mapping[str, Tensor]]:
    """Endless batches of mirrored paths, noise and stratified times, from paths `[n, 64, 2]`."""
    while True:
        x1 = paths[torch.randint(len(paths), (batch,))]
        side = 2 * torch.randint(2, (batch, 1, 1)) - 1
        x1 = torch.cat(
            [side * x1[..., :1], x1[..., 1:]], -1
        )  # left and right of the maze are alike
        x1 = torch.where(
            torch.rand(batch, 1, 1) < 0.5, x1, x1.flip(1)
        )  # and a path may be run backwards
        t = (torch.rand(1) + torch.randperm(batch) / batch) % 1
        yield {"x1": x1, "x0": torch.randn_like(x1), "t": t}


def matching_loss(network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """The mean squared error of the velocity on the Cond-OT path; single precision is faster here than half."""
    x0, x1, t = batch["x0"], batch["x1"], batch["t"]
    s = t[:, None, None]
    with torch.autocast(x1.device.type, enabled=False):
        error: Tensor = network((1 - s) * x0 + s * x1, t) - (x1 - x0)
    return error.square().mean()


@torch.no_grad()
def held_out_loss(network: nn.Module, paths: Tensor) -> dict[str, float]:
    """The loss on paths that were not trained on, with the same noise at every call."""
    generator, n = torch.Generator().manual_seed(0), len(paths)
    x0 = torch.randn(paths.shape, generator=generator)
    t = (torch.arange(n) + 0.5) / n
    return {
        "held_out": round(
            float(matching_loss(network, {"x1": paths, "x0": x0, "t": t})), 5
        )
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or resume a training, and write the averaged weights in half precision."""
    p = make_parser(__doc__, minutes=4.3, batch=128, lr=2e-3, decay=0.6, every=30)
    p.add_argument("--paths", type=int, default=30_000, help="paths to draw")
    p.add_argument("--out", default=WEIGHTS, help="file of the weights")
    o = p.parse_args(arguments)
    prepare_device(o)
    began = time.process_time()
    paths, held_out = draw_paths(o.paths, seed=0), draw_paths(256, seed=1)
    print(f"{o.paths} paths drawn in {time.process_time() - began:.0f} s", flush=True)
    torch.manual_seed(0)
    run = Run(PlanNetwork, {}, torch.device("cpu"))
    load_start(run, o, lambda name: PlanNetwork())
    torch.manual_seed(run.step)
    train_network(
        run,
        batches_of(paths, o.batch),
        matching_loss,
        lambda net: held_out_loss(net, held_out),
        o,
    )
    weights = {
        name: value.half().contiguous() for name, value in run.ema.state_dict().items()
    }
    save_file(weights, o.out, metadata={"log": json.dumps(run.log)})


if __name__ == "__main__":
    main()
