"""Molecules are independent: every part of a problem alone is what it is in the batch."""

import pytest
import torch
from torch.testing import assert_close

from headwater.molecule.model.models import Networks
from headwater.molecule.structure.state import atom_mask
from headwater.molecule.targets.conditioned import ConditionedVelocity, KnownPart
from headwater.molecule.targets.cost import PropertyCost, RoundingPenalty, UserCost
from headwater.molecule.targets.deviation import TargetDeviation
from headwater.molecule.targets.flow import FeatureShell, MoleculeSupport, MoleculeVelocity, molecule_flow
from headwater.molecule.targets.objective import DesignObjective
from headwater.molecule.targets.target import Target
from headwater.problem.batch import Each
from headwater.problem.cost import WeightedSum
from headwater.solvers import solve

ATOMS = torch.tensor([5, 21, 9, 12])
MASK = atom_mask(ATOMS)
GAPS, CENTRES = torch.tensor([4.0, 5.0, 6.0, 7.0]), torch.tensor([[0.0], [1.0], [2.0], [3.0]])


@pytest.fixture(scope="module")
def state(networks):
    """Molecules: of noise a regressor says nothing that rounding would not change."""
    flow = molecule_flow(networks.generator, ATOMS)
    with torch.no_grad():
        return solve(flow, flow.noise(range(4)), steps=4)


def distance(positions, types, mask, centre):
    """A user's cost with a value of its own for each molecule."""
    return ((positions.norm(dim=-1) - centre).square() * mask).sum(1)


def make_parts(networks):
    properties = PropertyCost(networks.guide, {"gap": Target("gap", GAPS).make_goal(4)}, {}, MASK)
    user = UserCost(Each(distance, centre=CENTRES), MASK)
    known = KnownPart.from_state(torch.ones(4, 29, 9), MASK & (torch.arange(29) < 3), MASK)
    velocity = MoleculeVelocity(networks.generator, MASK)
    total = WeightedSum(((1.0, RoundingPenalty(MASK)), (1.0, properties), (1.0, user)))
    deviation = TargetDeviation(properties, MASK, sound=False)
    return {
        "property cost": properties,
        "rounding penalty": RoundingPenalty(MASK),
        "user's cost": user,
        "deviation": deviation,
        "objective": DesignObjective(total, deviation),
        "velocity": velocity,
        "conditioned velocity": ConditionedVelocity(velocity, known),
        "feature shell": FeatureShell(MASK),
        "support": MoleculeSupport(MASK),
    }


def evaluate(part, x):
    if isinstance(part, MoleculeSupport):
        return part.project(x)
    if isinstance(part, MoleculeVelocity | ConditionedVelocity):
        return part(x, torch.tensor(0.3))
    return part(x)


NAMES = list(make_parts(Networks(torch.nn.Identity(), None, None)))


@pytest.mark.parametrize("name", NAMES)
def test_each_molecule_alone_is_what_it_is_in_the_batch(name, networks, state):
    part = make_parts(networks)[name]
    with torch.no_grad():
        together = evaluate(part, state)
        for i in range(4):
            index = torch.tensor([i])
            alone = evaluate(part.select(index), state[index])
            assert_close(alone, together[index], rtol=1e-3, atol=1e-3)


def test_the_verdict_follows_a_users_cost(state):
    whole = TargetDeviation(None, MASK, sound=True, cost=UserCost(Each(distance, centre=CENTRES), MASK))
    together = whole.judge(state)
    for i in range(4):
        index = torch.tensor([i])
        alone = whole.select(index).judge(state[index])
        assert_close(alone.value, together.value[index], rtol=1e-4, atol=1e-4)
        assert alone.grade == together.grade[index]
