"""The list of methods: complete, honest about what each takes, and each of them answers the one call."""

import dataclasses
import inspect
from pathlib import Path
from typing import get_args

import pytest
import torch

from headwater import Gaussian, Misfit, Misuse
from headwater.cli.shared.options import MethodName
from headwater.recipes import rivals
from headwater.recipes.about import Takes
from headwater.recipes.methods import METHODS, RIVALS, find_method, require_fit
from headwater.recipes.recipe import RecipeOptions

torch.set_num_threads(1)


class Half:
    """The first two of three numbers."""

    def __call__(self, x):
        return x[:, :2]

    def adjoint(self, y):
        return torch.cat([y, torch.zeros_like(y[:, :1])], 1)


class Known(Half):
    """The same as a mask."""

    keep = torch.tensor([[1.0, 1.0, 0.0]])

    def __call__(self, x):
        return self.keep * x

    def adjoint(self, y):
        return self.keep * y

    def known_pixels(self, shape):
        return self.keep.bool()


def test_the_command_line_knows_every_method():
    assert get_args(MethodName) == ("default", *METHODS)


def test_every_file_of_the_rivals_has_its_method_in_the_list():
    shared = {"__init__", "levels", "linear", "network", "oscillator"}
    files = {f.stem for f in Path(rivals.__file__).parent.glob("*.py")} - shared
    assert {method.__module__.rpartition(".")[2] for method in RIVALS} == files and len(files) == 16


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_a_value_that_says_what_it_is(name):
    method = METHODS[name]
    assert dataclasses.is_dataclass(method) and method() == method() and hash(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        method().about = None
    about = method.about
    assert about.takes in get_args(Takes) and about.paper and about.cost
    assert ">>>" in inspect.getdoc(method)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_answers_the_one_call(name):
    """A few steps on a Gaussian law: samples of the right shape, an honest count, a status per problem."""
    about = METHODS[name].about
    flow = Gaussian(torch.zeros(3), torch.tensor([0.5, 1.0, 2.0])).flow
    y = torch.tensor([[0.5, 0.4, 0.0], [-0.3, 1.2, 0.0]])
    operators = {"mask": Known(), "the sample with white noise": torch.clone}
    operator = operators.get(about.takes, Half())
    y = y[:, :2] if isinstance(operator, Half) and not isinstance(operator, Known) else y
    misfit = Misfit(operator, y, 0.3)
    few = RecipeOptions(steps=8, gradients=8)
    result = find_method(name)(flow, misfit, [3, 4], guess=torch.zeros(1, 3), options=few)
    assert result.x1.shape == (2, 3) and bool(result.x1.isfinite().all()) and len(result.status) == 2
    assert bool((result.evaluations > 0).all())
    assert bool((result.gradients > 0).all()) <= about.network_gradient


def test_what_a_method_does_not_take_is_refused_before_the_work():
    require_fit("default", object(), denoising=False)
    require_fit("lanpaint", Known(), denoising=False)
    require_fit("pigdm", Half(), denoising=False)
    for name, operator in (("pigdm", torch.abs), ("lanpaint", Half()), ("one-evaluation", Half())):
        with pytest.raises(Misuse, match=f"The method '{name}' takes"):
            require_fit(name, operator, denoising=False)
    with pytest.raises(Misuse, match="There is no method"):
        find_method("nothing")
