"""The list of methods, ours and those of other papers, by the names of the command line."""

from __future__ import annotations

from typing import Any

from headwater.errors import Misuse, suggest
from headwater.recipes.average import Average
from headwater.recipes.estimate import Estimate
from headwater.recipes.map import MAP
from headwater.recipes.one_evaluation import OneEvaluation
from headwater.recipes.paper import Paper
from headwater.recipes.rivals.diffpir import DiffPIR
from headwater.recipes.rivals.dno import DNO
from headwater.recipes.rivals.dps import DPS
from headwater.recipes.rivals.flow_chef import FlowChef
from headwater.recipes.rivals.flow_dps import FlowDPS
from headwater.recipes.rivals.flow_priors import FlowPriors
from headwater.recipes.rivals.flower import Flower
from headwater.recipes.rivals.lanpaint import LanPaint
from headwater.recipes.rivals.oc_flow import OCFlow
from headwater.recipes.rivals.ot_ode import OTODE
from headwater.recipes.rivals.pigdm import PiGDM
from headwater.recipes.rivals.pnp_flow import PnPFlow
from headwater.recipes.rivals.red_diff import REDDiff
from headwater.recipes.rivals.reno import ReNO
from headwater.recipes.warm_start import WarmStart

OURS: tuple[Any, ...] = (OneEvaluation, Estimate, Average, WarmStart, MAP, Paper)
RIVALS: tuple[Any, ...] = (
    DPS,
    PiGDM,
    OTODE,
    REDDiff,
    FlowPriors,
    PnPFlow,
    Flower,
    FlowChef,
    FlowDPS,
    OCFlow,
    DNO,
    ReNO,
    LanPaint,
    DiffPIR,
)
METHODS: dict[str, Any] = {method.about.name: method for method in (*OURS, *RIVALS)}
"""The class of every method; calling it gives the recipe with the method's own settings."""


def find_method(name: str) -> Any:
    """The recipe of a method with its own settings.

    Raises
    ------
    Misuse
        If there is no such method; the nearest name is suggested.

    Examples
    --------
    >>> find_method("dps").steps
    1000
    >>> find_method("dpss")
    Traceback (most recent call last):
    headwater.errors.Misuse: There is no method 'dpss'. Did you mean 'dps'?
    """
    if name not in METHODS:
        raise Misuse(f"There is no method {name!r}.", suggest(name, METHODS))
    return METHODS[name]()
