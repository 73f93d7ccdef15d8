"""The shipped networks of the molecule domain, by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from headwater import zoo
from headwater.errors import Misuse
from headwater.molecule.model.generator import Generator
from headwater.molecule.model.network import TrunkConfig
from headwater.molecule.model.regressor import Regressor, RegressorConfig
from headwater.text import with_article

GENERATOR, GUIDE, EVALUATOR = "qm9-generator", "qm9-guide", "qm9-evaluator"


@lru_cache(maxsize=2)
def load_generator(name: str = GENERATOR, device: str = "cpu") -> Generator:
    """The network of a generator, in evaluation mode, float32."""
    net = Generator(TrunkConfig(**_card(name, "molecule generator")["architecture"]))
    _fill(net, name)
    return net.to(device)


@lru_cache(maxsize=4)
def load_regressor(name: str = GUIDE, device: str = "cpu") -> Regressor:
    """The network of a property regressor, in evaluation mode, float32."""
    a = _card(name, "molecule regressor")["architecture"]
    reference = {k: tuple(v) for k, v in a["reference"].items()}
    net = Regressor(RegressorConfig(TrunkConfig(**a["trunk"]), reference, a["scale"]))
    _fill(net, name)
    return net.to(device)


@dataclass(frozen=True)
class Networks:
    """The networks of a design; replaceable for a user's own.

    Attributes
    ----------
    generator
        A velocity of molecules: network(x `[b, n, 9]`, t `[b]`, mask `[b, n]`), like x.
    guide
        The regressor that the search sees.
    evaluator
        The regressor that judges what was found, and never guides.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> networks = hw.molecule.Networks.load()
    >>> mask = torch.arange(29) < torch.tensor([[5]])  # one molecule of five atoms
    >>> networks.generator(torch.zeros(1, 29, 9), torch.zeros(1), mask).shape
    torch.Size([1, 29, 9])
    """

    generator: nn.Module
    guide: Regressor
    evaluator: Regressor

    @classmethod
    def load(cls, device: str = "cpu") -> Networks:
        """Those that come with Headwater, on a device; molecules themselves stay on the CPU."""
        guide, evaluator = (load_regressor(name, device) for name in (GUIDE, EVALUATOR))
        return cls(load_generator(GENERATOR, device), guide, evaluator)


def load_test_errors(name: str = EVALUATOR) -> dict[str, float]:
    """The mean absolute errors of a regressor on QM9's test part, canonical units.

    >>> 0.02 < load_test_errors()["gap"] < 0.2   # eV
    True
    """
    stored = _card(name, "molecule regressor")["test_mae"]
    return {k: v / 1000 if k in ("gap", "homo", "lumo") else v for k, v in stored.items()}


def find_device(network: nn.Module, otherwise: torch.device) -> torch.device:
    """Where the weights of a network are; `otherwise` for one without weights."""
    weight = next(network.parameters(), None)
    return otherwise if weight is None else weight.device


def _card(name: str, kind: str) -> dict[str, Any]:
    card = zoo.read_card(name)
    if card["kind"] != kind:
        raise Misuse(
            f"The model {name!r} is not {with_article(kind)}.",
            f"Give one of {', '.join(zoo.list_models(kind))}.",
        )
    return card


def _fill(net: nn.Module, name: str) -> None:
    net.load_state_dict({k: v.float() for k, v in zoo.load_weights(name).items()})
    net.eval().requires_grad_(False)
