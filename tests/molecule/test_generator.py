"""The generator by its formulae: the denoiser, its velocity, posterior means and losses."""

import pytest
import torch
from core_laws import F64, normal, time
from networks import ATOMS, GENERATES, GENERATOR, MASK, TIMES, noisy, perturbed
from torch.testing import assert_close

from headwater import Gaussian
from headwater.molecule.model.generator import Generator, Preconditioning, matching_losses
from headwater.molecule.structure.state import (
    CHARGE_SCALE,
    KINDS,
    TYPE_SCALE,
    atom_mask,
    centre,
    encode_state,
)

torch.set_num_threads(1)
SPREAD = Preconditioning.spread


def test_one_time_equals_a_time_per_problem():
    x = noisy()
    for t in TIMES:
        assert_close(GENERATOR(x, t, MASK), GENERATOR(x, t.expand(len(x)), MASK), rtol=0, atol=0)


@pytest.mark.parametrize("t", [0.0, 0.5, 0.97, 0.999, 1.0])
def test_velocity_keeps_the_centre_and_the_padding(t):
    """In float32, at 29 atoms: mean position and empty rows stay zero to 1e-6 of the velocity."""
    atoms = torch.tensor([29, 9, 1, 18])
    mask = atom_mask(atoms)
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
    mask = atom_mask(atoms)
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
    data = encode_state(normal(5, 7, 3), types, charges, MASK)
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
    x0, x1 = noisy(), encode_state(normal(5, 7, 3, seed=14), types, charges, MASK)
    f, kinds, levels = (
        centre(normal(5, 7, 3, seed=15), MASK),
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
