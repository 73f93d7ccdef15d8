"""BlindDPS (Chung et al., CVPR 2023, arXiv 2211.10656), Algorithm 1: two diffusions side by side.

    u ~ N(0, I), w ~ N(0, I)                                  the sample and the operator
    for the 1,000 levels of DDPM from noisy to clean
        xhat <- E[x1 | u],  khat <- E[k | w]                  two networks
        u, w <- ancestral steps
        u    <- u - zeta grad_u |y - A_khat xhat|             through the network of the sample
        w    <- w - zeta grad_w |y - A_khat xhat|             through that of the operator

The paper trains a network on kernels; none is shipped here. The prior of the operator is any flow: of kernels
`image.kernel_prior` gives a Gaussian law fitted to the paths of shaken cameras, whose E[k | w] is exact, and which
knows the place and the size of kernels but not that they are thin lines. The paper's sparsity term is left out: by
default it counts the entries that are not zero, which has no gradient.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.problem.batch import per_problem
from headwater.recipes.blind.result import BlindResult, with_operator
from headwater.recipes.blind.unknown import BlindMisfit
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.rivals.levels import CLEAN, count_steps, ddim_step, ddpm_levels, make_draw
from headwater.recipes.rivals.network import Network, follow_answers


@dataclass(frozen=True)
class BlindDPS:
    """Posterior sampling of the sample and of the operator at once, by gradients through both priors.

    Attributes
    ----------
    prior
        A flow of the operator's parameters w `[p]`, on the scale of the sample.
    to_phi
        From w `[batch, p]` to the parameters phi `[batch, p]` of the problem's family.
    steps
        Steps, even in the index of the 1,000 levels of DDPM.
    zeta
        The step on the norm of the residual; 0.3 in the authors' configurations, with noise 0.02.

    References
    ----------
    Chung, Kim, Kim & Ye, "Parallel diffusion models of operator and image for blind inverse problems", CVPR 2023.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian
    >>> from headwater.recipes.blind import BlindMisfit, UnknownGain
    >>> flow = Gaussian(torch.full((8,), 2.0), torch.full((8,), 0.1)).flow
    >>> problem = BlindMisfit(UnknownGain(), torch.full((1, 8), 3.0), 0.05)
    >>> gains = Gaussian(torch.ones(1), torch.ones(1)).flow
    >>> result = BlindDPS(gains, steps=100, zeta=0.03)(flow, problem, [0], guess=problem.y)
    >>> bool((result.parameters - 1.5).abs() < 0.3), result.gradients.tolist()
    (True, [100])
    """

    prior: Flow
    to_phi: Callable[[Tensor], Tensor] = lambda w: w
    steps: int = 1000
    zeta: float = 0.3

    def __call__(
        self,
        flow: Flow,
        problem: BlindMisfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> BlindResult:
        """Sample a batch, x1 `[len(seeds), *event]`; the guess is returned if the run ends before the first step.

        Raises
        ------
        Misuse
            If there is neither one measurement nor one for every seed.
        """
        problem, network = problem.expand(len(seeds)), Network(flow)
        first = guess.expand(len(seeds), *flow.shape)
        path = [problem.unknown.start(problem.y)]

        def answers() -> Iterator[Tensor]:
            for xhat, phi in self.sample(network, problem, seeds, first, count_steps(options, self.steps)):
                path.append(phi)
                yield xhat

        quiet = replace(options, callback=None)
        result = follow_answers(network, answers(), problem.at(path[0]), first, quiet)
        with torch.no_grad():
            misfit = problem.at(path[-1])
            cost, rms = misfit(result.x1).double(), misfit.rms(result.x1).double()
        return with_operator(replace(result, cost=cost, measure=rms), problem, path[-1], path[1:] or path)

    def sample(
        self, network: Network, problem: BlindMisfit, seeds: Sequence[int], like: Tensor, steps: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """xhat `[batch, *event]` and phi `[batch, p]` of every step, at last the sample."""
        other = Network(self.prior)
        draw, draw_w = (
            make_draw(network.flow, seeds, like),
            make_draw(self.prior, [s + 1 for s in seeds], like),
        )
        u, w = draw(), draw_w()  # line 1
        images, kernels = (ddpm_levels(n.flow.path, steps) for n in (network, other))
        pairs = zip(itertools.pairwise([*images, CLEAN]), itertools.pairwise([*kernels, CLEAN]), strict=True)
        for (now, then), (now_w, then_w) in pairs:
            xhat, pull = now.linearise(network, u)
            what, pull_w = now_w.linearise(other, w)
            slope, slope_w = self.norm_gradients(problem, xhat, what)
            pulled, pulled_w = pull(slope), pull_w(slope_w)
            u = ddim_step(u, xhat, now, then, 1.0, draw) - self.zeta * pulled
            w = ddim_step(w, what, now_w, then_w, 1.0, draw_w) - self.zeta * pulled_w
            done = then is CLEAN
            yield (u if done else xhat), self.to_phi(w if done else what)

    def norm_gradients(self, problem: BlindMisfit, xhat: Tensor, what: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of |y - A xhat| of each problem in xhat `[batch, *event]` and in w `[batch, p]`."""
        x, w = xhat.detach().requires_grad_(), what.detach().requires_grad_()
        with torch.enable_grad():
            misfit = problem.at(self.to_phi(w))
            norm = (misfit.square(x) + 1e-20).sqrt()
            slopes = torch.autograd.grad(norm.sum(), (x, w))
        sigma = torch.as_tensor(problem.sigma_y).to(xhat)
        return per_problem(sigma, x) * slopes[0], per_problem(sigma, w) * slopes[1]
