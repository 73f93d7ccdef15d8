"""`Flow`: a pre-trained velocity field with its path, event shape and data range."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from headwater.errors import Misuse
from headwater.flows.networks import find_networks, freeze_networks
from headwater.flows.path import CondOT, Path
from headwater.flows.prediction import ConvertedVelocity, Velocity
from headwater.flows.seeds import draw_normal, make_generators
from headwater.problem.batch import select

LEFT_AT_SOURCE = 0.1
"""The largest alpha(0) of a path whose source may be drawn from N(0, I).

With alpha(0) > 0 the path starts from noise mixed with data. The tables of DDPM and latent diffusion end at 0.006 and
0.07 and are sampled from N(0, I) all the same; a table cut short ends far above.
"""


class Support(Protocol):
    """The linear subspace of each problem's states: atoms that exist, a centre of mass at zero.

    The source is then N(0, P), with P the orthogonal projection on the subspace. A protocol: any object with these
    three members will do.

    Examples
    --------
    Events of 3 entries, of which each problem has the first n.

    >>> from headwater import Flow
    >>> class FirstEntries:
    ...     def __init__(self, n):
    ...         self.dimension = n
    ...     def project(self, x):
    ...         return x * (torch.arange(x.shape[1]) < self.dimension[:, None])
    ...     def select(self, index):
    ...         return FirstEntries(self.dimension[index])
    >>> flow = Flow(lambda x, t: -x, shape=(3,), support=FirstEntries(torch.tensor([1, 3])))
    >>> (flow.noise([0, 1]) != 0).tolist()
    [[True, False, False], [True, True, True]]
    """

    @property
    def dimension(self) -> Tensor:
        """The rank of P for each problem, int64 `[batch]`."""

    def project(self, x: Tensor) -> Tensor:
        """P x for x `[batch, *event]`, in the same shape."""

    def select(self, index: Tensor) -> Support:
        """The support of the problems in `index`, int64 `[k]`."""


@dataclass(frozen=True)
class Flow:
    """A velocity field v(x, t) that carries the source N(0, I) at t = 0 to data at t = 1, by dx/dt = v(x, t).

    Parameters
    ----------
    velocity
        v(x, t) with x `[batch, *shape]` and t a scalar tensor `[]` or one per problem `[batch]`, within `path.span`;
        returns a tensor like x, in data units per unit of time. Labels, text or masks per problem are declared with
        `Each`.
    shape
        The shape of one event, without the axis of the problem.
    path
        The affine Gaussian path that the network was trained on.
    range
        The data range (low, high) that the network was trained on; None means unbounded.
    support
        A subspace per problem, in which the source, the velocity and so the whole solve stay; None means all of R^d.
    dtype
        The dtype that the network computes in; None means that of the state. x is cast to it before the network, and
        v is cast back after it. t is cast only to float64.
    modules
        The networks behind the velocity. Those that are attributes of `velocity`, or of its attributes, are found;
        those in closures or globals of a plain function are not, and have to be named here.

    Notes
    -----
    Parameters of the network are never differentiated. While a call is differentiated, their `requires_grad` is
    switched off, which other threads can see; freeze the network yourself with `network.requires_grad_(False)`, and
    nothing is switched. The network gets a copy of x, so it may work in place.

    References
    ----------
    Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023.

    Examples
    --------
    The velocity -x halves x over a time of ln 2.

    >>> flow = Flow(lambda x, t: -x, shape=(2,))
    >>> flow(torch.ones(3, 2), torch.tensor(0.5)).shape
    torch.Size([3, 2])
    >>> from headwater import RK4, solve
    >>> solve(flow, torch.ones(1, 2), method=RK4, steps=[0.0, 0.25, 0.5, 0.693147]).round(decimals=3)
    tensor([[0.5000, 0.5000]])
    """

    velocity: Velocity
    shape: tuple[int, ...]
    path: Path = field(default_factory=CondOT)
    range: tuple[float, float] | None = None
    support: Support | None = None
    dtype: torch.dtype | None = None
    modules: tuple[nn.Module, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(
            self, "modules", tuple(dict.fromkeys([*self.modules, *find_networks(self.velocity)]))
        )
        object.__setattr__(self, "_activations", {})

    @property
    def event_size(self) -> int:
        """The number of entries of one event, the product of `shape`."""
        return math.prod(self.shape)

    @property
    def source_dimension(self) -> int | Tensor:
        """The dimension d of the source, `event_size`, or with a support that of each problem, int64 `[batch]`."""
        return self.event_size if self.support is None else self.support.dimension

    def project(self, x: Tensor) -> Tensor:
        """The orthogonal projection of x `[batch, *event]` on the support; x itself if there is no support."""
        return x if self.support is None else self.support.project(x)

    @property
    def activations(self) -> dict[object, float]:
        """Bytes per problem that `Auto` has measured, by `(shape, dtype, device)`; kept by `select`."""
        return self._activations  # type: ignore[attr-defined,no-any-return]

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """v(x, t) in the shape `[batch, *event]` and dtype of x; it requires a gradient exactly if x does.

        t is a scalar `[]` or one time per problem `[batch]`.

        Raises
        ------
        Misuse
            If x is in half precision, or the velocity is not a tensor of x's shape, carries no gradient to x, or its
            network computes in another dtype than x has.
        """
        return self._evaluate(x, self.time(x, t))

    def time(self, x: Tensor, t: Tensor) -> Tensor:
        """t as the velocity sees it: clamped to the path's span, then cast once to the dtype and device of x.

        t is `[]` or `[batch]` and keeps its shape; x is `[batch, *event]`, in float32 or float64, else a `Misuse`.
        """
        require_full_precision(x)
        return t.clamp(*self.path.span).to(x)

    def _evaluate(self, x: Tensor, t: Tensor) -> Tensor:
        v = self.call_network(x, t)
        if not isinstance(v, Tensor) or v.shape != x.shape:
            got = f"shape {tuple(v.shape)}" if isinstance(v, Tensor) else type(v).__name__
            raise Misuse(
                f"The velocity returned {got} for x of shape {tuple(x.shape)}.",
                "Return a tensor of x's shape from velocity(x, t), x first, and wrap a network that takes (t, x) or "
                "returns more than one tensor.",
            )
        wants_gradient = x.requires_grad and torch.is_grad_enabled()
        if wants_gradient and not v.requires_grad:
            raise Misuse(
                "The velocity does not carry gradients to x.",
                "Remove no_grad, inference_mode or detach from the network's forward pass.",
            )
        return self.project((v if wants_gradient else v.detach()).to(x.dtype))

    def call_network(self, x: Tensor, t: Tensor) -> Tensor:
        """The network's own answer `[batch, *event]` at a copy of x, in its dtype, unchecked.

        t, `[]` or `[batch]`, is handed on as it is. The copy may be changed by an in-place network.

        Raises
        ------
        Misuse
            If the network's weights have another dtype than its input.
        """
        state = x.clone() if self.dtype in (None, x.dtype) else x.to(self.dtype)
        try:
            # Only x0 is optimised: without those of the weights a gradient takes about two thirds of the time.
            with freeze_networks(self.modules):
                return self.velocity(state, t.to(torch.float64) if self.dtype is torch.float64 else t.clone())
        except RuntimeError as error:
            if "Long, Int" in str(error):  # torch's words for an embedding that was given a float
                raise Misuse(
                    "The network looks up the time in a table, which takes whole numbers, and t is a float.",
                    "Give it t.round().long(), in a wrapper around the network.",
                ) from error
            weights = {p.dtype for m in self.modules for p in m.parameters() if p.is_floating_point()}
            if not weights or "type" not in str(error):
                raise
            names = ", ".join(sorted(str(w) for w in weights))
            if state.dtype in weights:
                raise Misuse(
                    f"The network's weights are {names}, and it mixes them with the time, which is {t.dtype}.",
                    "Cast the features of t inside the network, e.g. t.to(x.dtype).",
                ) from error
            raise Misuse(
                f"The network's weights are {names} but it was given {state.dtype}.",
                f"Say Flow(..., dtype={names.split(',')[0]}), or cast x and t around the network.",
            ) from error

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """The denoiser xhat = E[x1 | x_t = x], in the shape of x `[batch, *event]`; t is `[]` or `[batch]`.

        xhat = (sigma' x - sigma v) / (alpha sigma' - sigma alpha'), for the straight path x + (1 - t) v. It costs one
        evaluation.

        Raises
        ------
        Misuse
            As a call of the flow.

        Examples
        --------
        >>> from headwater import Gaussian
        >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
        >>> flow.denoise(torch.ones(1, 1), torch.tensor(0.5)).item()  # t / (t^2 + (1 - t)^2)
        1.0
        """
        t = self.time(x, t)
        return self.path.xhat_from_v(x, self._evaluate(x, t), t)

    def select(self, index: Tensor) -> Flow:
        """The flow of the problems in `index`, int64 `[k]`; itself if it has no data per problem."""
        if self.support is None and not hasattr(self.velocity, "select"):
            return self
        support = None if self.support is None else self.support.select(index)
        part = replace(self, velocity=select(self.velocity, index), support=support)
        object.__setattr__(part, "_activations", self.activations)  # bytes per problem, the same for any part
        return part

    def noise(
        self, seeds: Sequence[int], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Source points x0 ~ N(0, I), projected on the support, `[len(seeds), *shape]`.

        A problem's noise depends on its own seed alone. It is drawn on the CPU in float32, so that all devices agree.

        Parameters
        ----------
        seeds
            One whole number from 0 to 2^64 - 1 per problem.
        dtype
            Of the result, float32 or float64.
        device
            Of the result.

        Raises
        ------
        Misuse
            If the path does not start from noise alone, there is no seed, or `dtype` is a half precision.

        Examples
        --------
        >>> flow = Flow(lambda x, t: -x, shape=(4,))
        >>> bool((flow.noise([3, 5])[1] == flow.noise([5])[0]).all())
        True
        """
        alpha = float(self.path.alpha(torch.tensor(self.path.span[0], dtype=torch.float64, device="cpu")))
        if alpha > LEFT_AT_SOURCE:
            raise Misuse(
                f"At t = 0 this path still has {alpha:.2f} of the data, so its source is not the noise N(0, I).",
                "Give the whole noise schedule of the checkpoint, down to its noisiest level.",
            )
        require_full_precision(torch.empty(0, dtype=dtype, device="cpu"))
        return self.project(draw_normal(self.shape, make_generators(seeds)).to(device=device, dtype=dtype))

    @classmethod
    def from_noise_prediction(
        cls, network: Velocity, shape: Sequence[int], path: Path, **options: Any
    ) -> Flow:
        """A flow from a network eps(x, t), which predicts the noise E[x0 | x_t = x].

        v = (alpha'/alpha) x + (sigma' - sigma alpha'/alpha) eps, computed in the dtype of the state.

        Parameters
        ----------
        network
            eps(x, t) `[batch, *shape]`. With a `BetaTable` path it gets the table's index for t.
        shape
            The shape of one event.
        path
            The path that the network was trained on. Where alpha is 0 at t = 0, t is kept at 0.001 and above.
        options
            Those of `Flow`: range, support, dtype, modules.

        Returns
        -------
        flow
            With events `[*shape]`.

        Examples
        --------
        For data N(0, 4) the noise in x is sigma x / (4 alpha^2 + sigma^2), and the flow carries x0 to 2 x0.

        >>> from headwater import DDIM, VP, solve
        >>> path = VP()
        >>> eps = lambda x, t: path.sigma(t) * x / (4 * path.alpha(t) ** 2 + path.sigma(t) ** 2)
        >>> flow = Flow.from_noise_prediction(eps, (1,), path)
        >>> round(solve(flow, torch.ones(1, 1), method=DDIM, steps=200).item(), 1)
        2.0
        """
        return _convert(network, shape, path, path.v_from_eps, options)

    @classmethod
    def from_denoiser(cls, network: Velocity, shape: Sequence[int], path: Path, **options: Any) -> Flow:
        """A flow from a network xhat(x, t), which predicts the data E[x1 | x_t = x].

        v = alpha' xhat + sigma' (x - alpha xhat) / sigma; otherwise as `from_noise_prediction`. Where sigma is 0 at
        t = 1, t is kept at 0.999 and below.

        Parameters
        ----------
        network
            xhat(x, t) `[batch, *shape]`.
        shape, path, options
            As in `from_noise_prediction`.

        Examples
        --------
        A denoiser that always answers 3 belongs to data that are 3: on a straight path v = (3 - x) / (1 - t).

        >>> from headwater import CondOT
        >>> flow = Flow.from_denoiser(lambda x, t: 3 * torch.ones_like(x), (1,), CondOT())
        >>> flow(torch.ones(1, 1), torch.tensor(0.5)).item()
        4.0
        """
        return _convert(network, shape, path, path.v_from_xhat, options)

    @classmethod
    def from_v_prediction(cls, network: Velocity, shape: Sequence[int], path: Path, **options: Any) -> Flow:
        """A flow from a network u(x, t), which predicts alpha eps - sigma xhat.

        Otherwise as `from_noise_prediction`; it holds at every t.

        Parameters
        ----------
        network
            u(x, t) `[batch, *shape]`.
        shape, path, options
            As in `from_noise_prediction`.

        References
        ----------
        Salimans & Ho, "Progressive distillation for fast sampling of diffusion models", ICLR 2022, app. D.

        Examples
        --------
        On the cosine path of N(0, 1) u is 0, and nothing moves.

        >>> from headwater import Cosine
        >>> flow = Flow.from_v_prediction(lambda x, t: 0 * x, (1,), Cosine())
        >>> abs(flow(torch.ones(1, 1), torch.tensor(0.5)).item()) < 1e-6
        True
        """
        return _convert(network, shape, path, path.v_from_vprediction, options)

    @classmethod
    def from_score(cls, network: Velocity, shape: Sequence[int], path: Path, **options: Any) -> Flow:
        """A flow from a network score(x, t), which predicts grad log p_t(x) = -eps / sigma.

        eps = -sigma score, and then as `from_noise_prediction`. Where sigma is 0 at t = 1, t is kept at 0.999 and
        below, since networks divide by sigma.

        Parameters
        ----------
        network
            score(x, t) `[batch, *shape]`, with respect to x at the scale of the path.
        shape, path, options
            As in `from_noise_prediction`.

        References
        ----------
        Song et al., "Score-based generative modeling through stochastic differential equations", ICLR 2021.

        Examples
        --------
        For data N(0, 1) the score on a straight path is -x / (t^2 + (1 - t)^2), and at t = 0.75 v is 0.8 x.

        >>> from headwater import CondOT
        >>> flow = Flow.from_score(lambda x, t: -x / (t**2 + (1 - t) ** 2), (1,), CondOT())
        >>> round(flow(torch.ones(1, 1), torch.tensor(0.75)).item(), 4)
        0.8
        """
        return _convert(network, shape, path, path.v_from_score, options)


def _convert(
    network: Velocity,
    shape: Sequence[int],
    path: Path,
    formula: Callable[[Tensor, Tensor, Tensor], Tensor],
    options: dict[str, Any],
) -> Flow:
    velocity = ConvertedVelocity(network, path, formula, options.pop("dtype", None))
    return Flow(velocity, tuple(shape), path, **options)


def require_full_precision(x: Tensor) -> None:
    """Refuse a state in half precision: sums over it overflow, and times near 1 round to 1."""
    if x.dtype not in (torch.float32, torch.float64):
        raise Misuse(
            f"The state is {x.dtype}, in which a solve and its sums are not accurate.",
            "Give it in float32, x.float(), and say Flow(..., dtype=torch.float16) for a network in half precision.",
        )
