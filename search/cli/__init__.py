"""The ``treeward`` command. Each command lives in its own file and imports its parts when run."""

from __future__ import annotations

import errno
import io
import os
import reprlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from search.cli import bench, evaluate, info, prompt, solve
from search.cli.interrupts import requests_are_interrupts

HELP = """Search over language-model states.

Example:  treeward solve "4 5 6 10" --algorithm mcts --budget-tokens 1000
"""
INTERRUPTED = 130


class Commands(TyperGroup):
    """All commands; an interrupt is told here, since typer ends without a word."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            done = f", {interrupt}" if str(interrupt) else ""
            print(f"treeward: interrupted{done}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None


app = typer.Typer(
    name="treeward",
    cls=Commands,
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("solve", help=solve.HELP)(solve.solve)
app.command("evaluate", help=evaluate.HELP)(evaluate.evaluate)
app.add_typer(bench.app, name="bench", help=bench.HELP)
app.add_typer(prompt.app, name="prompt", help=prompt.HELP)
app.command("info", help=info.HELP)(info.info)


# A wrong use of the command: an error of click, or of the copy of it that newer typers bring.
USAGE_ERRORS: Any = typer.BadParameter.__bases__


def main() -> None:
    """Runs the command; a known error is one line on stderr and exit code 2."""
    with requests_are_interrupts():
        raise SystemExit(_run())


def _run() -> int:
    """Runs the command and returns its exit code."""
    from search.errors import TreewardError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A sign that the terminal's encoding lacks should not cost the results.
            stream.reconfigure(errors="backslashreplace")
    if os.environ.get("COLUMNS") == "0":
        del os.environ["COLUMNS"]  # as good as unset; rich would print lines of no width
    if sys.stdout is None:
        print("treeward: stdout is closed, so there is nowhere to print to", file=sys.stderr)
        return 1
    try:
        code = int(app(standalone_mode=False) or 0)
        return code if _flushed() else 1
    except USAGE_ERRORS as error:
        print(_usage(error), file=sys.stderr)
        return 2
    except (TreewardError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.filename is None and error.errno == errno.ENOSPC:
            print(f"treeward: cannot write to stdout: {error.strerror}", file=sys.stderr)
            return 1
        message = " ".join(str(error).split())
        print(f"treeward: {message}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        print("treeward: interrupted", file=sys.stderr)
        return INTERRUPTED


def _flushed() -> bool:
    """Whether what was printed has arrived; if not, says so."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return False  # whoever reads had enough, and knows it
    except OSError as error:
        print(f"treeward: cannot write to stdout: {error.strerror}", file=sys.stderr)
        return False
    return True


def _usage(error: Any) -> str:
    """One sentence on a wrong use of a command, and where its help is."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return str(error.format_message())  # the help itself, where it is not printed already
    sentence = " ".join(error.format_message().split()).rstrip(".")
    # The types of newer typers speak of an "input" and do not say what it was.
    faults: list[Any] = getattr(error.__cause__, "errors", list)()
    if faults:
        sentence = sentence.partition(", unable to")[0].replace("Input should be", "it must be")
        sentence += f", not {reprlib.repr(faults[0]['input'])}"
    command = error.ctx.command_path if error.ctx is not None else "treeward"
    return f"treeward: {sentence}; see '{command} --help'"
