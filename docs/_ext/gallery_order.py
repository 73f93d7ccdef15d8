"""The order of the pages within a section of the gallery: what one would read first comes first."""

from __future__ import annotations

ORDER = (
    "plot_paper_in_2d.py",
    "plot_impossible_problem.py",
    "plot_train_and_control.py",
    "plot_reward.py",
    "plot_black_box.py",
    "plot_memory_and_steps.py",
    "plot_likelihood.py",
    "plot_restore_photo.py",
    "plot_own_operator.py",
    "plot_unknown_blur.py",
    "plot_recording_gap.py",
    "plot_molecule_target.py",
    "plot_rewarded_picture.py",
    "plot_rewarded_pictogram.py",
    "plot_rewarded_molecule.py",
)


class Order:
    """The sort key of Sphinx-Gallery, made for each folder of examples."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __call__(self, name: str) -> int:
        """The place of a script; one that is not listed comes last."""
        return ORDER.index(name) if name in ORDER else len(ORDER)
