"""Bad input: two sentences, exit code 2, no file left, and no work begun."""

import numpy as np
import pytest
from cli_tools import call, pixels, two_sentences
from PIL import Image

BAD = [
    # files
    ("image denoise none.png --noise 0.1", "There is no file none.png."),
    ("image denoise phto.png --noise 0.1", "Did you mean photo.png?"),
    ("image denoise folder --noise 0.1", "holds no file that ends in"),
    ("image denoise empty.png --noise 0.1", "is empty."),
    ("image denoise broken.png --noise 0.1", "broken.png"),
    ("image denoise text.png --noise 0.1", "text.png"),
    ("image denoise nan.npy --noise 0.1", "NaN"),
    ("image denoise inf.npy --noise 0.1", "Inf"),
    ("image denoise bytes.npy --noise 0.1", "looks like [0, 255]"),
    ("image denoise unit.npy --noise 0.1", "looks like [0, 1]"),
    # masks
    ("image inpaint photo.png", "--mask FILE"),
    ("image inpaint photo.png --mask none.png", "There is no file none.png."),
    ("image inpaint photo.png --mask small.png", "is 8 x 8 but the image is 16 x 20."),
    ("image inpaint photo.png --mask white.png", "marks every pixel."),
    ("image inpaint photo.png --mask black.png", "marks no pixel."),
    ("image inpaint photo.png --mask half.png --box 0,0,4,4", "Give one of them."),
    ("image inpaint photo.png --box 0,0,16,20", "leaves something known"),
    ("image inpaint photo.png --box 10,10,10,10", "does not fit in the image 16 x 20"),
    ("image inpaint photo.png --box 1,2,3", "Give 4 numbers"),
    ("image inpaint clear.png", "marks every pixel."),
    # blur
    ("image deblur photo.png", "--gaussian STD"),
    ("image deblur photo.png --gaussian 1 --motion 3,0", "Give one of"),
    ("image deblur photo.png --gaussian 0", "--gaussian is 0. Give 0.01 to 200."),
    ("image deblur photo.png --gaussian 9", "smaller kernel"),
    ("image deblur photo.png --motion 0.5,0", "at least one pixel"),
    ("image deblur photo.png --kernel large.npy", "but the image is 16 x 20."),
    ("image deblur photo.png --kernel even.npy", "odd sizes"),
    ("image deblur photo.png --kernel zero.npy", "is not a kernel."),
    ("image deblur photo.png --kernel none.npy", "There is no file none.npy."),
    # the other operators
    ("image denoise photo.png", "Give --noise STD"),
    ("image denoise photo.png --noise 0", "Give --noise STD"),
    ("image denoise photo.png --noise -0.1", "is negative."),
    ("image denoise photo.png --noise -13/255", "is negative."),
    ("image upscale photo.png --factor 0", "--factor is 0. Give 1 to 32."),
    ("image dejpeg photo.png", "Give --quality"),
    ("image dejpeg photo.png --quality 0", "Give 1 to 100."),
    ("image dejpeg photo.png --quality 101", "Give 1 to 100."),
    ("image declip photo.png", "--gain"),
    ("image declip photo.png --low 0.5 --high 0.2", "low < high"),
    ("image declip photo.png --gain -2", "--gain is -2. Give 0.01 to 100."),
    # settings
    ("image denoise photo.png --noise 0.1 --samples 0", "Give 1 to 1,000."),
    ("image denoise photo.png --noise 0.1 --steps 0", "Give 1 to 10,000."),
    ("image denoise photo.png --noise 0.1 --gradients -1", "Give 1 to 1,000,000."),
    ("image denoise photo.png --noise 0.1 --seconds 0", "Give 0.001 to 10,000,000."),
    ("image denoise photo.png --noise 0.1 --seed -1", "--seed is -1. Give 0 to"),
    ("image denoise photo.png --noise 0.1 --memory 1KB", "Give a larger --memory"),
    ("image denoise photo.png --noise 0.1 --memory 8MB --samples 3", "fewer --samples"),
    ("image denoise photo.png --noise 0.1 --model photo46", "Did you mean 'photo64'?"),
    ("image denoise photo.png --noise 0.1 --label goldfihs", "Did you mean 'goldfish'?"),
    ("image denoise photo.png --noise 0.1 --label 99999", "no class number"),
    ("image denoise photo.png --noise 0.1 --device cuda:9", "not available on this machine."),
    ("image denoise photo.png --noise 0.1 --device cdua", "Did you mean 'cuda'?"),
    ("image denoise photo.png --noise 0.1 --device meta", "There is no device 'meta'."),
    ("image denoise photo.png --noise 0.1 --reference none.png", "There is no file none.png."),
    ("image denoise photo.png --noise 0.1 --reference small.png", "true image of that size"),
    # outputs
    ("image denoise photo.png --noise 0.1 -o there.png", "give --overwrite."),
    ("image denoise photo.png --noise 0.1 -o told.png", "told.json exists already."),
    ("image denoise photo.png --noise 0.1 -o drawn.png", "drawn-sheet.png exists already."),
    ("image denoise photo.png --noise 0.1 --samples 2 -o numbered.png", "numbered-1.png exists already."),
    ("image denoise photo.png --noise 0.1 -o photo.png --overwrite", "is also an input."),
    ("image denoise photo.png --noise 0.1 -o half.png --overwrite --reference half.png", "also an input."),
    ("image denoise photo.png --noise 0.1 -o no/folder/x.png", "does not exist."),
    ("image denoise photo.png --noise 0.1 -o x.pgn", "Did you mean '.png'?"),
    ("image denoise hole.png --noise 0.1 -o x.jpg", "Name a .png output."),
    # the model without a measurement
    ("image generate --count 0", "--count is 0. Give 1 to 10,000."),
    ("image generate --guidance 3", "Give --label."),
    ("image generate --size 8,8", "Give at least that size."),
    ("image generate --model pictograms --label cat", "takes no --label."),
    ("image generate --prompt cat --size 256,256", "takes no --size."),
    ("image generate --prompt cat --model photo64", "takes no --prompt"),
    ("image generate --prompt cat --style notto", "Did you mean 'noto'?"),
    ("image generate --model pictograms --guidance 3", "Give --prompt."),
    ("image invert photo.png", "the model's window is 64 x 64"),
    ("image invert photo.png -o x.png", "ends in .npy"),
    ("image likelihood", "one or more image files"),
    ("image likelihood photo.png", "the model's window is 64 x 64"),
    ("image likelihood photo.png --probes 0", "Give 1 to 10,000."),
    ("image likelihood photo.png -o x.txt", "ends in .json"),
    ("models photo46", "Did you mean 'photo64'?"),
    ("forecast none.png", "There is no file none.png."),
    ("forecast photo.png --size 64,64", "Give one of them."),
    ("forecast --samples 0", "--samples is 0. Give 1 to"),
    ("demo --output photo.png", "Name a folder"),
    ("demo --output no/such/folder", "cannot be made"),
]


@pytest.fixture
def bad(here, cheap):
    """Every file that the lines above name."""
    for name in ("there.png", "told.json", "drawn-sheet.png", "numbered-1.png"):
        (here / name).write_bytes(b"mine")
    (here / "folder").mkdir()
    (here / "empty.png").touch()
    (here / "broken.png").write_bytes((here / "photo.png").read_bytes()[:200])
    (here / "text.png").write_text("no image")
    for name, value in [("nan", np.nan), ("inf", np.inf)]:
        np.save(f"{name}.npy", np.full((16, 20, 3), value, np.float32))
    np.save("bytes.npy", pixels().astype(np.float32))
    np.save("unit.npy", pixels() / np.float32(255))
    for name, value in [("white", 255), ("black", 0)]:
        Image.new("L", (20, 16), value).save(f"{name}.png")
    Image.fromarray(np.pad(np.full((16, 10), 255, np.uint8), ((0, 0), (0, 10)))).save("half.png")
    Image.new("L", (8, 8), 255).save("small.png")
    Image.new("RGBA", (20, 16), (1, 2, 3, 0)).save("clear.png")
    alpha = np.full((16, 20, 1), 255, np.uint8)
    alpha[4:8, 4:8] = 0
    Image.fromarray(np.concatenate([pixels(), alpha], 2), "RGBA").save("hole.png")
    np.save("large.npy", np.ones((31, 31)))
    np.save("even.npy", np.ones((4, 4)))
    np.save("zero.npy", np.zeros((3, 3)))
    return here


def everything(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("line, words", BAD, ids=[line for line, _ in BAD])
def test_bad_input_is_refused(line, words, bad, cheap, capsys):
    before = everything(bad)
    assert call(line) == 2
    out, err = capsys.readouterr()
    assert err.startswith("Error: ") and two_sentences(err), err
    assert words in err and "Traceback" not in err and out == ""
    assert everything(bad) == before
    assert cheap == []  # nothing was begun


def test_an_unwritable_folder(bad, cheap, capsys, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write anywhere
    assert call("image denoise photo.png --noise 0.1") == 2
    assert "is not writable." in capsys.readouterr().err


def test_running_out_of_memory_names_the_option(here, monkeypatch, capsys):
    from headwater.image import restoration as restoring

    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(restoring, "restore", fail)
    before = everything(here)
    assert call("image denoise photo.png --noise 0.1 --quiet") == 2
    assert "--memory" in (err := capsys.readouterr().err) and two_sentences(err)
    assert everything(here) == before


def test_a_bug_stays_a_traceback(here, monkeypatch):
    from headwater.image import restoration as restoring

    def fail(*arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(restoring, "restore", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        call("image denoise photo.png --noise 0.1")
