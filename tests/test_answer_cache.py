"""AnswerCache: what was asked for last is found once."""

from __future__ import annotations

import pytest

from neucf.serving.answer_cache import AnswerCache


def test_each_question_is_worked_out_once_until_it_is_forgotten():
    asked, cache = [], AnswerCache(2)

    def ask(keys):
        def find(places):
            asked.append([keys[place] for place in places])
            return [keys[place].upper() for place in places]

        return cache.answers(keys, find)

    assert ask(["a", "b", "a"]) == ["A", "B", "A"]
    assert ask(["b", "a"]) == ["B", "A"]
    # b was asked for before a, and is forgotten
    assert ask(["c"]) == ["C"]
    assert ask(["a", "b"]) == ["A", "B"]
    assert asked == [["a", "b"], ["c"], ["b"]]


def test_more_questions_than_are_kept_are_all_answered():
    cache = AnswerCache(1)
    assert cache.answers("abc", lambda places: ["ABC"[place] for place in places]) == ["A", "B", "C"]


def test_answers_to_what_was_read_before_all_was_forgotten_are_not_kept():
    cache = AnswerCache(4)
    read_at = cache.times_cleared
    cache.clear()
    for keys, since in (("ab", [read_at, None]), ("c", [cache.times_cleared])):
        assert cache.answers(keys, lambda places, keys=keys: [keys[each] for each in places], since) == list(keys)
    asked = []
    cache.answers("abc", lambda places: asked.extend(places) or ["A" for _ in places])
    assert asked == [0]


def test_what_failed_is_not_kept():
    def fail(_places):
        raise ValueError

    cache = AnswerCache(4)
    with pytest.raises(ValueError):
        cache.answers("a", fail)
    assert cache.answers("a", lambda _places: ["A"]) == ["A"]


def test_nothing_is_kept_that_was_found_before_it_was_cleared():
    cache = AnswerCache(4)
    cache.answers("a", lambda _places: ["old"])

    def find(_places):
        cache.clear()
        return ["under way"]

    assert cache.answers("b", find) == ["under way"]
    assert cache.answers("ab", lambda places: ["new" for _ in places]) == ["new", "new"]
