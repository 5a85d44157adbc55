"""Where `neucf tune` looks: the contract of every model's search space, and how classes inherit it."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field

from neucf.models import MODELS
from neucf.models.config import Config, Tunable, search_space, tunables
from neucf.models.lightgcn import LightGCNConfig

TUNABLES = [(model, key, tunable) for model in MODELS for key, tunable in tunables(MODELS[model].config_class).items()]
each_tunable = pytest.mark.parametrize(("model", "key", "tunable"), TUNABLES, ids=[f"{m}-{k}" for m, k, _ in TUNABLES])


@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_with_settings_can_be_tuned(model: str) -> None:
    config = MODELS[model]().config
    assert bool(search_space(config)) == bool(type(config).model_fields)


@each_tunable
def test_what_is_looked_for_is_what_the_field_takes(model: str, key: str, tunable: Tunable) -> None:
    ends: list[Any] = [tunable.low, tunable.high, *tunable.choices]
    for value in [end for end in ends if end is not None]:
        taken = getattr(MODELS[model](**{key: value}).config, key)
        assert taken == value
        # Integers stay integers, and a range of floats never meets a field of integers.
        assert type(taken) is type(value)


@each_tunable
def test_the_default_is_among_what_is_looked_for(model: str, key: str, tunable: Tunable) -> None:
    default = getattr(MODELS[model]().config, key)
    if tunable.choices:
        assert default in tunable.choices
    else:
        assert tunable.low <= default <= tunable.high


@each_tunable
def test_ranges_are_ranges_and_choices_are_choices(model: str, key: str, tunable: Tunable) -> None:
    del model, key
    if tunable.choices:
        assert tunable.low is tunable.high is None
        assert not tunable.log
        assert len(set(tunable.choices)) == len(tunable.choices) > 1
    else:
        assert (0 if tunable.log else -float("inf")) < tunable.low < tunable.high


@each_tunable
def test_a_condition_names_a_field_before_it_and_values_it_takes(model: str, key: str, tunable: Tunable) -> None:
    if not tunable.when:
        return
    field, *values = tunable.when
    looked_for = list(tunables(MODELS[model].config_class))
    assert field != key
    assert field not in looked_for or looked_for.index(field) < looked_for.index(key)
    assert values
    for value in values:
        assert getattr(MODELS[model](**{field: value}).config, field) == value


class _Parent(Config):
    kind: Annotated[str, Tunable(choices=("a", "b"))] = Field("a", description="A kind.")
    rate: Annotated[float, Tunable(0.1, 1.0, log=True)] = Field(0.5, gt=0)
    depth: Annotated[int, Tunable(1, 4, when=("kind", "b"))] = Field(2, ge=1)
    width: Annotated[int, Tunable(1, 9, when=("size", "large", "huge"))] = Field(2, ge=1)
    size: str = Field("small")


class _Child(_Parent):
    rate: float = Field(0.2, gt=0)
    depth: Annotated[int, Tunable()] = Field(3, ge=1)


def test_a_new_default_keeps_where_it_is_looked_for_and_an_empty_tunable_takes_it_out() -> None:
    assert tunables(_Child)["rate"] == tunables(_Parent)["rate"] == Tunable(0.1, 1.0, log=True)
    assert "depth" in tunables(_Parent)
    assert "depth" not in tunables(_Child)


def test_what_was_given_or_has_no_effect_is_left_alone_and_conditions_come_last() -> None:
    assert list(search_space(_Parent())) == ["kind", "rate", "depth"]
    assert list(search_space(_Parent(kind="a"))) == ["rate"]
    assert list(search_space(_Parent(kind="b", rate=0.3))) == ["depth"]
    assert list(search_space(_Parent(size="huge"))) == ["kind", "rate", "depth", "width"]
    depth = tunables(_Parent)["depth"]
    assert not depth.matters(_Parent(), {})
    assert depth.matters(_Parent(), {"kind": "b"})
    assert not depth.matters(_Parent(kind="b"), {"kind": "a"})


def test_a_condition_may_have_one_of_its_own() -> None:
    length = tunables(LightGCNConfig)["length_power"]
    assert length.matters(LightGCNConfig(), {"cosine": True})
    assert not length.matters(LightGCNConfig(), {"cosine": False})
    assert not length.matters(LightGCNConfig(loss="bpr"), {})
    assert {"cosine", "length_power"} <= set(search_space(LightGCNConfig()))
    assert not {"cosine", "length_power"} & set(search_space(LightGCNConfig(loss="bpr")))
    assert "length_power" not in search_space(LightGCNConfig(cosine=False))


@pytest.mark.parametrize(
    ("tunable", "said"),
    [
        (Tunable(0.001, 0.5, log=True), "0.001 to 0.5, log"),
        (Tunable(1, 8), "1 to 8"),
        (Tunable(choices=((8, 4), (16, 8))), "8-4, 16-8"),
        (Tunable(choices=(True, False), when=("size", "large", "huge")), "True, False, if size=large|huge"),
    ],
)
def test_it_says_what_it_is(tunable: Tunable, said: str) -> None:
    assert str(tunable) == said


def test_the_table_of_settings_says_where_each_is_looked_for(neucf: Any) -> None:
    shown = neucf("models", "mf").out
    assert "tuned over" in shown
    assert "0.0005" in shown
