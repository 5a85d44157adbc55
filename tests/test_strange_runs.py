"""A folder that is not the run it should be: altered, lying, or made by a stranger."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tiny_run import dataset, write

from neucf.artifacts import open_run, save
from neucf.errors import ArtifactError
from neucf.models import MODELS
from neucf.training import nets, vae


@pytest.mark.parametrize(
    "name",
    [
        "users.parquet",
        "items.parquet",
        "interactions.parquet",
        "candidates.parquet",
        "weights.safetensors",
        "metrics.json",
    ],
)
@pytest.mark.parametrize("how", ["flipped", "cut", "gone", "linked"])
def test_an_altered_file_is_named(tmp_path: Path, name: str, how: str) -> None:
    file = write(tmp_path / "run", metrics={"a": 1}) / name
    content = file.read_bytes()
    if how == "flipped":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif how == "cut":
        file.write_bytes(content[:-1])
    elif how == "gone":
        file.unlink()
    else:
        file.rename(tmp_path / "outside")
        file.symlink_to(tmp_path / "outside")
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        open_run(tmp_path / "run")


def edit(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(manifest: dict[str, Any]) -> None:
        *path, last = key.split("/")
        for step in path:
            manifest = manifest[step]
        manifest[last] = value

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("format", 2), "format 1"),
        (edit("model/name", "no-such-model"), "no-such-model"),
        (edit("model/config", {"dim": 3}), "dim"),
        (edit("model/engine", None), "model.engine"),
        (edit("num_users", 4), "users.parquet"),
        (edit("num_items", 10**15), "num_items"),
        (edit("parts/train/rows", 4), "interactions.parquet"),
        (edit("parts/train/rows", -1), "parts.train.rows"),
        (edit("parts/train/columns", ["weights"]), "weight"),
        (edit("parts/test/columns", ["ratings"]), "rating"),
        (edit("parts/extra", {"rows": 0, "columns": []}), "parts.extra"),
        (edit("candidates", 2), "candidates.parquet"),
        (edit("data", None), "data"),
        (edit("data/settings", None), "data.settings"),
        (edit("data/settings/min_rating", "4"), "min_rating"),
        (edit("files/..~1secret", {"sha256": "0" * 64, "bytes": 0}), "files"),
        (lambda manifest: manifest["files"].update({"../secret": {"sha256": "0" * 64, "bytes": 0}}), "files"),
        (lambda manifest: manifest["files"].pop("weights.safetensors"), "weights.safetensors"),
        (lambda manifest: manifest["parts"].pop("train"), "train"),
        (lambda manifest: manifest.pop("parts"), "parts"),
    ],
)
def test_a_manifest_that_lies_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    file = write(tmp_path / "run") / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest)
    file.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=message):
        open_run(tmp_path / "run")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, '{"format": ' + "1" * 5000 + "}"])
def test_a_manifest_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (write(tmp_path / "run") / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        open_run(tmp_path / "run")


def replace_file(run: Path, name: str, content: bytes) -> None:
    """Puts other content in a run and makes the manifest vouch for it, as a stranger could."""
    import hashlib

    (run / name).write_bytes(content)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (run / "manifest.json").write_text(json.dumps(manifest))


def parquet(frame: pl.DataFrame, tmp_path: Path) -> bytes:
    frame.write_parquet(tmp_path / "frame.parquet")
    return (tmp_path / "frame.parquet").read_bytes()


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("users.parquet", {"user_id": ["a", "a", "b"]}),
        ("users.parquet", {"user_id": ["a", None, "b"]}),
        ("users.parquet", {"user_id": [0.5, 1.5, 2.5]}),
        ("users.parquet", {"item_id": ["a", "b", "c"]}),
        ("items.parquet", {"item_id": [1, 2, 3, 4], "title": ["a", "b", "c", "d"]}),
        ("items.parquet", {"item_id": [1, 2, 3, 4], "title": [1, 2, 3, 4], "year": [1] * 4, "genres": [["x"]] * 4}),
        ("candidates.parquet", {"user": [1], "positive": [0], "negatives": [[2, -1]]}),
    ],
)
def test_a_table_of_another_shape_is_refused(tmp_path: Path, name: str, frame: dict[str, Any]) -> None:
    run = write(tmp_path / "run")
    replace_file(run, name, parquet(pl.DataFrame(frame), tmp_path))
    with pytest.raises(ArtifactError, match=name):
        open_run(run)


@pytest.mark.parametrize(("column", "value"), [("user", 3), ("user", -1), ("item", 4), ("item", None)])
def test_an_index_outside_the_vocabulary_is_refused(tmp_path: Path, column: str, value: int | None) -> None:
    run = write(tmp_path / "run")
    rows = pl.read_parquet(run / "interactions.parquet")
    wrong = pl.when(pl.int_range(pl.len()) == 4).then(pl.lit(value, pl.Int32)).otherwise(pl.col(column))
    replace_file(run, "interactions.parquet", parquet(rows.with_columns(wrong.alias(column)), tmp_path))
    with pytest.raises(ArtifactError, match=r"interactions\.parquet"):
        open_run(run)


@pytest.mark.parametrize("field", ["user", "positive", "negatives"])
def test_a_candidate_outside_the_catalogue_is_refused(tmp_path: Path, field: str) -> None:
    run = write(tmp_path / "run")
    lists = pl.read_parquet(run / "candidates.parquet")
    wrong = pl.Series(field, np.full_like(lists[field].to_numpy(), 4), lists[field].dtype)
    replace_file(run, "candidates.parquet", parquet(lists.with_columns(wrong), tmp_path))
    with pytest.raises(ArtifactError, match=field):
        open_run(run)


def test_a_parquet_bomb_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write(tmp_path / "run")
    monkeypatch.setattr("neucf.artifacts.reader.FREE_BYTES", 1 << 20)
    rows = 20_000_000
    bomb = pl.select(user_id=pl.repeat(7, rows, dtype=pl.Int64))
    replace_file(run, "users.parquet", parquet(bomb, tmp_path))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["num_users"] = rows
    (run / "manifest.json").write_text(json.dumps(manifest))
    read: list[Path] = []
    monkeypatch.setattr(pl, "read_parquet", read.append)
    with pytest.raises(ArtifactError, match="must not decode"):
        open_run(run)
    assert read == []


@pytest.mark.parametrize("name", ["users.parquet", "candidates.parquet", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\xff" * 40 + b"PAR1", b"\xff" * 64])
def test_bytes_that_are_no_table_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    run = write(tmp_path / "run")
    replace_file(run, name, content)
    with pytest.raises(ArtifactError, match=name):
        open_run(run)


def test_weights_whose_header_claims_more_than_the_file_are_refused(tmp_path: Path) -> None:
    run = write(tmp_path / "run")
    header = json.dumps({"counts": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    replace_file(run, "weights.safetensors", len(header).to_bytes(8, "little") + header)
    with pytest.raises(ArtifactError, match=r"weights\.safetensors"):
        open_run(run)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save as to_bytes

    run = write(tmp_path / "run")
    replace_file(run, "weights.safetensors", to_bytes({"counts": np.ones(5, np.float32)}))
    with pytest.raises(ArtifactError, match="counts"):
        open_run(run)


@pytest.mark.parametrize("name", ["mlp", "neumf", "multi-vae"])
def test_a_net_that_claims_to_be_large_is_refused_before_it_is_built(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"hidden": 8, "dim": 4} if name == "multi-vae" else {"tower": "8-4"}
    save(MODELS[name](**small, epochs=1).fit(dataset()[1].train, threads=1), tmp_path / "run")
    file = tmp_path / "run" / "manifest.json"
    manifest = json.loads(file.read_text())
    # Some 17 GB a layer of the towers
    large = {"hidden": 16_384, "dim": 4096} if name == "multi-vae" else {"tower": [65_536, 65_536, 65_536]}
    manifest["model"]["config"] |= large
    file.write_text(json.dumps(manifest))
    nowhere: list[bool] = []

    def filled(weight: torch.Tensor, _: object) -> torch.Tensor:
        nowhere.append(weight.is_meta)
        return weight

    for module in (nets, vae):
        monkeypatch.setattr(module, "filled", filled)
    with pytest.raises(ArtifactError, match="needs arrays of shapes"):
        open_run(tmp_path / "run")
    assert nowhere
    assert all(nowhere)


@pytest.mark.parametrize("where", ["nowhere", "file", "empty"])
def test_a_path_that_is_no_run_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=where):
        open_run(tmp_path / where)
