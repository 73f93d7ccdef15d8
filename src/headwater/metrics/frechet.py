"""The Frechet distance of two sets of features, of any network and domain."""

from __future__ import annotations

import torch
from torch import Tensor

from headwater.errors import Misuse


def frechet_distance(features_a: Tensor, features_b: Tensor) -> Tensor:
    """Squared Frechet (2-Wasserstein) distance of the Gaussians fitted to two sets of features.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), with m the means and C the covariances (divided by n - 1), in
    float64. Report n with the number: it is biased upwards by roughly 1 / n, so only distances with the same n can be
    compared; nothing is corrected here.

    Parameters
    ----------
    features_a, features_b
        Features `[n_a, d]` and `[n_b, d]` of a network; name the network with the number.

    Returns
    -------
    distance
        A float64 scalar, in squared units of the features.

    Raises
    ------
    Misuse
        If the dimensions differ or there are fewer than two samples.

    References
    ----------
    Dowson & Landau, "The Frechet distance between multivariate normal distributions", J. Multivariate Anal. 12
    (1982); Heusel et al., "FID", NeurIPS 2017, eq. 6.

    Examples
    --------
    >>> a = torch.tensor([[-1.0], [1.0]])  # variance 2
    >>> float(frechet_distance(a, a + 3))
    9.0
    """
    if features_a.ndim != 2 or features_a.shape[1:] != features_b.shape[1:]:
        shapes = f"{list(features_a.shape)} and {list(features_b.shape)}"
        raise Misuse(
            f"The features {shapes} are not [n, d] with the same d.", "Use one feature layer for both."
        )
    if min(len(features_a), len(features_b)) < 2:
        raise Misuse("A covariance needs at least two samples.", "Give more samples.")
    mean_a, root_a = _moments(features_a.double())
    mean_b, root_b = _moments(features_b.double())
    # tr (C_a C_b)^(1/2) is the sum of the singular values of R_a R_b^T with C = R^T R. No product of covariances is
    # formed, whose root would lose half of the digits, and it is exact for n <= d, too, where C is singular.
    overlap: Tensor = torch.linalg.svdvals(root_a @ root_b.mT).sum()
    apart: Tensor = (mean_a - mean_b).square().sum()
    return apart + root_a.square().sum() + root_b.square().sum() - 2 * overlap


def _moments(samples: Tensor) -> tuple[Tensor, Tensor]:
    """The mean `[d]` of samples `[n, d]` and a root R of their covariance, R^T R = C, at most d rows."""
    mean = samples.mean(0)
    centred = (samples - mean) / (len(samples) - 1) ** 0.5
    return mean, torch.linalg.qr(centred).R if len(samples) > samples.shape[1] else centred
