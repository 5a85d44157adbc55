"""Run folders: everything a trained model needs, in one movable folder that is safe to open. No pickle."""

from neucf.artifacts.checkpoint import load_checkpoint, save_checkpoint
from neucf.artifacts.folder import Partial, claim, writing
from neucf.artifacts.reader import Run, load, open_run
from neucf.artifacts.writer import save, write_run

__all__ = [
    "Partial",
    "Run",
    "claim",
    "load",
    "load_checkpoint",
    "open_run",
    "save",
    "save_checkpoint",
    "write_run",
    "writing",
]
