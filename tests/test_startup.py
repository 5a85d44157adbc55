"""What loads before a command runs: typer, and nothing that takes a tenth of a second."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from planted import planted

import neucf
from neucf.models import MODELS

HEAVY = {
    "torch",
    "numba",
    "polars",
    "numpy",
    "scipy",
    "pandas",
    "safetensors",
    "platformdirs",
    "matplotlib",
    "pydantic",
    "optuna",
    "sqlalchemy",
    "fastapi",
    "uvicorn",
    "prometheus_client",
}
# Recent versions of typer themselves load pydantic to parse a command's options.
TYPERS_OWN = {"pydantic"}


@pytest.mark.parametrize(
    ("code", "allowed"),
    [
        ("import neucf; dir(neucf); neucf.__version__", set()),
        ("from neucf.cli import app; app(['--help'])", set()),
        ("from neucf.cli import app; app(['train', '--help'])", TYPERS_OWN),
        ("from neucf.cli import app; app(['recommend', 'RUN'])", TYPERS_OWN),
        ("from neucf.cli import app; app(['serve', '--help'])", TYPERS_OWN),
    ],
    ids=["import", "help", "train help", "usage error", "serve help"],
)
def test_nothing_heavy_loads(code: str, allowed: set[str]) -> None:
    shown = f"""
import sys
try:
    {code}
except SystemExit:
    pass
print("LOADED", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    loaded = done.stdout.split("LOADED")[1].split()
    assert "neucf" in loaded
    assert (HEAVY & set(loaded)) - allowed == set()


def test_opening_a_run_leaves_torchs_compiler_alone(tmp_path: Path) -> None:
    """Its import takes seconds, and is easily brought about."""
    train = planted()[0]
    for name in ("neumf", "mlp", "multi-vae"):
        neucf.save(MODELS[name](epochs=1).fit(train, threads=1), tmp_path / name)
    code = f"import sys, neucf; [neucf.load({str(tmp_path)!r} + '/' + name) for name in ('neumf', 'mlp', 'multi-vae')]"
    shown = f"{code}; print('LOADED', 'torch' in sys.modules, 'torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert "LOADED True False" in done.stdout


def test_no_help_loses_what_stands_in_brackets() -> None:
    """Rich takes [this] for a style unless it is escaped."""
    assert registered_commands()
    for name, function in registered_commands().items():
        lost = re.findall(r"(?<!\\)\[[a-z]+\]", function.__doc__ or "")
        assert not lost, name


def registered_commands() -> dict[str, Any]:
    from neucf.cli import app

    groups = [app, *(group.typer_instance for group in app.registered_groups if group.typer_instance)]
    commands = [command for group in groups for command in group.registered_commands]
    return {command.callback.__name__: command.callback for command in commands if command.callback}


@pytest.mark.parametrize("missing", ["fastapi", "sqlalchemy", "uvicorn", "prometheus_client"])
def test_what_the_extra_serve_brings_is_named_where_it_is_missing(missing: str, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules[{missing!r}] = None
sys.argv = ["neucf", "serve", {str(tmp_path)!r}]
from neucf.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert f"needs the extra `serve`; {missing} is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_python_m_and_console_script_are_the_same_entry() -> None:
    done = subprocess.run([sys.executable, "-m", "neucf", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("neucf ")
    assert done.stderr == ""
