"""Pipelines from folders: only safetensors, nothing of the folder's own code, and no network unless asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from headwater.adapters.diffusers.families import find_convention
from headwater.errors import Misuse, summarise
from headwater.extras import import_optional
from headwater.text import printable, shorten

LIBRARIES = ("diffusers", "transformers", "stable_diffusion", "stable_audio", "audioldm2")
"""Whose classes a folder may name: two libraries, and modules of pipelines with components of their own."""
UNNEEDED = ("safety_checker",)
"""Components that no flow needs; they are not loaded."""
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
"""Endings of weights that are pickled, and could run code of their own."""


def open_pipeline(source: Any, download: bool) -> Any:
    """The pipeline itself, or that of a folder or name.

    Raises
    ------
    Misuse
        If the folder is no pipeline of a known family, is incomplete or damaged, or has pickled weights; if a name is
        no folder and was not downloaded before; if diffusers is missing.
    """
    if not isinstance(source, str | Path):
        find_convention(type(source).__name__)
        return source
    path = Path(source)
    if path.is_dir():
        check_folder(path)
    else:
        check_name(path, download)
    with keep_gradients():
        diffusers = import_optional("diffusers", "diffusers")
        import_optional("transformers", "diffusers")
        return read_pipeline(diffusers, str(source), download and not path.is_dir())


@contextmanager
def keep_gradients() -> Iterator[None]:
    """Leave torch's switch of gradients as it was: some pipelines turn it off for good when they are imported."""
    enabled = torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_grad_enabled(enabled)


def read_pipeline(diffusers: Any, source: str, download: bool) -> Any:
    """The pipeline of a checked folder, or of a name from the cache or, if asked, from the hub."""
    safetensors = import_optional("safetensors", "diffusers")
    errors = (OSError, ValueError, RuntimeError, KeyError, ImportError, safetensors.SafetensorError)
    try:
        return diffusers.DiffusionPipeline.from_pretrained(
            source,
            local_files_only=not download,
            use_safetensors=True,
            trust_remote_code=False,
            variant=find_variant(Path(source)),
            **left_out(source),
        )
    except errors as error:
        raise describe(source, download, error) from error


def describe(source: str, download: bool, error: Exception) -> Misuse:
    """What is to be said of a pipeline that could not be read."""
    if Path(source).is_dir():
        what = f"The pipeline in {source} cannot be read: {first_sentence(error)}."
        return Misuse(what, "Save it again with pipeline.save_pretrained(folder).")
    if download:
        what = f"The hub gave no pipeline {source!r} ({type(error).__name__})."
        return Misuse(what, "Check the name, the connection, and your access to it.")
    return Misuse(
        f"No folder and no downloaded pipeline has the name {source!r}.",
        "Check the name, and give download=True to ask the hub.",
    )


def first_sentence(error: Exception) -> str:
    """The class of an exception and the first sentence of its message, which may go over several lines.

    Examples
    --------
    >>> first_sentence(ValueError("There is no class X. Check the name."))
    'ValueError: There is no class X'
    """
    sentence = re.split(r"[.] ", " ".join(str(error).split()))[0].rstrip(".")
    return shorten(f"{type(error).__name__}: {sentence}" if sentence else type(error).__name__, 300)


def left_out(source: str) -> dict[str, Any]:
    """The components that a folder was saved without, which have to be named, and those that are not needed."""
    if not Path(source).is_dir():
        return {}
    index = read_index(Path(source))
    absent: dict[str, Any] = {name: None for name, entry in components(index) if entry[0] is None}
    unneeded = {name: None for name in UNNEEDED if name in index}
    return {**absent, **unneeded, **({"requires_safety_checker": False} if unneeded else {})}


def find_variant(folder: Path) -> str | None:
    """The variant, such as "fp16", of a folder in which a component has weights of that variant alone; else None."""
    for part in sorted(folder.iterdir()) if folder.is_dir() else ():
        names = [file.name.split(".")[1:-1] for file in part.glob("*.safetensors")]
        if names and all(names):
            return names[0][0].partition("-")[0]
    return None


def check_name(path: Path, download: bool) -> None:
    """Refuse a file, and a path that is not there, before anything is asked of the hub."""
    if path.suffix in PICKLES:
        raise Misuse(
            f"{path} is pickled, and could run code of its own.", "Give a folder with .safetensors files."
        )
    if path.is_file():
        raise Misuse(
            f"{path} is a single file, and not the folder of a pipeline.",
            "Read it with from_single_file of its pipeline's class, and give the pipeline.",
        )
    if path.is_absolute() or len(path.parts) != 2 or ".." in path.parts:
        raise Misuse(
            f"There is no folder {path}.",
            "Give the folder that pipeline.save_pretrained(folder) has written, or a name such as 'owner/model'.",
        )


def check_folder(folder: Path) -> None:
    """Refuse a folder that is no pipeline, lacks a component, or has pickled weights or code."""
    index = read_index(folder)
    find_convention(str(index["_class_name"]))
    for name, (library, _) in components(index):
        if library is None or name in UNNEEDED:
            continue
        if library not in LIBRARIES:
            raise Misuse(
                f"The component {name} is a class of {printable(library)}, which is not imported for it.",
                "Load the pipeline yourself, if you trust it, and give the pipeline.",
            )
        check_component(folder, name)


def components(index: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    """The components of an index with their library and class."""
    pairs = [(name, entry) for name, entry in index.items() if not name.startswith("_")]
    return [(name, entry) for name, entry in pairs if isinstance(entry, list) and len(entry) == 2]


def read_index(folder: Path) -> dict[str, Any]:
    """The content of `model_index.json`, with the name of the pipeline's class."""
    file = folder / "model_index.json"
    if not file.is_file():
        raise Misuse(
            f"The folder {folder} has no model_index.json, so it holds no pipeline of diffusers.",
            "Give the folder that pipeline.save_pretrained(folder) has written.",
        )
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misuse(f"{file} cannot be read: {summarise(error)}.", "Save the pipeline again.") from error
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise Misuse(f"{file} does not name the class of a pipeline.", "Save the pipeline again.")
    return index


def check_component(folder: Path, name: str) -> None:
    """Refuse a component that is not there, or whose weights are only pickled, or that brings code."""
    part = folder / name
    if not part.is_dir() or not any(part.iterdir()):
        raise Misuse(
            f"The folder {folder} lacks its component {name}.",
            "Copy or save the whole folder of the pipeline again.",
        )
    endings = {file.suffix for file in part.iterdir()}
    if ".safetensors" not in endings and endings & set(PICKLES):
        raise Misuse(
            f"The weights of {name} are pickled, and could run code of their own.",
            "Save them with pipeline.save_pretrained(folder, safe_serialization=True) where you trust them.",
        )
    if ".py" in endings:
        raise Misuse(
            f"The component {name} brings Python code of its own, which is not run.",
            "Load the pipeline yourself, if you trust it, and give the pipeline.",
        )
