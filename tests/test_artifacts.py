from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neucf.artifacts import (
    claim,
    load,
    load_checkpoint,
    open_run,
    save,
    save_checkpoint,
    write_run,
    writing,
)
from neucf.artifacts.monitor import RunMonitor
from neucf.data.dataset import Dataset, ReadReport
from neucf.data.interactions import Interactions, concatenate
from neucf.data.splits import Candidates, Split
from neucf.errors import ArtifactError, ConfigError, DataError, NotFittedError
from neucf.models import MODELS, Model
from neucf.recommender import EpochRecord
from neucf.training import nets, vae

REPORT = ReadReport(rows=9, duplicates=1, below_threshold=2, below_k_core=0, positives=6)


def interactions(users: list[int], items: list[int], **columns: Any) -> Interactions:
    return Interactions.from_arrays(users, items, user_ids=["007", "7", "zoë"], item_ids=[30, 10, 2**60, 20], **columns)


def dataset() -> tuple[Dataset, Split]:
    # Out of order on purpose: files keep the order of reading.
    train = interactions([2, 0, 1], [3, 0, 1], ratings=[4.5, 5, 4], timestamps=[30, -1, 2**40])
    valid = interactions([0], [1], ratings=[4.0], timestamps=[7])
    test = interactions([1, 0], [0, 2])
    below = interactions([0], [3], ratings=[0.1], timestamps=[8])
    items = pl.DataFrame(
        {
            "item_id": [30, 10, 2**60, 20],
            "title": ["A", None, "Ç", "D"],
            "year": [1999, None, 2000, 1],
            "genres": [["x", "y"], [], None, ["z"]],
        },
        schema_overrides={"year": pl.Int32},
    )
    candidates = Candidates(np.array([1], np.int32), np.array([0], np.int32), np.array([[2, -1]], np.int32))
    whole = concatenate(concatenate(train, valid), test)
    read = Dataset(
        "tiny", whole, below, whole.take(np.empty(0, np.int64)), items, None, REPORT, {"min_rating": 4.0, "sep": None}
    )
    return read, Split(train, valid, test, candidates=candidates, notes=("Two users were too short.",))


def popularity(train: Interactions) -> Model:
    return MODELS["popularity"]().fit(train)


def write(path: Path, **manifest: Any) -> Path:
    data, split = dataset()
    with writing(path) as partial:
        write_run(partial.folder, model=popularity(split.train), split=split, dataset=data, manifest=manifest)
    return path


def assert_same(found: Any, expected: Any) -> None:
    """Compares parts of a split field by field, dtypes included."""
    if expected is None:
        assert found is None
        return
    for field in fields(expected):
        left, right = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(right, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        elif field.name in ("user_ids", "item_ids"):
            assert left == right
            assert left.is_text == right.is_text
        elif field.name == "notes":
            assert left == right
        else:
            assert_same(left, right)


# The round trip


def test_a_run_comes_back_row_for_row(tmp_path: Path) -> None:
    data, split = dataset()
    run = open_run(write(tmp_path / "run", split={"spec": "random:0.8/0.1/0.1", "seed": 1}, metrics={"valid": 0.5}))
    assert_same(run.split, split)
    assert_same(run.below_threshold, data.below_threshold)
    assert run.items is not None
    assert data.items is not None
    assert run.items.equals(data.items)
    assert run.items.schema == data.items.schema
    assert run.manifest["split"] == {"spec": "random:0.8/0.1/0.1", "seed": 1}
    assert run.manifest["data"]["sha256"] == data.interactions.sha256()
    assert run.manifest["data"]["settings"] == {"min_rating": 4.0, "sep": None}
    assert {"neucf", "python", "torch", "numpy"} <= set(run.manifest["versions"])
    assert json.loads((run.path / "metrics.json").read_text()) == {"valid": 0.5}
    np.testing.assert_array_equal(run.model.score([0]), [[1, 1, 0, 1]])


def test_a_run_is_movable_and_holds_no_stray_file(tmp_path: Path) -> None:
    written = write(tmp_path / "run")
    moved = shutil.move(written, tmp_path / "elsewhere")
    assert sorted(file.name for file in Path(moved).iterdir()) == [
        "candidates.parquet",
        "interactions.parquet",
        "items.parquet",
        "manifest.json",
        "metrics.json",
        "users.parquet",
        "weights.safetensors",
    ]
    assert len(open_run(moved).split.train) == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["elsewhere"]


def test_all_files_may_be_read_by_whom_new_files_may(tmp_path: Path) -> None:
    """A service reads runs as another user than the one who trained them."""
    (tmp_path / "new").touch()
    save(MODELS["mf"](dim=2, epochs=1).fit(Interactions.from_arrays([0, 1], [1, 0])), tmp_path / "run")
    modes = {file.name: file.stat().st_mode for file in (tmp_path / "run").iterdir()}
    assert "weights.safetensors" in modes
    assert set(modes.values()) == {(tmp_path / "new").stat().st_mode}


def test_the_interactions_file_reads_without_neucf(tmp_path: Path) -> None:
    rows = pl.read_parquet(write(tmp_path / "run") / "interactions.parquet")
    assert rows.columns == ["user", "item", "rating", "timestamp", "part"]
    assert rows["part"].cast(pl.String).to_list() == ["train"] * 3 + ["valid"] + ["test"] * 2 + ["below_threshold"]
    assert rows["timestamp"].to_list() == [30, -1, 2**40, 7, None, None, 8]


def test_a_model_fitted_on_train_and_valid_comes_back_so(tmp_path: Path) -> None:
    data, split = dataset()
    assert split.valid is not None
    model = popularity(concatenate(split.train, split.valid))
    with writing(tmp_path / "run") as partial:
        write_run(partial.folder, model=model, split=split, dataset=data, manifest={})
    run = open_run(tmp_path / "run")
    assert_same(run.model.train, model.train)
    assert_same(run.split, split)


def test_a_model_fitted_on_all_but_the_test_users_comes_back_so(tmp_path: Path) -> None:
    data, split = dataset()
    split = replace(split, valid_history=split.test, test=None, candidates=None)
    model = popularity(split.train_and_valid)
    assert len(model.train) == 6
    with writing(tmp_path / "run") as partial:
        write_run(partial.folder, model=model, split=split, dataset=data, manifest={})
    assert_same(open_run(tmp_path / "run").model.train, model.train)


def test_engine_and_best_epoch_come_back(tmp_path: Path) -> None:
    model = popularity(dataset()[1].train)
    model.engine, model.best_epoch = "compiled", 17
    save(model, tmp_path / "run")
    assert (load(tmp_path / "run").engine, load(tmp_path / "run").best_epoch) == ("compiled", 17)


def test_save_and_load_keep_scores_and_only_training_rows(tmp_path: Path) -> None:
    train = dataset()[1].train
    save(popularity(train), tmp_path / "run")
    run = open_run(tmp_path / "run")
    assert run.split.valid is None
    assert run.split.test is None
    assert run.split.candidates is None
    assert run.items is None
    assert len(run.below_threshold) == 0
    np.testing.assert_array_equal(load(tmp_path / "run").score([2, 0], [0, 2]), [[1, 0], [1, 0]])


def test_a_number_that_is_not_finite_is_recorded_as_null(tmp_path: Path) -> None:
    run = open_run(write(tmp_path / "run", metrics={"ndcg@20": [float("nan"), 0.5]}, fits=({"loss": float("inf")},)))
    assert run.manifest["metrics"] == {"ndcg@20": [None, 0.5]}
    assert run.manifest["fits"] == [{"loss": None}]


def test_save_refuses_an_unfitted_model(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        save(MODELS["popularity"](), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_model_fitted_on_other_rows_is_refused(tmp_path: Path) -> None:
    data, split = dataset()
    assert split.test is not None
    with pytest.raises(DataError, match="fitted on"), writing(tmp_path / "run") as partial:
        write_run(partial.folder, model=popularity(split.test), split=split, dataset=data, manifest={})
    assert list(tmp_path.iterdir()) == []


def test_an_empty_part_is_not_an_absent_one(tmp_path: Path) -> None:
    train = interactions([0], [1], weights=[2.5])
    split = Split(train, valid=train.take(np.empty(0, np.int64)), test=None)
    with writing(tmp_path / "run") as partial:
        write_run(partial.folder, model=popularity(train), split=split, dataset=None, manifest={})
    found = open_run(tmp_path / "run").split
    assert_same(found, split)
    assert found.valid is not None
    assert found.valid.weights is not None


ids = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8, unique=True),
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=8, unique=True),
)


@settings(max_examples=25, deadline=None)
@given(user_ids=ids, item_ids=ids, data=st.data())
def test_any_split_comes_back(
    tmp_path_factory: pytest.TempPathFactory, user_ids: Any, item_ids: Any, data: Any
) -> None:
    pairs = st.lists(st.tuples(st.integers(0, len(user_ids) - 1), st.integers(0, len(item_ids) - 1)), max_size=12)

    def part() -> Interactions:
        rows = data.draw(pairs)
        size = len(rows)
        columns = {
            "ratings": st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=size, max_size=size),
            "weights": st.lists(st.floats(1e-30, 1e30), min_size=size, max_size=size),
            "timestamps": st.lists(st.integers(-(2**63), 2**63 - 1), min_size=size, max_size=size),
        }
        return Interactions.from_arrays(
            np.array([user for user, _ in rows], np.int32),
            np.array([item for _, item in rows], np.int32),
            user_ids=user_ids,
            item_ids=item_ids,
            **{name: data.draw(st.none() | values) for name, values in columns.items()},
        )

    split = Split(part(), part(), part(), part(), part())
    path = tmp_path_factory.mktemp("runs") / "run"
    with writing(path) as partial:
        write_run(partial.folder, model=popularity(split.train), split=split, dataset=None, manifest={})
    assert_same(open_run(path).split, split)


# A folder that is not what it should be


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


# Writing: whole or not at all


def fail(path: Path, error: BaseException, checkpoint: dict[str, Any] | None = None, *, force: bool = False) -> None:
    def attempt() -> None:
        with writing(path, force=force) as partial:
            (partial.folder / "log.jsonl").write_text("line\n")
            if checkpoint is not None:
                save_checkpoint(partial.folder, checkpoint)
            raise error

    with pytest.raises(type(error)):
        attempt()


def test_where_no_folder_can_be_made_a_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ArtifactError, match="must be writable"), writing(tmp_path / "run"):
        pass


def test_a_table_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise pl.exceptions.ComputeError("No space left on device (os error 28)")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", refuse)
    with pytest.raises(ArtifactError, match=r"parquet could not be written: No space left"):
        write(tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_without_a_checkpoint_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    fail(tmp_path / "run", error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_failure_with_a_checkpoint_can_be_resumed(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "run"
    fail(path, error, {"epoch": 3})
    assert not path.exists()
    with pytest.raises(ArtifactError, match="--resume"), writing(path):
        pass
    with writing(path, resume=True) as partial:
        assert partial.resumed
        assert load_checkpoint(partial.folder) == {"epoch": 3}
        assert (partial.folder / "log.jsonl").read_text() == "line\n"
    assert [file.name for file in path.iterdir()] == ["log.jsonl"]
    assert not partial.folder.exists()


def test_force_starts_an_unfinished_run_over(tmp_path: Path) -> None:
    fail(tmp_path / "run", ValueError(), {"epoch": 3})
    with writing(tmp_path / "run", force=True) as partial:
        assert not partial.resumed
        assert load_checkpoint(partial.folder) is None
        assert not (partial.folder / "log.jsonl").exists()


def test_resume_without_an_unfinished_run_starts_afresh(tmp_path: Path) -> None:
    with writing(tmp_path / "deep" / "run", resume=True) as partial:
        assert not partial.resumed
    assert (tmp_path / "deep" / "run").is_dir()


def test_an_existing_run_is_refused_then_replaced_by_force_only_on_success(tmp_path: Path) -> None:
    path = write(tmp_path / "run")
    with pytest.raises(ArtifactError, match="--force"), writing(path):
        pass
    fail(path, ValueError(), force=True)
    assert len(open_run(path).split.train) == 3
    with writing(path, force=True) as partial:
        assert len(open_run(path).split.train) == 3
        (partial.folder / "new").touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", ["run", "run.partial"])
def test_a_folder_that_is_no_run_is_left_alone_even_by_force(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match=name), writing(tmp_path / "run", force=True):
        pass
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "thesis.txt").read_text() == "years of work"


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(ArtifactError, match="no run folder"), writing(tmp_path / "run", force=True):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("dangling", [False, True])
def test_a_file_in_the_way_of_the_work_is_left_alone(tmp_path: Path, dangling: bool) -> None:
    partial = tmp_path / "run.partial"
    if dangling:
        partial.symlink_to(tmp_path / "nowhere")
    else:
        partial.write_text("mine")
    with pytest.raises(ArtifactError, match=r"run\.partial must be writable"), writing(tmp_path / "run", force=True):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["run.partial"]


def test_a_second_writer_gets_one_sentence(tmp_path: Path) -> None:
    with writing(tmp_path / "run") as partial:
        with pytest.raises(ArtifactError, match="another process"), writing(tmp_path / "run", force=True):
            pass
        assert partial.folder.is_dir()
    assert (tmp_path / "run").is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_gets_one_sentence(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ArtifactError, match="writable"), writing(tmp_path / "run"):
        pass


def test_a_parent_that_is_a_file_gets_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="writable"), writing(tmp_path / "file" / "run"):
        pass


def test_racing_writers_leave_one_whole_run(tmp_path: Path) -> None:
    def attempt(number: int) -> None:
        with suppress(ZeroDivisionError), writing(tmp_path / "run", force=True) as partial:
            (partial.folder / "manifest.json").write_text(str(number))
            (partial.folder / "other").write_text(str(number))
            if number % 4 == 0:
                raise ZeroDivisionError

    def insist(number: int) -> None:
        while True:
            try:
                return attempt(number)
            except ArtifactError as error:
                assert "another process" in str(error)  # noqa: PT017
                time.sleep(0.001)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(insist, range(24)))
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["manifest.json", "other"]
    number = (tmp_path / "run" / "manifest.json").read_text()
    assert (tmp_path / "run" / "other").read_text() == number
    assert int(number) % 4 > 0


def _hold_and_wait(path: Path, ready: Any) -> None:
    with writing(path) as partial:
        save_checkpoint(partial.folder, {"epoch": 5})
        ready.set()
        time.sleep(60)


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold_and_wait, args=(tmp_path / "run", ready))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(ArtifactError, match="another process"), writing(tmp_path / "run", resume=True):
        pass
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with writing(tmp_path / "run", resume=True) as partial:
        assert load_checkpoint(partial.folder) == {"epoch": 5}


@pytest.mark.parametrize("torn", ['{"stage": "fit", "epo', "\0\0\0", "\xff"])
@pytest.mark.parametrize("epochs", [[3, 4], []])
def test_a_log_whose_last_line_was_cut_goes_on(tmp_path: Path, torn: str, epochs: list[int]) -> None:
    fail(tmp_path / "run", OSError(28, "No space left on device"), {"stage": "fit", "state": {"epoch": 2}})
    whole = [f'{{"stage": "fit", "epoch": {epoch}}}' for epoch in (1, 2)]
    log = tmp_path / "run.partial" / "log.jsonl"
    log.write_bytes("\n".join([*whole, torn]).encode("latin-1"))
    with writing(tmp_path / "run", resume=True) as partial, RunMonitor(partial, "fit", None) as monitor:
        for epoch in epochs:
            monitor.epoch(EpochRecord(epoch, 4, 0.5, 0.1, 1.0, 9))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, *epochs]
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["log.jsonl"]


# Requests and checkpoints


def test_a_resumed_run_must_be_asked_the_same(tmp_path: Path) -> None:
    request = {"model": "bpr-mf", "config": {"dim": 32, "lr": 0.1}, "data": "ab", "seed": 0}
    claim(tmp_path, request)
    claim(tmp_path, {**request, "config": {"lr": 0.1, "dim": 32}})
    with pytest.raises(ConfigError, match=r"`config\.dim` was 32 and is now 64"):
        claim(tmp_path, {**request, "config": {"dim": 64, "lr": 0.1}})
    with pytest.raises(ConfigError, match="`data` was 'ab' and is now 'cd'"):
        claim(tmp_path, {**request, "data": "cd"})
    with pytest.raises(ConfigError, match="`valid` was None and is now 'latest-item'"):
        claim(tmp_path, {**request, "valid": "latest-item"})
    with pytest.raises(ConfigError, match="`seed` was 0 and is now None"):
        claim(tmp_path, {key: value for key, value in request.items() if key != "seed"})


def test_a_checkpoint_holds_what_training_needs(tmp_path: Path) -> None:
    weights = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
    optimiser = torch.optim.Adam([weights])
    weights.sum().backward()
    optimiser.step()
    generator = np.random.default_rng(3)
    state = {
        "weights": weights,
        "best": weights.detach().T,
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
        "optimiser": optimiser.state_dict(),
        "numpy": generator.bit_generator.state,
        "legacy": np.random.RandomState(3).get_state(legacy=False),
        "torch": torch.random.get_rng_state(),
        "python": random.Random(3).getstate(),
        "best_value": -np.inf,
        "scalar": np.float64(0.1),
        "empty": np.zeros((0, 2), np.uint64),
        "$odd": {"$tensor": 1},
        "none": None,
    }
    save_checkpoint(tmp_path, {"epoch": 1})
    save_checkpoint(tmp_path, state)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.safetensors"]
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert torch.equal(found["weights"], weights)
    assert torch.equal(found["best"], weights.T)
    assert found["half"].dtype == torch.bfloat16
    assert found["optimiser"]["param_groups"] == state["optimiser"]["param_groups"]  # type: ignore[index]
    assert torch.equal(found["optimiser"]["state"][0]["exp_avg"], optimiser.state[weights]["exp_avg"])
    assert torch.equal(found["torch"], state["torch"])  # type: ignore[arg-type]
    assert found["python"] == state["python"]
    assert (found["best_value"], found["scalar"], found["none"]) == (-np.inf, 0.1, None)
    assert found["$odd"] == {"$tensor": 1}
    assert (found["empty"].dtype, found["empty"].shape) == (np.uint64, (0, 2))
    again = np.random.default_rng()
    again.bit_generator.state = found["numpy"]
    assert again.random() == generator.random()
    legacy = np.random.RandomState()
    legacy.set_state(found["legacy"])
    assert legacy.random() == np.random.RandomState(3).random()


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@settings(max_examples=40, deadline=None)
@given(state=st.dictionaries(st.sampled_from(["a", "$array", "$dict"]), plain))
def test_any_plain_state_comes_back(tmp_path_factory: pytest.TempPathFactory, state: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, state)
    assert load_checkpoint(folder) == state


def test_a_state_that_cannot_be_kept_leaves_the_last_one(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"epoch": 1})
    with pytest.raises(TypeError, match="object"):
        save_checkpoint(tmp_path, {"epoch": 2, "what": object()})
    assert load_checkpoint(tmp_path) == {"epoch": 1}


def test_a_damaged_checkpoint_gets_one_sentence(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"weights": np.ones(4)})
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ArtifactError, match=r"checkpoint\.safetensors"):
        load_checkpoint(tmp_path)


def test_parts_with_other_vocabularies_are_refused(tmp_path: Path) -> None:
    data, split = dataset()
    other = Interactions.from_arrays([0], [0], user_ids=["a", "b", "c"], item_ids=[1, 2, 3, 4])
    with pytest.raises(DataError, match="vocabularies"), writing(tmp_path / "run") as partial:
        write_run(
            partial.folder, model=popularity(split.train), split=replace(split, test=other), dataset=data, manifest={}
        )


def test_what_is_no_path_is_refused_and_python_is_told_its_own_option(tmp_path: Path) -> None:
    model = MODELS["popularity"]().fit(Interactions.from_arrays([0], [0]))
    for call in (load, lambda path: save(model, path)):
        with pytest.raises(ArtifactError, match="`path` must be the path of a run folder; got None"):
            call(None)  # type: ignore[arg-type]
    save(model, tmp_path / "run")
    with pytest.raises(ArtifactError, match="force=True"):
        save(model, tmp_path / "run")
