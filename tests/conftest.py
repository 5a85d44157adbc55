"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir() -> Path:
    folder = os.environ.get("NEUCF_DATA")
    if not folder:
        pytest.skip("NEUCF_DATA is not set: it names the folder that holds the real data sets")
    return Path(folder)
