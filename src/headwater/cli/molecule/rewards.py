"""The rewards that `headwater molecule ... --reward` asks for: properties, or a function in a Python file."""

from __future__ import annotations

import math
from collections.abc import Sequence

from headwater.cli.molecule.cost import FileCost, try_cost
from headwater.cli.shared.python_file import function_in, split_name
from headwater.cli.shared.rewards import FILE, number_repeated, split_weight
from headwater.errors import Misuse, suggest
from headwater.molecule.model.regressor import PROPERTIES
from headwater.molecule.structure.units import SCORES
from headwater.molecule.targets.cost import UserFunction
from headwater.molecule.targets.scores import ScoreCost


def read_rewards(
    texts: Sequence[str], *, gradients: bool = True
) -> dict[str, tuple[float, UserFunction | str]]:
    """Weight and reward by name, of texts such as "2 * mu" or "my_reward.py".

    Raises
    ------
    Misuse
        One of them is no reward, the function of a file is not fit for use, or a weight is a schedule.
    """
    found: list[tuple[float, UserFunction | str]] = []
    pairs = [split_weight(text) for text in texts]
    for weight, words in pairs:
        if callable(weight):
            raise Misuse(
                "A search of molecules, with several draws, follows no schedule of weights.",
                f"Give one number, as in '2 * {words}'.",
            )
        found.append((weight, load_reward(words, gradients=gradients)))
    return dict(zip(number_repeated([words for _, words in pairs]), found, strict=True))


def load_reward(words: str, *, gradients: bool = True) -> UserFunction | str:
    """The name of a property, or the function of "my_reward.py" (`reward`) or of "my_reward.py:name"."""
    if FILE.search(words):
        file, name = split_name(words, "reward")
        function: UserFunction = function_in(file, name, f"{name}(positions, types, mask)")
        tried = try_cost(function, file, gradients=gradients, kind="reward")
        return FileCost(function, gradients, tried, kind="reward")
    if words in SCORES:
        raise Misuse(
            f"No gradient leads to RDKit's {words}, so it is no reward.",
            f"Ask for a value or a range, with --{words}, or for more of it, with --score {words}.",
        )
    if words not in PROPERTIES:
        raise Misuse(f"There is no reward of molecules named {words!r}.", suggest(words, PROPERTIES))
    return words


def read_scores(texts: Sequence[str]) -> ScoreCost:
    """The cost of texts such as "qed", "-1 * sa" or "2 * smarts: [OX2H]": minus their weighted sum.

    Raises
    ------
    Misuse
        One of them is no score, or a weight is a schedule, zero or not finite.
    """
    pairs = [split_weight(text) for text in texts]
    for weight, words in pairs:
        if callable(weight) or not math.isfinite(weight) or not weight:
            raise Misuse(
                f"The weight of the score {words!r} is no number above or below zero.",
                f"Write it as in '2 * {words}'.",
            )
    for _, words in pairs:
        if FILE.search(words):
            raise Misuse(
                f"{words} is a file, and no score of molecules.",
                f"Ask for it by 'molecule target --reward {words} --method search', which takes no gradient.",
            )
    return ScoreCost(
        tuple((float(weight), name_score(words)) for weight, words in pairs if not callable(weight))
    )


def name_score(words: str) -> str:
    """The name of a score with one space after the colon of xTB's.

    >>> name_score("xtb:gap"), name_score("qed")
    ('xtb: gap', 'qed')
    """
    kind, _, rest = words.partition(":")
    return f"xtb: {rest.strip()}" if kind.strip() == "xtb" else words
