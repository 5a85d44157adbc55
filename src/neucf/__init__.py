"""neucf: neural collaborative filtering, from a file of who-interacted-with-what to a recommender to trust."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neucf.artifacts import load, save
    from neucf.data.dataset import Dataset
    from neucf.data.interactions import Interactions
    from neucf.data.readers import read, read_dataset
    from neucf.data.splits import Split
    from neucf.data.splitting import split
    from neucf.data.vocabulary import Vocabulary
    from neucf.evaluation import evaluate
    from neucf.models import MODELS
    from neucf.serving import recommend

__version__ = "0.1.0"

# Resolved on first access, so that `import neucf` stays instant: torch alone takes over a second to load.
_HOMES = {
    "Dataset": "neucf.data.dataset",
    "Interactions": "neucf.data.interactions",
    "MODELS": "neucf.models",
    "Split": "neucf.data.splits",
    "Vocabulary": "neucf.data.vocabulary",
    "evaluate": "neucf.evaluation",
    "load": "neucf.artifacts",
    "read": "neucf.data.readers",
    "read_dataset": "neucf.data.readers",
    "recommend": "neucf.serving",
    "save": "neucf.artifacts",
    "split": "neucf.data.splitting",
}

__all__ = [
    "Dataset",
    "Interactions",
    "MODELS",
    "Split",
    "Vocabulary",
    "__version__",
    "evaluate",
    "load",
    "read",
    "read_dataset",
    "recommend",
    "save",
    "split",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'neucf' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
