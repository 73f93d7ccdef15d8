"""Forms: what the page offers is what the commands have, and no form says more than they take."""

from functools import cache

import pytest

from headwater.cli.app import app
from headwater.errors import Misuse
from headwater.web import offers

FILES = {"input": "a.png"}


@cache
def described(name):
    domain, verb = name.split()
    arguments = app[domain][verb].assemble_argument_collection()
    return {a.field_info.name: a for a in arguments if a.show and a.name.startswith("--")}


def test_every_option_is_offered_or_withheld(forms):
    """A new option of a command fails here until somebody has decided whether a page may set it."""
    for name, command in forms.commands.items():
        offered = {option.key for option in command.options}
        of_folders = offers.OF_FOLDERS.get(name, offers.OF_FOLDERS.get(name.split()[0], set()))
        assert not offered & of_folders, name  # a command without a folder refuses them
        for key in described(name):
            withheld = key in offers.WITHHELD or key in of_folders or key in ("model", "device")
            assert key in offered or withheld, (name, key)


def test_no_option_opens_what_the_page_names(forms):
    """Only uploads are files: texts are those of `TEXTS`, which no command opens, and all else is read as a value."""
    for name, command in forms.commands.items():
        for option in command.options:
            argument = described(name)[option.key]
            assert option.kind != "list" or option.key in offers.LISTS, (name, option.key)
            if option.kind == "text" and option.key != "device":
                assert option.key in offers.TEXTS or argument.parameter.converter is not None, (
                    name,
                    option.key,
                )
            assert option.key not in ("output", "operator", "cost"), name


def test_limits_and_choices_are_those_of_the_command(forms):
    options = {o.key: o for o in forms.commands["image upscale"].options}
    assert (options["factor"].low, options["factor"].high, options["factor"].default) == (1, 32, 2)
    assert options["filter"].choices == ("area", "decimate", "bicubic")
    assert "bicubic" in options["filter"].help
    assert options["model"].choices == ("photo64", "pictograms")


def test_hints_lie_within_the_limits_and_their_starts_are_taken(forms):
    for name, hints in offers.HINTS.items():
        options = {o.key: o for o in forms.commands[name].options}
        for key, hint in hints.items():
            option = options[key]
            assert hint.low < hint.high and (
                option.low is None or option.low <= hint.low <= hint.high <= option.high
            )
            for value in (hint.low, hint.high, hint.start):
                if value is not None:
                    forms.to_words(name, {key: f"{value:g}{hint.suffix}"}, FILES)
    for name, starts in offers.STARTS.items():
        for key, text in starts.items():
            forms.to_words(name, {key: text}, FILES)


def test_a_form_becomes_the_words_of_its_command(forms):
    words = forms.to_words(
        "image inpaint", {"grow": 3, "noise": "5/255", "method": "map"}, {**FILES, "mask": "a-mask.png"}
    )
    assert words == [
        "image",
        "inpaint",
        "a.png",
        "--mask=a-mask.png",
        "--grow=3",
        "--noise=5/255",
        "--method=map",
    ]
    words = forms.to_words("audio inpaint", {"gap": ["1.0-1.5", "2.0-2.1"]}, {"input": "a.wav"})
    assert words[3:] == ["--gap=1.0-1.5", "--gap=2.0-2.1"]
    assert forms.to_words("molecule target", {"gap": ">5eV", "unique": True}, {})[2:] == [
        "--gap=>5eV",
        "--unique",
    ]
    rewards = [
        "0..2 * symmetry",
        "brightness: 0.2",
        "class: volcano",
        "text: red apple",
        "palette: #e33,#fff",
        "contrast: 0.4",
    ]
    assert forms.to_words("image generate", {"reward": rewards}, {})[2:] == [f"--reward={r}" for r in rewards]
    scores = ["-1 * jpeg: 90", "symmetry"]
    assert forms.to_words("image generate", {"score": scores}, {})[2:] == [f"--score={s}" for s in scores]
    for score in ("qed", "-1 * sa", "xtb: gap", "2 * smarts: [OX2H]"):
        assert forms.to_words("molecule generate", {"score": [score]}, {})[2:] == [f"--score={score}"]
    for command, reward in (("audio generate", "brightness: 2kHz"), ("molecule generate", "-1 * gap")):
        assert forms.to_words(command, {"reward": [reward]}, {})[2:] == [f"--reward={reward}"]
    assert forms.to_words("audio generate", {"device": "cpu"}, {})[2:] == ["--device=cpu"]
    painted = {**FILES, "strength": "a-mask.png"}
    words = forms.to_words("image edit", {"label": "goldfish", "reward": ["symmetry"]}, painted)
    assert words[2] == "a.png"
    assert set(words[3:]) == {"--label=goldfish", "--reward=symmetry", "--strength=a-mask.png"}
    assert "--output=a-scores.csv" in forms.to_words("molecule score", {}, {"input": "a.sdf"})


@pytest.mark.parametrize(
    ("command", "values"),
    [
        ("image inpaint", {"grow": -1}),
        ("image inpaint", {"grow": "1; rm"}),
        ("image inpaint", {"seed": 1.5}),
        ("image inpaint", {"noise": "nan"}),
        ("image inpaint", {"model": "/etc"}),
        ("image inpaint", {"output": "/tmp/x.png"}),
        ("image inpaint", {"device": "cuda:7"}),
        ("audio generate", {"device": "cuda:7"}),
        ("audio generate", {"prompt": "rain"}),
        ("audio inpaint", {"device": "cpu"}),
        ("image inpaint", {"mask": "/etc/passwd"}),
        ("image inpaint", {"method": "--help"}),
        ("image inpaint", {"label": "--output=x"}),
        ("image inpaint", {"label": "a\nb"}),
        ("image inpaint", {"label": "a" * 500}),
        ("image inpaint", {"samples": ["1"]}),
        ("image inpaint", {"samples": True}),
        ("image restore", {"operator": "x.py"}),
        ("image generate", {"reward": ["my.py"]}),
        ("image generate", {"score": ["my_score.py"]}),
        ("image generate", {"score": ["program: rm -r a"]}),
        ("molecule generate", {"score": ["smarts: my_score.py"]}),
        ("image edit", {"label": "goldfish", "strength": "/etc/passwd"}),
        ("image generate", {"reward": ["like: /etc/passwd"]}),
        ("image generate", {"reward": ["clip: /models: a red apple"]}),
        ("audio generate", {"reward": ["like: recording.wav"]}),
        ("molecule generate", {"reward": ["my.py:reward"]}),
        ("molecule target", {"cost": "x.py", "gap": "5eV"}),
        ("molecule target", {"gap": "5"}),
        ("audio inpaint", {"gap": ["--mask=x"]}),
        ("demo", {}),
    ],
)
def test_what_no_page_may_say_is_refused_in_two_sentences(forms, command, values):
    with pytest.raises(Misuse) as refusal:
        forms.to_words(command, values, FILES)
    assert refusal.value.what.strip() and refusal.value.cure.strip()
