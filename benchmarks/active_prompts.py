"""Cells that each rule of ``treeward prompt next`` needs, on grids whose every cell is known.

Random cells, pure D-optimality and the contenders' rule reveal cells of the LLaMA-2 grids of 16
prompts (test rows, whole groups held out). Reached is 95 % of the value that the same model, or the
best single prompt if that is better, has with all cells.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

LOGS = ("gsm8k", "mawps", "svamp")
RULES = ("random", "d-optimal", "contenders")


def rows(data_folder: str | Path, seed: int = 0, seeds: int = 32) -> list[dict[str, Any]]:
    """One row a log and rule.

    Args:
        data_folder: with ``oirl_llama2_*.jsonl.gz``.
        seed: the first one of the repetitions.
        seeds: repetitions, each with other groups held out and other cells to begin with.

    Returns:
        Rows with the keys ``log``, ``rule``, ``seeds``, ``full_value``, ``best_single_train``,
        ``random_arm``, ``target`` (0.95 of the larger of the first two), ``cells_first`` and
        ``cells_stays`` (cells after which the mean value reaches and no longer leaves the target,
        None where that needs more than the budget), ``share_of_random_first`` and
        ``share_of_random_stays`` (of the cells that random needs; where random needs more than the
        budget, of the budget), ``value`` after 256, 512 and 1024 cells, ``budget``.
    """
    from prompt_oirl.active.simulation import simulate
    from prompt_oirl.logs.read import read_log

    found = []
    for name in LOGS:
        log = read_log(Path(data_folder) / f"oirl_llama2_{name}.jsonl.gz").log
        log = log.only_queries(np.array([query.split == "test" for query in log.queries]))
        base: tuple[int, int] | None = None
        for rule in RULES:
            made = simulate(log, rule, seeds=seeds, first_seed=seed)
            full, single = float(made.full.mean()), float(made.best_single.mean())
            target = 0.95 * max(full, single)
            first, stays = made.cells_to(target)
            budget = int(made.cells[-1])
            if base is None:  # random comes first
                base = (first or budget, stays or budget)
            mean = made.value.mean(axis=0)
            found.append(
                {
                    "log": f"oirl_llama2_{name}",
                    "rule": rule,
                    "seeds": seeds,
                    "full_value": full,
                    "best_single_train": single,
                    "random_arm": float(made.random_arm.mean()),
                    "target": target,
                    "cells_first": first,
                    "cells_stays": stays,
                    "share_of_random_first": first / base[0] if first else None,
                    "share_of_random_stays": stays / base[1] if stays else None,
                    "value": {n: float(np.interp(n, made.cells, mean)) for n in (256, 512, 1024)},
                    "budget": budget,
                }
            )
    return found
