"""The package as a whole: import time, README blocks, lists in documents against the code."""

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
        "import torch, sys; before = set(sys.modules); import headwater; "
        "new = {m.split('.')[0] for m in set(sys.modules) - before}; print(' '.join(sorted(new)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"PIL", "matplotlib", "scipy", "cyclopts", "rich", "tifffile", "skimage"} & set(out.split())


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
PAGES += sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


def test_the_exit_codes_of_the_docs_are_those_of_the_code():
    from headwater.cli.shared import exit_codes

    def table(text):
        return re.findall(r"^\| (\d+) +\| (.*?) +\|$", text, re.MULTILINE)

    rows = table((ROOT / "docs" / "commands.md").read_text())
    assert rows == table(exit_codes.__doc__) and len(rows) == 4
    codes = {exit_codes.DONE, exit_codes.MISSED, exit_codes.MISUSE, exit_codes.INTERRUPTED}
    assert {int(code) for code, _ in rows} == codes
