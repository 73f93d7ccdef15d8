"""The order of a network's arguments by their names: no number tells v(x, t) from v(t, x) if both run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from headwater.errors import Misuse

STATES = {
    "x",
    "xt",
    "x_t",
    "x_hat",
    "z",
    "sample",
    "input",
    "inputs",
    "img",
    "image",
    "state",
    "noisy",
    "x_noisy",
}
TIMES = {
    "t",
    "ts",
    "tau",
    "time",
    "times",
    "timestep",
    "timesteps",
    "time_step",
    "sigma",
    "sigmas",
    "noise_level",
    "noise_levels",
    "noise_labels",
    "c_noise",
}
"""The names of the noise level among them: it is the time of a variance-exploding model."""


def find_order(network: Callable[..., Any]) -> str | None:
    """`"xt"` or `"tx"`, by the names of the first two arguments of a network; None if they do not tell.

    Parameters
    ----------
    network
        A module, whose `forward` is looked at, or any other callable.

    Examples
    --------
    >>> find_order(lambda t, x: x), find_order(lambda x, sigma, class_labels=None: x), find_order(lambda a, b: a)
    ('tx', 'xt', None)
    """
    names = positional_names(network)[:2]
    times = [name in TIMES for name in names]
    if len(names) < 2 or times[0] == times[1]:
        return None
    return "tx" if times[0] else "xt"


def positional_names(network: Callable[..., Any]) -> list[str]:
    """The names of the positional arguments of a callable, in lower case; none if it does not say.

    Examples
    --------
    >>> positional_names(lambda X, sigma, *, labels=None: X), positional_names(lambda *args: args)
    (['x', 'sigma'], [])
    """
    try:
        parameters = inspect.signature(
            network.forward if isinstance(network, nn.Module) else network
        ).parameters
    except (TypeError, ValueError):  # builtins do not say
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name.lower() for name, one in parameters.items() if one.kind in positional]


def require_state_first(network: Callable[..., Any], call: str) -> None:
    """Refuse a network whose arguments are those of `call`, such as "D(x, sigma)", in the other order.

    Raises
    ------
    Misuse
        If its first argument has the name of a time or a noise level.
    """
    if find_order(network) == "tx":
        first, second = positional_names(network)[:2]
        raise Misuse(
            f"The network takes ({first}, {second}), and {call} takes x first.",
            "Wrap it in a module whose forward swaps the two.",
        )
