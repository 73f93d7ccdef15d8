"""Which caption belongs to a sample? A reader chooses among ten.

    python benchmarks/caption_choice.py --work sheet                            # sheet.html, sheet.png, key.json
    python benchmarks/caption_choice.py --work sheet --answers answers.json     # the score

Samples of `pictograms` for simple labels of its training, guidance 3. Beside each stand ten labels, its own and nine
others of the same list, in a random order. The reader looks at `sheet.html` or `sheet.png`, and not at `key.json`;
answers are a list of numbers from 1 to 10, one for each sample, which the HTML page saves. By chance one of ten is
right.
"""

from __future__ import annotations

import base64
import html
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import headwater as hw
from common import options, write

SIMPLE = (
    "airplane, anchor, balloon, banana, basketball, bird, black heart, blue heart, broccoli, bus, "
    "cactus, camera, candle, cat face, cherries, cloud, cow face, crescent moon, dog face, door, egg, "
    "eyes, fish, frog, full moon, ghost, grapes, green apple, green circle, guitar, hamburger, hammer, "
    "house, key, lemon, light bulb, mushroom, octopus, orange circle, owl, palm tree, panda, pear, "
    "pencil, pig face, pizza"
)
LABELS = SIMPLE.split(", ")
"""Short labels of the training, of things that a drawing can show."""
CHOICES = 10


@dataclass(frozen=True)
class Question:
    """A sample: the label that it was drawn for, its seed, and the captions to choose among."""

    label: str
    seed: int
    captions: tuple[str, ...]


def main() -> None:
    """Write a sheet with its key, or score answers."""
    o = options(__doc__.splitlines()[0], work="sheet", count=20, seed=0, guidance=3, answers="", reader="")
    work = Path(o.work)
    work.mkdir(parents=True, exist_ok=True)
    key = work / "key.json"
    if not o.answers:
        questions = ask(o.count, o.seed)
        pictures = draw(questions, o.guidance)
        key.write_text(json.dumps([asdict(q) for q in questions], indent=1) + "\n", encoding="utf-8")
        (work / "sheet.html").write_text(page(questions, pictures), encoding="utf-8")
        sheet(questions, pictures).savefig(work / "sheet.png")
        return
    questions = [
        Question(**{**q, "captions": tuple(q["captions"])})
        for q in json.loads(key.read_text(encoding="utf-8"))
    ]
    rows = score(questions, json.loads(Path(o.answers).read_text(encoding="utf-8")))
    right = sum(bool(row["right"]) for row in rows)
    write(
        o.results / "caption_choice",
        rows,
        "python benchmarks/caption_choice.py --work sheet --answers answers.json",
        f"{right} of {len(rows)} right, guidance {o.guidance}. Reader: {o.reader or 'not named'}.",
    )


def ask(count: int, seed: int) -> list[Question]:
    """Labels without repetition, each among nine others, in an order of its own."""
    generator = torch.Generator().manual_seed(seed)
    asked = torch.randperm(len(LABELS), generator=generator)[:count].tolist()
    found = []
    for number, i in enumerate(asked):
        others = [k for k in torch.randperm(len(LABELS), generator=generator).tolist() if k != i]
        order = torch.randperm(CHOICES, generator=generator).tolist()
        captions = [LABELS[k] for k in [i, *others[: CHOICES - 1]]]
        found.append(Question(LABELS[i], 1000 * seed + number, tuple(captions[k] for k in order)))
    return found


def draw(questions: list[Question], guidance: float, steps: int = 10) -> Tensor:
    """The samples, `[n, 3, 128, 128]` in [0, 1]."""
    model = hw.image.latent_model([q.label for q in questions], guidance=guidance)
    with torch.no_grad():
        x = model.decode(hw.solve(model.flow, model.flow.noise([q.seed for q in questions]), steps=steps))
    return (x / 2 + 0.5).clamp(0, 1)


def score(questions: list[Question], answers: list[int]) -> list[dict[str, object]]:
    """One row for each sample: what it was drawn for, what the reader chose, and whether they agree."""
    if len(answers) != len(questions) or not all(1 <= a <= CHOICES for a in answers):
        raise SystemExit(f"Give {len(questions)} numbers from 1 to {CHOICES}.")
    chosen = [q.captions[a - 1] for q, a in zip(questions, answers, strict=True)]
    return [
        {"sample": i, "drawn for": q.label, "chosen": c, "right": c == q.label}
        for i, (q, c) in enumerate(zip(questions, chosen, strict=True), 1)
    ]


def sheet(questions: list[Question], pictures: Tensor, columns: int = 5) -> Figure:
    """All samples with their captions."""
    rows = -(-len(questions) // columns)
    figure = Figure(figsize=(3 * columns, 3.6 * rows), dpi=100, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for number, (axis, q, x) in enumerate(zip(axes, questions, pictures, strict=False), 1):
        axis.imshow(x.permute(1, 2, 0).numpy())
        lines = [f"{k}: {caption}" for k, caption in enumerate(q.captions, 1)]
        half = CHOICES // 2
        axis.set_title(f"sample {number}", fontsize=9)
        axis.text(0, 134, "\n".join(lines[:half]), fontsize=8, va="top")
        axis.text(66, 134, "\n".join(lines[half:]), fontsize=8, va="top")
    for axis in figure.axes:
        axis.set_axis_off()
    return figure


def page(questions: list[Question], pictures: Tensor) -> str:
    """A page with a choice for each sample, which saves the answers as a file."""
    parts = []
    for number, (q, x) in enumerate(zip(questions, pictures, strict=True), 1):
        choices = "".join(
            f'<label><input type="radio" name="s{number}" value="{k}"> {html.escape(caption)}</label><br>'
            for k, caption in enumerate(q.captions, 1)
        )
        image = f'<img alt="sample {number}" width="256" src="data:image/png;base64,{encode_png(x)}">'
        parts.append(f"<section><h2>Sample {number}</h2>{image}<p>{choices}</p></section>")
    script = (
        "function save() { const a = [...document.querySelectorAll('section')].map(s => "
        "+(s.querySelector('input:checked') || {value: 0}).value); const l = document.createElement('a'); "
        "l.href = 'data:application/json,' + JSON.stringify(a); l.download = 'answers.json'; l.click(); }"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Which caption?</title>'
        "<style>body { font-family: sans-serif; columns: 3 }\nsection { break-inside: avoid }</style>"
        f"<script>{script}</script><h1>Which caption belongs to each picture?</h1>{''.join(parts)}"
        '<button onclick="save()">Save the answers</button></html>\n'
    )


def encode_png(x: Tensor) -> str:
    """A picture `[3, h, w]` in [0, 1] as a PNG in base64."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray((255 * x.permute(1, 2, 0)).round().byte().numpy()).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


if __name__ == "__main__":
    main()
