"""Ranges as targets: read from words, and when a value hits them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import Misuse
from headwater.molecule.structure.interval import (
    Interval,
    as_interval,
    find_error,
    format_asked,
    read_number,
    read_target,
)
from headwater.molecule.targets.sizes import draw_atoms, load_statistics
from headwater.molecule.targets.target import TOLERANCE, Target, find_deviation


@pytest.mark.parametrize(
    ("name", "text", "low", "high"),
    [
        ("gap", "5..6eV", 5, 6),
        ("gap", "5 eV .. 6 eV", 5, 6),
        ("gap", "5000meV..6eV", 5, 6),
        ("gap", ">8eV", 8, math.inf),
        ("gap", ">= 8 eV", 8, math.inf),
        ("gap", "<3eV", -math.inf, 3),
        ("homo", "-6.5..-6eV", -6.5, -6),
        ("homo", "−6.5..−6 eV", -6.5, -6),
        ("homo", "-6e0 .. -5.5e0eV", -6, -5.5),
        ("mu", "1e-1..2D", 0.1, 2),
        ("gap", "96.48533212..192.97066425 kJ/mol", 1, 2),
    ],
)
def test_ranges_are_read_with_their_unit(name, text, low, high):
    found = read_target(name, text)
    assert isinstance(found, Interval) and (found.low, found.high) == pytest.approx((low, high), rel=1e-6)


def test_numbers_without_a_unit():
    assert read_number("qed", "0.6") == 0.6 and read_number("logp", "-1.5") == -1.5
    assert read_number("qed", "0.5..0.7") == Interval(0.5, 0.7) and read_number("sa", "<3") == Interval(
        high=3.0
    )


@pytest.mark.parametrize(
    ("read", "name", "text", "words"),
    [
        (read_target, "gap", "5..6", "has no unit"),
        (read_target, "gap", ">8", "has no unit"),
        (read_target, "gap", "6..5eV", "no value between its ends"),
        (read_target, "gap", "5..5eV", "no value between its ends"),
        (read_target, "gap", "..6eV", "begin with a number"),
        (read_target, "gap", ">", "begin with a number"),
        (read_target, "gap", "-5..6eV", "is negative"),
        (read_target, "gap", "5..6D", "but gap is an energy"),
        (read_number, "qed", "0.6eV", "without a unit"),
        (read_number, "qed", "good", "without a unit"),
        (read_number, "qed", "nan", "without a unit"),
        (read_number, "qed", "9" * 5000, "(5,000 characters)"),
    ],
)
def test_what_is_no_range_is_refused(read, name, text, words):
    with pytest.raises(Misuse) as caught:
        read(name, text)
    assert words in str(caught.value) and len(str(caught.value)) < 300


def test_a_range_with_two_open_ends_or_none_between_them_is_refused():
    for ends in ((), (2.0, 1.0), (math.nan, 1.0)):
        with pytest.raises(Misuse):
            Interval(*ends)
    with pytest.raises(Misuse, match="no width"):
        Target("gap", Interval(5.0, 5.0))


ENDS = st.integers(-20_000, 20_000).map(lambda k: k / 1000)


@given(
    name=st.sampled_from(sorted(TOLERANCE)),
    a=ENDS,
    width=st.integers(10, 10_000).map(lambda k: k / 1000),
    value=ENDS,
)
def test_a_range_is_hit_exactly_inside(name, a, width, value):
    for interval in (Interval(a, a + width), Interval(low=a), Interval(high=a)):
        off = find_error(interval, value)
        if off > 1e-3 or (off == 0 and min(abs(value - interval.low), abs(value - interval.high)) > 1e-3):
            assert (find_deviation(name, interval, value) <= 1) is (off == 0)


def test_a_single_value_is_hit_within_its_tolerance():
    assert find_deviation("gap", 5.0, 5.0) == 0
    assert find_deviation("gap", 5.0, 4.74) == pytest.approx(2.0, abs=1e-4)
    assert find_deviation("gap", Interval(low=8.0), 8.13) == pytest.approx(
        0.0, abs=1e-4
    )  # a tolerance inside
    assert find_deviation("gap", Interval(low=8.0), 7.87) == pytest.approx(2.0, abs=1e-4)
    assert find_deviation("gap", Interval(5.0, 5.1), 5.05) == pytest.approx(0.0, abs=1e-4)  # narrower than it
    assert find_deviation("gap", Interval(5.0, 5.1), 5.1) == pytest.approx(1.0, abs=1e-4)


def test_the_cost_of_a_range_has_a_gradient_outside_and_none_inside():
    goal = Target("gap", Interval(5.0, 6.0)).make_goal(3)
    value = torch.tensor([4.0, 5.5, 7.0], requires_grad=True)
    goal.deviation(value).square().sum().backward()
    assert value.grad is not None and value.grad[0] < 0 and value.grad[1] == 0 and value.grad[2] > 0


def test_sizes_are_drawn_for_a_range_as_for_its_nearest_value():
    seeds = range(300)
    wide = draw_atoms(seeds, [Target("alpha", Interval(low=0.0, high=1000.0))]).double()
    free = load_statistics()["counts"]
    mean = float((free * torch.arange(len(free))).sum() / free.sum())
    assert abs(float(wide.mean()) - mean) < 1.0
    small = draw_atoms(seeds, [Target("alpha", Interval(high=55.0))]).double()
    large = draw_atoms(seeds, [Target("alpha", Interval(low=90.0))]).double()
    assert small.mean() + 3 < large.mean()


def test_what_was_asked_is_shown_with_its_unit():
    assert format_asked("gap", Interval(5.0, 6.5)) == "5..6.5 eV" and format_asked("qed", 0.6) == "0.60"
    assert as_interval(5.0) == Interval(5.0, 5.0) and str(Interval(low=0.25)) == ">0.25"


@pytest.mark.parametrize("name, text", [("qed", "5"), ("qed", ">1.5"), ("sa", "<0.5"), ("qed", "-0.1..0.5")])
def test_scores_outside_their_scale_are_refused(name, text):
    with pytest.raises(Misuse, match=f"--{name} goes from .* is outside"):
        read_number(name, text)


def test_signs_and_dots_of_other_keyboards():
    assert read_number("logp", "\u22651") == Interval(low=1.0)
    assert read_number("logp", "1\u20262") == Interval(1.0, 2.0)
