"""The rewards that `headwater image generate --reward` asks for: words, or a function in a Python file."""

from __future__ import annotations

from headwater.cli.shared.rewards import load_function
from headwater.image.rewards import read_reward
from headwater.problem.rewards import Reward

CURE = "Write it for pictures [batch, 3, height, width] in [-1, 1], of torch operations, one number each."


def load_reward(words: str) -> Reward:
    """The reward of pictures of words, of "my_reward.py" (its function `reward`) or of "my_reward.py:name".

    Raises
    ------
    Misuse
        It is no reward, or the file is missing or fails.
    """
    found: Reward | None = load_function(words, "x", "pictures", CURE)
    return read_reward(words) if found is None else found
