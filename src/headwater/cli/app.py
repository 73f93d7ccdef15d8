"""The application: commands, and how errors become two sentences and an exit code."""

from __future__ import annotations

import errno
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter

from headwater.cli.audio.commands import audio
from headwater.cli.image.commands import image
from headwater.cli.image.options import NO_COMMON, Common, Size, Strategy
from headwater.cli.molecule.commands import molecule
from headwater.cli.shared.exit_codes import INTERRUPTED, MISUSE
from headwater.cli.shared.options import MOST_SAMPLES, Steps, whole
from headwater.cli.shared.terminal import finish_output, replace_unknown_characters, say
from headwater.errors import Misuse, as_refusal, is_out_of_memory
from headwater.extras import import_optional


def _version() -> str:
    from headwater import __version__

    return f"headwater {__version__}"


app = App(
    name="headwater",
    help="Control flow models of images, sound and molecules from their source (D-Flow).",
    version=_version,
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command(image)
app.command(audio)
app.command(molecule)


@app.command
def models(name: str | None = None, /, *, classes: bool = False) -> int:
    """List the shipped models, or print the card of one.

    Parameters
    ----------
    name
        The model whose card is printed.
    classes
        Print the classes of the model, for --label.
    """
    from headwater.cli.models import show

    return show(name, classes)


@app.command
def methods(name: str | None = None, /) -> int:
    """List the methods that --method takes, or the settings of one.

    Parameters
    ----------
    name
        The method whose settings are printed.
    """
    from headwater.cli.methods import show

    return show(name)


@app.command
def forecast(
    photo: Path | None = None,
    /,
    *,
    size: Size = None,
    samples: Annotated[int, whole(1, MOST_SAMPLES)] = 1,
    steps: Steps = 8,
    strategy: Strategy | None = None,
    common: Common = NO_COMMON,
) -> int:
    """Predict memory and seconds of a restoration before it runs.

    Parameters
    ----------
    photo
        An image whose size is taken.
    size
        Height and width; by default the model's.
    samples
        How many samples are restored at once.
    steps
        Steps of the ODE solver.
    strategy
        How gradients are computed: 'direct' is faster, 'checkpoint' needs less memory; by default both.
    """
    from headwater.cli.forecasting import show

    return show(photo, size, samples, steps, strategy, common)


@app.command
def batch(
    jobs: Path,
    /,
    *words: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    out: Annotated[Path, Parameter(alias=("--output", "-o"))],
    workers: Annotated[int | None, whole(0, 10_000)] = None,
    retry: Annotated[bool, Parameter(negative="")] = False,
    shard: str = "1/1",
    ray: Annotated[str | None, Parameter(metavar="ADDRESS")] = None,
    cores: Annotated[int, whole(1, 10_000)] = 1,
    quiet: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Do many jobs, each once: a table of commands, or a folder and one command for all of its files.

    headwater batch jobs.csv --out results/
    headwater batch photos/ --out results/ -- image denoise --noise 0.1

    Each job has one folder in the results, which appears when it is done. Whatever ends a run, the same command
    goes on from there.

    Parameters
    ----------
    jobs
        A CSV or JSON Lines file with one job a line: 'command', 'input', and the command's own options as columns.
        Or a folder of files; the words of the command follow after '--'.
    out
        The folder of results; it holds results.parquet and report.html, too.
    workers
        Processes that work at the same time; by default one for each GPU, or each core; 0 means this process
        alone. With --ray actors, by default as many as the cluster has room for.
    retry
        Do jobs again that failed before.
    shard
        Do a share of the jobs only, such as 3/16, for machines that know nothing of each other.
    ray
        Work on the Ray cluster at this address, such as 10.0.0.1:6379, or auto for one that runs here.
    cores
        Cores of each actor of Ray.
    quiet
        Print warnings and errors only.
    """
    from headwater.batch import Shard
    from headwater.cli.batch.run import Request
    from headwater.cli.batch.run import batch as run

    return run(Request(jobs, words, out, workers, ray, cores, Shard.parse(shard), retry, quiet))


@app.command
def demo(
    *,
    output: Annotated[Path, Parameter(alias="-o")] = Path("demo-output"),
    quiet: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Restore photos and a guitar that were damaged, and design molecules, in under two minutes.

    Parameters
    ----------
    output
        The folder to write to; what a former demo left there is replaced.
    quiet
        Print warnings and errors only.
    """
    from headwater.cli.demo import demo as run

    return run(output, quiet)


@app.command
def serve(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, whole(0, 65535)] = 8642,
    token: Annotated[str | None, Parameter(env_var="HEADWATER_TOKEN", show_env_var=True)] = None,
    folder: Path | None = None,
    browser: Annotated[bool, Parameter(negative="")] = False,
    quiet: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Open the page: paint a mask, mark a gap or name a property in a browser, and watch.

    The page is a form for the commands here, and shows the one that each job runs. On each device one job computes
    at a time. It works without a network. Ctrl-C ends it; jobs that wait go on at the next start.

    Parameters
    ----------
    host
        The address to listen at. At any other than 127.0.0.1 others in the network can reach the page, so a --token
        is asked for; the connection is not encrypted.
    port
        The port; 0 takes a free one.
    token
        A secret of at least 16 characters, without which the page does nothing.
    folder
        Where files and history are kept; by default ~/.local/share/headwater.
    browser
        Open it in the browser.
    quiet
        Print warnings and errors only.
    """
    page = import_optional("headwater.web.serve", "web")
    code: int = page.serve(
        app, host=host, port=port, token=token, folder=folder, browser=browser, quiet=quiet
    )
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    0 done, 1 a goal was missed, 2 the call cannot be served (two sentences on stderr), 130 interrupted.
    """
    replace_unknown_characters()
    with sigterm_as_ctrl_c():
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
    lost = finish_output()
    if lost is None or lost.errno == errno.EPIPE:  # who reads only the first lines has seen what was wanted
        return code
    what = f"The words of the command cannot be shown: {lost.strerror}."
    return _refuse(Misuse(what, "Send them elsewhere; what they tell of is done."))


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Within this block SIGTERM raises KeyboardInterrupt (in the main thread, where Python delivers signals)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _run(tokens: list[str]) -> int:
    """Run the command; the exit code, also of what was refused or interrupted."""
    try:
        return int(app(tokens) or 0)
    except Misuse as error:
        return _refuse(error)
    except CycloptsError as error:
        return _refuse(as_misuse(error))
    except KeyboardInterrupt:
        say("\nInterrupted. Work not yet written is lost.", error=True)
        return INTERRUPTED
    except OSError as error:
        if error.errno is None:
            raise
        return _refuse(as_refusal(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        cure = "Give smaller files or ask for less, and close other programs."
        return _refuse(Misuse("The machine ran out of memory.", cure))


def as_misuse(error: CycloptsError) -> Misuse:
    """A parse error as two sentences: what cyclopts found, and its suggestion or where the help is."""
    cause = error.__cause__
    if isinstance(cause, Misuse):
        return cause
    sentences = re.split(r"(?<=[.?]) +", str(error).replace('"', "'").strip())
    words = " ".join(["headwater", *(error.command_chain or ()), "--help"])
    near = [s for s in sentences[1:] if s.startswith("Did you mean")]
    lists = [s for s in sentences[1:] if s.startswith(("Available", "Choose"))]
    cure = [*near, *lists, f"Run '{words}' for what it takes"][0]
    return Misuse(_ended(sentences[0]), _ended(cure))


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "?", "!")) else sentence + "."


def _refuse(error: Misuse) -> int:
    say(f"Error: {error}", error=True)
    return MISUSE
