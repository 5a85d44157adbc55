"""The command line, one thin file a command.

Only typer loads until a command runs: each command imports what it needs inside its function.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from neucf import __version__
from neucf.cli import compare, data, evaluate, index, models, quickstart, recommend, run, serve, train, tune
from neucf.errors import NeucfError, broken

# Of click, or of the copy of it that newer typers bring
_UsageError: Any = typer.BadParameter.__base__


class _Commands(TyperGroup):
    """Commands that say what is wrong in a sentence, in the words of the command line, not in a box."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NeucfError as error:
            print(f"Error: {_in_options(str(error), self.commands[ctx.invoked_subcommand])}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None
        except _UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                raise
            print(f"Error: {_sentence(error)}", file=sys.stderr)
            raise typer.Exit(2) from None


def _in_options(text: str, command: Any) -> str:
    """Returns an error in which Python's names of arguments are the command's options."""
    options = dict(_named(command))
    return re.sub(r"`([a-z_]+)`", lambda found: f"`{options.get(found[1], found[1])}`", text)


def _named(command: Any) -> Iterator[tuple[str, str]]:
    """Yields the name of each argument of a command, and of those below it, with its option."""
    for param in command.params:
        if param.opts[0].startswith("-"):
            # What is set is named by its key, of which Python has no argument.
            yield {"settings": "key"}.get(param.name, param.name), param.opts[0]
    for below in getattr(command, "commands", {}).values():
        yield from _named(below)


def _sentence(error: Any) -> str:
    """Returns what an option broke: the rule, the value received, and where to look."""
    param, cause = getattr(error, "param", None), error.__cause__
    if param is not None and error.message.startswith("Input should"):
        # Of pydantic, by which newer typers check numbers; it leaves the value out
        return f"{broken(f'`{param.opts[0]}`', error.message)}; got {cause.errors()[0]['input']!r}."
    text = error.format_message().replace("Value error, ", "").removeprefix("Invalid value: ").rstrip(".")
    if not error.ctx:
        return f"{text}."
    help_command = f"`{error.ctx.command_path} --help`."
    return f"{text} See {help_command}" if text.endswith("?") else f"{text}; see {help_command}"


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
    # Torch's threads spin while they wait for one another: where other work wants the cores, training by those that
    # spin for less takes half to two thirds of the time (docs/results.md). Read when torch loads.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    try:
        app()
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
