"""The words of `headwater image edit`, checked: the method, the strength, the model before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from headwater import zoo
from headwater.cli.image.edited import EditJob
from headwater.cli.image.options import Common
from headwater.cli.image.outputs import plan_outputs
from headwater.cli.image.prior import (
    STATES,
    Model,
    guard_model,
    is_folder,
    load_model,
    model_of,
    told,
)
from headwater.cli.image.reward_request import load_reward
from headwater.cli.image.samples import size_of
from headwater.cli.shared.machine import check_room, device_named
from headwater.cli.shared.progress import Watch
from headwater.cli.shared.rewards import read_rewards, try_functions
from headwater.errors import Misuse
from headwater.flows.latent import LatentModel
from headwater.image.io.files import FORMATS, read_image
from headwater.image.io.masks import read_strength
from headwater.image.pictograms import models as pictograms
from headwater.recipes.editing.methods import DRAWLESS, TAKES, choose_edit, make_edit, take_numbers


def read_strength_option(text: str | None, size: tuple[int, int]) -> float | Tensor | None:
    """A number from 0 to 1, or the map `[1, 1, h, w]` of an image file.

    >>> read_strength_option("0.5", (8, 8))
    0.5
    """
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return read_strength(text, size)
    if not 0 <= value <= 1:
        raise Misuse(f"--strength is {text}.", "Give 0 to 1, or an image whose white may change.")
    return value


def edit_job(
    photo: Path,
    source: str | None,
    rewards: Sequence[str],
    folders: tuple[Path | None, Path | None],
    strength: str | None,
    method: str | None,
    numbers: Mapping[str, Any],
    count: int,
    seed: int,
    common: Common,
) -> EditJob:
    """The job of `edit`, checked; `numbers` are those of `take_numbers`, None where the method's own."""
    changed, shown = common.prompt is not None or common.label is not None, folders != (None, None)
    name = method or choose_edit(changed, bool(rewards), shown)
    given = take_numbers(name, numbers)
    require_goal(name, changed, bool(rewards), shown)
    refuse_unused(name, source, changed, bool(rewards), numbers, count, common)
    x, picture = read_image(photo, span=common.range)
    level = read_strength_option(strength, size_of(x))
    maps = [Path(strength)] if isinstance(level, Tensor) and strength is not None else []
    device, watch = device_named(common.device), Watch("edit", quiet=True)
    examples = read_examples(folders, size_of(x), common.range, device) if shown else None
    outputs = plan_outputs(
        common.output,
        photo,
        "edit",
        count,
        picture=picture,
        inputs=(photo, *maps),
        overwrite=common.overwrite,
    )
    total = read_rewards(rewards, load_reward) if rewards else None
    if total is not None:
        noise = 0.5 * torch.randn(2, *x.shape[1:], generator=torch.Generator().manual_seed(0))
        try_functions(rewards, total, noise, scored=False)
    before, after = load_both(common, source, changed, device)
    if not isinstance(before, LatentModel):
        check_room(4 * STATES * x.numel(), device, "Give a smaller picture.")
    return EditJob(
        command="image edit",
        inputs=(photo, *maps),
        settings={
            **told(common),
            "source": source,
            "rewards": list(rewards),
            "with": folders[0] and str(folders[0]),
            "without": folders[1] and str(folders[1]),
            "strength": strength,
            "method": name,
            **numbers,
            "count": count,
            "seed": seed,
            "model": model_of(common),
        },
        report=outputs.report,
        watch=watch,
        device=device,
        overwrite=common.overwrite,
        quiet=common.quiet,
        common=common,
        photo=x,
        picture=picture,
        model=guard_model(watch, before),
        target=None if after is None else guard_model(watch, after),
        rewards=total,
        make=lambda boundary=None: make_edit(name, boundary, **given),
        examples=examples,
        strength=level,
        outputs=outputs,
        seeds=range(seed, seed + count),
    )


def require_goal(name: str, changed: bool, rewarded: bool, shown: bool) -> None:
    """Refuse a method without its goal, or with one that it does not take.

    Raises
    ------
    Misuse
        It was not given what `TAKES` says, or given something else.
    """
    goals = {"target": changed, "reward": rewarded, "examples": shown}
    words = {"target": "--prompt or --label", "reward": "--reward", "examples": "--with or --without"}
    for goal, given in goals.items():
        if given and goal not in TAKES[name]:
            raise Misuse(
                f"The method {name} takes no {words[goal]}.", "Leave it out, or give another --method."
            )
    if not any(goals.values()):
        raise Misuse("Nothing is to be changed.", "Give --prompt, --label, --reward or --with.")


def read_examples(
    folders: tuple[Path | None, Path | None],
    size: tuple[int, int],
    span: tuple[float, float] | None,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """The images of both folders, brought to a size: `[n, 3, h, w]` and `[m, 3, h, w]` in [-1, 1].

    Raises
    ------
    Misuse
        A folder is missing or has no image, an image cannot be read, or the device has no memory for their states.
    """
    sides = []
    for word, folder in zip(("--with", "--without"), folders, strict=True):
        if folder is None:
            raise Misuse(f"The boundary has two sides, and {word} is missing.", f"Give {word} FOLDER.")
        files = sorted(f for f in folder.iterdir() if f.suffix.lower() in FORMATS) if folder.is_dir() else []
        if not files:
            raise Misuse(f"{word} {folder} is no folder of images.", "Give one with an image or more.")
        sides.append(files)
    count = sum(map(len, sides))
    check_room(4 * STATES * 3 * size[0] * size[1] * count, device, "Give fewer images.")
    shown, other = (
        torch.cat([bring_to(read_image(file, span=span)[0], size) for file in files]) for files in sides
    )
    return shown, other


def bring_to(x: Tensor, size: tuple[int, int]) -> Tensor:
    """The picture x `[1, 3, h, w]` in [-1, 1] at another size, by bicubic interpolation without aliases.

    >>> bring_to(torch.ones(1, 3, 8, 6), (4, 4)).shape
    torch.Size([1, 3, 4, 4])
    """
    if tuple(x.shape[-2:]) == size:
        return x
    return interpolate(x, size, mode="bicubic", antialias=True).clamp(-1, 1)


def refuse_unused(
    name: str,
    source: str | None,
    changed: bool,
    rewarded: bool,
    numbers: Mapping[str, Any],
    count: int,
    common: Common,
) -> None:
    """Refuse options that would change nothing.

    Raises
    ------
    Misuse
        A guidance or something to keep away from without a condition, a weight without a reward, a text for a model
        that takes none, or several results of a method that draws nothing.
    """
    if not changed and (common.guidance not in (None, 1.0) or common.negative is not None):
        raise Misuse(
            "--guidance and --negative need a condition, and none was given.", "Give --prompt or --label."
        )
    if numbers.get("weight") is not None and not rewarded:
        raise Misuse("A --weight needs a reward, and none was given.", "Give --reward, or leave it out.")
    model = model_of(common)
    if source is not None and not is_folder(model) and zoo.read_card(model)["kind"] != pictograms.KIND:
        raise Misuse(f"The model {model!r} takes no --source.", "Leave it out, or give another --model.")
    if count > 1 and name in DRAWLESS:
        raise Misuse(
            f"The method {name} draws nothing, so its {count} results would be the same.",
            "Leave -n out, or give another --method.",
        )


def load_both(
    common: Common, source: str | None, changed: bool, device: torch.device
) -> tuple[Model, Model | None]:
    """The model as it explains the photo, told `source` or nothing, and the model of the options."""
    plain = replace(common, prompt=source, label=None, model=model_of(common))
    if source is None:
        plain = replace(plain, guidance=None, negative=None)
    if is_folder(model_of(common)) and source is None and common.prompt is not None:
        plain = replace(plain, prompt="")  # what a pipeline is trained to take for no text
    else:
        plain = replace(plain, guidance=1.0)
    return load_model(plain, device), load_model(common, device) if changed else None
