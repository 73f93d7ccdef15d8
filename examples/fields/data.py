r"""Darcy flow on the unit square: -div(a grad u) = 1 with u = 0 on the boundary, on 32 x 32 inner nodes.

The coefficient lies between 3 and 12, two kinds of rock with a soft border:

    g ~ N(0, (-laplacian + 9)^-2), Neumann boundary;   z = tanh(2 g / sd);   a = 6 * 2^z

A state of the flow holds both fields, x `[2, 32, 32]`: z, and the solution as (u - CENTRE) / SCALE.

Fluxes are taken at the faces between nodes, with the mean of the two coefficients; at the boundary with that of the
node. The sparse system is solved by `scipy`, so the residual of what it returns is that of rounding.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.fft import idctn
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor

SIZE = 32
STEP = 1 / (SIZE + 1)
"""The distance of two nodes."""
CENTRE, SCALE = 0.0061, 0.0035
"""The solution in a state is (u - CENTRE) / SCALE."""


def to_coefficient(z: Tensor) -> Tensor:
    """a = 6 * 2^z of z `[...]`: 3 for -1 and 12 for 1."""
    return 6 * torch.exp2(z)


def to_state(z: Tensor, u: Tensor) -> Tensor:
    """The states `[n, 2, 32, 32]` of z and u, `[n, 32, 32]` each."""
    return torch.stack([z, (u - CENTRE) / SCALE], 1)


def to_fields(x: Tensor) -> tuple[Tensor, Tensor]:
    """The coefficient a and the solution u, `[n, 32, 32]` each, of states x `[n, 2, 32, 32]`."""
    return to_coefficient(x[:, 0]), CENTRE + SCALE * x[:, 1]


def draw_rock(count: int, generator: torch.Generator) -> Tensor:
    """z `[count, 32, 32]` in (-1, 1): tanh of a Gaussian field by its cosine series (Li et al., "FNO", ICLR 2021)."""
    k = np.pi * np.arange(SIZE)
    root = 1 / (
        k[:, None] ** 2 + k[None, :] ** 2 + 9
    )  # the root of the eigenvalues of the covariance
    root[0, 0] = 0  # both kinds of rock fill half of the square on average
    noise = torch.randn(
        count, SIZE, SIZE, generator=generator, dtype=torch.float64
    ).numpy()
    g = idctn(root * noise, axes=(1, 2), norm="ortho")
    return torch.from_numpy(np.tanh(2 * g / (np.sqrt((root**2).sum()) / SIZE))).float()


def solve_darcy(a: np.ndarray) -> np.ndarray:
    """The solution u `[32, 32]` of -div(a grad u) = 1 for a `[32, 32]`, float64."""
    node = np.arange(SIZE * SIZE).reshape(SIZE, SIZE)
    diagonal = np.zeros((SIZE, SIZE))
    rows, columns, values = [], [], []
    for left, right in ((np.s_[:-1, :], np.s_[1:, :]), (np.s_[:, :-1], np.s_[:, 1:])):
        face = (a[left] + a[right]) / 2
        diagonal[left] += face
        diagonal[right] += face
        for i, j in ((left, right), (right, left)):
            rows.append(node[i].ravel())
            columns.append(node[j].ravel())
            values.append(-face.ravel())
    for edge in (np.s_[0, :], np.s_[-1, :], np.s_[:, 0], np.s_[:, -1]):
        diagonal[edge] += a[edge]  # the neighbour is the boundary, where u = 0
    rows.append(node.ravel())
    columns.append(node.ravel())
    values.append(diagonal.ravel())
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    matrix = coo_matrix(entries, shape=(SIZE**2, SIZE**2)).tocsc() / STEP**2
    u: np.ndarray = spsolve(matrix, np.ones(SIZE**2))
    return u.reshape(SIZE, SIZE)


def simulate(count: int, seed: int) -> Tensor:
    """States `[count, 2, 32, 32]`, float32, of as many random coefficients; about 6 ms each."""
    z = draw_rock(count, torch.Generator().manual_seed(seed))
    u = np.stack([solve_darcy(a) for a in to_coefficient(z.double()).numpy()])
    return to_state(z, torch.from_numpy(u).float())


def turn(x: Tensor, number: int) -> Tensor:
    """One of the eight symmetries of the square, 0 to 7, of states x `[n, 2, 32, 32]`: the equation has them, too."""
    x = x.flip(-1) if number & 1 else x
    x = x.flip(-2) if number & 2 else x
    return x.transpose(-1, -2) if number & 4 else x


def choose_sensors(count: int, points: int, seed: int) -> Tensor:
    """Which points are measured, bool `[count, 2, 32, 32]`: `points` of each field, drawn apart."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(count, 2, SIZE * SIZE, generator=generator).argsort(-1).argsort(-1)
    return (order < points).reshape(count, 2, SIZE, SIZE)
