"""Train the flow of fields by flow matching, in less than five minutes on one thread.

    python -m fields.train --work build/fields --cpu-time

Minimises E |v(x_t, t) - (x1 - x0)|^2 with x_t = (1 - t) x0 + t x1 (Lipman et al., ICLR 2023). 3,000 fields are
simulated first, and each is seen in its eight symmetries. A killed run resumes.
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

from .data import simulate, turn
from .model import WEIGHTS, FieldNetwork


def batches_of(fields: Tensor, batch: int) -> Iterator[Mapping[str, Tensor]]:
    """Endless batches of turned fields, noise and stratified times, from fields `[n, 2, 32, 32]`."""
    while True:
        pick = fields[torch.randint(len(fields), (batch,))]
        kind = torch.randint(8, (batch,))
        x1 = torch.cat([turn(pick[kind == k], k) for k in range(8)])
        t = (torch.rand(1) + torch.randperm(batch) / batch) % 1
        yield {"x1": x1, "x0": torch.randn_like(x1), "t": t}


def matching_loss(network: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """The mean squared error of the velocity on the Cond-OT path; single precision is faster here than half."""
    x0, x1, t = batch["x0"], batch["x1"], batch["t"]
    s = t[:, None, None, None]
    with torch.autocast(x1.device.type, enabled=False):
        error: Tensor = network((1 - s) * x0 + s * x1, t) - (x1 - x0)
    return error.square().mean()


@torch.no_grad()
def held_out_loss(network: nn.Module, fields: Tensor) -> dict[str, float]:
    """The loss on fields that were not trained on, with the same noise at every call."""
    generator, n = torch.Generator().manual_seed(0), len(fields)
    x0 = torch.randn(fields.shape, generator=generator)
    t = (torch.arange(n) + 0.5) / n
    return {
        "held_out": round(
            float(matching_loss(network, {"x1": fields, "x0": x0, "t": t})), 5
        )
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or resume a training, and write the averaged weights in half precision."""
    p = make_parser(__doc__, minutes=4.3, batch=32, lr=2e-3, decay=0.6, every=30)
    p.add_argument("--fields", type=int, default=3000, help="fields to simulate")
    p.add_argument("--out", default=WEIGHTS, help="file of the weights")
    o = p.parse_args(arguments)
    prepare_device(o)
    began = time.perf_counter()
    fields, held_out = simulate(o.fields, seed=0), simulate(64, seed=1)
    print(
        f"{o.fields} fields simulated in {time.perf_counter() - began:.0f} s", flush=True
    )
    torch.manual_seed(0)
    run = Run(FieldNetwork, {}, torch.device("cpu"))
    load_start(run, o, lambda name: FieldNetwork())
    torch.manual_seed(run.step)
    train_network(
        run,
        batches_of(fields, o.batch),
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
