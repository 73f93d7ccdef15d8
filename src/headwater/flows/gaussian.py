"""Flows known in closed form: Gaussians and Gaussian mixtures, the oracles of tests and examples.

For p1 = sum_k pi_k N(m_k, S_k) and an affine path, x_t is a mixture of N(alpha m_k, M_k) with
M_k = alpha^2 S_k + sigma^2 I, so that with r_k(x) the posterior weight of component k

- xhat = sum_k r_k xhat_k,  xhat_k = m_k + alpha S_k M_k^-1 (x - alpha m_k)
- eps  = sum_k r_k eps_k,   eps_k  = sigma M_k^-1 (x - alpha m_k)
- Var[x1 | x] = sum_k r_k (sigma^2 S_k M_k^-1 + xhat_k xhat_k^T) - xhat xhat^T

All are evaluated in the eigenbasis of each S_k, where M_k is diagonal, in float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.path import CondOT, Path


class GaussianMixture:
    """The law sum_k pi_k N(m_k, S_k) on vectors of dimension d, with its exact flow: an oracle for tests.

    Its `flow` has the velocity v = alpha' xhat + sigma' eps with the exact posterior means xhat and eps, computed in
    float64.

    Parameters
    ----------
    weights
        pi_k `[k]`, not negative; they are normalised to sum 1.
    means
        m_k `[k, d]`, in data units.
    spread
        Covariances S_k `[k, d, d]`, or standard deviations `[k]` or `[k, d]`.
    path
        The path of the flow; None means `CondOT()`.

    Raises
    ------
    Misuse
        If the shapes do not belong together or a weight is negative.

    References
    ----------
    Lipman et al., "Flow Matching Guide and Code", 2024, for the velocity from the posterior means.

    Examples
    --------
    Two narrow modes at -2 and 2: a source point to the left of 0 goes to the left one.

    >>> from headwater import solve
    >>> law = GaussianMixture([0.5, 0.5], torch.tensor([[-2.0], [2.0]]), torch.tensor([0.1, 0.1]))
    >>> law.flow.denoise(torch.zeros(1, 1, dtype=torch.float64), torch.tensor(0.5)).item()
    0.0
    >>> solve(law.flow, torch.tensor([[-0.5], [0.5]]), steps=48).round(decimals=1).flatten().tolist()
    [-2.0, 2.0]
    """

    def __init__(
        self, weights: Sequence[float] | Tensor, means: Tensor, spread: Tensor, path: Path | None = None
    ) -> None:
        w = torch.as_tensor(weights, dtype=torch.float64)
        if means.ndim != 2 or w.shape != means.shape[:1] or len(spread) != len(w) or bool((w < 0).any()):
            raise Misuse(
                f"Weights {tuple(w.shape)}, means {tuple(means.shape)} and spread {tuple(spread.shape)} do not fit.",
                "Give weights [k] >= 0, means [k, d] and covariances [k, d, d] or deviations [k] or [k, d].",
            )
        self.path = path or CondOT()
        self.log_weights = (w / w.sum()).log()
        self.means = means.to(torch.float64)
        k, d = means.shape
        # S_k = Q diag(l) Q^T once, so that M_k^-1 costs nothing at any t.
        if spread.ndim == 3:
            self.eigenvalues, self.basis = torch.linalg.eigh(spread.to(torch.float64))
        else:
            s = spread.to(torch.float64).reshape(k, -1).expand(k, d)
            self.eigenvalues, self.basis = s * s, torch.eye(d, dtype=torch.float64).expand(k, d, d)

    @property
    def flow(self) -> Flow:
        """The exact flow of this law, a `Flow` with events `[d]`."""
        return Flow(self.velocity, tuple(self.means.shape[1:]), self.path)

    def _centred(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """(x - alpha m_k) and the eigenvalues of M_k in the eigenbasis of S_k `[k, batch, d]`."""
        c = list(self.path.coefficients(x.to(torch.float64), t))
        z = torch.einsum("kbd,kde->kbe", x.to(torch.float64) - c[0] * self.means[:, None], self.basis)
        return z, c[0] ** 2 * self.eigenvalues[:, None] + c[1] ** 2, c

    def _log_joint(self, z: Tensor, m: Tensor) -> Tensor:
        return self.log_weights[:, None] - 0.5 * (z * z / m + (2 * math.pi * m).log()).sum(-1)

    def _mix(self, log_joint: Tensor, value: Tensor) -> Tensor:
        return (torch.softmax(log_joint, 0)[..., None] * value).sum(0)

    def _back(self, z: Tensor) -> Tensor:
        return torch.einsum("kbe,kde->kbd", z, self.basis)

    def log_density(self, x: Tensor, t: Tensor | float = 1.0) -> Tensor:
        """log p_t(x) of x `[batch, d]` in nats, float64 `[batch]`; t = 1 is the law itself, t = 0 N(0, I)."""
        z, m, _ = self._centred(x, torch.as_tensor(t, dtype=torch.float64))
        return torch.logsumexp(self._log_joint(z, m), 0)

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """v(x, t) = alpha' xhat + sigma' eps of x `[batch, d]`, `[batch, d]`; finite at both ends for `CondOT`."""
        z, m, (_, b, da, db) = self._centred(x, t)
        xhat = self._xhat(z, m, t, x)
        eps = self._back(b * z / m)  # sigma M^-1 (x - alpha m): no division by alpha or sigma
        return self._mix(self._log_joint(z, m), da * xhat + db * eps).to(x.dtype)

    def _xhat(self, z: Tensor, m: Tensor, t: Tensor, x: Tensor) -> Tensor:
        a = self.path.coefficients(x.to(torch.float64), t)[0]
        return self.means[:, None] + self._back(a * self.eigenvalues[:, None] * z / m)

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """The posterior mean E[x1 | x_t = x] of x `[batch, d]`, `[batch, d]`; t is `[]` or `[batch]`."""
        z, m, _ = self._centred(x, t)
        return self._mix(self._log_joint(z, m), self._xhat(z, m, t, x)).to(x.dtype)

    def posterior_covariance(self, x: Tensor, t: Tensor) -> Tensor:
        """The posterior covariance Var[x1 | x_t = x] of x `[batch, d]`, `[batch, d, d]`; t is `[]` or `[batch]`."""
        z, m, (_, b, _, _) = self._centred(x, t)
        r = torch.softmax(self._log_joint(z, m), 0)
        xhat = self._xhat(z, m, t, x)
        within = torch.einsum(
            "kde,kbe,kfe->kbdf", self.basis, b**2 * self.eigenvalues[:, None] / m, self.basis
        )
        # Var = E[Var | k] + Var[E | k]; centred, so that nothing cancels where sigma is small.
        mean = (r[..., None] * xhat).sum(0)
        spread = xhat - mean
        outer = spread[..., :, None] * spread[..., None, :]
        return (r[..., None, None] * (within + outer)).sum(0).to(x.dtype)

    def sample(self, seeds: Sequence[int]) -> Tensor:
        """One exact sample per seed, `[len(seeds), d]` float64."""
        out = []
        for seed in seeds:
            g = torch.Generator().manual_seed(int(seed))
            k = int(torch.multinomial(self.log_weights.exp(), 1, generator=g))
            z = torch.randn(self.means.shape[1], generator=g, dtype=torch.float64)
            out.append(self.means[k] + self.basis[k] @ (self.eigenvalues[k].sqrt() * z))
        return torch.stack(out)


class Gaussian(GaussianMixture):
    """The law N(m, S) on vectors of dimension d, with its exact flow and endpoint map: an oracle for tests.

    A `GaussianMixture` of one component, with all of its methods. On a path with alpha_0 = 0 the endpoint map is
    x1 = m + S^(1/2) x0. Its Jacobian S^(1/2) gives the gradient of D-Flow in closed form, grad_x0 C = S^(1/2) grad C.

    Parameters
    ----------
    mean
        m `[d]`, in data units.
    spread
        A covariance S `[d, d]`, or standard deviations `[d]`.
    path
        The path of the flow; None means `CondOT()`.

    Raises
    ------
    Misuse
        If the shapes do not belong together.

    Examples
    --------
    >>> law = Gaussian(torch.zeros(2), torch.tensor([1.0, 3.0]))
    >>> x0 = torch.ones(1, 2, dtype=torch.float64)
    >>> law.endpoint(x0).tolist()
    [[1.0, 3.0]]
    >>> from headwater import solve
    >>> bool((solve(law.flow, x0, steps=48) - law.endpoint(x0)).abs().max() < 1e-3)
    True
    """

    def __init__(self, mean: Tensor, spread: Tensor, path: Path | None = None) -> None:
        super().__init__([1.0], mean[None], spread[None], path)

    def endpoint(self, x0: Tensor, start: float = 0.0, end: float = 1.0) -> Tensor:
        """The exact solution `[batch, d]` at the time `end` of the flow through x0 `[batch, d]` at the time `start`.

        In the eigenbasis, z(t) = x - alpha m obeys z' = (1/2) (log(alpha^2 l + sigma^2))' z with l an eigenvalue.
        """
        t0, t1 = (torch.tensor(t, dtype=torch.float64) for t in (start, end))
        z, m0, _ = self._centred(x0, t0)
        a1, b1 = self.path.alpha(t1), self.path.sigma(t1)
        m1 = a1**2 * self.eigenvalues[:, None] + b1**2
        return (a1 * self.means[0] + self._back(z * (m1 / m0).sqrt())[0]).to(x0.dtype)
