"""One run of `headwater molecule generate | target | grow`, from a checked task to written files."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Sequence

import torch

from headwater.cli.image.run import INTERRUPTED, MISUSE
from headwater.cli.molecule import report
from headwater.cli.molecule.checks import carry_out, chosen
from headwater.cli.molecule.files import Outputs, plan, write_molecules, write_pictures
from headwater.cli.molecule.hits import Hit, ranked, with_design
from headwater.cli.molecule.options import Draw
from headwater.cli.molecule.progress import DesignWatch
from headwater.cli.molecule.table import show_hits
from headwater.cli.molecule.task import Task
from headwater.cli.shared.machine import Meter, use_idle_cores
from headwater.cli.shared.outputs import write_json
from headwater.errors import Misuse, is_out_of_memory
from headwater.extras import need
from headwater.molecule.design import design as designing
from headwater.molecule.design.design import BATCH, Design
from headwater.molecule.design.request import Request, Target
from headwater.molecule.io import units
from headwater.molecule.model import models
from headwater.optimizers.status import Status


def run(task: Task, o: Draw) -> int:
    """Design, check, write, and say how it went; the exit code.

    All inputs and outputs are checked before the work begins. The molecules are written after every batch, and again
    after the checks of xTB and DFT, which may take long: whatever ends the run leaves what was done before. 0 also
    for molecules that missed or are unstable, which are written and marked; 1 if one diverged; 2 if memory or the
    user's cost ended the run, 130 if the user did.
    """
    outputs = plan(task.output, task.inputs, overwrite=o.overwrite)
    for module in ("rdkit.Chem", "PIL.ImageFont"):
        need(module, "molecules")
    check = chosen(o.check)
    for sentence in task.warnings:
        print(f"Warning: {sentence}", file=sys.stderr)
    use_idle_cores()
    meter = Meter(torch.device("cpu"))
    watch = DesignWatch(task.command, seconds=getattr(o, "seconds", None), quiet=o.quiet)
    with watch.running():
        hits, refused = searched(task, o, watch, outputs)
    costs = {"device": "cpu", **meter.read(), "ended_by": None if refused is None else str(refused)}
    start = time.perf_counter()
    finished = not watch.interrupt.asked and carry_out(check, hits, o.best, quiet=o.quiet)
    costs |= {"seconds_of_checks": round(time.perf_counter() - start, 3)}
    write_molecules(hits, outputs, overwrite=True)
    content = report.build(task, hits, outputs, check, costs | {"interrupted": not finished})
    write_json(outputs.report, content, overwrite=o.overwrite)
    write_pictures(hits, outputs, _title(task), overwrite=o.overwrite)
    _warn(hits, o.count, finished)
    if not o.quiet:
        _tell(task, hits, outputs, content["seconds"])
    if refused is not None:
        print(f"Error: {refused}", file=sys.stderr)
        return MISUSE
    return exit_code(hits, finished)


def searched(task: Task, o: Draw, watch: DesignWatch, outputs: Outputs) -> tuple[list[Hit], Misuse | None]:
    """The molecules, in the files after every batch, until all are there, the time is up or Ctrl-C was pressed.

    What ends a later batch than the first, such as a lack of memory, is handed back beside what is there.
    """
    hits: list[Hit] = []
    for start in range(0, o.count, BATCH):
        if hits and watch.over:
            break
        try:
            design = _batch(task, o, watch, start)
        except (Misuse, MemoryError, RuntimeError) as error:
            refused = _refusal(error)
            if not hits:
                raise refused from error
            return hits, refused
        hits = with_design(hits, design, task.targets, o.seed)
        write_molecules(hits, outputs, overwrite=o.overwrite or start > 0)
    return hits, None


def _refusal(error: Exception) -> Misuse:
    """What is said of an error that the user can do something about; any other goes on."""
    if isinstance(error, Misuse):
        return error
    if not is_out_of_memory(error):
        raise error
    return Misuse("The machine ran out of memory.", "Give a smaller --count or fewer atoms.")


def exit_code(hits: Sequence[Hit], finished: bool) -> int:
    """130 after Ctrl-C, 1 if a molecule diverged, else 0."""
    if not finished or any(h.status is Status.CANCELLED for h in hits):
        return INTERRUPTED
    return int(any(h.status is Status.DIVERGED for h in hits))


def _batch(task: Task, o: Draw, watch: DesignWatch, start: int) -> Design:
    count = min(BATCH, o.count - start)
    seed = o.seed + start
    asked = {name: getattr(o, name, None) for name in ("steps", "gradients", "candidates")}
    limits = {name: value for name, value in asked.items() if value is not None}
    if task.command == "generate":
        return designing.generate(
            count, seed, atoms=task.atoms, formula=task.formula, callback=watch, **limits
        )
    return designing.design(
        Request(
            count,
            seed,
            targets=tuple(Target(k, v, task.weights[k]) for k, v in task.targets.items()),
            atoms=task.atoms,
            formula=task.formula,
            fragment=task.fragment,
            cost=task.cost,
            callback=watch,
            **limits,
        )
    )


def _title(task: Task) -> str:
    asked = ", ".join(f"{name} {units.show(name, value)}" for name, value in task.targets.items())
    what = {"generate": "Generated molecules", "target": "Molecules", "grow": "Molecules grown"}[task.command]
    if task.fragment is not None:
        what += f" from {task.inputs[0].name}"
    return f"{what}: {asked} asked" if asked else what


def _warn(hits: Sequence[Hit], count: int, finished: bool) -> None:
    """What did not end by itself, one line for each way."""
    ways: dict[Status, list[int]] = defaultdict(list)
    for h in hits:
        if not h.status.ok:
            ways[h.status].append(h.number)
    for status, numbers in ways.items():
        shown = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
        print(f"Warning, {len(numbers)} of {len(hits)} molecules ({shown}): {status.value}", file=sys.stderr)
    if len(hits) < count:
        print(f"Warning: {count - len(hits)} of {count} molecules were not begun.", file=sys.stderr)
    if not finished:
        print("Interrupted. What was done is written; checks may be missing.", file=sys.stderr)


def _tell(task: Task, hits: Sequence[Hit], outputs: Outputs, seconds: float) -> None:
    """The table, the files, and the best molecule."""
    show_hits(hits, task.targets)
    there = [p for p in outputs.all if p.exists()]
    print(f"{', '.join(map(str, there))}: {len(hits)} molecules in {seconds:.1f} s")
    best = next(iter(ranked(hits)), None)
    if best is None or not task.targets:
        return
    own = ", ".join(f"{name} {units.show(name, models.errors_on_test()[name])}" for name in task.targets)
    print(f"The evaluator's own mean error on QM9: {own}.")
    found = ", ".join(f"{name} {units.show(name, best.evaluator.get(name))}" for name in task.targets)
    doubt = "" if best.sound else f" ({', '.join(best.notes)})"
    print(f"Best: number {best.number}, {best.smiles or 'no SMILES'}{doubt}, evaluator: {found}")
