"""Vocabulary: ids there and back. Interactions: columns, the CSR view and the hash."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array, csr_array

from neucf.data.interactions import Interactions, concatenate
from neucf.data.splits import Split
from neucf.data.vocabulary import Vocabulary
from neucf.errors import DataError, UnknownIdError

integers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=40, unique=True)
texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=40, unique=True)


# --- Vocabulary


@settings(deadline=None)
@given(ids=integers | texts)
def test_ids_go_there_and_back(ids):
    vocabulary = Vocabulary(ids, "user")
    assert list(vocabulary) == ids
    assert [vocabulary[index] for index in range(len(vocabulary))] == ids
    assert [vocabulary.index(external) for external in ids] == list(range(len(ids)))
    assert [vocabulary.parse(str(external)) for external in ids] == ids
    assert all(external in vocabulary for external in ids)
    assert vocabulary.is_text == isinstance(ids[0], str)
    for form in (ids, pl.Series(ids), np.array(ids, object if vocabulary.is_text else np.int64)):
        assert vocabulary.indices(form).tolist() == list(range(len(ids)))


@settings(deadline=None)
@given(ids=integers | texts, asked=integers | texts)
def test_find_agrees_with_a_dictionary(ids, asked):
    vocabulary = Vocabulary(ids, "item")
    expected = [{external: index for index, external in enumerate(ids)}.get(one, -1) for one in asked]
    assert vocabulary.find(asked).tolist() == expected
    assert vocabulary.find(pl.Series(asked)).tolist() == expected
    assert vocabulary.find(asked).dtype == np.int32


def test_find_takes_ids_beyond_64_bits_nulls_and_mixtures_for_unknown():
    vocabulary = Vocabulary([5, -3], "user")
    assert vocabulary.find([5, 2**63, "5"]).tolist() == [0, -1, -1]
    assert vocabulary.find(np.array([2**64 - 3, 5], np.uint64)).tolist() == [-1, 0]
    assert vocabulary.find(pl.Series([-3, None])).tolist() == [1, -1]
    assert vocabulary.find(np.array(["5"])).tolist() == [-1]
    assert vocabulary.find([]).shape == (0,)


@pytest.mark.parametrize(
    "text",
    ["007", "+7", " 7", "7 ", "7.0", "7_0", "-0", "-", "", "\u0667", "1e1", pytest.param("9" * 5_000, id="long")],
)
def test_parse_knows_an_integer_only_by_its_canonical_form(text):
    with pytest.raises(UnknownIdError):
        Vocabulary([7, 70, 0, 10], "user").parse(text)


def test_parse_keeps_texts_as_they_stand():
    vocabulary = Vocabulary(["007", "7"], "user")
    assert vocabulary.parse("007") == "007"
    assert vocabulary.index("007") == 0


def test_an_unknown_integer_is_answered_with_the_nearest_by_value():
    vocabulary = Vocabulary([100, 3, 40, 38, -(2**63), 2**63 - 1], "user")
    with pytest.raises(UnknownIdError, match=r"`user_id` .* got 39\. Nearest existing: 38, 40, 3\.") as caught:
        vocabulary.index(39)
    assert (caught.value.kind, caught.value.unknown, caught.value.nearest) == ("user", 39, (38, 40, 3))
    # Far ends: the distance does not fit in 64 bits.
    assert vocabulary.nearest(-(2**63) + 1, 1) == [-(2**63)]
    with pytest.raises(UnknownIdError, match="got 39"):
        vocabulary.indices(np.array([3, 39, 41]))
    with pytest.raises(UnknownIdError, match="Nearest existing: 38, 40, 3"):
        vocabulary.parse("39")


def test_an_unknown_text_is_answered_with_the_nearest_by_spelling():
    vocabulary = Vocabulary(["ann", "anna", "bob", "zoe"], "item")
    with pytest.raises(UnknownIdError, match=r"`item_id` .* got 'anne'\. Nearest existing: "):
        vocabulary.index("anne")
    assert set(vocabulary.nearest("anne", 2)) == {"ann", "anna"}
    assert vocabulary.nearest("???", 2) == ["ann", "anna"]


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ([1, None], "null at index 1"),
        (["a", "b", None], "null at index 2"),
        ([4, 7, 4], "got 4 more than once"),
        (["a", "a"], "got 'a' more than once"),
        ([1.0, 2.0], "must be integers or texts; got Float64"),
        ([True, False], "got Boolean"),
        ([1, "a"], "all integers of 64 bits or all texts"),
        (["a", 1], "all integers of 64 bits or all texts"),
        ([1, 2**63], "all integers of 64 bits or all texts"),
        (np.array([2**63], np.uint64), "all integers of 64 bits or all texts"),
    ],
)
def test_ids_that_break_a_rule_are_refused(ids, words):
    with pytest.raises(DataError, match=words):
        Vocabulary(ids, "user")


def test_equal_vocabularies_hash_alike():
    one, same = Vocabulary([1, 2], "user"), Vocabulary(pl.Series([1, 2], dtype=pl.UInt8), "item")
    assert one == same
    assert hash(one) == hash(same)
    for other in (Vocabulary([2, 1], "user"), Vocabulary([1], "user"), Vocabulary(["1", "2"], "user")):
        assert one != other
    assert one != [1, 2]


def test_an_empty_vocabulary_knows_nobody():
    vocabulary = Vocabulary([], "user")
    assert len(vocabulary) == 0
    assert vocabulary.find(["a"]).tolist() == [-1]
    with pytest.raises(UnknownIdError, match="got 3"):
        vocabulary.index(3)


# --- Interactions


@st.composite
def columns(draw) -> Interactions:
    size = draw(st.integers(0, 30))

    def column(values):
        return draw(st.lists(values, min_size=size, max_size=size))

    return Interactions.from_arrays(
        np.array(column(st.integers(0, 5)), np.int64),
        np.array(column(st.integers(0, 7)), np.int64),
        ratings=draw(st.none() | st.just(column(st.floats(0.5, 5)))),
        weights=draw(st.none() | st.just(column(st.floats(0.5, 5, width=32)))),
        timestamps=draw(st.none() | st.just(column(st.integers(0, 2**40)))),
        user_ids=[f"u{x}" for x in range(6)],
        item_ids=range(8),
    )


@settings(deadline=None)
@given(data=columns())
def test_csr_equals_scipys_and_has_sorted_rows_and_wide_offsets(data):
    matrix = data.csr()
    values = np.ones(len(data)) if data.weights is None else data.weights
    expected = coo_array((values, (data.users, data.items)), shape=(6, 8)).toarray()
    assert isinstance(matrix, csr_array)
    assert matrix.shape == (6, 8)
    np.testing.assert_allclose(matrix.toarray(), expected, rtol=1e-6)
    assert (matrix.indptr.dtype, matrix.indices.dtype, matrix.dtype) == (np.int64, np.int32, np.float32)
    assert matrix.nnz == len(data)
    for start, stop in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        assert (np.diff(matrix.indices[start:stop]) >= 0).all()


def test_csr_keeps_the_order_of_equal_pairs():
    data = Interactions.from_arrays([1, 0, 1, 1, 1], [2, 2, 0, 2, 0], weights=[1, 2, 3, 4, 5])
    matrix = data.csr()
    assert (matrix.indptr.tolist(), matrix.indices.tolist()) == ([0, 1, 5], [2, 0, 0, 2, 2])
    assert matrix.data.tolist() == [2, 3, 5, 1, 4]


@settings(deadline=None)
@given(rows=st.sets(st.tuples(st.integers(0, 4), st.integers(0, 5))), weighted=st.booleans())
def test_csr_goes_there_and_back(rows, weighted):
    dense = np.zeros((5, 6))
    for number, (user, item) in enumerate(sorted(rows)):
        dense[user, item] = number + 2 if weighted else 1
    data = Interactions.from_csr(csr_array(dense), user_ids=[10, 20, 30, 40, 50])
    assert (data.num_users, data.num_items, len(data)) == (5, 6, len(rows))
    assert list(data.user_ids) == [10, 20, 30, 40, 50]
    assert list(data.item_ids) == list(range(6))
    assert (data.weights is None) == (not weighted or not rows)
    assert (data.csr().toarray() == dense).all()


@pytest.mark.parametrize("weight", [0, -1, np.nan, np.inf, 1e-50, 1e300])
def test_weights_are_numbers_above_zero_in_32_bits(weight):
    with pytest.raises(DataError, match="`weights` must be above 0"):
        Interactions.from_arrays([0, 1], [1, 0], weights=[1, weight])


def test_times_are_integers():
    with pytest.raises(DataError, match="`timestamps` must be a 1-d integer array"):
        Interactions.from_arrays([0], [0], timestamps=[1.9])


def test_csr_of_nothing():
    matrix = Interactions.from_arrays([], [], user_ids=[1], item_ids=[1, 2]).csr()
    assert (matrix.shape, matrix.nnz) == ((1, 2), 0)


def test_from_arrays_by_hand():
    data = Interactions.from_arrays([2, 0], [1, 1], timestamps=[5, 6], item_ids=["a", "b", "never touched"])
    assert (len(data), data.num_users, data.num_items) == (2, 3, 3)
    assert (data.users.dtype, data.timestamps.dtype) == (np.int32, np.int64)
    assert data.ratings is data.weights is None
    assert data.csr().toarray().tolist() == [[0, 1, 0], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"users": [0, 1], "items": [0]}, r"`items` must have the shape of `users`, \(2,\); got \(1,\)"),
        ({"users": [0], "items": [0], "ratings": [1, 2]}, "`ratings` must have the shape"),
        ({"users": [-1], "items": [0]}, "`users` must hold indices in 0.*; got -1"),
        ({"users": [0], "items": [3], "item_ids": range(3)}, r"`items` must hold indices in 0\.\.2; got 3"),
        # Not 2^32 wrapped around to user 0.
        ({"users": [2**32], "items": [0], "user_ids": range(3)}, "`users` must hold indices in 0.*; got 4294967296"),
        ({"users": [0.5], "items": [0]}, "`users` must be a 1-d integer array; got float64"),
        ({"users": [[0]], "items": [0]}, "`users` must be a 1-d integer array"),
        ({"users": [0], "items": [0], "user_ids": [7, "x"]}, "`user` ids must be all integers"),
    ],
)
def test_arrays_that_break_a_rule_are_refused(arguments, words):
    with pytest.raises(DataError, match=words):
        Interactions.from_arrays(**arguments)


@settings(deadline=None)
@given(data=columns(), picks=st.data())
def test_take_takes_every_column(data, picks):
    assume(len(data))
    rows = np.array(picks.draw(st.lists(st.integers(0, len(data) - 1))), np.int64)
    mask = np.isin(np.arange(len(data)), rows)
    for chosen in (rows, mask):
        part = data.take(chosen)
        assert part.user_ids is data.user_ids
        assert part.item_ids is data.item_ids
        for name in ("users", "items", "ratings", "weights", "timestamps"):
            column, taken = getattr(data, name), getattr(part, name)
            assert (taken is None) == (column is None)
            assert column is None or taken.tolist() == column[chosen].tolist()


def test_concatenate_keeps_what_both_know():
    one = Interactions.from_arrays([0], [1], ratings=[3], timestamps=[9], user_ids=range(2), item_ids=range(2))
    two = Interactions.from_arrays([1, 1], [0, 1], timestamps=[1, 2], user_ids=one.user_ids, item_ids=one.item_ids)
    both = concatenate(one, two)
    assert (both.users.tolist(), both.items.tolist(), both.timestamps.tolist()) == ([0, 1, 1], [1, 0, 1], [9, 1, 2])
    assert both.ratings is None
    assert both.user_ids is one.user_ids


# --- sha256


def full() -> Interactions:
    return Interactions.from_arrays(
        [0, 1, 1],
        [0, 0, 1],
        ratings=[3, 4, 5],
        weights=[1, 2, 3],
        timestamps=[7, 8, 9],
        user_ids=[5, 6],
        item_ids=[1, 2],
    )


def test_sha256_is_the_same_for_the_same_columns():
    data = full()
    narrow = replace(data, users=data.users.astype(np.int64), weights=data.weights.astype(np.float32))
    assert full().sha256() == data.sha256() == narrow.sha256()
    assert len(data.sha256()) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"users": np.array([0, 0, 1], np.int32)},
        {"items": np.array([0, 0, 0], np.int32)},
        {"ratings": np.array([3, 4, np.nextafter(5, 6)])},
        {"ratings": None},
        {"weights": np.array([1.0, 2, 4])},
        {"weights": None},
        {"timestamps": np.array([7, 8, 10])},
        {"timestamps": None},
        {"user_ids": Vocabulary([6, 5], "user")},
        {"user_ids": Vocabulary(["5", "6"], "user")},
        {"user_ids": Vocabulary([5, 6, 7], "user")},
        {"item_ids": Vocabulary([1, 3], "item")},
    ],
)
def test_sha256_feels_any_change(change):
    assert replace(full(), **change).sha256() != full().sha256()


def test_sha256_feels_the_order_of_rows():
    assert full().take(np.array([1, 0, 2])).sha256() != full().sha256()
    assert full().take(np.array([0, 1])).sha256() != full().sha256()


def test_sha256_knows_whose_column_a_value_is_in():
    # The same ids in a row, parted between users and items at another place; the same numbers in another column.
    one = Interactions.from_arrays([0], [0], ratings=[3], user_ids=["a", "b"], item_ids=["c"])
    two = Interactions.from_arrays([0], [0], ratings=[3], user_ids=["a"], item_ids=["b", "c"])
    three = replace(one, ratings=None, weights=one.ratings)
    assert len({one.sha256(), two.sha256(), three.sha256()}) == 3


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"users": [[0], [0, 1]]}, "`users` must be a 1-d integer array; got rows of several lengths"),
        ({"ratings": ["a", "b"]}, "`ratings` must hold numbers"),
        ({"ratings": [1, np.nan]}, "`ratings` must be finite; got nan"),
        ({"weights": [1, "b"]}, "`weights` must hold numbers"),
        ({"timestamps": np.array([2**63, 1], np.uint64)}, "`timestamps` must hold integers of 64 bits"),
        ({"user_ids": 5}, "`user_ids` must hold the ids in index order; got 5"),
    ],
)
def test_columns_of_another_type_are_named(given, rule):
    with pytest.raises(DataError, match=rule):
        Interactions.from_arrays(**{"users": [0, 1], "items": [0, 1], **given})


@pytest.mark.parametrize("wrong", [None, "x", np.arange(3), pl.DataFrame({"a": [1]})])
def test_from_csr_takes_matrices_alone(wrong):
    with pytest.raises(DataError, match="`matrix` must be a SciPy sparse matrix"):
        Interactions.from_csr(wrong)


@pytest.mark.parametrize("ids", [{1, 9}, (each for each in (1, 9)), pd.Series([1, 9], index=[7, 8]), np.array([1, 9])])
def test_an_unknown_id_is_named_in_any_collection(ids):
    with pytest.raises(UnknownIdError, match="got 9"):
        Vocabulary([1, 2], "item").indices(ids)


@pytest.mark.parametrize("ids", [[1.0], [True], np.array([1.0]), [[1]], [None], 1, "1", np.array([[1]])])
def test_what_is_no_id_is_nobodys(ids):
    vocabulary = Vocabulary([1, 2], "item")
    with pytest.raises(DataError, match="`item` ids must be"):
        vocabulary.indices(ids)
    assert not any(each in vocabulary for each in (1.0, True, [1]))
    assert vocabulary.indices([np.int64(2)]).tolist() == [1]


def test_equality_is_identity_and_never_fails():
    one, same = full(), full()
    assert one == one
    assert one != same
    assert Split(one, None, None) != Split(one, same, None)
