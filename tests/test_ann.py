from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import planted
from safetensors.numpy import load_file, save_file

import neucf
from neucf.artifacts import open_run
from neucf.data.interactions import Interactions
from neucf.errors import ArtifactError, ConfigError
from neucf.evaluation.ranking import top_k
from neucf.models import MODELS, Model
from neucf.recommender import to_numpy
from neucf.serving import Filters, Service, build_index, open_index
from neucf.serving.ann import build

pytest.importorskip("faiss")
TRAIN, _ = planted()
SETTINGS: dict[str, dict[str, Any]] = {"neumf": {"dim": 4, "tower": "8-4"}, "mlp": {"tower": "8-4"}}
INNER = [
    ("mf", {"dim": 8, "bias": True}),
    ("mf", {"dim": 8, "cosine": True}),
    ("gmf", {"dim": 8}),
    ("ials", {"dim": 8}),
]


def fitted(name: str, train: Interactions = TRAIN, **settings: Any) -> Model:
    return MODELS[name](**(settings or SETTINGS.get(name, {"dim": 8})), epochs=3).fit(train, seed=0, threads=1)


@pytest.mark.parametrize(("name", "settings"), INNER)
def test_with_every_cell_looked_into_lists_are_the_exact_ones(name: str, settings: dict[str, Any]) -> None:
    model = fitted(name, **settings)
    ann, built = build(model, model, k=5, probes=5)
    assert (built.num_cells, built.recall) == (5, 1.0)
    allowed = np.arange(40) % 3 != 0
    for users, histories, mask in (
        (np.arange(60), None, TRAIN.csr()),
        (None, TRAIN.csr()[:9], TRAIN.csr()[:9]),
        (np.arange(9), TRAIN.csr()[9:18], None),
    ):
        near = ann.top_k(model, users, 5, histories=histories, mask=mask, allowed=allowed)
        exact = top_k(model, users, 5, histories=histories, mask=mask, allowed=allowed)
        np.testing.assert_allclose(near.scores, exact.scores, rtol=1e-4, atol=1e-4)
        assert (near.items == exact.items).mean() > 0.99


@pytest.mark.parametrize("name", ["mlp", "neumf"])
def test_a_net_ranks_what_another_model_finds(name: str) -> None:
    net, retriever = fitted(name), fitted("mf")
    ann, built = build(net, retriever, k=5)
    # There are fewer items than candidates, so nothing is lost
    assert built.recall == 1.0
    near = ann.top_k(net, np.arange(9), 5, mask=TRAIN.csr())
    assert np.array_equal(near.items, top_k(net, np.arange(9), 5, mask=TRAIN.csr()).items)
    with pytest.raises(ConfigError, match=f"such as mf; got {name}"):
        build(net, net)


def test_recall_is_the_share_of_the_exact_list_that_one_cell_holds() -> None:
    rng = np.random.default_rng(0)
    users, items = np.divmod(rng.choice(50 * 600, 3000, replace=False), 600)
    train = Interactions.from_arrays(users, items, user_ids=range(50), item_ids=range(600))
    model = fitted("mf", train, dim=8, init_std=1.0, lr=1e-9)
    ann, built = build(model, model, k=10, probes=1)
    scores, owned = to_numpy(model.score(np.arange(50))), train.csr().toarray() > 0
    cell = (ann.centres @ to_numpy(model.factors()[1]).T).argmax(0)  # type: ignore[attr-defined]
    probed = (ann.centres @ model.factors()[0].T).argmax(0)  # type: ignore[attr-defined]
    scores[owned] = -np.inf
    shares = []
    for user in range(50):
        best = np.argsort(-scores[user])[:10]
        inside = (cell == probed[user]) & ~owned[user]
        # Fewer than K in the cell: the list is exact
        shares.append(1.0 if inside.sum() < 10 else (cell[best] == probed[user]).mean())
    assert 0.1 < built.recall < 1
    assert built.recall == pytest.approx(np.mean(shares))
    assert build(model, model, k=10)[1].recall >= 0.98


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    neucf.save(fitted("neumf"), tmp_path / "neumf")
    neucf.save(fitted("mf"), tmp_path / "mf")
    build_index(open_run(tmp_path / "neumf"), open_run(tmp_path / "mf"))
    return tmp_path


def test_a_run_keeps_its_index_and_filters_come_first(folder: Path) -> None:
    run = open_run(folder / "neumf")
    filters = Filters(deny=tuple(range(110, 140)))
    exact, near = Service(run), Service(run, ann=True)
    strangers = exact.histories([[100, 104], []])
    for service in (exact, near):
        lists = service.recommend(["u0", "u5"], 6, filters=filters) + service.recommend_histories(strangers, 4)
        found = [(item.item_id, round(item.score, 4)) for each in lists for item in each.items]
        assert [each.fallback for each in lists] == [None, None, None, "popularity"]
        if service is exact:
            expected = found
    assert found == expected
    assert all(item < 110 for item, _ in found[:12])


def test_an_index_must_be_there_of_this_run_and_whole(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="neucf index"):
        open_index(open_run(folder / "mf"))
    (folder / "mf" / "ann.safetensors").write_bytes((folder / "neumf" / "ann.safetensors").read_bytes())
    with pytest.raises(ArtifactError, match="another run's weights"):
        open_index(open_run(folder / "mf"))
    with pytest.raises(ConfigError, match="`ann` needs a run"):
        Service(open_run(folder / "mf").model, ann=True)


def test_the_retriever_must_know_the_same_rows(folder: Path) -> None:
    neucf.save(fitted("mf", TRAIN.take(np.arange(len(TRAIN) - 1))), folder / "other")
    with pytest.raises(ConfigError, match="`retriever` must be trained on this run's rows"):
        build_index(open_run(folder / "neumf"), open_run(folder / "other"))


BAD: dict[str, dict[str, Any]] = {
    "probes of 0": {"built": {"probes": 0}},
    "probes beyond": {"built": {"probes": 10**9}},
    "probes a text": {"built": {"probes": "many"}},
    "no such model": {"retriever": {"name": "os.system", "config": {}}},
    "no retriever": {"retriever": None},
    "a list": {"retriever": [1]},
    "nan": {"centres": np.full((2, 8), np.nan, np.float32)},
    "narrow": {"centres": np.zeros((2, 3), np.float32)},
    "flat": {"centres": np.zeros(8, np.float32)},
    "too many": {"centres": np.zeros((41, 8), np.float32)},
    "none": {"centres": np.zeros((0, 8), np.float32)},
    "integers": {"centres": np.zeros((2, 8), np.int64)},
    "other weights": {"retriever.item_embedding.weight": np.zeros((39, 8), np.float32)},
}


@pytest.mark.parametrize("harm", BAD)
def test_a_malformed_index_is_refused(folder: Path, harm: str) -> None:
    from safetensors import safe_open

    file = folder / "neumf" / "ann.safetensors"
    with safe_open(file, "numpy") as opened:
        about = json.loads(opened.metadata()["about"])
    arrays = load_file(file)
    for key, value in BAD[harm].items():
        (arrays if isinstance(value, np.ndarray) else about)[key] = value
    save_file(arrays, file, {"about": json.dumps(about)})
    with pytest.raises(ArtifactError, match=r"ann\.safetensors must"):
        open_index(open_run(folder / "neumf"))


@pytest.mark.parametrize("content", [b"", b"not it", b"\xff" * 64])
def test_a_file_of_something_else_is_refused(folder: Path, content: bytes) -> None:
    (folder / "neumf" / "ann.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"ann\.safetensors must be an index"):
        open_index(open_run(folder / "neumf"))
