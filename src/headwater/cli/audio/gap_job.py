"""The job that fills gaps: segment by segment, while the recording is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headwater.audio.gaps import fill_segment
from headwater.audio.io.files import Patch
from headwater.audio.io.segments import Segment
from headwater.audio.io.write import write_patched
from headwater.audio.latent import LatentPrior
from headwater.audio.prior import Prior
from headwater.cli.audio.options import Filling
from headwater.cli.audio.repair import DEFINITIONS, RepairJob

OF_PIPELINES = {
    "misfit": "rms(A(D(z)) - y) / sigma of what the pipeline found, D being its decoder; sigma^2 is"
    f" {Prior.resolution:g}^2 of the mean square of the stretch and the mean square error of the autoencoder there",
    "filled_by": "a pipeline and linear prediction fill every gap; silence stays silent",
}


@dataclass(kw_only=True)
class GapJob(RepairJob):
    """Gaps filled segment by segment; after Ctrl-C what was filled is written.

    Attributes
    ----------
    segments
        Those of the recording that have gaps.
    frames
        How long the result is.
    pipeline
        What fills the gaps in the place of the model of music.
    """

    segments: Sequence[Segment]
    frames: int
    options: Filling
    pipeline: LatentPrior | None = None

    @property
    def count(self) -> int:
        """How many stretches there are."""
        return len(self.segments)

    def most_threads(self) -> int | None:
        """One for the small network of music.

        The guitar of the demo takes 17 s with one and 20 s with two where it goes before all else on two cores, and
        19 s and 52 s beside a program that holds one of them.
        """
        return 1 if self.pipeline is None else None

    def prior(self) -> Prior | LatentPrior:
        """The pipeline, or the prior of music, which the watch ends between any two evaluations of the network."""
        if self.pipeline is None:
            return self.load_prior()
        model = self.pipeline.model
        return replace(self.pipeline, model=replace(model, flow=self.watch.guard(model.flow)))

    def work(self) -> None:
        """Fill the gaps while the recording is written."""
        self.written = write_patched(
            self.recording,
            self.keep_what_is_done(self.patches()),
            self.outputs.main[0],
            frames=self.frames,
            overwrite=self.overwrite,
        )
        self.raise_failure()

    def patches(self) -> Iterator[Patch]:
        """The filled segments, each made when it is asked for; the sheet shows the one with the longest gap."""
        longest = max(range(self.count), key=lambda i: max(b - a for a, b in self.segments[i].gaps))
        for number, segment in enumerate(self.segments):
            if self.watch.over and number:
                return
            self.begin(number)
            filled = fill_segment(self.prior(), self.recording, segment, self.solve_options())
            seconds = [[round(frame / self.recording.rate, 6) for frame in gap] for gap in segment.gaps]
            name = f"the gap at {seconds[0][0]:.3f} s"
            self.note(name, filled, gaps=seconds, filled_by=filled.filled_by)
            if number in (0, longest):
                self.keep_segment(segment, filled.patch)
            yield filled.patch

    def facts(self) -> Mapping[str, Any]:
        """As of any repair; of a pipeline its folder, and what its misfit is."""
        found = dict(super().facts())
        if self.pipeline is not None:
            found["model"] = found["model"] and self.options.model
            found["definitions"] = {**DEFINITIONS, **OF_PIPELINES}
        return found

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """Also where the recording sounds like speech."""
        yield from super().remarks(report)
        heard = [e.name for e in self.done if "room tone" in e.values["filled_by"]]
        if heard:
            yield (
                f"The recording sounds like speech around {', '.join(heard)}. The model has heard music only, so long"
                " gaps fade to the tone of the room; --method paper asks the model anyway."
            )

    def keep_segment(self, segment: Segment, patch: Patch, **more: Any) -> None:
        """Keep a segment for the sheet."""
        before = self.recording.read(segment.start, segment.stop)
        after = before.copy()
        after[patch.changed] = patch.samples[patch.changed]
        gaps = [(a - segment.start, b - segment.start) for a, b in segment.gaps]
        self.keep(before, after, gaps=gaps, start=segment.start / self.recording.rate, **more)
