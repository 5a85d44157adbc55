"""The command line, one thin file a command.

Only typer loads until a command runs: each command imports what it needs inside its function.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from neucf import __version__
from neucf.cli import compare, data, evaluate, index, models, quickstart, recommend, run, serve, train, tune
from neucf.errors import ConfigError, NeucfError


class _Commands(TyperGroup):
    """Commands whose numbers out of range are refused in a sentence too, with the value, which typer leaves out."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            # Of pydantic, by which newer typers check numbers; all other messages name the value
            if error.param is None or not error.message.startswith("Input should"):
                raise
            rule = error.message.replace("Input should", "must", 1)
            cause: Any = error.__cause__
            raise ConfigError(f"`{error.param.opts[0]}` {rule}; got {cause.errors()[0]['input']!r}.") from None


app = typer.Typer(
    name="neucf",
    cls=_Commands,
    help="Train, evaluate and use recommenders on a file of who-interacted-with-what.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(quickstart.quickstart)
app.add_typer(data.app, name="data")
app.command()(models.models)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command(context_settings={"allow_extra_args": True})(recommend.recommend)
app.command()(recommend.similar)
app.command()(index.index)
app.command()(run.run)
app.command()(compare.compare)
app.command()(tune.tune)
app.command()(serve.serve)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neucf {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version


def main() -> None:
    """Runs a command and exits: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted."""
    # Torch's threads spin while they wait for one another, 150 times as long unless told: where other work wants the
    # cores, training then takes twice as long (docs/results.md). Read when torch loads.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    try:
        app()
    except NeucfError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        raise
    except OSError as error:
        # A full disk, or a file that was taken away
        named = "" if error.filename is None else f" ({error.filename})"
        print(f"Error: {error.strerror or error}{named}.", file=sys.stderr)
        sys.exit(1)
    finally:
        _flush()


def _flush() -> None:
    """Lets a reader that closed the pipe early, such as `head`, end the command without a word."""
    with contextlib.suppress(AttributeError):
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
