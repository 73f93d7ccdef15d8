"""Rewards on the command line: "WEIGHT * WORDS", or "START..END * WORDS" with a weight that moves meanwhile."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headwater.cli.shared import python_file
from headwater.errors import Misuse
from headwater.problem.rewards import Ramp, Reward, RewardSum, Weight

WEIGHT = re.compile(r"\s*([^*:]+)\*(.*)", re.DOTALL)
FILE = re.compile(r"\.py(:\w+)?$")


def split_weight(text: str) -> tuple[Weight, str]:
    """The weight and the rest of "WEIGHT * REWARD"; 1 where there is no weight, a `Ramp` for "START..END".

    Raises
    ------
    Misuse
        If what stands before the * is no number.

    Examples
    --------
    >>> split_weight("2 * class: volcano"), split_weight("-0.5*sharpness"), split_weight("symmetry")
    ((2.0, 'class: volcano'), (-0.5, 'sharpness'), (1.0, 'symmetry'))
    >>> split_weight("0..2 * symmetry")[0]
    Ramp(start=0.0, end=2.0, begin=0.0, finish=1.0)
    """
    found = WEIGHT.fullmatch(text)
    if found is None:
        return 1.0, text.strip()
    start, dots, end = found[1].strip().partition("..")
    try:
        return Ramp(float(start), float(end)) if dots else float(start), found[2].strip()
    except ValueError:  # a Misuse is one, too: the shares are right, so only the numbers can be wrong
        raise Misuse(
            f"The weight {found[1].strip()!r} of a reward is no number.",
            'Write it as in "2 * class: volcano", or "0..2 * class: volcano" for one that rises meanwhile.',
        ) from None


def read_rewards(texts: Sequence[str], load: Callable[[str], Reward]) -> RewardSum:
    """The weighted sum of rewards, each of whose words `load` understands.

    Raises
    ------
    Misuse
        One of them is no reward, or a weight is no finite number.
    """
    pairs = [split_weight(text) for text in texts]
    terms = tuple((weight, load(words)) for weight, words in pairs)
    return RewardSum(terms, number_repeated([words for _, words in pairs]))


def load_function(words: str, argument: str, what: str, cure: str) -> Any:
    """The function of "my_reward.py" (its function `reward`) or of "my_reward.py:name"; None of other words.

    Its failures are told as a `Misuse` that names `what` it failed on.
    """
    if not FILE.search(words):
        return None
    file, name = python_file.split_name(words, "reward")
    function = python_file.function_in(file, name, f"{name}({argument})")
    return python_file.explain_failures(function, words, what, cure, kind="reward")


def number_repeated(names: Sequence[str]) -> tuple[str, ...]:
    """The names, of which those that come again get a number, so that a report keeps them apart.

    >>> number_repeated(["symmetry", "sharpness", "symmetry"])
    ('symmetry', 'sharpness', 'symmetry (2)')
    """
    seen: dict[str, int] = {}
    numbered = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        numbered.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(numbered)


def round_each(value: Any, i: int) -> Any:
    """The number of problem i of a tensor `[batch]`, or of each tensor of a mapping, for a report.

    >>> import torch
    >>> round_each({"a": torch.tensor([1.0, 2.0])}, 1)
    {'a': 2.0}
    """
    if isinstance(value, Mapping):
        return {key: round_each(entry, i) for key, entry in value.items()}
    return round(float(value[i]), 4)
