"""What every measurement operator promises: y = A(x) on a batch of images, recordings or anything else."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.least_squares import estimate_norm, solve_least_squares
from headwater.text import counted


@dataclass(frozen=True, eq=False)
class Operator(ABC):
    """A measurement operator y = A(x), differentiable in x; a subclass gives the call.

    x is `[batch, ...]`; the first axis of y is the problem, too. One operator serves the whole batch. A tensor that
    it holds has a first axis of 1 (shared) or of the batch (one per problem); `select` restricts the latter.

    Attributes
    ----------
    kind
        The word that the command line uses.
    linear
        Whether `adjoint` exists.
    channels
        The number of channels that x must have; None means any.
    per_problem
        The names of the tensors that the operator holds.

    Examples
    --------
    A sensor that saturates, with a gain per problem:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, eq=False)
    ... class Saturation(Operator):
    ...     gain: torch.Tensor
    ...     kind, per_problem = "saturation", ("gain",)
    ...     def __call__(self, x):
    ...         return torch.tanh(self.gain[:, None] * x)
    >>> operator = Saturation(torch.tensor([1.0, 100.0]))
    >>> operator(torch.ones(2, 1))
    tensor([[0.7616],
            [1.0000]])
    >>> operator.select([1])(torch.ones(1, 1)).tolist()
    [[1.0]]
    """

    kind: ClassVar[str]
    linear: ClassVar[bool] = False
    channels: ClassVar[int | None] = None
    per_problem: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """The name shown to the user."""
        return self.kind

    @property
    def local(self) -> int | None:
        """How far from its own place in x an entry of y looks, in pixels or samples; None means everywhere."""
        return None

    @property
    def stride(self) -> int:
        """Pixels or samples of x per one of y."""
        return 1

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """A(x) `[batch, ...]`, the measurement without noise, of x `[batch, ...]`."""

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """A(x) - y in the shape of y, zero where x `[batch, ...]` agrees with the measurement.

        Where the measurement is an inequality, as for clipped values, a subclass says what it breaks.

        Raises
        ------
        Misuse
            If y `[batch or 1, ...]` is not of the shape of A(x).
        """
        return difference(self(x), y)

    def damaged(self, shape: Sequence[int]) -> Tensor | None:
        """Which entries of x the measurement says nothing about, for x of this shape.

        Bool, broadcastable to x `[batch, ...]`; None means that y depends on all of x.
        """
        return None

    def count(self, y: Tensor) -> Tensor:
        """How many entries of y `[batch, ...]` are measurements, int64 `[batch]`: the divisor of a mean square."""
        return torch.full((y.shape[0],), y[:1].numel() if len(y) else 0, device=y.device)

    def select(self, index: Tensor | Sequence[int]) -> Self:
        """The operator of the problems in `index`, int64 `[k]` or a bool mask `[batch]`."""
        index = torch.as_tensor(index)
        index = index if index.dtype == torch.bool else index.long()  # torch takes uint8 for a mask
        return self._each_tensor(lambda held: held if held.shape[0] == 1 else held[index.to(held.device)])

    def to(self, device: torch.device | str) -> Self:
        """The operator with its tensors on `device`, which saves a copy at every call."""
        return self._each_tensor(lambda held: held.to(device))

    def _each_tensor(self, change: Callable[[Tensor], Tensor]) -> Self:
        changed = copy.copy(self)
        for field in self.per_problem:
            object.__setattr__(changed, field, change(getattr(self, field)))
        return changed


@dataclass(frozen=True, eq=False)
class LinearOperator(Operator):
    """A linear measurement y = A x with its exact adjoint, A' y: the inner products (A x, y) and (x, A' y) agree.

    A subclass gives the call and `adjoint`; the rest follows from them. Its other methods are those of `Operator`.

    References
    ----------
    Hestenes & Stiefel 1952, section 10, for the conjugate gradients of `pinv` and `project`.

    Examples
    --------
    The mean of two entries:

    >>> class Mean(LinearOperator):
    ...     kind = "mean"
    ...     def __call__(self, x):
    ...         return x.mean(1, keepdim=True)
    ...     def adjoint(self, y):
    ...         return y.expand(-1, 2) / 2
    >>> mean = Mean()
    >>> mean.pinv(torch.tensor([[3.0]])), mean.project(torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0]]))
    (tensor([[3., 3.]]), tensor([[2., 4.]]))
    >>> round(mean.norm((1, 2)).item(), 4)  # sqrt(1/2)
    0.7071
    """

    linear: ClassVar[bool] = True

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A' y `[batch, ...]`, in the shape of x, for y `[batch, ...]`."""

    def pinv(self, y: Tensor, *, ridge: float = 0.0) -> Tensor:
        """A' (A A' + ridge)^-1 y in the shape of x `[batch, ...]`: for ridge 0 the smallest x with A x = y.

        Subclasses with a closed form use it.
        """
        return self.pseudo_inverse(y, ridge=ridge)

    def pseudo_inverse(
        self, y: Tensor, *, ridge: float = 0.0, iterations: int = 100, tolerance: float = 1e-6
    ) -> Tensor:
        """As `pinv`, by conjugate gradients, in the shape of x `[batch, ...]`.

        It ends after `iterations`, or earlier, without a ridge at |A x - y| <= tolerance |y|.
        """
        return solve_least_squares(
            self, self.adjoint, y, ridge=ridge, iterations=iterations, tolerance=tolerance
        )

    def project(self, x: Tensor, y: Tensor, *, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
        """The point nearest to x with A x = y, which is x + A^+ (y - A x), in the shape of x `[batch, ...]`.

        For measurements without noise. Conjugate gradients are exact in a few iterations for masks, colour and
        super-resolution; for a blur that removes some frequencies |A x - y| falls about as 1 / iterations.
        """
        return x - self.pseudo_inverse(self.residual(x, y), iterations=iterations, tolerance=tolerance)

    def norm(self, shape: Sequence[int]) -> Tensor:
        """The largest singular value of A on x of `shape` `(batch, ...)`, float64 `[batch]`, by power iteration.

        Subclasses that know it say so.
        """
        return estimate_norm(self, self.adjoint, shape)


@dataclass(frozen=True, eq=False)
class Identity(LinearOperator):
    """y = x `[batch, ...]`: the measurement is the sample itself, with noise.

    Its other methods are those of `LinearOperator`.

    Examples
    --------
    >>> y = torch.full((1, 2), 0.5)
    >>> Identity()(y).tolist(), Identity().pinv(y, ridge=1.0).tolist()
    ([[0.5, 0.5]], [[0.25, 0.25]])
    """

    kind: ClassVar[str] = "denoise"

    @property
    def local(self) -> int:
        """0, as an entry of y depends on the same entry of x."""
        return 0

    def __call__(self, x: Tensor) -> Tensor:
        """y = x, `[batch, ...]`."""
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y = y, `[batch, ...]`."""
        return y

    def pinv(self, y: Tensor, *, ridge: float = 0.0) -> Tensor:
        """y / (1 + ridge), `[batch, ...]`."""
        return y / (1 + ridge)

    def norm(self, shape: Sequence[int]) -> Tensor:
        """1 for every problem, float64 `[batch]`."""
        return torch.ones(shape[0], dtype=torch.float64)


def difference(measured: Tensor, y: Tensor) -> Tensor:
    """`measured - y`, in the shape of both; a Misuse if the shapes differ, since neither is broadcast silently."""
    if measured.shape[1:] != y.shape[1:] or len(y) not in (1, len(measured)):
        raise Misuse(
            f"The measurement is {list(y.shape)} but the operator makes {list(measured.shape)}.",
            "Give the measurement that belongs to this operator and size.",
        )
    return measured - y


def require_problems(size: int, x: Tensor, what: str) -> None:
    """Refuse a per-problem tensor whose first axis, `size`, is neither 1 nor that of x; `what` names its entries."""
    if size not in (1, x.shape[0]):
        raise Misuse(
            f"There are {size} {what}s but {counted(x.shape[0], 'problem')} in the batch.",
            f"Give one {what} for all problems, or one for each.",
        )


def check_measurement(y: Any, x: Tensor, name: str) -> Tensor:
    """y if it can be the measurement of the batch x; else a Misuse that says why not.

    y must be a floating or complex tensor `[batch, ...]` that carries a gradient to x; `name` is the operator's.
    """
    if not isinstance(y, Tensor) or not (y.is_floating_point() or y.is_complex()):
        found = f"{str(y.dtype).removeprefix('torch.')} values" if isinstance(y, Tensor) else type(y).__name__
        raise Misuse(
            f"The operator '{name}' returned {found} instead of a floating or complex tensor.",
            "Return a torch tensor of the type of x, or a complex one.",
        )
    if y.ndim == 0 or y.shape[0] != x.shape[0]:
        raise Misuse(
            f"The operator '{name}' made {list(y.shape)} out of {counted(x.shape[0], 'problem')}.",
            "Keep the first axis: one measurement per problem.",
        )
    if torch.is_grad_enabled() and x.requires_grad and not y.requires_grad:
        raise Misuse(
            f"The operator '{name}' lost the gradient with respect to x.",
            "Use differentiable torch operations only: no .detach(), .item(), numpy or torch.no_grad().",
        )
    return y
