"""Recall: what was asked for last is found once."""

from __future__ import annotations

import pytest

from neucf.serving.recall import Recall


def test_each_question_is_worked_out_once_until_it_is_forgotten():
    asked, recall = [], Recall(2)

    def ask(keys):
        def find(places):
            asked.append([keys[place] for place in places])
            return [keys[place].upper() for place in places]

        return recall.answers(keys, find)

    assert ask(["a", "b", "a"]) == ["A", "B", "A"]
    assert ask(["b", "a"]) == ["B", "A"]
    # b was asked for before a, and is forgotten
    assert ask(["c"]) == ["C"]
    assert ask(["a", "b"]) == ["A", "B"]
    assert asked == [["a", "b"], ["c"], ["b"]]


def test_more_questions_than_are_kept_are_all_answered():
    recall = Recall(1)
    assert recall.answers("abc", lambda places: ["ABC"[place] for place in places]) == ["A", "B", "C"]


def test_answers_to_what_was_read_before_all_was_forgotten_are_not_kept():
    recall = Recall(4)
    read_at = recall.times_cleared
    recall.clear()
    for keys, since in (("ab", [read_at, None]), ("c", [recall.times_cleared])):
        assert recall.answers(keys, lambda places, keys=keys: [keys[each] for each in places], since) == list(keys)
    asked = []
    recall.answers("abc", lambda places: asked.extend(places) or ["A" for _ in places])
    assert asked == [0]


def test_what_failed_is_not_kept():
    def fail(_places):
        raise ValueError

    recall = Recall(4)
    with pytest.raises(ValueError):
        recall.answers("a", fail)
    assert recall.answers("a", lambda _places: ["A"]) == ["A"]


def test_nothing_is_kept_that_was_found_before_it_was_cleared():
    recall = Recall(4)
    recall.answers("a", lambda _places: ["old"])

    def find(_places):
        recall.clear()
        return ["under way"]

    assert recall.answers("b", find) == ["under way"]
    assert recall.answers("ab", lambda places: ["new" for _ in places]) == ["new", "new"]
