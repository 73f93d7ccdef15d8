"""Rewards on the command line: "WEIGHT * WORDS", or "START..END * WORDS" with a weight that moves meanwhile.

Also what the reports of pictures and sounds share.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from headwater.cli.shared import python_file
from headwater.cli.shared.job import Entry
from headwater.dflow.result import Result
from headwater.errors import Misuse
from headwater.optimizers.status import Status
from headwater.problem.rewards import FIRST_DRAW, Ramp, Reward, RewardSum, Weight, check_shape

WEIGHT = re.compile(r"\s*([^*:]+)\*(.*)", re.DOTALL)
FILE = re.compile(r"\.py(:\w+)?$")
DEFINITIONS = {
    "rewards": "each reward without its weight, at the sample of the seed without a reward and at the one written",
    "standard_deviations": "the weighted sum of the rewards, each in its mean and standard deviation among the draws",
    "radius": "|x0| / sqrt(d), 1 +- 1 / sqrt(2 d) for a draw of the source",
}


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
            f'Write it as in "2 * {found[2].strip()}", or "0..2 * {found[2].strip()}" for one that rises meanwhile.',
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


def load_function(words: str, argument: str, what: str, cure: str, *, name: str = "reward") -> Any:
    """The function of "my_reward.py" (its function `name`) or of "my_reward.py:other"; None of other words.

    Its failures are told as a `Misuse` that names `what` it failed on.
    """
    if not FILE.search(words):
        return None
    file, own = python_file.split_name(words, name)
    function = python_file.function_in(file, own, f"{own}({argument})")
    return python_file.explain_failures(function, words, what, cure, kind=name)


def try_functions(texts: Sequence[str], rewards: RewardSum, noise: Tensor, *, scored: bool = True) -> None:
    """Refuse functions of files that are not fit for use, by noise `[n, ...]` in the place of samples.

    `scored` says whether the command takes a --score, for which no gradient is needed.

    Raises
    ------
    Misuse
        One of them fails, does not return one number per sample, or has no gradient.
    """
    for text, (_, reward) in zip(texts, rewards.terms, strict=True):
        _, words = split_weight(text)
        if not FILE.search(words):
            continue
        value = check_shape(reward(noise.clone().requires_grad_()), len(noise), words)
        if not value.requires_grad:
            score = words if not words.endswith(".py") else f"{words}:reward"
            raise Misuse(
                f"The reward {words!r} does not carry a gradient.",
                "Compute it with differentiable torch operations"
                + (f", or give it as --score {score}." if scored else "."),
            )


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


def list_seeds(draws: int, seeds: Sequence[int]) -> list[int]:
    """The seeds of the draws without a reward, and those asked for: the problems of the model, in this order.

    >>> list_seeds(2, range(3, 5))
    [3000000000, 3000000001, 3, 4]
    """
    return [*range(FIRST_DRAW, FIRST_DRAW + draws), *seeds]


def describe_sample(
    result: Result, i: int, seed: int, file: Path, before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of problem i in a report; `before` and `after` hold tensors `[batch]`, or mappings of them."""
    x0 = result.x0[i]
    row: dict[str, Any] = {"seed": seed, "file": str(file), "status": result.status[i].name}
    row |= {"gradients": int(result.gradients[i]), "radius": round(float(x0.norm() / x0.numel() ** 0.5), 4)}
    pairs = {key: {"before": before[key], "after": after[key]} for key in before}
    return row | {key: round_each(pair, i) for key, pair in pairs.items()}


def list_entries(rows: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """The entries of a report for the rows of `describe_sample`."""
    broken = Status.DIVERGED
    return [Entry(f"seed {r['seed']}", r, (broken,) if r["status"] == broken.name else ()) for r in rows]


def describe_judge(name: str, draws: int, farthest: float | None) -> dict[str, Any]:
    """The judge for a report: its name, and the largest strangeness of a draw; None where there is no judge."""
    return {
        "draws": draws,
        "judge": name if farthest is None else f"{name} on {draws} draws without a reward",
        "strangeness_of_the_strangest_draw": None if farthest is None else round(farthest, 4),
    }


def name_strange(rows: Sequence[Mapping[str, Any]], farthest: float, cure: str) -> Iterable[str]:
    """A remark on samples that are stranger than any draw, if there are some."""
    strange = [str(r["seed"]) for r in rows if r["strangeness"]["after"] > 1.1 * farthest]
    if strange:
        yield f"The judge finds no draw of the model like seed {', '.join(strange[:8])}. {cure}"
