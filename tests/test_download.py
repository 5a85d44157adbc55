"""Downloads: verified, unpacked safely, restarted cleanly; against a server on this machine."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from neucf.data import download
from neucf.data.download import Archive, Wheel, install, unpack
from neucf.errors import DownloadError


def zipped(members: dict[str, bytes], links: tuple[str, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            if name in links:
                member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, content)
    return buffer.getvalue()


GOOD = zipped({"set/ratings.csv": b"userId,movieId\n1,2\n", "set/sub/more.txt": b"x", "readme": b"no part of it"})
SHA256 = hashlib.sha256(GOOD).hexdigest()


class Server:
    """Serves one content; `cut` sends that many bytes of it under the full Content-Length."""

    def __init__(self) -> None:
        self.content, self.cut, self.calls = GOOD, None, 0  # type: bytes, int | None, int
        serving = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                serving.calls += 1
                if self.path == "/absent.zip":
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(serving.content)))
                self.end_headers()
                self.wfile.write(serving.content[: serving.cut])

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "NEUCF_ACCEPT_SHA256"):
        monkeypatch.delenv(name, raising=False)
    serving = Server()
    yield serving
    serving.http.shutdown()
    serving.http.server_close()


def test_install_verifies_unpacks_and_renames(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "cache" / "set"
    install(Archive(f"{server.url}/set.zip", SHA256, "set"), target, report=lambda *state: seen.append(state))
    assert (target / "ratings.csv").read_bytes() == b"userId,movieId\n1,2\n"
    assert (target / "sub" / "more.txt").read_bytes() == b"x"
    assert not (target / "readme").exists()
    assert seen[-1] == (len(GOOD), len(GOOD))
    assert [path.name for path in target.parent.iterdir()] == ["set"]


def test_bar_goes_to_standard_error(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(Archive(f"{server.url}/set.zip", SHA256, "set"), tmp_path / "set")
    assert (tmp_path / "set").is_dir()
    assert capsys.readouterr().out == ""


def test_a_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=r"could not be written"):
        install(Archive(f"{server.url}/set.zip", SHA256, "set"), tmp_path / "file" / "set")


def test_cut_leaves_nothing_and_restarts(server: Server, tmp_path: Path) -> None:
    source = Archive(f"{server.url}/set.zip", SHA256, "set")
    server.cut = 40
    with pytest.raises(DownloadError, match=f"was cut off after 40 of {len(GOOD)} bytes"):
        install(source, tmp_path / "set", report=lambda *_: None)
    assert list(tmp_path.iterdir()) == []
    server.cut = None
    install(source, tmp_path / "set", report=lambda *_: None)
    assert (tmp_path / "set" / "ratings.csv").exists()


def test_interrupt_leaves_nothing(server: Server, tmp_path: Path) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(Archive(f"{server.url}/set.zip", SHA256, "set"), tmp_path / "set", report=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_mismatch_says_how_to_accept_it(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Archive(f"{server.url}/set.zip", "0" * 64, "set")
    with pytest.raises(DownloadError) as caught:
        install(source, tmp_path / "set", report=lambda *_: None)
    assert "the publisher may have updated the set" in str(caught.value)
    assert f"NEUCF_ACCEPT_SHA256={SHA256}" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("NEUCF_ACCEPT_SHA256", "f" * 64)
    with pytest.raises(DownloadError):
        install(source, tmp_path / "set", report=lambda *_: None)
    monkeypatch.setenv("NEUCF_ACCEPT_SHA256", SHA256.upper())
    install(source, tmp_path / "set", report=lambda *_: None)
    assert (tmp_path / "set" / "ratings.csv").exists()


def test_unreachable_address(server: Server, tmp_path: Path) -> None:
    for url in (f"{server.url}/absent.zip", "http://127.0.0.1:1/set.zip"):
        with pytest.raises(DownloadError, match="could not be fetched"):
            install(Archive(url, SHA256, "set"), tmp_path / "set", report=lambda *_: None)


@pytest.mark.parametrize("name", ["../out", "set/../../out", "/out", "set\\..\\out", "C:/out"])
def test_members_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(zipped({"set/ok": b"1", name: b"2"}))
    with pytest.raises(DownloadError, match="must stay in its folder"):
        unpack(archive, tmp_path / "in" / "data", "set")
    assert not list(tmp_path.rglob("out"))


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"set/link": b"/etc/passwd"}, links=("set/link",)))
    with pytest.raises(DownloadError, match="must hold no links; got the member 'set/link'"):
        unpack(tmp_path / "a.zip", tmp_path / "data", "set")


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(zipped({"set/zeros": bytes(5_000_000)}))
    with pytest.raises(DownloadError, match=r"must unpack to at most .* 200 times its own size"):
        unpack(tmp_path / "a.zip", tmp_path / "data", "set")
    (tmp_path / "b.zip").write_bytes(zipped({f"set/{name}": b"" for name in range(20)}))
    monkeypatch.setattr(download, "_MAX_FILES", 10)
    with pytest.raises(DownloadError, match="got 20 files"):
        unpack(tmp_path / "b.zip", tmp_path / "data", "set")
    assert not (tmp_path / "data").exists()


def test_a_member_larger_than_it_says(tmp_path: Path) -> None:
    content = bytearray(zipped({"set/zeros": bytes(100_000)}))
    declared = (100_000).to_bytes(4, "little")
    # Both headers, local and central, lie about the size.
    while declared in content:
        at = content.index(declared)
        content[at : at + 4] = (10).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DownloadError, match="damaged zip"):
        unpack(tmp_path / "a.zip", tmp_path / "data", "set")


def test_damaged_or_foreign_archives(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(GOOD[:-30])
    with pytest.raises(DownloadError, match="damaged zip"):
        unpack(tmp_path / "a.zip", tmp_path / "data", "set")
    (tmp_path / "b.zip").write_bytes(GOOD)
    with pytest.raises(DownloadError, match="holds no file under other"):
        unpack(tmp_path / "b.zip", tmp_path / "data", "other")


def test_stale_partials_go_and_young_ones_stay(server: Server, tmp_path: Path) -> None:
    for name, age in (("set.part-old", 2 * 86_400), ("set.part-new", 60)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    install(Archive(f"{server.url}/set.zip", SHA256, "set"), tmp_path / "set", report=lambda *_: None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", "set.part-new"]


def test_wheel_comes_by_pip_and_is_never_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        Path(command[command.index("--dest") + 1], "p-1-py3-none-any.whl").write_bytes(GOOD)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    install(Wheel("p==1", SHA256, "set"), tmp_path / "set", report=lambda *_: None)
    assert (tmp_path / "set" / "ratings.csv").exists()
    (command,) = commands
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "p==1"} <= set(command)
    with pytest.raises(DownloadError, match="must have the SHA-256"):
        install(Wheel("p==1", "0" * 64, "set"), tmp_path / "other", report=lambda *_: None)


def test_pip_that_fails_gives_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "WARNING: slow\nERROR: No matching distribution.\n")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(DownloadError, match="pip could not fetch p==1: No matching distribution"):
        install(Wheel("p==1", SHA256, "set"), tmp_path / "set", report=lambda *_: None)
