"""Denoisers D(x, sigma) of the variance-exploding kind (Karras et al. 2022) as a `Flow`.

Such a model sees z = x1 + sigma n. Divided by sqrt(1 + sigma^2) it is a point of an affine Gaussian path,

    x_t = alpha x1 + s_t n,  alpha = 1 / sqrt(1 + sigma^2),  s_t = sigma alpha,  xhat(x_t, t) = D(x_t / alpha, sigma)

with sigma = sigma(t) falling from `sigma_max` at t = 0 to 0 at t = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headwater.adapters.arguments import require_state_first
from headwater.errors import Misuse
from headwater.flows.conditioned import Guided
from headwater.flows.flow import Flow
from headwater.flows.path import Path, cast_time
from headwater.problem.batch import per_problem, select
from headwater.solvers.method import Field

Denoiser = Callable[..., Tensor]


@dataclass(frozen=True)
class VEPath(Path):
    """The path of a denoiser D(x, sigma), alpha = 1 / sqrt(1 + sigma^2), with the noise levels of Karras et al.

    sigma(t) = (a - c t)^rho with a = sigma_max^(1/rho), until it reaches sigma_min; from there it falls along its
    tangent to 0 at t = 1. This fixes c = a - b + b / rho with b = sigma_min^(1/rho), and makes the velocity
    continuous. The network is asked for levels down to sigma_min, the end of the path's span. All other methods are
    those of `Path`; t and the coefficients are `[]` or `[batch]`.

    Parameters
    ----------
    sigma_min
        The lowest noise level that the network is asked for, above 0.
    sigma_max
        The level at t = 0, above `sigma_min`.
    rho
        How the levels crowd towards low noise, at least 1.

    Raises
    ------
    Misuse
        If not 0 < sigma_min < sigma_max < infinity, or rho is below 1.

    References
    ----------
    Karras et al., "Elucidating the design space of diffusion-based generative models", NeurIPS 2022, eq. 5.

    Examples
    --------
    >>> path = VEPath()
    >>> [round(s, 3) for s in path.level(torch.tensor([0.0, 0.5, path.span[1], 1.0], dtype=torch.float64)).tolist()]
    [80.0, 2.095, 0.002, 0.0]
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < float("inf"):
            raise Misuse(
                f"The noise levels from {self.sigma_min:g} to {self.sigma_max:g} do not rise from above 0.",
                "Give 0 < sigma_min < sigma_max, such as 0.002 and 80.",
            )
        if not 1 <= self.rho < float("inf"):
            raise Misuse(f"rho = {self.rho:g} is not a number from 1 on.", "Give 7, as Karras et al. do.")

    @property
    def _roots(self) -> tuple[float, float, float]:
        a, b = self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)
        return a, b, a - b + b / self.rho

    @property
    def span(self) -> tuple[float, float]:
        """The times of `sigma_max` and `sigma_min`, (0, (a - b) / c)."""
        a, b, c = self._roots
        return (0.0, (a - b) / c)

    def grid(self, steps: int) -> tuple[float, ...]:
        """The `steps + 1` times of Karras et al.: `steps` levels from sigma_max to sigma_min, then 0.

        Raises
        ------
        Misuse
            If `steps` is below 1.

        Examples
        --------
        >>> times = torch.tensor(VEPath(1.0, 16.0, rho=2.0).grid(4), dtype=torch.float64)
        >>> VEPath(1.0, 16.0, rho=2.0).level(times).round(decimals=6).tolist()  # 4^2, 3^2, 2^2, 1^2, 0
        [16.0, 9.0, 4.0, 1.0, 0.0]
        """
        if steps < 1:
            raise Misuse(f"A solve of {steps} steps does not move.", "Give at least 1 step.")
        last = max(steps - 1, 1)
        return (
            *(self.span[1] * (i / last) for i in range(steps)),
            1.0,
        )  # (i / last) is 1 at the end, exactly

    def level(self, t: Tensor) -> Tensor:
        """sigma(t), the standard deviation of the noise in x1 + sigma n, in the shape of t, `[]` or `[batch]`."""
        a, b, c = self._roots
        late = self.sigma_min * (1 - t) / (1 - self.span[1])
        return torch.where(t < self.span[1], (a - c * t).clamp(min=b) ** self.rho, late)

    def slope(self, t: Tensor) -> Tensor:
        """d sigma / dt, negative, in the shape of t, `[]` or `[batch]`."""
        a, b, c = self._roots
        return -self.rho * c * (a - c * t).clamp(min=b) ** (self.rho - 1)

    def alpha(self, t: Tensor) -> Tensor:
        return (1 + self.level(t).square()).rsqrt()

    def sigma(self, t: Tensor) -> Tensor:
        return self.level(t) * self.alpha(t)

    def dalpha(self, t: Tensor) -> Tensor:
        return -self.level(t) * self.slope(t) * self.alpha(t) ** 3

    def dsigma(self, t: Tensor) -> Tensor:
        return self.slope(t) * self.alpha(t) ** 3


@dataclass(frozen=True)
class KarrasHeun:
    """Heun's step in sigma for z = x_t / alpha, of which the last, to sigma = 0, is Euler's.

    d = (z - D(z, sigma)) / sigma,  z' = z + (sigma_next - sigma) d,  z_next = z + (sigma_next - sigma) (d + d') / 2
    with d' = (z' - D(z', sigma_next)) / sigma_next. On `VEPath().grid(steps)` it is the deterministic sampler of
    Karras et al.; `headwater.DDIM` is its variant with Euler's step. It needs a path with alpha > 0 at its start.

    Parameters
    ----------
    name, order, evaluations
        "karras-heun", 2 and 2, the last step 1: there is one such method, `KARRAS_HEUN`.

    References
    ----------
    Karras et al., "Elucidating the design space of diffusion-based generative models", NeurIPS 2022, Algorithm 1.

    Examples
    --------
    The denoiser of N(0, 1) is D = z / (1 + sigma^2), and its flow leaves every point where it is.

    >>> from headwater import solve
    >>> from headwater.adapters.edm import load
    >>> flow = load(lambda x, sigma: x / (1 + sigma**2), (1,), broadcast=True)
    >>> x1 = [solve(flow, torch.ones(1, 1), method=KarrasHeun(), steps=flow.path.grid(n)).item() for n in (18, 72)]
    >>> [round(x, 3) for x in x1]
    [1.045, 1.002]
    """

    name: str = "karras-heun"
    order: int = 2
    evaluations: int = 2

    def step(self, field: Field, path: Path, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """x at t_next from x at t, both `[batch, *event]`; times are `[]` or `[batch]`, in either order."""
        t = t.clamp(*path.span).to(x)  # as the field sees it
        alpha, sigma, _, _ = path.coefficients(x, t)
        end, end_sigma, _, _ = path.coefficients(x, t_next)
        h = end_sigma / end - sigma / alpha
        z, first = x / alpha, path.eps_from_v(x, field(x, t), t)
        ahead = end * (z + h * first)
        if bool((t_next > path.span[1]).all()):  # the levels that the network knows end before sigma = 0
            return ahead
        second = path.eps_from_v(ahead, field(ahead, t_next.to(x)), t_next.to(x))
        return end * (z + h * (first + second) / 2)


KARRAS_HEUN = KarrasHeun()


@dataclass(frozen=True)
class Preconditioned:
    """The denoiser D(x, sigma) = c_skip x + c_out F(c_in x, c_noise) of a raw network F.

    c_skip = s^2 / (sigma^2 + s^2), c_out = sigma s / sqrt(sigma^2 + s^2), c_in = 1 / sqrt(sigma^2 + s^2) and
    c_noise = log(sigma) / 4, with s = `sigma_data`.

    Parameters
    ----------
    network
        `F(x, c_noise, **condition)` of x `[batch, ...]` and c_noise `[batch]`, which returns a tensor like x.
    sigma_data
        The standard deviation of the training data, above 0.

    Raises
    ------
    Misuse
        If `sigma_data` is not positive and finite.

    References
    ----------
    Karras et al., "Elucidating the design space of diffusion-based generative models", NeurIPS 2022, table 1.

    Examples
    --------
    With F = 0 what is left is the best linear denoiser of data with this spread and mean 0.

    >>> denoiser = Preconditioned(lambda x, c_noise: 0 * x, sigma_data=1.0)
    >>> denoiser(torch.ones(1, 1), torch.tensor([3.0])).round(decimals=3).tolist()  # 1 / (1 + 9)
    [[0.10000000149011612]]
    """

    network: Denoiser
    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.sigma_data < float("inf"):
            raise Misuse(
                f"sigma_data = {self.sigma_data:g} is not positive and finite.",
                "Give the standard deviation of the training data, such as 0.5.",
            )

    def __call__(self, x: Tensor, sigma: Tensor, **condition: Any) -> Tensor:
        """D(x, sigma) `[batch, ...]` of x `[batch, ...]` and sigma `[batch]`."""
        s, level = self.sigma_data, per_problem(sigma, x)
        norm = (level.square() + s**2).sqrt()
        raw = self.network(x / norm, sigma.log() / 4, **condition)
        return s**2 / norm.square() * x + level * s / norm * raw

    def select(self, index: Tensor) -> Preconditioned:
        """The denoiser of the problems in `index`, int64 `[k]`."""
        return Preconditioned(select(self.network, index), self.sigma_data)


@dataclass(frozen=True)
class _DenoiserOfPath:
    """xhat(x, t) = D(x / alpha, sigma), the network that `Flow.from_denoiser` asks for."""

    denoiser: Denoiser
    path: VEPath
    broadcast: bool

    def __call__(self, x: Tensor, t: Tensor, **condition: Any) -> Tensor:
        alpha = self.path.coefficients(x, t)[0]
        sigma = self.path.level(cast_time(t)).to(torch.promote_types(x.dtype, torch.float32))
        sigma = sigma.reshape(-1).expand(len(x))
        xhat = self._evaluate(x / alpha, per_problem(sigma, x) if self.broadcast else sigma, condition)
        if not isinstance(xhat, Tensor) or xhat.shape != x.shape:
            got = f"shape {tuple(xhat.shape)}" if isinstance(xhat, Tensor) else type(xhat).__name__
            raise Misuse(
                f"The denoiser returned {got} for x of shape {tuple(x.shape)}.",
                "Return D(x, sigma) as one tensor of x's shape, x first.",
            )
        return xhat

    def _evaluate(self, x: Tensor, sigma: Tensor, condition: dict[str, Any]) -> Tensor:
        try:
            return self.denoiser(x, sigma, **condition)
        except RuntimeError as error:
            if "size of tensor" not in str(error):  # torch's words for shapes that do not broadcast
                raise
            raise Misuse(
                f"The denoiser cannot combine sigma {list(sigma.shape)} with x {list(x.shape)}.",
                "Reshape sigma inside it, or say broadcast=True for a sigma [batch, 1, ...].",
            ) from error

    def select(self, index: Tensor) -> _DenoiserOfPath:
        return _DenoiserOfPath(select(self.denoiser, index), self.path, self.broadcast)


def load(
    denoiser: Denoiser,
    shape: Sequence[int],
    *,
    condition: Mapping[str, Tensor] | None = None,
    null: Mapping[str, Tensor] | None = None,
    guidance: float = 1.0,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
    rho: float = 7.0,
    sigma_data: float | None = None,
    broadcast: bool = False,
    **options: Any,
) -> Flow:
    """The flow of a denoiser D(x, sigma) that removes noise of standard deviation sigma, such as EDM's.

    Its events are in the units of D. Solve it with `headwater.DDIM` or `KARRAS_HEUN` on `flow.path.grid(steps)`, the
    samplers of Karras et al., or with any other method and grid.

    Parameters
    ----------
    denoiser
        `D(x, sigma, **condition)` of x `[batch, *shape]` and sigma `[batch]`, which returns a tensor like x.
    shape
        The shape of one event.
    condition
        Tensors by the name of their argument, one row per problem, such as `{"class_labels": one_hot}`; see
        `headwater.Guided`, also for `null` and `guidance`.
    null
        The tensors of no condition.
    guidance
        The weight of classifier-free guidance; 1 is none.
    sigma_min, sigma_max
        The noise levels that D is asked for. They are cut to `denoiser.sigma_min` and `denoiser.sigma_max`, where it
        has them.
    rho
        That of `VEPath`.
    sigma_data
        A number says that `denoiser` is the raw network F of `Preconditioned`; None that it is D itself.
    broadcast
        Whether D gets sigma as `[batch, 1, ...]`, with the axes of x.
    options
        Those of `headwater.Flow`: range, support, dtype, modules.

    Returns
    -------
    flow
        With events `[*shape]` on a `VEPath`.

    Raises
    ------
    Misuse
        If the arguments of the denoiser are in the other order, by their names; if the noise levels, rho, sigma_data
        or the guidance are none; and, when it is called, if D returns another shape or cannot use its sigma.

    References
    ----------
    Karras et al., "Elucidating the design space of diffusion-based generative models", NeurIPS 2022.

    Examples
    --------
    Data N(0, 0.5^2): the flow halves the noise.

    >>> from headwater import solve
    >>> flow = load(lambda x, sigma: x * 0.25 / (0.25 + sigma**2), (3,), broadcast=True)
    >>> x1 = solve(flow, torch.ones(1, 3), steps=flow.path.grid(18))
    >>> [round(entry, 2) for entry in x1[0].tolist()]
    [0.5, 0.5, 0.5]
    """
    require_state_first(denoiser, "D(x, sigma)")
    low, high = read_level(denoiser, "sigma_min", sigma_min), read_level(denoiser, "sigma_max", sigma_max)
    path = VEPath(max(sigma_min, low), min(sigma_max, high), rho)
    full = denoiser if sigma_data is None else Preconditioned(denoiser, sigma_data)
    network: Any = _DenoiserOfPath(full, path, broadcast)
    if condition is not None:
        network = Guided(network, condition, null, guidance=guidance)
    elif null is not None or guidance != 1.0:
        raise Misuse("There is guidance, and no condition.", "Give `condition`, one row per problem.")
    return Flow.from_denoiser(network, shape, path, **options)


def read_level(denoiser: Denoiser, name: str, default: float) -> float:
    """The noise level that a denoiser has under a name, `sigma_min` or `sigma_max`; the default if it has none."""
    value = getattr(denoiser, name, default)
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:  # torch's, of a tensor with several numbers
        raise Misuse(
            f"{name} of the denoiser is a {type(value).__name__}, and no number.",
            f"Wrap it in a function of x and sigma, and give {name} to load.",
        ) from error
