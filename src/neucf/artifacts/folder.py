"""writing: how a run folder comes to be: under RUN.partial and a lock, renamed to RUN only when whole."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neucf.artifacts.checkpoint import CHECKPOINT, has_checkpoint
from neucf.artifacts.manifest import MANIFEST
from neucf.errors import ArtifactError, ConfigError

LOCK, REQUEST = ".lock", "request.json"
# What an unfinished run keeps of its first fit, where it is then trained anew on train and validation.
FIRST_FIT = "first-fit.json"
# Times that another process may make or remove a folder between two calls of ours.
_TRIES = 100


@dataclass(frozen=True, slots=True)
class Partial:
    """A run folder in the making.

    Attributes:
        folder: RUN.partial, locked for this process.
        resumed: Whether it holds the checkpoint of an earlier, interrupted run to go on from.
    """

    folder: Path
    resumed: bool


def folder_of(path: str | Path) -> Path:
    """Returns the path of a run folder; raises ArtifactError at what is no path."""
    if not isinstance(path, str | Path):
        raise ArtifactError(f"`path` must be the path of a run folder; got {path!r}. Write 'runs/mine', for example.")
    return Path(path)


@contextmanager
def writing(path: str | Path, *, force: bool = False, resume: bool = False) -> Iterator[Partial]:
    """Gives a folder to write a run in; on success it becomes `path`, whole or not at all.

    The lock dies with the process. After an exception, an interrupt included, the folder stays only if it holds a
    checkpoint; an existing run is untouched until the new one is complete.

    Args:
        path: The run folder to make.
        force: Replace an existing run, and drop an unfinished one unless `resume`.
        resume: Go on from an unfinished run; where there is none, start afresh.

    Raises:
        ArtifactError: If `path` exists, or another process writes it, or an unfinished run is in the way.
    """
    run = folder_of(path).resolve()
    partial = run.with_name(f"{run.name}.partial")
    lock = _hold(partial)
    try:
        _check_free(run, force)
        unfinished = has_checkpoint(partial)
        if unfinished and not (resume or force):
            raise ArtifactError(
                f"{partial} holds an unfinished run. Go on with --resume, or start over with --force (force=True)."
            )
        if not (unfinished and resume):
            _empty(partial)
        yield Partial(partial, resumed=unfinished and resume)
        _publish(partial, run)
    except BaseException:
        if _owns(lock, partial) and not has_checkpoint(partial):
            _remove(partial)
        raise
    finally:
        os.close(lock)


def claim(folder: Path, request: Mapping[str, Any]) -> None:
    """Writes down what a run was asked for, or, in a resumed folder, checks that it is asked the same again.

    Args:
        folder: The partial folder.
        request: JSON-able values by key, such as the config and the hash of the data.

    Raises:
        ConfigError: If a key differs from the unfinished run's.
    """
    file = folder / REQUEST
    wanted = json.loads(json.dumps(request))
    if not file.exists():
        file.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise ArtifactError(f"{file} must be JSON; it is not. Start over with --force.") from None
    changed = difference(found, wanted)
    if changed:
        raise ConfigError(
            f"--resume must ask for what the unfinished run was asked for; {changed}. "
            "Ask for the same again, or start over with --force."
        )


def unfinished_request(path: str | Path) -> dict[str, Any] | None:
    """Returns what the unfinished run of `path` was asked for; None where there is none to go on from."""
    run = Path(path).resolve()
    partial = run.with_name(f"{run.name}.partial")
    if not has_checkpoint(partial):
        return None
    try:
        asked = json.loads((partial / REQUEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return asked if isinstance(asked, dict) else None


def difference(before: Any, now: Any, key: str = "") -> str | None:
    """Returns where two trees first differ, the place named like `config.dim`; None where they do not."""
    if isinstance(before, dict) and isinstance(now, dict):
        inner = (difference(before.get(k), now.get(k), f"{key}.{k}".lstrip(".")) for k in {**before, **now})
        return next(filter(None, inner), None)
    return None if before == now else f"`{key}` was {before!r} and is now {now!r}"


def _check_free(run: Path, force: bool) -> None:
    if not run.exists() or (run.is_dir() and not any(run.iterdir())):
        return
    if not (run / MANIFEST).is_file():
        raise ArtifactError(f"{run} exists and is no run folder, so it is left alone. Choose another path.")
    if not force:
        raise ArtifactError(f"{run} already holds a run. Replace it with --force (force=True), or choose another path.")


def _hold(partial: Path) -> int:
    """Makes the folder and takes its lock; returns the open file that holds it."""
    tries = 0
    try:
        while True:
            tries += 1
            try:
                partial.mkdir(parents=True, exist_ok=True)
                fresh = not os.path.lexists(partial / LOCK)
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | (os.O_EXCL if fresh else 0)
                lock = os.open(partial / LOCK, flags, 0o600)
            except (FileNotFoundError, FileExistsError):
                if (os.path.lexists(partial) and not partial.is_dir()) or tries == _TRIES:
                    raise
                continue  # another process made or removed it between two calls
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise ArtifactError(
                    f"{partial} is being written by another process. Wait for it, or choose another path."
                ) from None
            if not _owns(lock, partial):  # its owner has just renamed or removed it
                os.close(lock)
                continue
            if fresh and any(entry.name != LOCK for entry in partial.iterdir()):
                (partial / LOCK).unlink()
                os.close(lock)
                raise ArtifactError(f"{partial} exists and is no unfinished run. Move it, or choose another path.")
            return lock
    except OSError as error:
        raise ArtifactError(f"{partial} must be writable; got {error.strerror!r}. Choose another path.") from None


def _owns(lock: int, partial: Path) -> bool:
    """Returns whether the open lock is still the one that stands in the folder."""
    try:
        return os.path.samestat(os.fstat(lock), (partial / LOCK).stat())
    except FileNotFoundError:
        return False


def _empty(partial: Path) -> None:
    for entry in partial.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()


def _remove(partial: Path) -> None:
    """Removes the folder, its lock last; once the lock is gone another process may take the folder over."""
    _empty(partial)
    (partial / LOCK).unlink()
    with suppress(OSError):
        partial.rmdir()


def _publish(partial: Path, run: Path) -> None:
    for file in partial.iterdir():
        sync(file)
    sync(partial)
    # What stands at `run` steps aside into a fresh folder, so nothing but it is ever removed.
    aside = Path(tempfile.mkdtemp(prefix=f".{run.name}.", dir=run.parent))
    try:
        if run.exists():
            os.rename(run, aside / "replaced")
        os.rename(partial, run)
        sync(run.parent)
        # Only now: until the rename a crash leaves an unfinished run that can go on, and nobody else can lock it.
        for name in (CHECKPOINT, REQUEST, FIRST_FIT, LOCK):
            (run / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(aside)


def sync(path: Path) -> None:
    """Waits until a file or a folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
