"""The list of methods, ours and those of other papers, by the names of the command line."""

from __future__ import annotations

from typing import Any

from headwater.errors import Misuse, suggest
from headwater.recipes.average import Average
from headwater.recipes.estimate import Estimate
from headwater.recipes.map import MAP
from headwater.recipes.map_from_noise import MAPFromNoise
from headwater.recipes.one_evaluation import OneEvaluation
from headwater.recipes.paper import Paper
from headwater.recipes.rivals.cow import CyclicOneWay
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
from headwater.recipes.rivals.steered import SteeredDiffusion
from headwater.recipes.warm_start import WarmStart

OURS: tuple[Any, ...] = (OneEvaluation, Estimate, Average, WarmStart, MAP, MAPFromNoise, Paper)
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
    CyclicOneWay,
    SteeredDiffusion,
)
METHODS: dict[str, Any] = {method.about.name: method for method in (*OURS, *RIVALS)}
"""The class of every method; calling it gives the recipe with the method's own settings."""


def find_method(name: str) -> Any:
    """The recipe of a method with its own settings.

    Parameters
    ----------
    name
        One of the list of methods, see `headwater methods`.

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


def require_fit(name: str, operator: object, *, denoising: bool) -> None:
    """Refuse a method that cannot be asked about this measurement; "default" fits all.

    Parameters
    ----------
    name
        The method.
    operator
        A, with an `adjoint` if it is linear and `known_pixels` if it is a mask.
    denoising
        Whether y is the sample itself with white noise.

    Raises
    ------
    Misuse
        If there is no such method, or it takes other measurements only.

    Examples
    --------
    >>> require_fit("one-evaluation", object(), denoising=False)
    Traceback (most recent call last):
    headwater.errors.Misuse: The method 'one-evaluation' takes the sample with white noise only. Give another \
--method; 'headwater methods' says what each takes.
    """
    if name == "default":
        return
    takes = type(find_method(name)).about.takes
    fits = {
        "any operator": True,
        "linear operator": hasattr(operator, "adjoint"),
        "mask": hasattr(operator, "known_pixels"),
        "the sample with white noise": denoising,
    }
    if not fits[takes]:
        words = takes if takes.startswith("the") else f"a {takes}"
        raise Misuse(
            f"The method {name!r} takes {words} only.",
            "Give another --method; 'headwater methods' says what each takes.",
        )
