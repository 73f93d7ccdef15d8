"""What the audio commands refuse, in two sentences, with nothing written."""

import re

import pytest
import torch

from headwater.cli.app import main

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (f"inpaint {300 * 'a'}.wav --gap 1-1.1", "too long."),
        (f"inpaint take.wav --gap 1-1.1 -o {300 * 'a'}.wav", "too long."),
        (f"inpaint take.wav --gap 1-1.1 -o {250 * 'a'}.wav", "too long."),
        ("denoise hiss.wav --noise 0,9", "as loud as the recording"),
        ("declip take.wav", "in a row of take.wav are at its peak."),
        ("declip loud.wav --level 0", "The level is 0."),
        ("restore take.wav --cutoff 1kHz --noise 0.1", "--noise is for --operator only."),
        ("declip loud.wav --level loud", "is not a level"),
        ("declip take.wav --level 1.5", "No sample of take.wav reaches the level 1.5."),
        ("denoise hiss.wav --noise 0", "The level of the noise is 0."),
        ("denoise hiss.wav --noise 0.05 --profile 0.1-0.5", "do not go together."),
        ("denoise hiss.wav --profile 0.1-0.2", "A profile of 0.100 s is too short."),
        ("denoise hiss.wav --profile 0.1-9", "lies beyond the recording"),
        ("declip take.wav --labels labels.txt", "No 3 samples in a row"),
        ("declip loud.wav --level 0.8 --labels labels.txt", "do not go together."),
        ("check missing.wav", "does not exist."),
        ("check take.wav -o no/l.txt", "does not exist."),
        ("extend take.wav --by 10:00", "600 s are more than can be filled at once."),
        ("denoise hiss.wav --noise 20dB", "as loud as the recording"),
        ("dereverb take.wav --impulse room.wav --noise 0.5", "as loud as the recording"),
        ("restore take.wav --operator tube.py --noise 1", "as loud as the recording"),
        ("dereverb take.wav", "The room is not known."),
        ("dereverb take.wav --impulse room4.wav", "4000 Hz and the recording 8000 Hz."),
        ("dereverb loud.wav --impulse take.wav", "2 channels and the recording 1."),
        ("declip loud.wav -o out.flac", "FLAC cannot hold peaks beyond full scale."),
        ("dereverb take.wav --impulse mute.wav", "is silent."),
        ("dereverb take.wav --impulse missing.wav", "does not exist."),
        ("restore take.wav", "says what to undo."),
        ("restore take.wav --cutoff 1kHz --operator tube.py", "says what to undo."),
        ("restore take.wav --cutoff 4", "leaves nothing to go by."),
        ("restore take.wav --cutoff 3kHz", "leaves the model nothing to add."),
        ("restore take.wav --operator bad.py", "has no function named 'operator'."),
        ("restore take.wav --operator missing.py", "missing.py"),
        ("restore take.wav --operator boom.py", "boom.py failed on a recording [1, 4000]: ValueError: boom."),
        ("restore take.wav --operator array.py", "array.py failed on a recording [1, 4000]"),
        ("restore take.wav --operator nan.py", "nan.py makes NaN or infinity"),
        ("restore take.wav --operator constant.py", "constant.py returns has no gradient."),
        ("restore take.wav --operator late.py --quiet", "only one second."),
        ("declip mute.wav", "is silent."),
        ("restore take.wav --rate 16kHz", "has the whole band of the model."),
        ("generate -n 0", "-n is 0."),
        ("generate --length 0", "--length is 0."),
        ("denoise hiss.wav --noise 99999dB", "is not a level"),
        ("restore take.wav --cutoff " + 400 * "9", "is not a frequency"),
        ("generate --length long", "is not a time."),
        ("generate -o there.wav -n 1", "there.wav exists already."),
        ("generate -o song.mp3", "unknown kind."),
        ("generate --seed -1", "--seed is -1."),
        ("inpaint take.wav", "Nothing says what is lost."),
        ("inpaint missing.wav --gap 1-2", "does not exist."),
        ("inpaint empty.wav --gap 1-2", "is empty."),
        ("inpaint text.wav --gap 1-2", "cannot be read as sound"),
        ("inpaint nan.wav --gap 1-1.1", "not finite, at 1.1250 s."),
        ("inpaint take.wav --gap 12:75-13:00", "60 or more seconds"),
        ("inpaint take.wav --gap 2-1", "lies before its start."),
        ("inpaint take.wav --gap 1.5-", "'1.5-' is not a start and an end."),
        ("inpaint take.wav --gap=-1-2", "'-1-2' is not a start and an end."),
        ("inpaint take.wav --gap 2.5-3.5", "beyond the recording of 3.000 s."),
        ("inpaint take.wav --gap 0-3", "whole recording."),
        ("inpaint take.wav --mask other.wav", "The mask has 10 frames"),
        ("inpaint take.wav --labels missing.txt", "missing.txt does not exist."),
        ("inpaint take.wav --gap 1-1.1 -o there.wav", "there.wav exists already."),
        ("inpaint take.wav --gap 1-1.1 -o take.wav --overwrite", "is also an input."),
        ("inpaint take.wav --gap 1-1.1 -o out.xyz", "unknown kind."),
        ("inpaint take.wav --gap 1-1.1 -o no/out.wav", "does not exist."),
        ("inpaint take.wav --gap 1e9-2", "is not a time"),
        (f"inpaint take.wav --gap 1-{400 * '9'}", "longer than any recording."),
        ("inpaint take.wav --gap 1-1.1 --steps 0", "--steps is 0."),
        ("inpaint take.wav --gap 1-1.1 --seed -1", "--seed is -1."),
        ("extend take.wav --by 0", "--by is 0. Give 0.001 to 3,600."),
        ("extend take.wav --by soon", "is not a time."),
        ("inpiant take.wav", "inpaint"),
    ],
)
def test_refusals(folder, capsys, words, told):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert main(["audio", *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and told in error
    assert len(re.findall(r"[.?](?=\s|$)", error)) >= 2
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
