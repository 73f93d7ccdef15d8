"""The shipped networks: what they learnt from, which kind they are, and where they run."""

from typing import ClassVar

import pytest
import torch

from headwater import Misuse, zoo
from headwater.molecule.model import models
from headwater.molecule.model.prediction import predict
from headwater.molecule.model.regressor import PROPERTIES
from headwater.molecule.structure.state import atom_mask
from headwater.molecule.targets.flow import MoleculeVelocity


class Elsewhere(torch.nn.Module):
    """A network whose weights are on another device, where its outputs are too; it notes where its inputs are."""

    def __init__(self, out):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, device="meta"))
        self.out, self.seen = out, []

    def forward(self, *inputs):
        self.seen += [x.device.type for x in inputs]
        return self.out


class Returning(torch.Tensor):
    """A tensor that counts how often it is asked to move."""

    moves: ClassVar[list[torch.device]] = []

    def to(self, *where, **how):
        Returning.moves.append(where[0])
        return self.as_subclass(torch.Tensor)


def test_the_guide_never_saw_what_the_evaluator_learnt_from():
    part = {
        n: zoo.read_card(n)["training"]["part"] for n in (models.GENERATOR, models.GUIDE, models.EVALUATOR)
    }
    assert part == {models.GENERATOR: "half_b", models.GUIDE: "half_b", models.EVALUATOR: "half_a"}


@pytest.mark.parametrize("name", [models.GUIDE, models.EVALUATOR])
def test_regressor_cards_say_how_good_they_are(name):
    card = zoo.read_card(name)
    assert set(card["test_mae"]) == set(PROPERTIES) and card["data_licence"] == "CC0"
    assert card["test_mae"]["gap"] < 200 and "meV" in card["test_mae_units"]


def test_models_of_the_wrong_kind_are_refused():
    with pytest.raises(Misuse, match="is not a molecule generator"):
        models.load_generator("photo64")


def test_inputs_go_to_the_networks_device_and_come_back():
    mask = atom_mask(torch.tensor([4, 3]))
    Returning.moves.clear()
    velocity = Elsewhere(torch.ones(2, 4, 9).as_subclass(Returning))
    v = MoleculeVelocity(velocity, mask)(torch.zeros(2, 29, 9), torch.tensor(0.5))
    assert velocity.seen == ["meta"] * 3 and v.shape == (2, 29, 9)
    assert Returning.moves == [torch.device("cpu")]
    guide = Elsewhere(dict.fromkeys(PROPERTIES, torch.ones(2).as_subclass(Returning)))
    predict(guide, torch.zeros(2, 29, 3), torch.zeros(2, 29, 5), mask)
    assert guide.seen == ["meta"] * 3
    assert Returning.moves == [torch.device("cpu")] * (1 + len(PROPERTIES))
