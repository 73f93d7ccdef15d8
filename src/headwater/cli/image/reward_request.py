"""The rewards that `headwater image generate --reward` asks for: words, or a function in a Python file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from headwater.cli.shared import python_file
from headwater.image.rewards import read_reward
from headwater.image.rewards.words import split_weight
from headwater.problem.rewards import Reward, RewardSum

CURE = "Write it for pictures [batch, 3, height, width] in [-1, 1], of torch operations, one number each."


def read_rewards(texts: Sequence[str]) -> RewardSum:
    """The weighted sum of rewards such as "2 * class: volcano" or "my_reward.py".

    Raises
    ------
    Misuse
        One of them is no reward, a file is missing or fails, a weight is no finite number.
    """
    pairs = [split_weight(text) for text in texts]
    terms = tuple((weight, load_reward(words)) for weight, words in pairs)
    return RewardSum(terms, number_repeated([words for _, words in pairs]))


def load_reward(words: str) -> Reward:
    """The reward of words, of "my_reward.py" (its function `reward`) or of "my_reward.py:name"."""
    if not re.search(r"\.py(:\w+)?$", words):
        return read_reward(words)
    file, name = python_file.split_name(words, "reward")
    function = python_file.function_in(file, name, f"{name}(x)")
    return python_file.explain_failures(function, words, "pictures", CURE, kind="reward")


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
