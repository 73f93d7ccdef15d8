"""The package as a whole: import time, README blocks, lists in documents against the code."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_import_costs_little_over_torch():
    """The modules headwater adds to torch are few and light: none of the heavy ones is imported."""
    code = (
        "import torch, sys; before = set(sys.modules); import headwater; headwater.Flow; "
        "new = {m.split('.')[0] for m in set(sys.modules) - before}; print(' '.join(sorted(new)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"PIL", "matplotlib", "scipy", "cyclopts", "rich", "tifffile", "skimage"} & set(out.split())


def test_help_needs_no_torch():
    code = (
        "import sys; from headwater.cli.app import main; main(['--help']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_the_door_offers_what_is_exported():
    import headwater
    from headwater.doors import is_module

    assert {"image", "audio", "molecule", "batch"} <= set(dir(headwater))
    for door in (headwater, headwater.image, headwater.audio, headwater.molecule, headwater.batch):
        exports = importlib.import_module(f"{door.__name__}.exports")
        assert door.__all__ == exports.__all__ and set(door.__all__) <= set(dir(door))
        assert all(getattr(door, name) is getattr(exports, name) for name in door.__all__)
        # A submodule of this name would take its place as soon as it is imported anywhere.
        assert not [n for n in door.__all__ if is_module(f"{door.__name__}.{n}")]
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            door.nothing  # noqa: B018


def test_a_folder_that_git_left_behind_is_no_module(tmp_path, monkeypatch):
    """Caches of a package that was renamed would else take the place of a function of that name."""
    from headwater.doors import is_module

    (tmp_path / "left_behind" / "__pycache__").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert importlib.util.find_spec("left_behind") is not None and not is_module("left_behind")
    assert is_module("headwater.image") and not is_module("headwater.nothing")


def test_the_version_is_one():
    import headwater

    pyproject, citation = ((ROOT / name).read_text() for name in ("pyproject.toml", "CITATION.cff"))
    assert f'version = "{headwater.__version__}"' in pyproject
    assert f"version: {headwater.__version__}\n" in citation


@pytest.mark.parametrize("late", ["cyclopts", "rich", "torch"])
def test_ctrl_c_during_an_import_is_one_line(late, tmp_path):
    """A package that is imported slowly, and Ctrl-C meanwhile."""
    (tmp_path / f"{late}.py").write_text("raise KeyboardInterrupt", encoding="utf-8")
    words = [sys.executable, "-m", "headwater", *(["methods"] if late == "torch" else ["--help"])]
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    ended = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, cwd=ROOT
    )
    assert ended.returncode == 130 and ended.stdout == ""
    assert ended.stderr.strip().startswith("Interrupted.") and len(ended.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_readme_python_blocks_run(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_readme_is_short():
    assert len(README.splitlines()) < 80


def test_readme_commands_exist():
    from headwater.cli.app import app

    for group, name in re.findall(r"^headwater (image|audio|molecule) ([a-z]+)", README, re.MULTILINE):
        assert name in app[group], name


def test_shipped_files_are_small():
    files = (ROOT / "src").rglob("*")
    assert all(f.stat().st_size < 16 * 2**20 for f in files if f.is_file())


PAGES = ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"]
MADE = ("docs/generated/", "docs/auto_examples/")  # by a build of the site
PAGES += sorted(
    p for f in (ROOT / "docs").rglob("*.md") if not (p := str(f.relative_to(ROOT))).startswith(MADE)
)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        if not re.match(r"(\.\./)*(generated|auto_examples|api/generated)/", target):  # a build makes these
            assert ((ROOT / page).parent / target).exists(), target


def test_the_exit_codes_of_the_docs_are_those_of_the_code():
    from headwater.cli.shared import exit_codes

    def table(text):
        return re.findall(r"^\| (\d+) +\| (.*?) +\|$", text, re.MULTILINE)

    rows = table((ROOT / "docs" / "commands.md").read_text())
    assert rows == table(exit_codes.__doc__) and len(rows) == 4
    codes = {exit_codes.DONE, exit_codes.MISSED, exit_codes.MISUSE, exit_codes.INTERRUPTED}
    assert {int(code) for code, _ in rows} == codes
