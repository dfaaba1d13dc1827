"""What a log with reruns holds: accuracy by format, best single, rerun ceiling, oracle.

python -m training.prompts.describe_log
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.bundled import example_log_path
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.logs.read import read_log

Outcomes = NDArray[np.float64]


def outcomes_by_run(log: PromptLog) -> Outcomes:
    """Outcomes ``[runs, queries, arms]``.

    Raises:
        ValueError: a cell was not run as often as the others.
    """
    shape = int(log.run.max()) + 1, len(log.queries), len(log.arms)
    outcomes = np.full(shape, np.nan)
    outcomes[log.run, log.query, log.arm] = log.outcome
    if np.isnan(outcomes).any():
        raise ValueError(f"{log.name}: some cell was not run {shape[0]} times")
    return outcomes


def rerun_ceiling(outcomes: Outcomes) -> float:
    """Value of the arm that is best in the other runs of the same query; ties are shared.

    A selector that knew a query's other runs would reach about this.
    """
    values = []
    for run in range(len(outcomes)):
        others = np.delete(outcomes, run, axis=0).mean(axis=0)
        best = others == others.max(axis=1, keepdims=True)
        share = best / best.sum(axis=1, keepdims=True)
        values.append((share * outcomes[run]).sum(axis=1).mean())
    return float(np.mean(values))


def rerun_correlation(outcomes: Outcomes) -> Outcomes:
    """Correlation over queries of the outcomes of two runs, ``[arms]``; means over the pairs."""
    runs, _, arms = outcomes.shape
    pairs = [(one, other) for one in range(runs) for other in range(one + 1, runs)]
    return np.array(
        [
            np.mean([np.corrcoef(outcomes[i, :, arm], outcomes[j, :, arm])[0, 1] for i, j in pairs])
            for arm in range(arms)
        ]
    )


def describe(log: PromptLog) -> dict[str, object]:
    """The figures of a log whose queries are in the splits ``train`` and ``test``."""
    outcomes = outcomes_by_run(log)
    split = np.array([query.split for query in log.queries])
    best = int(outcomes[:, split == "train"].mean(axis=(0, 1)).argmax())
    figures: dict[str, object] = {"best single on train": log.arms[best].name}
    for name, rows in (
        ("all", split != ""),
        ("train", split == "train"),
        ("test", split == "test"),
    ):
        some = outcomes[:, rows]
        figures[name] = {
            "queries": int(rows.sum()),
            "accuracy": _named(log, some.mean(axis=(0, 1))),
            "mean of arms": round(float(some.mean()), 4),
            "best single, chosen on train": round(float(some[:, :, best].mean()), 4),
            "rerun ceiling": round(rerun_ceiling(some), 4),
            "oracle of one run": round(float(some.max(axis=2).mean()), 4),
        }
    figures["rerun correlation"] = _named(log, rerun_correlation(outcomes))
    for measure, digits in (("tokens", 2), ("cost", 9)):
        figures[f"mean {measure}"] = _named(log, np.nanmean(log.grid(measure), axis=0), digits)
    cells = [log.latency[log.arm == arm] for arm in range(len(log.arms))]
    figures["median latency"] = _named(log, np.array([np.median(some) for some in cells]), 3)
    return figures


def _named(log: PromptLog, values: Outcomes, digits: int = 4) -> dict[str, float]:
    return {name: round(float(value), digits) for name, value in zip(log.arm_names, values)}


def main() -> None:
    """Command line: prints the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path, nargs="?", help="by default the example log")
    arguments = parser.parse_args()
    log = read_log(arguments.log or example_log_path()).log
    print(json.dumps(describe(log), indent=2))


if __name__ == "__main__":
    main()
