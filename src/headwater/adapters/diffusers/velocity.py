"""The velocity of a network of diffusers: its input, timestep, precision, and what it predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headwater.adapters.diffusers.line import Line
from headwater.adapters.diffusers.schedule import Schedule
from headwater.flows.prediction import Velocity
from headwater.problem.batch import per_problem, select

EDGE = 1e-3
"""The distance that a network which predicts the data keeps from t = 1, where v would be divided by sigma = 0."""


def first(out: Any) -> Tensor:
    """The first of what a network returns, a tensor."""
    tensor: Tensor = out[0]
    return tensor


NetworkCall = Callable[..., Tensor]
"""call(network, x, timestep, **condition) -> the network's output, in the layout of x."""


@dataclass(frozen=True)
class CalledNetwork:
    """A network with the arguments of its family: x `[batch, *event]`, one timestep for all or `[batch]`.

    x is cast to the network's dtype, and its output back to that of x; the timestep stays in float32. Of an output
    with twice the channels of x the second half, a variance, is left out.
    """

    network: Any
    call: NetworkCall

    def __call__(self, x: Tensor, timestep: Tensor, **condition: Any) -> Tensor:
        t = timestep.to(device=x.device, dtype=torch.float32).expand(len(x))
        dtype = self.network.dtype
        given = {
            name: value.to(x.device, dtype if value.is_floating_point() else None)
            for name, value in condition.items()
        }
        out = self.call(self.network, x.to(dtype), t, **given).to(x.dtype)
        return out[:, : x.shape[1]] if out.shape[1] == 2 * x.shape[1] else out


@dataclass(frozen=True)
class NetworkVelocity:
    """v(x, t) = A x + B out with out = output(c x, timestep), x `[batch, *event]`, t `[]` or `[batch]`.

    Parameters
    ----------
    output
        The network, or its guidance, of (scaled state, timestep).
    schedule
        The path and the timesteps.
    prediction
        What the output is, a name of `AFFINE`.
    """

    output: Velocity
    schedule: Schedule
    prediction: str

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        if self.prediction == "sample":  # the sampler's own last time, if it is later, divides by enough
            t = t.clamp(max=max(1 - EDGE, self.schedule.times[-2]))
        t = self.schedule.snap(t)
        scale, of_state, of_output = AFFINE[self.prediction](self.schedule.path, t)
        out = self.output(per_problem(scale, x) * x, self.schedule.timestep(t))
        return per_problem(of_state, x) * x + per_problem(of_output, x) * out

    def select(self, index: Tensor) -> NetworkVelocity:
        """The velocity of the problems in `index`, int64 `[k]`."""
        return replace(self, output=select(self.output, index))


def of_flow(path: Line, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """c, A and B for out = eps - xhat, on the straight path at the same ratio of noise and data."""
    a, b, da, db = path.alpha(t), path.sigma(t), path.dalpha(t), path.dsigma(t)
    c = 1 / (
        a + b
    )  # c x = (1 - s) xhat + s eps with s = c b, so xhat = c x - s out and eps = c x + (1 - s) out
    return c, c * (da + db), -c * b * da + c * a * db


def of_epsilon(path: Line, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """c, A and B for out = eps: xhat = (x - b out) / a."""
    a, b, da, db = path.alpha(t), path.sigma(t), path.dalpha(t), path.dsigma(t)
    return preserving_scale(a, b), da / a, db - da * b / a


def of_v_prediction(path: Line, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """c, A and B for out = (a eps - b xhat) c: xhat = (a c x - b out) c, and eps = (b c x + a out) c."""
    a, b, da, db = path.alpha(t), path.sigma(t), path.dalpha(t), path.dsigma(t)
    c = preserving_scale(a, b)
    return c, c * c * (da * a + db * b), c * (db * a - da * b)


def of_sample(path: Line, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """c, A and B for out = xhat: eps = (x - a out) / b."""
    a, b, da, db = path.alpha(t), path.sigma(t), path.dalpha(t), path.dsigma(t)
    return preserving_scale(a, b), db / b, da - db * a / b


def preserving_scale(alpha: Tensor, sigma: Tensor) -> Tensor:
    """c with c^2 (alpha^2 + sigma^2) = 1: networks of diffusion see a state of about unit variance."""
    return 1 / (alpha * alpha + sigma * sigma).sqrt()


AFFINE: dict[str, Callable[[Line, Tensor], tuple[Tensor, Tensor, Tensor]]] = {
    "flow": of_flow,
    "epsilon": of_epsilon,
    "v_prediction": of_v_prediction,
    "sample": of_sample,
}
"""The scale of the network's input, and v as an affine map of state and output, for everything that is predicted."""
