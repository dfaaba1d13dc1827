"""The ``treeward`` command. Each command lives in its own file and imports its parts when run."""

from __future__ import annotations

import io
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from search.cli import bench, evaluate, info, prompt, solve

HELP = """Search over language-model states.

Example:  treeward solve "4 5 6 10" --algorithm mcts --budget-tokens 1000
"""


class Commands(TyperGroup):
    """All commands; Ctrl-C is told here, since typer ends without a word."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            done = f", {interrupt}" if str(interrupt) else ""
            print(f"treeward: interrupted{done}", file=sys.stderr)
            raise typer.Exit(130) from None


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


def main() -> None:
    """Runs the command; a known error is one line on stderr and exit code 2."""
    from search.errors import TreewardError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A sign that the terminal's encoding lacks should not cost the results.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (TreewardError, ValueError, OSError) as error:
        message = " ".join(str(error).split())
        print(f"treeward: {message}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("treeward: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
