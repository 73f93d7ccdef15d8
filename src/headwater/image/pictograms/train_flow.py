"""The second stage of training: the flow on the latents of the autoencoder, told a text and a style.

Minimises E || v(x_t, t, text, style) - (x1 - x0) ||^2 with x_t = (1 - t) x0 + t x1, x1 the latents of a drawing,
scaled to mean 0 and variance 1 for each channel, and t logit-normal. The text is dropped with the chance `NO_TEXT`,
the style with `NO_STYLE`; both are independent.

References
----------
Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023; Esser et al., "Scaling Rectified Flow
Transformers", ICML 2024, section 3.1 (logit-normal times); Ho & Salimans, "Classifier-Free Diffusion Guidance", 2022.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headwater import zoo
from headwater.errors import Misuse
from headwater.image.pictograms.autoencoder import Autoencoder, AutoencoderConfig
from headwater.image.pictograms.captions import Captions, captions_of
from headwater.image.pictograms.data import Pictograms
from headwater.image.pictograms.icons import SETS
from headwater.image.pictograms.models import Parts
from headwater.image.pictograms.network import PictogramConfig, PictogramNet
from headwater.image.pictograms.texts import LENGTH, embed_texts
from headwater.image.pictograms.train_autoencoder import to_range
from headwater.nn.training import Batch, Run

NO_TEXT = 0.15
"""How often the flow learns a drawing without text."""
NO_STYLE = 0.3
"""How often the flow learns a drawing without its style."""
SIDED = re.compile(
    r"left|right|clock|button|flag|keycap|input|letter|mark|arrow|east|west|back|number|zodiac"
)
"""Labels whose drawing means something else, or nothing, in a mirror."""
TEXT_NOISE = 0.01
"""The std of the noise on the numbers of an embedding, so that other words for a thing are near it."""


@dataclass(frozen=True)
class Latents:
    """What the flow learns from: scaled latents `[n, 4, 16, 16]`, styles `[n]`, embeddings of texts `[m, 384]`.

    `mirrored` are the latents of the drawings in a mirror; drawings whose label is `SIDED` stand there as they are.
    """

    x: Tensor
    styles: Tensor
    captions: Captions
    embeddings: Tensor
    mirrored: Tensor | None = None

    def draw(self, index: Tensor) -> Tensor:
        """The latents of the drawings in `index` `[k]`, each in a mirror with the chance one half."""
        if self.mirrored is None:
            return self.x[index]
        return torch.where(torch.rand(len(index), 1, 1, 1) < 0.5, self.mirrored[index], self.x[index])

    def label_texts(self) -> Tensor:
        """The embedding of each drawing's label, `[n, 384]`."""
        return self.embeddings[self.captions.rows[:, 0]]


def load_autoencoder(checkpoint: Path) -> tuple[Autoencoder, int]:
    """The averaged autoencoder of a checkpoint, and the number of its steps.

    Raises
    ------
    Misuse
        There is no checkpoint.
    """
    if not checkpoint.exists():
        raise Misuse(f"There is no autoencoder {checkpoint}.", "Train it first, with --stage autoencoder.")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    net = Autoencoder(AutoencoderConfig(**zoo.read_settings(state["facts"]["config"])))
    net.load_state_dict(state["ema"])
    return net.eval().requires_grad_(False), state["counters"][0]


def load_checkpoints(work: Path) -> Parts:
    """The averaged networks of both stages in the folder of a training; no captions are known.

    Raises
    ------
    Misuse
        A stage has no checkpoint.
    """
    autoencoder, _ = load_autoencoder(work / "autoencoder" / "checkpoint.pt")
    if not (work / "flow" / "checkpoint.pt").exists():
        raise Misuse(f"There is no flow in {work}.", "Train it first, with --stage flow.")
    state = torch.load(work / "flow" / "checkpoint.pt", map_location="cpu", weights_only=True)
    net = PictogramNet(PictogramConfig(**zoo.read_settings(state["facts"]["config"])))
    net.load_state_dict(state["ema"])
    mean, std = (torch.tensor(state["facts"][key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    return Parts(net.eval().requires_grad_(False), autoencoder, mean, std, {})


@torch.no_grad()
def encode_all(net: Autoencoder, pixels: Tensor) -> Tensor:
    """The latents `[n, latents, side / 8, side / 8]` of pictures uint8 `[n, 3, side, side]`."""
    return torch.cat([net.encode(to_range(part)) for part in torch.split(pixels, 64)])


def moments(latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and std of each channel, `[1, channels, 1, 1]`."""
    std, mean = torch.std_mean(latents, (0, 2, 3), keepdim=True)
    return mean, std


def mirror(data: Pictograms) -> Tensor:
    """The pixels of drawings in a mirror, but for those with a `SIDED` label."""
    sided = torch.tensor([SIDED.search(label.lower()) is not None for label in data.labels])
    return torch.where(sided[:, None, None, None], data.pixels, data.pixels.flip(-1))


def style_numbers(sets: tuple[str, ...]) -> Tensor:
    """The numbers of the icon sets of drawings, `[n]`."""
    known = list(SETS)
    return torch.tensor([known.index(name) for name in sets])


def prepare(data: Pictograms, latents: Tensor, mean: Tensor, std: Tensor, embeddings: Tensor) -> Latents:
    """What the flow learns from, of drawings, their latents and the embeddings of their `captions_of`."""
    return Latents((latents - mean) / std, style_numbers(data.sets), captions_of(data), embeddings)


def load_latents(
    train: Pictograms, held_out: Pictograms, net: Autoencoder, steps: int, folder: Path
) -> tuple[Latents, Latents, dict[str, Any]]:
    """Training and held-out latents, computed once for an autoencoder of so many `steps`; and their mean and std."""
    stored = folder / f"latents-{steps}.safetensors"
    if not stored.exists():
        texts = {p: embed_texts(captions_of(d).texts) for p, d in (("train", train), ("held_out", held_out))}
        drawn = {"train": train.pixels, "held_out": held_out.pixels, "mirrored": mirror(train)}
        pixels = {part: encode_all(net, p) for part, p in drawn.items()}
        content = {f"{p}_texts": v for p, v in texts.items()} | {f"{p}_latents": v for p, v in pixels.items()}
        save_file({k: v.contiguous() for k, v in content.items()}, stored.with_suffix(".tmp"))
        stored.with_suffix(".tmp").replace(stored)
    c = load_file(stored)
    mean, std = moments(c["train_latents"])
    first = prepare(train, c["train_latents"], mean, std, c["train_texts"])
    first = dataclasses.replace(first, mirrored=(c["mirrored_latents"] - mean) / std)
    second = prepare(held_out, c["held_out_latents"], mean, std, c["held_out_texts"])
    return first, second, {"mean": mean.flatten().tolist(), "std": std.flatten().tolist()}


def matching_loss(net: nn.Module, x1: Tensor, x0: Tensor, t: Tensor, text: Tensor, style: Tensor) -> Tensor:
    """Mean squared error of the velocity on the Cond-OT path, `[batch]`."""
    s = t[:, None, None, None]
    v = net((1 - s) * x0 + s * x1, t, text, style)
    return (v.float() - (x1 - x0)).square().flatten(1).mean(1)  # type: ignore[no-any-return]


def loss_of(net: nn.Module, batch: Batch) -> Tensor:
    """`matching_loss`, mean over the drawings."""
    return matching_loss(net, **batch).mean()


def batches_of(data: Latents, batch: int) -> Iterator[Batch]:
    """Endless batches of what `matching_loss` takes; times are stratified, then logit-normal."""
    null = len(SETS)
    while True:
        index = torch.randint(len(data.x), (batch,))
        x1 = data.draw(index)
        text = data.embeddings[data.captions.draw(index)]
        text = text + TEXT_NOISE * torch.randn(text.shape)
        uniform = ((torch.rand(1) + torch.arange(batch) / batch) % 1).clamp(1e-4, 1 - 1e-4)
        yield {
            "x1": x1,
            "x0": torch.randn(x1.shape),
            "t": torch.special.ndtri(uniform).sigmoid(),
            "text": text * (torch.rand(batch, 1) >= NO_TEXT),
            "style": data.styles[index].masked_fill(torch.rand(batch) < NO_STYLE, null),
        }


@torch.no_grad()
def held_out_loss(net: nn.Module, data: Latents, *, told: bool = True) -> float:
    """The loss with fixed noise, t stratified over [0, 1], and the label and style of each drawing, or neither."""
    g = torch.Generator().manual_seed(0)
    n = len(data.x)
    t = ((torch.arange(n) + 0.5) / n)[torch.randperm(n, generator=g)]
    x0 = torch.randn(data.x.shape, generator=g)
    text = data.label_texts() if told else torch.zeros(n, LENGTH)
    style = data.styles if told else torch.full((n,), len(SETS))
    device = next(net.parameters()).device
    parts = [torch.split(a.to(device), 64) for a in (data.x, x0, t, text, style)]
    return float(torch.cat([matching_loss(net, *part) for part in zip(*parts, strict=True)]).mean())


def thin(data: Latents, count: int) -> Latents:
    """About `count` of the drawings, evenly spread."""
    pick = torch.arange(0, len(data.x), max(len(data.x) // count, 1))
    rows = Captions(data.captions.texts, data.captions.rows[pick])
    return Latents(data.x[pick], data.styles[pick], rows, data.embeddings)


def figures(net: nn.Module, train: Latents, held_out: Latents) -> dict[str, float]:
    """What the log and the card say: the losses on held-out emoji, told and untold, and on trained ones."""
    return {
        "held_out": round(held_out_loss(net, held_out), 5),
        "held_out_untold": round(held_out_loss(net, held_out, told=False), 5),
        "trained": round(held_out_loss(net, train), 5),
    }


def new_run(config: PictogramConfig, facts: dict[str, Any], device: torch.device) -> Run:
    """A run of the flow at its beginning, with random weights; `facts` are the mean and std of the latents."""
    return Run(lambda: PictogramNet(config), {"config": dataclasses.asdict(config)} | facts, device)
