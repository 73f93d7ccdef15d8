"""Set up tests, docstring examples and README blocks: one thread, no denormals, torch at hand."""

import gc
from collections.abc import Iterator

import pytest
import torch


def pytest_configure() -> None:
    """One thread per worker: with two workers on two cores more would only wait for each other."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays: the garbage collector need not look at it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace: dict[str, object]) -> None:
    doctest_namespace["torch"] = torch
