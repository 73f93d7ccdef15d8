"""`headwater molecule generate | target --reward`: what is asked of the design, and what is told of it."""

import json

import pytest
import torch

from headwater.cli.app import main
from headwater.cli.molecule import design_job
from headwater.molecule.targets.search import SearchThenControl


@pytest.fixture
def scaled(monkeypatch):
    """A reward cost whose values are known: minus the strength times the number of the molecule."""
    made = []

    class Cost:
        def __init__(self, predicted):
            self.predicted = predicted

        def standard_deviations(self, molecules, regressor=None):
            return torch.arange(len(molecules)).float() + (0.5 if regressor is not None else 0.0)

    def reward_cost(rewards, request, *, strength):
        made.append((dict(rewards), strength))
        return Cost(any(isinstance(reward, str) for _, reward in rewards.values()))

    monkeypatch.setattr(design_job, "reward_cost", reward_cost)
    return made


FILE = "def reward(positions, types, mask):\n    return (positions.square().sum(-1) * mask).sum(1)\n"


def run(*words):
    return main(["molecule", *words, "-n", "2", "--check", "none", "--quiet"])


def test_rewards_become_the_cost_of_a_search_with_control(folder, asked, scaled):
    (folder / "wide.py").write_text(FILE)
    assert run("generate", "--reward", "-2 * mu", "--reward", "wide.py", "--strength", "3") == 0
    ((rewards, strength),) = scaled
    assert strength == 3.0 and rewards["mu"] == (-2.0, "mu") and rewards["wide.py"][0] == 1.0
    ((request, recipe),) = asked
    assert request.cost is not None and isinstance(recipe, SearchThenControl) and recipe.gradients > 0
    report = json.loads((folder / "molecules.json").read_text())
    assert report["rewards"] == ["-2 * mu", "1 * wide.py"]
    told = [row["standard_deviations"] for row in report["molecules"]]
    assert told == [{"guide": 0.0, "evaluator": 0.5}, {"guide": 1.0, "evaluator": 1.5}]
    assert "never guides" in report["definitions"]["standard_deviations"]


def test_own_functions_alone_have_no_second_judge(folder, asked, scaled):
    (folder / "wide.py").write_text(FILE)
    assert run("generate", "--reward", "wide.py") == 0
    told = json.loads((folder / "molecules.json").read_text())["molecules"]
    assert [row["standard_deviations"] for row in told] == [{"guide": 0.0}, {"guide": 1.0}]


def test_targets_may_stand_beside_rewards_and_a_search_alone_takes_no_gradient(folder, asked, scaled):
    (folder / "plain.py").write_text("def reward(p, t, m):\n    return p.detach().sum((1, 2))\n")
    assert run("target", "--reward", "mu", "--gap", "5eV") in (0, 1) and asked[-1][1].gradients > 0
    words = ["target", "--reward", "plain.py", "--method", "search", "--overwrite"]
    assert run(*words) == 0 and asked[-1][1].gradients == 0


def test_scores_become_the_cost_of_a_search_by_draws_alone(folder, asked):
    assert run("generate", "--score", "-0.1 * sa", "--score", "smarts: [OX2H]", "--candidates", "5") == 0
    ((request, recipe),) = asked
    assert request.cost.terms == ((-0.1, "sa"), (1.0, "smarts: [OX2H]"))
    assert request.sound and recipe.gradients == 0 and recipe.candidates == 5


def test_a_reward_without_a_slope_is_told_of(folder, asked, scaled, capsys):
    (folder / "flat.py").write_text("def reward(p, t, m):\n    return 0 * p.sum((1, 2))\n")
    assert run("generate", "--reward", "flat.py") == 0
    assert "Warning: The reward in flat.py has a gradient of zero" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["generate", "--reward", "mux"], "no reward of molecules named 'mux'"),
        (["generate", "--reward", "qed"], "No gradient leads to RDKit's qed"),
        (["generate", "--reward", "0..1 * mu"], "follows no schedule"),
        (["generate", "--reward", "0 * mu"], "zero or not finite"),
        (["generate", "--reward", "nowhere.py"], "nowhere.py"),
        (["generate", "--reward", "fails.py:cost"], "The reward in fails.py failed"),
        (["generate", "--reward", "plain.py"], "The reward in plain.py does not carry a gradient"),
        (["generate", "--reward", "plain.py"], "use 'molecule target --method search'"),
        (["generate", "--reward", "much * mu"], 'is no number. Write it as in "2 * mu"'),
        (["generate", "--score", "plain.py"], "plain.py is a file, and no score of molecules. Ask for it by"),
        (["generate", "--strength", "2"], "Nothing is rewarded"),
        (["generate", "--score", "qed", "--reward", "mu"], "Both --reward and --score"),
        (["generate", "--score", "qedd"], "no score of molecules named 'qedd'"),
        (["generate", "--score", "0 * qed"], "no number above or below zero"),
        (["target", "--score", "qed"], "goes with 'molecule generate' only"),
        (["target", "--reward", "mu", "--cost", "good.py"], "Both --reward and --cost"),
    ],
)
def test_refusals_are_two_sentences(folder, asked, capsys, words, part):
    (folder / "plain.py").write_text("def reward(p, t, m):\n    return p.detach().sum((1, 2))\n")
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert part in error and error.startswith("Error: ") and not asked
