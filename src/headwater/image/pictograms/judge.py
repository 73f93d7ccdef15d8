"""The judge of samples: which of 500 captions does a picture show?

    python -m headwater.image.pictograms.judge --data pictograms.npz --work FOLDER

A ridge regression from pooled EfficientNet-Lite0 features of a picture to the embedding of its label, learnt from the
drawings of the part "judge", none of which the flow has seen. The candidates are the labels of all held-out emoji and
of as many others, flags apart, as make 500. The share of true held-out drawings whose own label is among the five
nearest is the ceiling of samples. Written to `FOLDER/judge.safetensors`; not shipped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.metrics.perceptual import pooled_features
from headwater.image.pictograms.data import Pictograms, fraction, load
from headwater.image.pictograms.texts import embed_texts
from headwater.image.pictograms.train_autoencoder import to_range

RIDGES = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""The weights of the penalty that `fit_judge` tries."""


@dataclass(frozen=True)
class Judge:
    """A linear map of standardised features `[n, d]` to centred embeddings `[n, e]`.

    Parameters
    ----------
    weight
        `[d, e]`.
    centre, spread
        The mean and std of the features, `[d]`.
    text
        The mean of the embeddings, `[e]`.
    """

    weight: Tensor
    centre: Tensor
    spread: Tensor
    text: Tensor

    def embed(self, features: Tensor) -> Tensor:
        """The embedding that pictures with these features should have, less the mean of all, `[n, e]`."""
        return (features - self.centre) / self.spread @ self.weight

    def ranks(self, features: Tensor, truth: Tensor, candidates: Tensor) -> Tensor:
        """The rank of the candidate number `truth` `[n]` among embeddings `[m, e]` by the cosine, 0 the nearest."""
        found = F.normalize(self.embed(features), dim=1) @ F.normalize(candidates - self.text, dim=1).T
        return (found > found.gather(1, truth[:, None])).sum(1)


def ridge(x: Tensor, y: Tensor, penalty: float) -> Tensor:
    """argmin_W |x W - y|^2 + penalty |W|^2, `[d, e]`, for x `[n, d]` and y `[n, e]`.

    Examples
    --------
    >>> ridge(torch.eye(2), torch.tensor([[2.0], [4.0]]), penalty=1.0).flatten().tolist()
    [1.0, 2.0]
    """
    gram = x.T @ x + penalty * torch.eye(x.shape[1])
    weight: Tensor = torch.linalg.solve(gram, x.T @ y)
    return weight


def fit_judge(features: Tensor, texts: Tensor, groups: Sequence[str]) -> Judge:
    """The judge of features `[n, d]` and embeddings `[n, e]`.

    The penalty is the one of `RIDGES` whose cosine is largest on a fifth of the groups (emoji) that is left out.
    """
    spread, centre = torch.std_mean(features, 0)
    spread = spread.clamp(min=1e-6)
    x, text = (features - centre) / spread, texts.mean(0)
    y = texts - text
    out = torch.tensor([fraction(f"fold {group}") < 0.2 for group in groups])

    def cosine(penalty: float) -> float:
        guess = x[out] @ ridge(x[~out], y[~out], penalty)
        return float(F.cosine_similarity(guess, y[out]).mean())

    best = max(RIDGES, key=cosine) if out.any() and (~out).any() else RIDGES[0]
    return Judge(ridge(x, y, best), centre, spread, text)


def candidate_labels(data: Pictograms, count: int = 500) -> list[str]:
    """The labels of all held-out emoji, and of as many others as make `count`, flags apart; in a fixed order."""
    first = sorted(set(data.part("held-out").labels))
    others = {label for label in data.labels if not label.startswith("flag of ")} - set(first)
    return first + sorted(others, key=lambda label: fraction(f"candidate {label}"))[: count - len(first)]


def shares(ranks: Tensor) -> dict[str, float]:
    """The shares of pictures whose own caption is the first, or among the first five.

    Examples
    --------
    >>> shares(torch.tensor([0, 3, 5, 17]))
    {'top1': 0.25, 'top5': 0.5}
    """
    return {f"top{k}": round(float((ranks < k).float().mean()), 4) for k in (1, 5)}


def save_judge(path: Path, judge: Judge) -> None:
    """Write a judge as safetensors."""
    save_file({k: v.contiguous() for k, v in vars(judge).items()}, path)


def load_judge(path: Path) -> Judge:
    """Read a judge.

    Raises
    ------
    Misuse
        There is no such file.
    """
    if not path.is_file():
        raise Misuse(f"There is no judge {path}.", "Make it with python -m headwater.image.pictograms.judge.")
    return Judge(**load_file(path))


@torch.no_grad()
def features_of(data: Pictograms) -> Tensor:
    """Pooled features `[n, 1280]` of drawings."""
    return torch.cat([pooled_features(to_range(part)) for part in torch.split(data.pixels, 64)])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True, help="pictograms.npz")
    p.add_argument("--work", type=Path, required=True, help="folder of judge.safetensors")
    p.add_argument("--threads", type=int, default=1)
    o = p.parse_args(arguments)
    torch.set_num_threads(o.threads)
    o.work.mkdir(parents=True, exist_ok=True)
    data = load(o.data)
    learnt, held_out = data.part("judge"), data.part("held-out")
    judge = fit_judge(features_of(learnt), embed_texts(learnt.labels), learnt.codes)
    save_judge(o.work / "judge.safetensors", judge)
    labels = candidate_labels(data)
    truth = torch.tensor([labels.index(label) for label in held_out.labels])
    found = shares(judge.ranks(features_of(held_out), truth, embed_texts(labels)))
    print(f"true held-out drawings: {found} of {len(labels)} captions, {len(truth)} drawings")


if __name__ == "__main__":
    main()
