"""The line, the record and the estimate of the time left."""

import io
import itertools
import threading

import pytest
import torch

from headwater.cli.image.frames import Frames
from headwater.cli.shared.progress import Record, Watch, clock, seconds_left
from headwater.dflow.result import Event


def event(k, misfit=2.0, active=(0, 1)):
    n = len(active)
    x1 = torch.full((n, 3, 6, 6), float(k))
    measure = torch.tensor([misfit] * n, dtype=torch.float64)
    return Event(k, torch.tensor(active), measure, measure, x1, measure)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_record_holds_few_frames_evenly_spaced():
    record = Frames()
    for k in range(1, 101):
        record.add(event(k, misfit=float("nan") if k == 1 else 2.0))
    at = [k for k, _ in record.frames]
    assert record.most // 2 <= len(at) <= record.most and at[0] == 1
    assert len({b - a for a, b in itertools.pairwise(at)}) == 1
    assert all(x.shape == (3, 6, 6) and float(x[0, 0, 0]) == k for k, x in record.frames)
    assert len(record.curve) == 99  # without the NaN


def test_the_record_follows_the_first_sample_only():
    record = Frames()
    record.add(event(1, active=(1, 2)))
    assert record.evaluations == 0 and record.frames == []
    record.add(event(2, active=(2, 0)))
    assert record.evaluations == 1


def test_a_plain_record_notes_the_worst_problem_that_runs():
    record = Record()
    for measure in ([2.0, 3.0], [float("nan"), 1.5]):
        known = torch.tensor(measure, dtype=torch.float64)
        record.add(Event(1, torch.arange(2), known, known, torch.zeros(2, 3), known))
    assert record.curve == [(1, 3.0), (2, 1.5)]


def test_the_time_left():
    falling = [(k, 16.0 / 2**k) for k in range(1, 4)]  # 8, 4, 2: one more halving
    assert seconds_left(falling, 3.0, None, None) == pytest.approx(3.0)
    assert seconds_left(falling, 3.0, 3, None) == 0
    assert seconds_left(falling, 3.0, None, 1.5) == 1.5
    assert seconds_left(falling, 3.0, None, None, target=2.0) == 0
    rising = [(1, 2.0), (2, 3.0)]
    assert seconds_left(rising, 3.0, None, None) is None
    assert seconds_left(rising, 3.0, 10, None) == 24.0
    assert seconds_left([], 3.0, None, None) is None
    assert (clock(None), clock(3725.9)) == ("-:--", "62:05")


def test_a_terminal_gets_one_line_that_is_rewritten():
    stream = Terminal()
    watch = Watch("deblur", Record(), limit=50, stream=stream)
    with watch.running():
        assert watch(event(1, 3.0)) is None
        assert watch(event(2, 1.5)) is None
    shown = stream.getvalue()
    assert "misfit 1.50 (1.00 = noise level)" in shown and "2/50 gradients" in shown and "left" in shown


def test_a_log_gets_a_line_every_few_seconds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    stream = io.StringIO()
    watch = Watch("deblur", Record(), stream=stream)
    with watch.running():
        for k in range(1, 21):
            now[0] += 1.0
            watch(event(k))
    assert len(stream.getvalue().splitlines()) == 5  # starting, 5 s, 10 s, 15 s, 20 s


def test_an_unknown_misfit_is_a_dash():
    stream = io.StringIO()
    watch = Watch("x", Record(), stream=stream)
    with watch.running():
        assert "misfit - " in watch.line(event(1, float("nan")))


def test_outside_the_main_thread_it_runs_without_ctrl_c():
    done = []

    def work():
        watch = Watch("x", Record(), quiet=True)
        with watch.running():
            done.append(watch(event(1)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [None]


def test_a_program_that_follows_hears_the_sound_so_far(tmp_path):
    """The first sample of an event, at the rate of the prior and a loudness of its own."""
    soundfile = pytest.importorskip("soundfile", reason="Recordings need the extra 'audio'")
    from headwater import Flow
    from headwater.audio.model.space import Spectral
    from headwater.audio.prior import Prior
    from headwater.cli.audio.preview import LEVEL, draw_previews

    prior = Prior(Flow(lambda x, t: -x, (8, 64)), Spectral(torch.ones(64)), 4000)
    x1 = torch.randn(2, 8, 64, generator=torch.Generator().manual_seed(0))
    cost = torch.ones(2, dtype=torch.float64)
    draw_previews(prior)(Event(1, torch.tensor([0, 1]), cost, cost, x1, cost), tmp_path / ".preview.wav")
    heard, rate = soundfile.read(tmp_path / ".preview.wav")
    assert rate == 4000 and len(heard) == 8 * 64
    assert (heard**2).mean() ** 0.5 == pytest.approx(LEVEL, rel=1e-2)
    expected = prior.space.decode(x1[:1])[0]
    assert abs(torch.corrcoef(torch.stack([torch.tensor(heard), expected.double()]))[0, 1] - 1) < 1e-3


def test_a_program_that_follows_sees_the_best_molecule_so_far(tmp_path):
    """That of the lowest cost, with the atoms of its own problem; a state that is not finite is none."""
    from headwater.cli.molecule.progress import draw_previews
    from headwater.molecule.targets.request import Request

    draw = draw_previews(Request(2, atoms=torch.tensor([3, 5])))
    x1 = torch.randn(3, 29, 9, generator=torch.Generator().manual_seed(0))
    cost = torch.tensor([2.0, 1.0, float("nan")], dtype=torch.float64)
    event = Event(0, torch.tensor([0, 1, 1]), cost, cost, x1, cost[:2])
    for name, least, count in (("a.xyz", 1, 5), ("b.xyz", 0, 3)):
        cost[least] = 0.5
        draw(event, tmp_path / name)
        lines = (tmp_path / name).read_text().splitlines()
        assert lines[0].strip() == str(count) and len(lines) == count + 2
        cost[least] = 3.0
    x1[:] = float("nan")
    draw(event, tmp_path / "c.xyz")
    assert not (tmp_path / "c.xyz").exists()
