"""The flow of molecules: its support, batches, and what is known of a molecule."""

import pytest
import torch
from by_hand import METHANE, state_of
from torch.testing import assert_close

from headwater import Misuse, solve
from headwater.molecule.structure.groups import group_by_size
from headwater.molecule.structure.state import atom_mask, project
from headwater.molecule.targets.conditioned import KnownPart
from headwater.molecule.targets.flow import FeatureShell, molecule_flow


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_centre_of_mass_and_padding_are_kept_along_the_solve(networks):
    flow = molecule_flow(networks.generator, [5, 29, 12])
    mask = flow.support.mask
    x = flow.noise([0, 1, 2])
    for t in (0.0, 0.5, 0.9):
        x = x + 0.3 * flow(x, torch.tensor(t))
        assert (x[..., :3].sum(1).abs() / mask.sum(1)[:, None]).max() < 1e-5
        assert bool((x[~mask] == 0).all())


def test_the_same_molecule_in_another_batch_gives_the_same_result(networks):
    def run(sizes, seeds):
        flow = molecule_flow(networks.generator, sizes)
        with torch.no_grad():
            return solve(flow, flow.noise(seeds), steps=4)

    alone, together = run([9], [5]), run([9, 29, 4], [5, 6, 7])
    assert_close(together[:1], alone, atol=2e-4, rtol=1e-3)


def test_molecules_are_solved_in_groups_of_like_size_and_come_back_in_order(networks):
    """By the CPU, in groups; on an accelerator in one. With gradients, too."""
    sizes = torch.tensor([5, 21, 9, 12] * 10)
    flow, state = molecule_flow(networks.generator, sizes), noise(40, 29, 9)
    x = flow.project(state).requires_grad_()
    v = flow(x, torch.linspace(0.1, 0.9, 40))
    w = flow.project(noise(40, 29, 9, seed=1))
    g = torch.autograd.grad((v * w).sum(), x)[0]
    n = int(sizes.max())
    z = x.detach()[:, :n].requires_grad_()
    one = networks.generator(z, torch.linspace(0.1, 0.9, 40), flow.support.mask[:, :n])
    assert_close(v[:, :n], one, atol=1e-4, rtol=1e-3)
    h = torch.autograd.grad((one * w[:, :n]).sum(), z)[0]
    assert_close(g[:, :n], h, atol=1e-3, rtol=1e-2)
    groups = group_by_size(flow.support.mask, torch.device("cpu"))
    assert [(len(i), atoms) for i, atoms in groups] == [(16, 9), (16, 21), (8, 21)]
    assert [len(i) for i, _ in group_by_size(flow.support.mask, torch.device("cuda"))] == [40]


def test_the_source_has_the_variance_of_its_dimension(networks):
    flow = molecule_flow(networks.generator, [7] * 500)
    square = flow.noise(range(500)).square().sum((1, 2)) / flow.source_dimension
    assert flow.source_dimension[0] == 3 * 6 + 6 * 7
    assert abs(square.mean().item() - 1) < 0.03


@pytest.mark.parametrize("sizes", [[1], [30], [], [5, 0]])
def test_impossible_sizes_are_refused(sizes, networks):
    with pytest.raises(Misuse, match="Give 2 to 29"):
        molecule_flow(networks.generator, sizes)


def test_renormalised_puts_each_kind_of_feature_on_its_shell():
    mask = atom_mask(torch.tensor([6, 3]))
    z = 3 * noise(2, 29, 9)
    z[..., 3:] += 2.0
    x = FeatureShell(mask)(z)
    n = torch.tensor([6.0, 3.0])
    assert_close(x[..., :3].square().sum((1, 2)), 3 * (n - 1))
    assert_close(x[..., 3:8].square().sum((1, 2)), 5 * n)
    assert_close(x[..., 8].square().sum(1), n)
    assert_close(project(x, mask), x)
    assert_close(FeatureShell(mask)(x), x)
    assert_close(FeatureShell(mask).select(torch.tensor([1]))(z[1:]), x[1:])


def test_known_is_an_orthogonal_projection_that_forgets_where_the_fragment_is():
    placed = torch.zeros(2, 29, dtype=torch.bool)
    placed[0, :4], placed[1, :2] = True, True
    typed = placed.clone()
    typed[:, 4:6] = True
    x, y = noise(2, 29, 9), noise(2, 29, 9, seed=1)
    a = KnownPart.from_state(y, placed, typed)
    assert_close((a.project(x) * y).sum(), (x * a.project(y)).sum())
    assert_close(a.project(a.project(x)), a.project(x))
    moved = x.clone()
    moved[..., :3] += torch.tensor([1.0, -2.0, 3.0])
    assert_close(a.project(moved), a.project(x), atol=1e-5, rtol=0)
    assert_close(a.project(y), a.y)


@pytest.mark.parametrize("steps", [1, 3, 8, 60])
def test_what_is_known_comes_out_exactly_from_any_noise(networks, steps):
    x, mask = state_of(METHANE, METHANE)
    known = KnownPart.from_state(x, mask & (torch.arange(29) < 4), mask)
    flow = molecule_flow(networks.generator, [5, 5], known)
    with torch.no_grad():
        x1 = solve(flow, flow.noise([0, 1]), steps=steps)
    assert (known.project(x1) - known.y).abs().max() < 1e-5
    assert x1[..., :3].sum(1).abs().max() < 1e-5
    assert not torch.allclose(x1[0], x1[1], atol=0.01)
