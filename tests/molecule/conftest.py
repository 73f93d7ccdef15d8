"""Fixtures of the molecule tests."""

import pytest

from headwater.molecule.design import search
from headwater.molecule.design.design import Networks


@pytest.fixture(scope="session")
def networks():
    return Networks.shipped()


@pytest.fixture
def one_draw_at_a_time(monkeypatch):
    """So that evaluations can be counted."""
    monkeypatch.setattr(search, "FILL", 1)
