"""The Frechet distance of two sets of features, of any network and domain."""

from __future__ import annotations

import torch
from torch import Tensor

from headwater.errors import Misuse


def frechet_distance(features_a: Tensor, features_b: Tensor) -> Tensor:
    """Squared Frechet (2-Wasserstein) distance of the Gaussians fitted to two sets of features.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), with m the means and C the covariances (divided by
    n - 1), in float64. With R a root of C = R^T R (triangular, or the centred features), and the trace of
    the root is the sum of the singular values of R_a R_b^T: no squares are formed, and it is exact also
    for n <= d, where C has rank n - 1. Report n with the number: it is biased upwards by roughly 1 / n,
    so only distances with the same n compare; nothing is shrunk or corrected here.

    Parameters
    ----------
    features_a, features_b : Tensor [n_a, d], [n_b, d]
        Features of some network; name it with the number.

    Returns
    -------
    Tensor, a float64 scalar

    Raises
    ------
    Misuse
        The dimensions differ or there are fewer than two samples.

    References
    ----------
    Dowson and Landau (1982), The Frechet distance between multivariate normal distributions.

    Examples
    --------
    >>> a = torch.tensor([[-1.0], [1.0]])  # variance 2
    >>> float(frechet_distance(a, a + 3))
    9.0
    """
    if features_a.ndim != 2 or features_a.shape[1:] != features_b.shape[1:]:
        shapes = f"{list(features_a.shape)} and {list(features_b.shape)}"
        raise Misuse(
            f"Features [n, d] of one d are compared, not {shapes}.", "Use one feature layer for both."
        )
    if min(len(features_a), len(features_b)) < 2:
        raise Misuse("A covariance needs two samples or more.", "Give more samples.")
    mean_a, root_a = _moments(features_a.double())
    mean_b, root_b = _moments(features_b.double())
    overlap: Tensor = torch.linalg.svdvals(root_a @ root_b.mT).sum()
    apart: Tensor = (mean_a - mean_b).square().sum()
    return apart + root_a.square().sum() + root_b.square().sum() - 2 * overlap


def _moments(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [d] and a root R of the covariance, R^T R = C."""
    mean = samples.mean(0)
    centred = (samples - mean) / (len(samples) - 1) ** 0.5
    return mean, torch.linalg.qr(centred).R if len(samples) > samples.shape[1] else centred
