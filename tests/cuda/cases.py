"""Trains nets on the pretended CUDA device, with graphs and without or on the CPU; prints how far pairs end apart."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from planted import planted  # noqa: E402
from pretend import Graph, pretended  # noqa: E402

from neucf.evaluation.ranking import top_k  # noqa: E402
from neucf.models import MODELS  # noqa: E402
from neucf.recommender import to_numpy  # noqa: E402

TRAIN, VALID = planted(120, 80)


def fitted(name: str, settings: dict[str, Any], device: str = "cuda") -> dict[str, Any]:
    """Returns the weights, scores and engine of a trained model, after all that is asked of one."""
    with pretended() if device == "cuda" else contextlib.nullcontext():
        before = Graph.num_replays
        model = MODELS[name](**settings).fit(TRAIN, VALID, device=device)
        users, items = np.arange(7), np.arange(70).reshape(7, 10)
        scores = [model.score(users), model.score(users, items), model.score_history(TRAIN.csr()[:5])]
        assert {each.device.type for each in scores} == {device}
        top_k(model, users, 10)
        arrays = {key: np.array(value) for key, value in model.arrays().items()}
        scores = [np.array(to_numpy(each)) for each in scores]
        return {"arrays": arrays, "scores": scores, "engine": model.engine, "replays": Graph.num_replays - before}


def beside_no_graphs(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns how far apart weights end with graphs and without."""
    there = fitted(name, settings)
    with mock.patch("neucf.training.engines.TorchEngine.record", return_value=None):
        without = fitted(name, settings)
    apart = max(float(np.abs(there["arrays"][key] - other).max()) for key, other in without["arrays"].items())
    return {"apart": apart, "engine": there["engine"], "num_replays": (there["replays"], without["replays"])}


def beside_the_cpu(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns how far apart weights and scores end there and on the CPU, by the same precision and draws."""
    with (
        mock.patch("neucf.training.graph.catalogue_dtype", return_value=torch.float32),
        mock.patch("neucf.training.sampling.COMPILED", False),
    ):
        there, here = fitted(name, settings), fitted(name, settings, "cpu")
    pairs = [(there["arrays"][key], other) for key, other in here["arrays"].items()]
    pairs += zip(there["scores"], here["scores"], strict=True)
    return {"apart": max(float(np.abs(one - other).max()) for one, other in pairs), "engine": there["engine"]}


def main() -> None:
    with_graphs, with_cpu = json.load(sys.stdin)
    report = [beside_no_graphs(*case) for case in with_graphs] + [beside_the_cpu(*case) for case in with_cpu]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
