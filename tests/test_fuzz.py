"""A small share of the fuzz test; the whole is `python tests/fuzz/fuzz.py`, 1,000 files of each kind."""

import numpy as np
import pytest
from mutations import BINARY, PNG, TEXTUAL, mutate

from fuzz import KINDS, Case, Kind, Outcome, _try, run
from headwater.errors import Misuse

SHARE = 8


def test_no_reader_is_harmed_by_damaged_files():
    cases = [Case(kind, number) for kind in KINDS for number in range(SHARE)]
    cases += [Case(kind, 0) for kind in ("image inpaint", "molecule score")]
    outcomes = list(run(cases))
    assert [outcome for outcome in outcomes if outcome.failed] == []
    assert [outcome.case for outcome in outcomes] == cases
    assert {outcome.word for outcome in outcomes} == {"read", "refused"}


def test_whole_files_are_read(tmp_path):
    """Else the test would be passed by a reader that refuses all."""
    refused = []
    for name, kind in KINDS.items():
        for ending, data in kind.files():
            path = tmp_path / f"x{ending}"
            path.write_bytes(data)
            word, detail = _try(kind, path)
            refused += [(name, detail)] if word != "read" else []
    assert {name for name, _ in refused} <= {"NPY image", "NPY array"}, refused
    assert len(refused) == 5  # arrays of objects, archives, and an image of truth values


@pytest.mark.parametrize("way", [*BINARY, *TEXTUAL, *PNG])
def test_damage_is_seeded_and_damages(way):
    whole = next(iter(KINDS["PNG" if way in PNG else "labels"].files()))[1]
    damaged = [way(whole, np.random.default_rng(seed)) for seed in (1, 1, 2, 3, 4, 5)]
    assert damaged[0] == damaged[1] and sum(each != whole for each in damaged) > 1
    assert mutate(whole, np.random.default_rng(1)) == mutate(whole, np.random.default_rng(1))


def fails(path):
    raise KeyError("a decoder's own")


def half_a_sentence(path):
    raise Misuse("no", "idea")


def refuses(path):
    raise Misuse("What is wrong.", "What to do.")


@pytest.mark.parametrize(
    "read, word, failed",
    [
        (fails, "raised", True),
        (half_a_sentence, "not two sentences", True),
        (refuses, "refused", False),
        (lambda path: None, "read", False),
    ],
)
def test_what_counts_as_a_failure(read, word, failed, tmp_path):
    outcome = Outcome(Case("PNG", 0), *_try(Kind(read, KINDS["PNG"].files), tmp_path / "x.png"))
    assert (outcome.word, outcome.failed) == (word, failed)
