"""Trunk, generator and regressor: symmetries, padding, gradients, and the denoiser by its formulae."""

import pytest
import torch
import torch.nn.functional as F
from core_laws import F64, normal, time
from torch.testing import assert_close

from headwater import Gaussian
from headwater.molecule.generator import SPREAD, Generator, matching_losses
from headwater.molecule.network import Trunk, TrunkConfig
from headwater.molecule.regressor import EXTRA, PROPERTIES, Regressor, RegressorConfig
from headwater.molecule.state import CHARGE_SCALE, KINDS, TYPE_SCALE, centred, encode, mask_of, project
from headwater.molecule.units import DEBYE

torch.set_num_threads(1)
SIZES = {"width": 16, "vectors": 8, "pairs": 8, "dots": 4, "heads": 4, "blocks": 3, "radial": 6}
GENERATES = TrunkConfig(inputs=6, **SIZES)
READS = TrunkConfig(inputs=5, **SIZES, time=False, moves=0)
REFERENCE = {
    n: tuple(normal(6, seed=i).tolist()) for i, n in enumerate(("alpha", "cv", "homo", "lumo", "u0"))
}
ATOMS = torch.tensor([5, 1, 3, 2, 7])
MASK = mask_of(ATOMS, 7)


def perturbed(build, seed=0, amount=0.1):
    """A network in float64, far from its initial weights, where the updates are near the identity."""
    torch.manual_seed(seed)
    net = build().to(F64)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(amount * torch.randn_like(p))
    return net.requires_grad_(False)


TRUNK = perturbed(lambda: Trunk(GENERATES))
GENERATOR = perturbed(lambda: Generator(GENERATES))
REGRESSOR = perturbed(lambda: Regressor(RegressorConfig(READS, REFERENCE, {"alpha": 2.0, "cv": 0.5})))


def orthogonal(determinant, seed=0):
    """A random orthogonal matrix: a rotation for +1, a rotation and a reflection for -1."""
    q, r = torch.linalg.qr(normal(3, 3, seed=seed))
    q = q * r.diagonal().sign()
    return q if torch.det(q) * determinant > 0 else -q


def moved_by(turn, x):
    """A state with its positions turned."""
    return torch.cat([x[..., :3] @ turn.T, x[..., 3:]], dim=-1)


def noisy(mask=MASK, seed=1):
    """States on the way: centred Gaussian positions, types and charges."""
    return project(1.4 * normal(*mask.shape, 9, seed=seed), mask)


def orders(mask=MASK, seed=2):
    """A random order of the atoms that exist, per molecule; the padding stays."""
    g = torch.Generator().manual_seed(seed)
    order = torch.arange(mask.shape[1]).repeat(len(mask), 1)
    for row, k in zip(order, mask.sum(1).tolist(), strict=True):
        row[:k] = torch.randperm(k, generator=g)
    return order


def taken(x, order, dim=1):
    """`x` with its atoms (along `dim`) in a new order."""
    return torch.stack([row.index_select(dim - 1, o) for row, o in zip(x, order, strict=True)])


def molecules(seed=3):
    """Positions that are not centred, relaxed types (rows of weights, not one-hot) and the mask."""
    types = (2 * normal(*MASK.shape, KINDS, seed=seed + 1)).softmax(-1)
    return 1.3 * normal(*MASK.shape, 3, seed=seed), types, MASK


def spread_of(x):
    return float(x.std())


either_hand = pytest.mark.parametrize("hand", [1, -1], ids=["rotation", "reflection"])
TIMES = torch.tensor([0.0, 0.3, 0.6, 0.95, 0.99], dtype=F64)


# --- symmetries -------------------------------------------------------------------------------------------------


@either_hand
def test_trunk_scalars_are_invariant_and_vectors_turn(hand):
    turn = orthogonal(hand)
    x = noisy()
    h, V, p = TRUNK(x[..., 3:], x[..., :3], MASK, TIMES)
    h2, V2, p2 = TRUNK(x[..., 3:], x[..., :3] @ turn.T, MASK, TIMES)
    assert_close(h2, h, rtol=1e-9, atol=1e-9)
    assert_close(V2, torch.einsum("xy,bync->bxnc", turn, V), rtol=1e-9, atol=1e-9)
    assert_close(p2, p @ turn.T, rtol=1e-9, atol=1e-9)
    seen = MASK[..., None]
    assert spread_of(V.permute(0, 2, 1, 3)[MASK]) > 0.1  # so that this is not 0 = 0
    assert spread_of(((p - x[..., :3]) * seen)[MASK]) > 0.01


@either_hand
def test_generator_velocity_turns_with_the_molecule(hand):
    turn = orthogonal(hand, seed=4)
    x = noisy()
    v = GENERATOR(x, TIMES, MASK)
    assert_close(GENERATOR(moved_by(turn, x), TIMES, MASK), moved_by(turn, v), rtol=1e-9, atol=1e-9)
    assert float((moved_by(turn, v) - v).abs().max()) > 0.1


@either_hand
def test_properties_do_not_depend_on_the_motion(hand):
    """Rotation or reflection, and a translation of its own for every molecule."""
    positions, types, mask = molecules()
    before = REGRESSOR(positions, types, mask)
    away = positions @ orthogonal(hand, seed=5).T + 10 * normal(len(mask), 1, 3, seed=6)
    after = REGRESSOR(away, types, mask)
    for name in (*PROPERTIES, *EXTRA, "partial"):
        assert_close(after[name], before[name], rtol=1e-9, atol=1e-9, msg=name)


def test_properties_depend_on_the_shape():
    """What is invariant is not constant: a bond 0.1 longer is seen by every property."""
    positions, types, mask = molecules()
    longer = positions.clone()
    longer[:, 0, 0] += 0.1
    a, b = REGRESSOR(positions, types, mask), REGRESSOR(longer, types, mask)
    for name in (*PROPERTIES, *EXTRA):
        assert float((a[name] - b[name]).abs()[mask.sum(1) > 1].min()) > 1e-6, name


def test_trunk_follows_the_order_of_atoms():
    x, order = noisy(), orders()
    h, V, p = TRUNK(x[..., 3:], x[..., :3], MASK, TIMES)
    y = taken(x, order)
    h2, V2, p2 = TRUNK(y[..., 3:], y[..., :3], MASK, TIMES)
    assert_close(h2, taken(h, order), rtol=1e-9, atol=1e-9)
    assert_close(V2, taken(V, order, dim=2), rtol=1e-9, atol=1e-9)
    assert_close(p2, taken(p, order), rtol=1e-9, atol=1e-9)


def test_velocity_follows_the_order_of_atoms():
    x, order = noisy(), orders()
    v = GENERATOR(x, TIMES, MASK)
    assert_close(GENERATOR(taken(x, order), TIMES, MASK), taken(v, order), rtol=1e-9, atol=1e-9)
    assert not torch.equal(taken(v, order), v)


def test_properties_do_not_depend_on_the_order_of_atoms():
    positions, types, mask = molecules()
    order = orders()
    before, after = (
        REGRESSOR(positions, types, mask),
        REGRESSOR(taken(positions, order), taken(types, order), mask),
    )
    for name in (*PROPERTIES, *EXTRA):
        assert_close(after[name], before[name], rtol=1e-9, atol=1e-9, msg=name)
    assert_close(after["partial"], taken(before["partial"], order), rtol=1e-9, atol=1e-9)


# --- padding ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("i", range(len(ATOMS)))
def test_a_molecule_alone_has_the_velocity_it_has_beside_larger_ones(i):
    """Without any padding, with more of it, and beside others: batch of k equals k of one."""
    k, x = int(ATOMS[i]), noisy()
    v = GENERATOR(x, TIMES, MASK)[i]
    alone = GENERATOR(x[i : i + 1, :k], TIMES[i], MASK[i : i + 1, :k])[0]
    assert_close(v[:k], alone, rtol=1e-10, atol=1e-10)
    wide = GENERATOR(F.pad(x[i : i + 1], (0, 0, 0, 22)), TIMES[i], mask_of(ATOMS[i : i + 1], 29))[0]
    assert_close(wide[:k], alone, rtol=1e-10, atol=1e-10)
    assert not wide[k:].any() and not v[k:].any()


@pytest.mark.parametrize("i", range(len(ATOMS)))
def test_a_molecule_alone_has_the_properties_it_has_beside_larger_ones(i):
    positions, types, mask = molecules()
    k = int(ATOMS[i])
    beside = REGRESSOR(positions, types, mask)
    alone = REGRESSOR(positions[i : i + 1, :k], types[i : i + 1, :k], mask[i : i + 1, :k])
    for name in (*PROPERTIES, *EXTRA):
        assert_close(beside[name][i : i + 1], alone[name], rtol=1e-10, atol=1e-10, msg=name)
    assert_close(beside["partial"][i, :k], alone["partial"][0], rtol=1e-10, atol=1e-10)
    assert not beside["partial"][i, k:].any()


def test_what_stands_in_the_padding_does_not_matter_to_the_properties():
    positions, types, mask = molecules()
    hidden = ~mask[..., None]
    garbage = REGRESSOR(positions + 50 * hidden, types + 7 * hidden, mask)
    for name, value in REGRESSOR(positions, types, mask).items():
        assert_close(garbage[name], value, rtol=1e-10, atol=1e-10, msg=name)


def test_gradients_do_not_leak_into_the_padding():
    """A cost that sees all of the velocity, and all properties, has gradient zero where there is no atom."""
    x = noisy().requires_grad_()
    v = GENERATOR(x, TIMES, MASK)
    (v * normal(*v.shape, seed=8)).sum().backward()
    assert float(x.grad[~MASK].abs().max()) < 1e-12 < float(x.grad[MASK].abs().max())
    positions, types, mask = molecules()
    positions.requires_grad_(), types.requires_grad_()
    sum(y.sum() for y in REGRESSOR(positions, types, mask).values()).backward()
    for leaf in (positions, types):
        assert float(leaf.grad[~mask].abs().max()) < 1e-12 < float(leaf.grad[mask].abs().max())


# --- gradients --------------------------------------------------------------------------------------------------

SMALL = torch.tensor([2, 3])


def test_gradients_of_properties_equal_finite_differences():
    """Central differences in float64 for positions and relaxed types, padding included."""
    mask = mask_of(SMALL, 4)
    positions = (1.2 * normal(2, 4, 3, seed=9)).requires_grad_()
    types = (2 * normal(2, 4, KINDS, seed=10)).softmax(-1).requires_grad_()

    def properties(positions, types):
        out = REGRESSOR(positions, types, mask)
        return tuple(out[name] for name in (*PROPERTIES, *EXTRA))

    assert torch.autograd.gradcheck(properties, (positions, types), eps=1e-5, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("t", [0.35, 0.97])
def test_gradients_through_the_velocity_equal_finite_differences(t):
    mask = mask_of(SMALL, 4)
    x = noisy(mask, seed=11).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: GENERATOR(x, time(t), mask), (x,), eps=1e-5, atol=1e-5, rtol=1e-5
    )


# --- the properties' formulae -----------------------------------------------------------------------------------


def test_gap_is_lumo_minus_homo_and_references_are_linear_in_the_composition():
    """With the last layers at zero only the reference is left: a constant and a number per atom of each element."""
    net = perturbed(lambda: Regressor(RegressorConfig(READS, REFERENCE)))
    with torch.no_grad():
        for layer in (net.sums, net.frontier[2]):
            layer.weight.zero_(), layer.bias.zero_()
    positions, types, mask = molecules()
    out = net(positions, types, mask)
    composition = (types * mask[..., None]).sum(1)
    for name, line in REFERENCE.items():
        line = torch.tensor(line).to(F64)  # the network keeps its references in float32
        assert_close(out[name], line[0] + composition @ line[1:], rtol=1e-10, atol=1e-10)
    assert_close(out["gap"], out["lumo"] - out["homo"])
    full = REGRESSOR(positions, types, mask)
    assert_close(full["gap"], full["lumo"] - full["homo"])


def test_dipole_is_that_of_neutral_point_charges():
    """Charges by the atom's type, no atomic dipoles: mu = |sum (q_i - mean q) r_i| in Debye, by hand."""
    net = perturbed(lambda: Regressor(RegressorConfig(READS)))
    with torch.no_grad():
        net.dipole.weight.zero_()
        net.sums.weight.zero_()
    positions, types, mask = molecules()
    with torch.no_grad():  # every atom the same charge: a neutral molecule has none
        net.sums.bias.fill_(0.7)
    assert float(net(positions, types, mask)["mu"].max()) < 1e-3
    charge = normal(5, 7, seed=12)
    net.sums.register_forward_hook(lambda m, i, o: torch.cat([o[..., :5], charge[..., None]], dim=-1))
    for i, k in enumerate(ATOMS.tolist()):
        q = charge[i, :k] - charge[i, :k].mean()
        mu = DEBYE * (q[:, None] * positions[i, :k]).sum(0).norm()
        assert_close(net(positions, types, mask)["mu"][i], mu, rtol=1e-6, atol=1e-3)


# --- the generator's formulae -----------------------------------------------------------------------------------


def test_one_time_equals_a_time_per_problem():
    x = noisy()
    for t in TIMES:
        assert_close(GENERATOR(x, t, MASK), GENERATOR(x, t.expand(len(x)), MASK), rtol=0, atol=0)


@pytest.mark.parametrize("t", [0.0, 0.5, 0.97, 0.999, 1.0])
def test_velocity_keeps_the_centre_and_the_padding(t):
    """In float32, at 29 atoms: mean position and empty rows stay zero to 1e-6 of the velocity."""
    atoms = torch.tensor([29, 9, 1, 18])
    mask = mask_of(atoms)
    net = perturbed(lambda: Generator(GENERATES)).float()
    v = net(noisy(mask).float(), torch.tensor(t), mask)
    assert bool(v.isfinite().all())
    centre = v[..., :3].sum(1) / atoms[:, None]
    assert float(centre.abs().max()) < 1e-6 * max(1.0, float(v[..., :3].abs().max()))
    assert not v[~mask].any()
    assert float(v[..., :3].abs().max()) > 0.1


def test_centre_and_padding_are_kept_along_the_solve():
    """Twenty midpoint steps in float32: centre within 1e-5 angstrom, empty rows exactly zero."""
    atoms = torch.tensor([29, 9, 1, 18])
    mask = mask_of(atoms)
    net = perturbed(lambda: Generator(GENERATES), amount=0.03).float()
    x, h = noisy(mask).float(), 1 / 20
    for i in range(20):
        middle = x + 0.5 * h * net(x, torch.tensor(i * h), mask)
        x = x + h * net(middle, torch.tensor((i + 0.5) * h), mask)
    assert float(x[..., :3].abs().max()) < 100
    assert float((x[..., :3].sum(1) / atoms[:, None]).abs().max()) < 1e-5
    assert not x[~mask].any()


def edm(x, f, t):
    """Karras et al., table 1, at the noise level sigma = (1 - t) / t of x_t / t: c_skip x_t / t + c_out F."""
    sigma = (1 - t) / t
    skip = SPREAD**2 / (sigma**2 + SPREAD**2)
    out = sigma * SPREAD / (sigma**2 + SPREAD**2).sqrt()
    return skip * x / t + out * f


@pytest.mark.parametrize("t", [0.02, 0.4, 0.8, 0.989])
def test_velocity_is_that_of_the_denoiser(t):
    """forward = (xhat - x) / (1 - t), xhat of positions by EDM's preconditioning, of types by the posterior."""
    x, t = noisy(), time(t)
    f, types, charges = GENERATOR.heads(x, t.expand(len(x)), MASK)
    p = charges.softmax(-1)
    xhat = torch.cat(
        [edm(x[..., :3], f, t), TYPE_SCALE * types.softmax(-1), CHARGE_SCALE * (p[..., 2:] - p[..., :1])],
        dim=-1,
    )
    velocity = (xhat - x) / (1 - t) * MASK[..., None]
    assert_close(GENERATOR(x, t, MASK), velocity, rtol=1e-9, atol=1e-9)
    assert float(f[MASK].std()) > 0.05


def test_without_its_network_the_generator_is_a_gaussian_flow():
    """F = 0 is the exact velocity of data N(0, SPREAD^2): closed form of `Gaussian`, at every t."""
    net = perturbed(lambda: Generator(GENERATES))
    with torch.no_grad():
        net.shift.weight.zero_()
        for step in net.trunk.steps:
            step.weight.zero_()
    x = noisy()
    law = Gaussian(torch.zeros(3), torch.full((3,), SPREAD, dtype=F64))
    for t in (0.0, 0.3, 0.9, 0.999):
        exact = law.velocity(x[..., :3].reshape(-1, 3), time(t)).reshape(*MASK.shape, 3)
        assert_close(net(x, time(t), MASK)[..., :3], exact * MASK[..., None], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.7, 0.985])
def test_types_and_charges_are_bayes_posterior_means(t):
    """Constant logits are the log prior; the likelihood of z is N(t e_c, (1 - t)^2), written with densities."""
    net = perturbed(lambda: Generator(GENERATES))
    log_prior = normal(KINDS + 3, seed=13)
    with torch.no_grad():
        net.classes.weight.zero_()
        net.classes.bias.copy_(log_prior)
    x = noisy()
    z, q = x[..., 3:8], x[..., 8]
    noise = torch.distributions.Normal(0.0, 1 - time(t))
    corners = TYPE_SCALE * torch.eye(KINDS, dtype=F64)
    likelihood = noise.log_prob(z[..., None, :] - t * corners).sum(-1)  # [b, n, kinds]
    joint = likelihood + log_prior[:KINDS]
    types = (joint - joint.logsumexp(-1, keepdim=True)).exp() @ corners
    levels = CHARGE_SCALE * torch.tensor([-1.0, 0.0, 1.0], dtype=F64)
    joint = noise.log_prob(q[..., None] - t * levels) + log_prior[KINDS:]
    charge = (joint - joint.logsumexp(-1, keepdim=True)).exp() @ levels
    xhat = torch.cat([types, charge[..., None]], dim=-1)
    velocity = (xhat - x[..., 3:]) / (1 - t) * MASK[..., None]
    assert_close(net(x, time(t), MASK)[..., 3:], velocity, rtol=1e-8, atol=1e-8)


def test_the_solve_ends_at_types_and_charges_of_data():
    """From t = 0.9 the types of nearly clean states reach one-hot rows times the scale."""
    types = torch.arange(35).reshape(5, 7) % KINDS * MASK
    charges = (torch.arange(35).reshape(5, 7) % 3 - 1) * MASK
    data = encode(normal(5, 7, 3), types, charges, MASK)
    x, steps = 0.9 * data + 0.02 * noisy(), 50
    for i in range(steps):
        x = x + 0.1 / steps * GENERATOR(x, time(0.9 + 0.1 * i / steps), MASK)
    assert_close(x[..., 3:], data[..., 3:], rtol=0, atol=0.02)


class Heads:
    """A network of which only the heads are known."""

    def __init__(self, *values):
        self.values = values

    def heads(self, x, t, mask):
        return self.values


def test_losses_are_the_error_of_the_denoiser_and_log_likelihoods():
    """positions: |xhat - x1|^2 / c_out^2 per coordinate and atom; types, charges: -log p; the padding is free."""
    t = torch.tensor([0.05, 0.3, 0.5, 0.8, 0.99], dtype=F64)
    types = torch.arange(35).reshape(5, 7) % KINDS * MASK
    charges = (torch.arange(35).reshape(5, 7) % 3 - 1) * MASK
    x0, x1 = noisy(), encode(normal(5, 7, 3, seed=14), types, charges, MASK)
    f, kinds, levels = (
        centred(normal(5, 7, 3, seed=15), MASK),
        normal(5, 7, 5, seed=16),
        normal(5, 7, 3, seed=17),
    )
    losses = matching_losses(Heads(f, kinds, levels), x0, x1, types, charges, t, MASK)
    for i, k in enumerate(ATOMS.tolist()):
        x = (1 - t[i]) * x0[i] + t[i] * x1[i]
        sigma = (1 - t[i]) / t[i]
        out = sigma * SPREAD / (sigma**2 + SPREAD**2).sqrt()
        error = (edm(x[:k, :3], f[i, :k], t[i]) - x1[i, :k, :3]) / out
        assert_close(losses["positions"][i], error.square().mean())
        rows = torch.arange(k)
        p, q = kinds[i, :k].softmax(-1), levels[i, :k].softmax(-1)
        assert_close(losses["types"][i], -p[rows, types[i, :k]].log().mean())
        assert_close(losses["charges"][i], -q[rows, charges[i, :k] + 1].log().mean())
    garbage = Heads(*(y + 30 * ~MASK[..., None] for y in (f, kinds, levels)))
    for name, loss in matching_losses(garbage, x0, x1, types, charges, t, MASK).items():
        assert_close(loss, losses[name], msg=name)
