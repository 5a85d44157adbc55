"""A run folder, written and opened again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_run import assert_same, dataset, interactions, popularity, write

from neucf.artifacts import load, open_run, save, write_run, writing
from neucf.data.interactions import Interactions, concatenate
from neucf.data.splits import Split
from neucf.errors import ArtifactError, DataError, NotFittedError
from neucf.models import MODELS


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
