"""Fixtures of the molecule tests."""

import pytest

from headwater.molecule.model.models import Networks


@pytest.fixture(scope="session")
def networks():
    return Networks.load()
