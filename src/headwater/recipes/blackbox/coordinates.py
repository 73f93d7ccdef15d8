"""Coordinates of the source for a search: all of them, or a subspace spanned by draws."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Coordinates:
    """Points of the source for coordinates c, on or near the shell where the draws of N(0, I) lie.

    With draws b_1 .. b_m of the source, x0 = sum_i c_i b_i / |c|: for a c chosen without a look at them a draw of
    N(0, I). A c that was searched for can change the norm, by a factor of up to about 1 + sqrt(m / d) in d
    coordinates of the source: little where m is small beside d. Without draws c is x0 itself, scaled to the length
    of the problem's draw.

    Parameters
    ----------
    draw
        The problem's own draw z `[*event]`, which gives the length; on the support of the flow.
    basis
        b_1 .. b_m `[m, *event]`, b_1 what the search begins with; None means all coordinates.

    Examples
    --------
    >>> import torch
    >>> z = torch.tensor([3.0, 4.0])
    >>> Coordinates(z).point(torch.tensor([[2.0, 0.0]])).tolist()
    [[5.0, 0.0]]
    >>> Coordinates(z, torch.stack([z, -z])).point(torch.tensor([[2.0, 0.0]])).tolist()
    [[3.0, 4.0]]
    """

    draw: Tensor
    basis: Tensor | None = None

    @property
    def dimension(self) -> int:
        """How many coordinates there are."""
        return self.draw.numel() if self.basis is None else len(self.basis)

    def point(self, c: Tensor) -> Tensor:
        """x0 `[n, *event]` of coordinates c `[n, m]`."""
        c = c.to(self.draw)
        unit = c / c.norm(dim=1, keepdim=True).clamp(min=1e-12)
        x0: Tensor = unit * self.draw.norm() if self.basis is None else unit @ self.basis.flatten(1)
        return x0.reshape(len(c), *self.draw.shape)
