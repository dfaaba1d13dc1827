"""Everything that is claimed of prompt selection, measured on the published logs.

    python benchmarks/prompt_oirl.py --data FOLDER --json

FOLDER holds the logs (``*.jsonl.gz`` beside ``*.meta.json``). Every row has the keys of ``KEYS``,
null where they do not apply; ``protocol`` says what was measured:

    published    the log's own train and test rows; our models without fallback, the published one
    grouped      five folds of groups, near duplicates joined; margin and default chosen inside
    curve        K = 1…6 prompts, all 63 subsets, beside constant prompts
    audit        what the audit finds
    over-optimisation   predicted against realised value for 1…16 candidates
    partial      selectors fitted on logs with one prompt a query, valued on full grids
    off-policy   coverage and error of estimates from simulated partial logs
    active       cells that must be run until the choice is nearly as good as with all
    responses    a learned choice among responses beside majority and first, on samples of others
    speed        seconds of fitting and scoring
"""

from __future__ import annotations

import sys
from pathlib import Path

# Started as a file, Python looks beside it first, where its own name hides the package.
ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT), *(p for p in sys.path if Path(p or ".").resolve() != ROOT / "benchmarks")]

import argparse  # noqa: E402
import json  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from typing import Any  # noqa: E402

KEYS = (
    "log",
    "protocol",
    "arms",
    "value",
    "best_single_train",
    "gain",
    "gain_ci95",
    "lookup",
    "oracle",
    "auc",
    "brier_skill",
)
Rows = Iterator[dict[str, Any]]


def sections() -> dict[str, Callable[[Path, int], Rows]]:
    """Each section by name, in the order in which they run."""
    from benchmarks.prompts import (
        audits,
        curve,
        grouped,
        over_optimisation,
        partial,
        published,
        responses,
        speed,
    )

    return {
        "audit": audits.rows,
        "published": published.rows,
        "grouped": grouped.rows,
        "over-optimisation": over_optimisation.rows,
        "curve": curve.rows,
        "partial": partial.rows,
        "off-policy": _off_policy,
        "active": _active,
        "responses": responses.rows,
        "speed": speed.rows,
    }


def _off_policy(data: Path, seed: int) -> Rows:
    from benchmarks import off_policy_simulation

    yield from off_policy_simulation.iterate_rows(data, 500, seed)


def _active(data: Path, seed: int) -> Rows:
    from benchmarks import active_prompts

    yield from active_prompts.rows(data, seed)


def main() -> None:
    """Runs the sections and prints their rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the logs")
    parser.add_argument("--only", default="", help="sections, with commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    known = sections()
    names = [name for name in options.only.split(",") if name] or list(known)
    for name in names:
        if name not in known:
            parser.error(f"unknown section '{name}'; known: {', '.join(known)}")
    if not list(options.data.glob("*.jsonl.gz")):
        parser.error(f"there is no log in {options.data}")
    found = []
    for name in names:
        started = time.perf_counter()
        for row in known[name](options.data, options.seed):
            full = {"protocol": name, **row}
            full = {**dict.fromkeys(KEYS), **full}
            found.append(full)
            print(_line(full), file=sys.stderr, flush=True)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps({"rows": found}, default=_plain))


def _line(row: dict[str, Any]) -> str:
    shown = {k: v for k, v in row.items() if v is not None and not isinstance(v, (list, dict))}
    interval = row["gain_ci95"]
    more = f" [{100 * interval[0]:+.2f}, {100 * interval[1]:+.2f}]" if interval else ""
    text = " ".join(
        f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown.items()
    )
    return text + more


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else list(value)


if __name__ == "__main__":
    main()
