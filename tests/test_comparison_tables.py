"""The tables of the comparison, from lines whose differences and bests are known."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from comparison_tables import best_by_budget, compare, difference, drop_repetitions, summarise


def line(method, budget, each, kernel=0.1, calls=None, **more):
    """A line of two pictures with these PSNRs."""
    cost = {} if calls is None else {"calls": calls}
    return {
        "set": "digits",
        "task": "phase",
        "method": method,
        "budget": budget,
        "count": 2,
        "each": each,
        "psnr": sum(each) / 2,
        "kernel": kernel,
        "kernel error": 0.01,
        **cost,
        **more,
    }


LINES = [
    line("nothing", 0, [5.0, 5.0]),
    line("faithful", 0, [31.0, 33.0], calls=256),
    line("plausible", 0, [30.0, 31.0], kernel=0.05, calls=300),
    line("noisy", 160, [10.0, 10.0], kernel=0.0, calls=160),
    line("near", 160, [29.0, 29.0], kernel=0.02, calls=160),
    line("best", 160, [30.0, 30.0], kernel=0.04, calls=160),
    line("fourth", 160, [20.0, 20.0], calls=160),
    line("best", 800, [40.0, 40.0], calls=800),
    {"set": "digits", "task": "phase", "method": "dear", "budget": 160, "count": 2, "note": "needs more"},
]


def test_a_difference_is_taken_picture_by_picture_with_its_standard_error():
    assert difference(line("a", 0, [31.0, 33.0]), line("b", 0, [30.0, 30.0])) == "2.00 ± 1.00"


def test_every_budget_has_its_best_and_what_is_nearest_to_the_true_set_among_the_good():
    (row,) = best_by_budget(LINES)  # one method at 800 calls is no comparison
    assert (row["budget"], row["methods"], row["best, dB"]) == (160, 4, "30.0 (best)")
    assert row["faithful less it"] == "2.00 ± 1.00" and row["calls of faithful"] == 256
    assert row["least kernel distance"] == "0.02 ± 0.01 (near)"


def test_our_answers_stand_beside_the_best_of_all_others():
    (row,) = summarise(LINES)
    assert row["best other, dB"] == "30.0 (best)" and row["faithful less it"] == "2.00 ± 1.00"
    assert row["plausible, kernel"] == "0.05 ± 0.01" and row["least other, kernel"] == "0.02 ± 0.01 (near)"
    assert row["calls of ours"] == "256, 300" and row["others tried"] == 5


def test_what_has_a_cost_of_its_own_is_compared_at_the_budget_that_pays_for_it():
    rows = {(row["method"], row["budget"]): row["below the best"] for row in compare(LINES)}
    assert rows["near", 160] == "1.00 ± 0.00" and rows["best", 160] == "0.00 ± 0.00"
    assert rows["faithful", 0] == "8.00 ± 1.00"  # 256 calls stand with 800
    assert ("dear", 160) not in rows


def test_of_a_line_in_two_precisions_the_later_one_stays():
    first, second = line("a", 160, [1.0, 1.0]), line("a", 160, [2.0, 2.0], precision="bfloat16")
    assert drop_repetitions([first, LINES[0], second]) == [second, LINES[0]]
