from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from neucf.artifacts import Run
from neucf.data.interactions import Interactions
from neucf.data.splits import Split
from neucf.errors import ConfigError
from neucf.models import MODELS, Model
from neucf.recommender import to_numpy
from neucf.serving import Service
from neucf.serving.new_items import genre_means, place_new_items

GENRES = [["War"], ["War", "Drama"], ["Drama"], ["War"], ["War", "Drama"], [], ["Comedy"], ["War", "Comedy"]]
# Items 3 to 7 are nobody's: 3 is like 0, 4 like 1, 5 has no genre, 6 shares none, 7 is half like 0 alone.
PAIRS = ([0, 0, 1, 1, 2, 3], [0, 1, 1, 2, 2, 0])
WITH_EMBEDDINGS = ["mf", "bpr-mf", "gmf", "mlp", "neumf", "ials", "lightgcn"]
SETTINGS: dict[str, dict[str, Any]] = {"mlp": {"tower": "8-4"}, "neumf": {"dim": 4, "tower": "8-4"}}


def items() -> pl.DataFrame:
    titles = [f"Film {index}" for index in range(8)]
    return pl.DataFrame(
        {"item_id": list(range(8)), "title": titles, "year": [2000] * 8, "genres": GENRES},
        schema_overrides={"year": pl.Int32, "genres": pl.List(pl.String)},
    )


def fitted(name: str) -> Model:
    train = Interactions.from_arrays(*PAIRS, user_ids=range(4), item_ids=range(8))
    settings = SETTINGS.get(name, {} if name in ("popularity", "ease") else {"dim": 4})
    if name not in ("popularity", "ease"):
        settings = settings | {"epochs": 2}
    return MODELS[name](**settings).fit(train, seed=0, threads=1)


def test_weights_are_the_means_of_the_items_most_alike() -> None:
    flags = np.array([["War" in each, "Drama" in each, "Comedy" in each] for each in GENRES])
    weights = genre_means(flags[3:], flags, np.arange(8) < 3).toarray()
    expected = np.zeros((5, 8))
    expected[0, 0] = expected[1, 1] = 1
    expected[4, 0] = 1  # {War, Comedy}: 1/2 with {War}, 1/3 with {War, Drama}
    assert_allclose(weights, expected)
    two = genre_means(flags[[3]], flags, np.array([1, 0, 0, 1, 0, 0, 0, 0], np.bool_)).toarray()
    assert_allclose(two, [[0.5, 0, 0, 0.5, 0, 0, 0, 0]])


@pytest.mark.parametrize("name", WITH_EMBEDDINGS)
def test_a_new_item_of_the_same_genres_as_one_item_scores_as_that_item(name: str) -> None:
    model = fitted(name)
    before = to_numpy(model.score(np.arange(4))).copy()
    # Worked out once and kept, but not for the copy
    assert model.item_embeddings() is not None
    placed, new = place_new_items(model, items())
    assert new.tolist() == [False, False, False, True, True, False, False, True]
    scores = to_numpy(placed.score(np.arange(4)))
    assert_allclose(scores[:, [0, 1, 2, 5, 6]], before[:, [0, 1, 2, 5, 6]], rtol=1e-6)
    assert_allclose(scores[:, [3, 4, 7]], before[:, [0, 1, 0]], rtol=1e-5, atol=1e-6)
    vectors = placed.item_embeddings()
    assert vectors is not None
    assert_allclose(vectors[[3, 4]], vectors[[0, 1]], rtol=1e-5, atol=1e-6)
    histories = csr_array((np.ones(2, np.float32), ([0, 1], [0, 3])), shape=(2, 8))
    assert_allclose(*to_numpy(placed.score_history(histories)), rtol=1e-4, atol=1e-5)
    # The model itself, which evaluations use, is as it was.
    assert_allclose(to_numpy(model.score(np.arange(4))), before)


def test_new_items_are_marked_and_only_by_choice() -> None:
    model = fitted("mf")
    nothing = model.train.take(np.empty(0, np.int64))
    run = Run(None, {}, model, Split(model.train, None, None), nothing, nothing, items())  # type: ignore[arg-type]
    marks = {each.item_id: each.to_json()["placed"] for each in Service(run, new_items=True).recommend([0], 8)[0].items}
    assert marks == {2: None, 3: "genres", 4: "genres", 5: None, 6: None, 7: "genres"}
    assert all(each.placed is None for each in Service(run).recommend([0], 8)[0].items)


def test_what_is_missing_is_said() -> None:
    with pytest.raises(ConfigError, match=r"`new_items` needs items with genres"):
        place_new_items(fitted("mf"), None)
    for name in ("popularity", "ease"):
        with pytest.raises(ConfigError, match=f"can place items, such as mf; {name} can't"):
            place_new_items(fitted(name), items())
