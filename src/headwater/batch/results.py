"""The results: one folder for each key, which appears whole and is found again by its checksums.

A folder is written under a temporary name and renamed. Nothing is forced to the disk: after a power cut a torn folder
is found by its checksums, and its job is done again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from headwater.atomic import FULL
from headwater.batch.job import DIGITS, Job, Outcome, Status, hash_file
from headwater.batch.shard import Shard
from headwater.errors import Misuse

RECORD = "job.json"
"""The file of a result's folder that says what it is."""
TRASH = ".headwater-trash-"
"""How the names of folders begin that nobody needs any more."""
DAY = 86400.0
"""Seconds after which a temporary folder counts as left behind, whoever made it."""


@dataclass(frozen=True)
class Results:
    """The folder that holds all results.

    Parameters
    ----------
    folder
        Where they are.
    owner
        The run that writes, which its temporary names say; by default this process.

    Examples
    --------
    >>> import tempfile
    >>> results, job = Results(Path(tempfile.mkdtemp())), Job({"side": 2})
    >>> with results.prepare(key := job.key({}), Shard()) as folder:
    ...     _ = (folder / "area.txt").write_text("4")
    ...     results.publish(folder, key, job, Outcome("done"))
    True
    >>> results.look(key).status
    'done'
    >>> _ = (results.folder / key / "area.txt").write_text("5")
    >>> results.look(key)
    'corrupted'
    """

    folder: Path
    owner: str = field(default_factory=lambda: name_owner(os.getpid()))

    @classmethod
    def open(cls, folder: Path) -> Results:
        """The results in a folder, which is made if it is missing.

        Raises
        ------
        Misuse
            It is a file, or cannot be made or written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f"{temporary_of(Shard())}probe-{secrets.token_hex(4)}"
            probe.touch()
            probe.unlink(missing_ok=True)
        except FileExistsError:
            raise Misuse(f"{folder} is a file.", "Name a folder for the results.") from None
        except OSError as error:
            raise not_written(folder, error) from None
        return cls(folder)

    def look(self, key: str) -> Outcome | Literal["missing", "corrupted"]:
        """The outcome of a job whose folder is there and whose checksums hold, or what is wrong."""
        place = self.folder / key
        if not place.is_dir():
            return "missing"
        try:
            record = read_record(place)
            whole = record["key"] == key and record["checksum"] == hash_record(record)
            if not whole or hash_files(place) != record["files"]:
                return "corrupted"
            return read_outcome(record)
        except (OSError, Misuse, ValueError, KeyError, TypeError):  # torn, or not ours
            return "corrupted"

    def read(self, key: str) -> Outcome | None:
        """The outcome of a result that is there, without a look at its checksums."""
        try:
            return read_outcome(read_record(self.folder / key))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def absolute(self) -> Results:
        """The same, by a name that holds in any working folder."""
        return replace(self, folder=self.folder.absolute())

    @contextmanager
    def prepare(self, key: str, shard: Shard) -> Iterator[Path]:
        """A new folder under a temporary name; what is left of it is removed."""
        place = self.folder / f"{temporary_of(shard)}{self.owner}-{key}-{secrets.token_hex(4)}"
        try:
            place.mkdir()
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def publish(self, place: Path, key: str, job: Job, outcome: Outcome, **about: Any) -> bool:
        """Give a prepared folder its record and its name; False if another worker was first.

        Raises
        ------
        OSError
            The record cannot be written, or the folder not be renamed.
        """
        record = {
            "key": key,
            "status": outcome.status,
            "sentence": outcome.sentence,
            "name": job.name,
            "options": job.options,
            "inputs": {name: str(path) for name, path in job.inputs.items()},
            **about,
            "seconds": round(outcome.seconds, 6),
            "together": outcome.together,
            "values": outcome.values,
            "files": hash_files(place),
        }
        record = json.loads(json.dumps(record, default=str))  # as it will be read
        text = json.dumps({**record, "checksum": hash_record(record)}, indent=1)
        (place / RECORD).write_text(text + "\n", encoding="utf-8")
        final = self.folder / key
        for _ in range(2):
            with suppress(OSError):  # there is one already
                os.rename(place, final)
                return True
            there = self.look(key)
            if isinstance(there, Outcome) and there.status != "failed":
                return False
            if there != "missing":
                self.discard(key)
        os.rename(place, final)
        return True

    def discard(self, key: str) -> None:
        """Take a result away, at once; then remove its files."""
        trash = self.folder / f"{TRASH}{key}-{secrets.token_hex(4)}"
        with suppress(FileNotFoundError):
            os.rename(self.folder / key, trash)
            shutil.rmtree(trash, ignore_errors=True)

    def clean(self, shard: Shard) -> None:
        """Remove what this run, and killed ones of the same share, left behind.

        Where the file system has no locks another run may be at work: what it writes stays, for a day.
        """
        begin = temporary_of(shard)
        for left in self.folder.glob(f"{begin}*"):
            if self.is_left(left, left.name.removeprefix(begin)):
                shutil.rmtree(left, ignore_errors=True)
        for left in self.folder.glob(f"{TRASH}*"):
            shutil.rmtree(left, ignore_errors=True)

    def is_left(self, place: Path, name: str) -> bool:
        """Whether nobody writes to a temporary folder any more, whose name says its run."""
        if name.startswith(f"{self.owner}-"):
            return True
        host, _, _ = self.owner.rpartition("-")
        found = re.match(rf"{re.escape(host)}-(\d+)-", name)
        if found is not None and not is_running(int(found[1])):
            return True
        with suppress(OSError):  # gone already
            return time.time() - place.stat().st_mtime > DAY
        return False

    @contextmanager
    def lock(self, shard: Shard) -> Iterator[None]:
        """Keep other runs of the same share away for the length of a block.

        The system drops the lock with the process. Where the file system has no locks the block runs without one: two
        runs then do jobs twice, and harm nothing.

        Raises
        ------
        Misuse
            Another run has the share.
        """
        import fcntl

        path = self.folder / f".headwater-lock-{shard}"
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                who = file.read(100).strip() or "another process"
                raise Misuse(
                    f"{self.folder} is in use by {who}.",
                    "Wait for it, or give each run a share of its own, as in --shard 1/2 and --shard 2/2.",
                ) from None
            except OSError:
                pass
            file.truncate(0)
            file.write(f"process {os.getpid()} on {os.uname().nodename}")
            file.flush()
            yield

    def list_keys(self) -> Iterator[str]:
        """The keys of all results that are there."""
        for place in self.folder.iterdir():
            if re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", place.name):
                yield place.name


def name_owner(process: int) -> str:
    """How temporary names call the run of a process of this machine."""
    return f"{re.sub(r'[^A-Za-z0-9]', '', os.uname().nodename)[:40] or 'host'}-{process}"


def is_running(process: int) -> bool:
    """Whether this machine has a process of a number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def temporary_of(shard: Shard) -> str:
    """How the names of temporary folders of a share begin."""
    return f".headwater-tmp-{shard}-"


def hash_files(place: Path) -> dict[str, str]:
    """The SHA-256 of every file of a result but its record, by name."""
    files = sorted(path for path in place.rglob("*") if path.is_file())
    return {str(p.relative_to(place)): hash_file(p) for p in files if p != place / RECORD}


def hash_record(record: Mapping[str, Any]) -> str:
    """The SHA-256 of what a record says beside its own checksum."""
    said = {name: value for name, value in record.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read_record(place: Path) -> Mapping[str, Any]:
    """What the record of a result says."""
    found: dict[str, Any] = json.loads((place / RECORD).read_text(encoding="utf-8"))
    return found


def read_outcome(record: Mapping[str, Any]) -> Outcome:
    """The outcome in a record.

    Raises
    ------
    ValueError
        The record has a status that no job has.
    """
    if record["status"] not in get_args(Status):
        raise ValueError(f"The status {record['status']!r} is none.")
    return Outcome(**{name: record[name] for name in asdict(Outcome("done"))})


def not_written(folder: Path, error: OSError) -> Misuse:
    """The sentences about a folder of results that cannot be written."""
    cure = "Check that it is there and may be written, or name another folder."
    if error.errno in FULL:
        cure = "Free some space, and give the same command again: what is done stays."
    return Misuse(f"The results cannot be written to {folder}: {error.strerror or error}.", cure)
