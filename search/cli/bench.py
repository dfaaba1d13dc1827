"""``treeward bench``: ours beside every alternative, measured in one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

HELP = """Measure the engine beside its alternatives, in turn, on this machine.

Example:  treeward bench tree --json --plot tree.png
"""

app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON: machine and rows.")]
Plot = Annotated[Path | None, typer.Option(help="Write one plot to this PNG file.")]
Pairs = Annotated[int, typer.Option(min=1, help="Rounds; ratios are taken round by round.")]
Quick = Annotated[bool, typer.Option("--quick", help="A few cells only, to see that it runs.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the random inputs.")]
Threads = Annotated[int | None, typer.Option(help="Threads; all usable cores by default.")]


# Rounds by default: enough for a median, in minutes.
BENCHMARKS = {
    "tree": (5, "Simulations a second of the tree core, beside mctx, TreeQuest and plain Python."),
    "kv": (5, "Fork, match, insert and evict on the span tree at 1k, 10k and 100k spans."),
    "attention": (5, "Tree attention beside gather + SDPA and two-level flash attention of torch."),
    "linear": (9, "The bfloat16 linear layers of a step beside oneDNN and plain torch."),
    "e2e": (3, "Whole searches beside transformers and vLLM, with the same tree and token counts."),
}


def _add(name: str, rounds: int, text: str) -> None:
    @app.command(name, help=f"{text}\n\nExample:  treeward bench {name} --json --plot {name}.png")
    def command(
        as_json: Json = False,
        plot: Plot = None,
        pairs: Pairs = rounds,
        quick: Quick = False,
        seed: Seed = 0,
        threads: Threads = None,
    ) -> None:
        _run(name, as_json, plot, pairs, quick, seed, threads)


for _name, (_rounds, _text) in BENCHMARKS.items():
    _add(_name, _rounds, _text)


def _run(
    name: str,
    as_json: bool,
    plot: Path | None,
    pairs: int,
    quick: bool,
    seed: int,
    threads: int | None,
) -> None:
    import importlib

    from benchmarks.machine import describe
    from search.cli import assemble
    from search.cli.outputs import check_outputs
    from search.errors import TreewardError

    check_outputs([plot])
    if plot is not None:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise TreewardError("--plot needs matplotlib: pip install matplotlib") from None
    assemble.use_threads(threads)
    bench: Any = importlib.import_module(f"benchmarks.{name}.bench")
    machine = describe()
    rows: list[dict[str, Any]] = []
    try:
        with assemble.status_line(f"bench {name}", as_json) as say:
            for row in bench.run(pairs=pairs, quick=quick, seed=seed):
                rows.append(row)
                say(bench.line(row))
    except (Exception, KeyboardInterrupt) as error:
        if not rows and not isinstance(error, KeyboardInterrupt):
            raise
        _show(name, machine, rows, as_json)
        assemble.break_off(error, f"{len(rows)} rows are done")
    _show(name, machine, rows, as_json)
    if plot is not None:
        try:
            bench.plot(rows, plot)
        except OSError as error:
            raise TreewardError(f"cannot write {plot}: {error.strerror or error}") from error


def _show(name: str, machine: dict[str, Any], rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"machine": machine, "rows": rows}, allow_nan=False), flush=True)
        return
    from rich.console import Console

    from search.cli.render import bench_table

    Console().print(bench_table(rows, f"bench {name} on {machine['processor']}"))
