"""What an interrupted run is taken up by: what was asked for, and checkpoints."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neucf.artifacts import claim, load_checkpoint, save_checkpoint
from neucf.errors import ArtifactError, ConfigError


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
