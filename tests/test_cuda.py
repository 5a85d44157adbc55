"""Nets on a pretended CUDA device: everything lies where it belongs, and steps replayed from a graph are the steps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.version.cuda is not None, reason="pretends to a build of torch without CUDA alone"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
]
HERE = Path(__file__).parent / "cuda"
SMALL: dict[str, Any] = {"epochs": 2, "batch_size": 64, "negatives": 3, "reg": 0.01}
TOWER: dict[str, Any] = {**SMALL, "tower": "16-8"}
# Each with the engine wanted, and whether its steps are replayed.
CASES: dict[str, tuple[str, dict[str, Any], str, bool]] = {
    "mf": ("mf", {"epochs": 2}, "torch-catalogue", False),
    "mf-bf16": ("mf", {"epochs": 2, "precision": "bf16"}, "torch-catalogue", False),
    "neumf": ("neumf", {"epochs": 2, "tower": "16-8"}, "torch-catalogue", False),
    "neumf-pool": ("neumf", {**TOWER, "sampler": "shared"}, "torch-catalogue", False),
    "multi-vae": ("multi-vae", {"epochs": 2, "hidden": 16, "dim": 8}, "torch", False),
    "mlp-dropout": ("mlp", {**TOWER, "dropout": 0.3}, "torch", False),
    "neumf-sgd-clipped": ("neumf", {**TOWER, "loss": "bce", "optimizer": "sgd", "clip": 1.0}, "torch", False),
    "bpr-mf": ("bpr-mf", {**SMALL, "optimizer": "adam"}, "torch", True),
    "bpr-mf-hard": ("bpr-mf", {**SMALL, "optimizer": "adamw", "hardness": 4}, "torch", True),
    "gmf": ("gmf", {**SMALL, "loss": "bce", "sampler": "popularity"}, "torch", True),
    "gmf-in-batch": ("gmf", {**SMALL, "loss": "bce", "sampler": "in-batch"}, "torch", True),
    "mlp": ("mlp", {**TOWER, "reg_weights": 0.01}, "torch", True),
    "neumf-logistic": ("neumf", {**TOWER, "loss": "bce"}, "torch", True),
    "neumf-logistic-bf16": ("neumf", {**TOWER, "loss": "bce", "precision": "bf16"}, "torch", True),
    "neumf-pretrained": ("neumf", {**TOWER, "loss": "bce", "pretrain": True}, "torch", True),
}
# Those whose every draw can be had on the CPU as well.
ON_BOTH: dict[str, tuple[str, dict[str, Any]]] = {
    "lightgcn": ("lightgcn", {"epochs": 2, "length_power": 0.3}),
    "lightgcn-sampled": ("lightgcn", {"epochs": 2, "negatives": 20, "item_power": -0.1, "reg": 0.01}),
    "lightgcn-bpr": ("lightgcn", {"epochs": 2, "loss": "bpr", "negatives": 2, "cosine": False}),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = Path(torch.__file__).parent
    guard = tmp_path_factory.mktemp("guard") / "guard.so"
    include = [f"-I{folder / 'include'}", f"-I{folder / 'include/torch/csrc/api/include'}"]
    linked = [f"-L{folder / 'lib'}", "-lc10", "-ltorch_cpu"]
    subprocess.run(
        ["g++", "-std=c++20", "-shared", "-fPIC", *include, HERE / "guard.cpp", *linked, "-o", guard], check=True
    )
    environment = os.environ | {"LD_PRELOAD": str(guard), "LD_LIBRARY_PATH": str(folder / "lib")}
    asked = json.dumps([[case[:2] for case in cases.values()] for cases in (CASES, ON_BOTH)])
    ran = subprocess.run(
        [sys.executable, HERE / "cases.py"], input=asked, env=environment, text=True, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return dict(zip([*CASES, *ON_BOTH], json.loads(ran.stdout), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_a_net_trains_there(case: str, report: dict[str, dict[str, Any]]) -> None:
    _, _, engine, replayed = CASES[case]
    assert report[case]["engine"] == engine
    assert report[case]["num_replays"][1] == 0
    assert (report[case]["num_replays"][0] > 0) is replayed
    # A rate that is a tensor has seven digits, as in test_recorded_steps_move_as_others_do
    assert report[case]["apart"] < (1e-4 if replayed else 1e-12)


@pytest.mark.parametrize("case", ON_BOTH)
def test_a_net_ends_there_where_it_ends_on_the_cpu(case: str, report: dict[str, dict[str, Any]]) -> None:
    assert report[case]["engine"] == "torch-graph"
    assert report[case]["apart"] < 1e-4
