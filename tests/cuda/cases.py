"""Trains nets on the pretended CUDA device, with graphs and without; prints how far each pair ends apart."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from planted import planted  # noqa: E402
from pretend import Graph, pretended  # noqa: E402

from neucf.evaluation.ranking import top_k  # noqa: E402
from neucf.models import MODELS  # noqa: E402

TRAIN, VALID = planted(120, 80)


def fitted(name: str, settings: dict[str, Any], graphs: bool) -> dict[str, Any]:
    """Returns the weights and the engine of a model trained there, after all that is asked of a trained one."""
    left_out = mock.patch("neucf.training.engines.TorchEngine.record", return_value=None)
    with pretended(), contextlib.nullcontext() if graphs else left_out:
        before = Graph.num_replays
        model = MODELS[name](**settings).fit(TRAIN, VALID, device="cuda")
        users, items = np.arange(7), np.arange(70).reshape(7, 10)
        for scores in (model.score(users), model.score(users, items), model.score_history(TRAIN.csr()[:5])):
            assert scores.device.type == "cuda"
        top_k(model, users, 10)
        arrays = {key: np.array(value) for key, value in model.arrays().items()}
        return {"arrays": arrays, "engine": model.engine, "num_replays": Graph.num_replays - before}


def main() -> None:
    report = []
    for name, settings in json.load(sys.stdin):
        with_graphs, without = (fitted(name, settings, graphs) for graphs in (True, False))
        apart = max(float(np.abs(with_graphs["arrays"][key] - other).max()) for key, other in without["arrays"].items())
        replays = (with_graphs["num_replays"], without["num_replays"])
        report.append({"apart": apart, "engine": with_graphs["engine"], "num_replays": replays})
    print(json.dumps(report))


if __name__ == "__main__":
    main()
