"""What may be written behind the options."""

import math

import pytest
from cli_tools import two_sentences

from headwater.cli.shared import values
from headwater.errors import Misuse


@pytest.mark.parametrize(
    "text, expected", [("0", 0), ("0.1", 0.1), ("1e-2", 0.01), ("13/255", 26 / 255), ("2.55/255", 0.02)]
)
def test_noise_is_a_std_in_the_range_or_in_grey_levels(text, expected):
    assert values.parse_noise(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text, cure",
    [
        ("-0.1", "Give 0 or more"),
        ("-13/255", "Give 0 or more"),
        ("nan", "like 0.1"),
        ("inf", "like 0.1"),
        ("loud", "like 0.1"),
        ("13/100", "like 0.1"),
        ("13", "13/255"),
        ("2", "2/255"),
        ("300/255", "Give less"),
    ],
)
def test_wrong_noise_is_refused_with_the_cure(text, cure):
    with pytest.raises(Misuse) as caught:
        values.parse_noise(text)
    assert cure in str(caught.value) and two_sentences(str(caught.value))


@pytest.mark.parametrize("text, expected", [("0.5", 0.5), ("-1", -1), ("0/255", -1), ("255/255", 1)])
def test_levels(text, expected):
    assert values.parse_level(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text, expected",
    [("2GB", 2e9), ("2gb", 2e9), ("1.5 GiB", 1.5 * 2**30), ("500MB", 5e8), ("1e9", 1e9), ("64KiB", 65536)],
)
def test_memory(text, expected):
    assert values.parse_memory(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "2 parsecs", "0MB", "-2GB", "1e999"])
def test_wrong_memory(text):
    with pytest.raises(Misuse) as caught:
        values.parse_memory(text)
    assert two_sentences(str(caught.value)) and not math.isnan(len(str(caught.value)))


def test_lists_of_numbers():
    assert values.NumberParser("HEIGHT,WIDTH", int)("48, 64") == (48, 64)
    assert values.NumberParser("HEIGHT,WIDTH", int)("48x64") == (48, 64)
    assert values.NumberParser("BLACK,WHITE")("-0.5,1") == (-0.5, 1)
    for text in ("48", "48,64,80", "a,b", "nan,1", "1.5,x"):
        with pytest.raises(Misuse, match="Give 2 numbers"):
            values.NumberParser("BLACK,WHITE")(text)
    with pytest.raises(Misuse):
        values.NumberParser("HEIGHT,WIDTH", int)("4.5,6")
