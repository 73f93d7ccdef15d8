"""The shipped flow of music: its size, its cost, what it draws, and a gap that it fills."""

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from headwater import logit_grid, solve, zoo
from headwater.audio.gaps import SETTINGS, fill_by_flow
from headwater.audio.io import recordings
from headwater.audio.io.files import Patch, examine
from headwater.audio.io.segments import Segment
from headwater.audio.io.write import write_patched
from headwater.audio.metrics import seam_jump, si_sdr
from headwater.audio.model import models
from headwater.audio.restoration import SolveOptions
from headwater.recipes.recipe import RecipeOptions

torch.set_num_threads(1)


def test_it_is_as_small_as_promised():
    card = zoo.read_card(models.MUSIC)
    assert sum((zoo.FOLDER / name).stat().st_size for name in card["files"]) < 24e6
    assert card["rate"] >= 16_000 and card["hours"] >= 20 and 1.9 < card["window"] / card["rate"] < 2.2
    assert 0 < card["frechet"]["distance"] < 0.2 and card["training"]["held_out_loss"] < 0.35
    flow = models.load_prior().flow
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        flow.velocity(torch.randn(1, *flow.shape), torch.tensor(0.5))
    assert 0.5e9 < counter.get_total_flops() <= 3e9


def test_its_draws_are_as_loud_as_music_and_differ():
    prior = models.load_prior()
    with torch.no_grad():
        x = prior.space.decode(solve(prior.flow, prior.flow.noise(range(3)), steps=logit_grid(8)))
    loudness = x.square().mean(1).sqrt()
    assert x.shape == (3, models.WINDOW) and ((loudness > 0.2) & (loudness < 3)).all()
    assert torch.corrcoef(x).triu(1).abs().max() < 0.3
    power = torch.fft.rfft(x).abs().square()  # music: most of it below 2 kHz
    quarter = power.shape[1] // 4
    assert (power[:, :quarter].sum(1) > 3 * power[:, quarter:].sum(1)).all()


def test_a_short_gap_of_a_guitar_goes_on(tmp_path):
    truth = examine(recordings.GUITAR)
    rate, start = truth.rate, round(2.3 * truth.rate)
    stop, context = start + round(0.08 * rate), round(SETTINGS.context * rate)
    lost = Patch(start, np.zeros((stop - start, 2)), np.ones((stop - start, 2), dtype=bool))
    write_patched(truth, [lost], tmp_path / "lost.wav", overwrite=True)
    segment = Segment(start - context, stop + context, ((start, stop),))
    options = SolveOptions(options=RecipeOptions(gradients=2))
    filled = fill_by_flow(models.load_prior(), examine(tmp_path / "lost.wav"), segment, options)
    patch, (solution,) = filled.patch, filled.solutions
    assert torch.isfinite(solution.result.x1).all()
    found = torch.from_numpy(patch.samples[context : context + stop - start].T)
    assert si_sdr(found, torch.from_numpy(truth.read(start, stop).T)).min() > 8
    whole = torch.from_numpy(
        np.where(patch.changed, patch.samples, truth.read(segment.start, segment.stop)).T
    )
    for edge in (context, context + stop - start):
        assert seam_jump(whole, edge, rate).max() < 3
