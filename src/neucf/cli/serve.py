"""`neucf serve`: recommendations over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from neucf.serving.http import Runs

QUICKSTART = Path("runs/quickstart")
EXTRA = ("fastapi", "starlette", "uvicorn", "sqlalchemy", "prometheus_client")


def serve(
    run: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Run folders, the first the default one; or a folder of runs, where it is the best on validation.",
            show_default=f"{QUICKSTART}, which `neucf quickstart` makes",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="H", help="The address to listen on; other than loopback only with NEUCF_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="P", help="The port; 0 takes a free one.")] = 8000,
    events: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="NEUCF_EVENTS_URL",
            help="Where events are kept, such as postgresql://USER@HOST/DATABASE.",
            show_default="an SQLite file for these data in the per-user data folder",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name that clients call the service by, such as its domain; repeatable."),
    ] = None,
) -> None:
    """Serve recommendations over HTTP.

    Set the environment variable NEUCF_API_KEY, and clients must present that key. SIGHUP reloads the runs.
    """
    import os

    # Read when these libraries load. Beside an event loop, more threads would only wait for each other.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ.setdefault(name, "1")

    from neucf.errors import ConfigError

    try:
        from neucf.serving.http import Settings
        from neucf.serving.http import serve as serve_http
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        raise ConfigError(
            f"`neucf serve` needs the extra `serve`; {error.name} is missing. Install it by pip install 'neucf[serve]'."
        ) from None
    from neucf.serving.http.guard import API_KEY

    if not run and not QUICKSTART.is_dir():
        raise ConfigError(f"`RUN` must be given where {QUICKSTART} is absent. Name a run, or run `neucf quickstart`.")
    settings = Settings(
        paths=tuple(run or [QUICKSTART]),
        host=host,
        port=port,
        events=events,
        api_key=os.environ.get(API_KEY),
        hosts=tuple(allow_host or ()),
    )
    serve_http(settings, _started)


def _started(url: str, runs: Runs) -> None:
    from neucf.cli import display

    path = runs[runs.default].run.path
    display.say(f"Serving {display.shown(path)} at {url}")
    if len(runs) > 1:
        display.say(f"Also: {', '.join(label for label in runs if label != runs.default)}")
