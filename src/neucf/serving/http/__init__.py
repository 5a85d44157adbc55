"""The HTTP service: FastAPI around a Backend, and the shell that every request passes."""

from neucf.serving.http.app import make_app
from neucf.serving.http.backend import Backend
from neucf.serving.http.guard import Guard, make_guard
from neucf.serving.http.metrics import Metrics
from neucf.serving.http.runs import Runs, find_runs, open_runs
from neucf.serving.http.server import Settings, serve

__all__ = [
    "Backend",
    "Guard",
    "Metrics",
    "Runs",
    "Settings",
    "find_runs",
    "make_app",
    "make_guard",
    "open_runs",
    "serve",
]
