"""The scores that `headwater image generate --score` asks for: bytes of JPEG, a program, or any reward."""

from __future__ import annotations

import torch

from headwater.cli.shared.rewards import load_function
from headwater.cli.shared.scores import Numbers
from headwater.errors import Misuse, suggest
from headwater.image.rewards import JpegSize, ProgramScore, read_reward
from headwater.image.rewards.words import NAMES
from headwater.problem.rewards import Reward

CURE = "Write it for pictures [batch, 3, height, width] in [-1, 1], with one number for each."
PROGRAM, JPEG = "program", "jpeg"


def load_score(words: str) -> Reward:
    """The score of pictures of words: "jpeg", "jpeg: QUALITY", "program: COMMAND", a reward, or "my_score.py".

    The function of a file, `score` or "my_score.py:name", needs no gradient.

    Raises
    ------
    Misuse
        It is no score, or the file or the program is missing or fails.
    """
    name, _, argument = (part.strip() for part in words.partition(":"))
    if name == PROGRAM:  # before files: the command may end in .py
        program = ProgramScore(argument)
        program.check(torch.zeros(1, 3, 64, 64))
        return program
    function = load_function(words, "x", "pictures", CURE, name="score")
    if function is not None:
        return Numbers(function, words, CURE)
    if name not in (JPEG, *NAMES):
        raise Misuse(f"There is no score named {name!r}.", suggest(name, (JPEG, PROGRAM, *NAMES)))
    if name != JPEG:
        return read_reward(words)
    if argument and not argument.isdecimal():
        raise Misuse(f"The quality {argument!r} of a JPEG is no whole number.", "Write it as in jpeg: 75.")
    return JpegSize(int(argument)) if argument else JpegSize()
