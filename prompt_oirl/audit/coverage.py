"""Which cells were run: how much of each arm, and which arms can be compared and how."""

from __future__ import annotations

import numpy as np

from prompt_oirl.audit.finding import Finding, share, shortened
from prompt_oirl.audit.splits import ordered_splits
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.models.adjusted_means import CAUTION, adjusted_means, is_complete, plain_means
from prompt_oirl.models.outcomes import few_pairs
from prompt_oirl.models.retried_arms import retried_arms

CHECK = "coverage"
LEAST_APART = 0.02  # outcomes


def coverage(log: PromptLog) -> list[Finding]:
    """How many queries each arm was run on, arms that a split lacks, and arms without overlap.

    One arm (or none) is an error: a preference among prompts cannot be learned from it. So is an
    arm that was run only where another one had failed.
    """
    run = ~np.isnan(log.grid())
    per_arm = run.sum(axis=0)
    queries, arms = run.shape
    names = log.arm_names
    overlap = run.T.astype(np.int64) @ run.astype(np.int64)
    cells = int(run.sum())
    findings = [
        Finding(
            CHECK,
            "note",
            f"{share(cells, queries * arms)} cells of {queries:,} queries and {arms} arms were "
            f"run; {len(log.outcome):,} outcomes in all.",
            {
                "queries": queries,
                "arms": arms,
                "cells": cells,
                "outcomes": len(log.outcome),
                "queries_of_arm": dict(zip(names, per_arm.tolist())),
                "share_of_arm": dict(zip(names, (per_arm / max(queries, 1)).tolist())),
                "overlap": overlap.tolist(),
            },
        )
    ]
    if arms == 0 or (per_arm > 0).sum() < 2:
        held = f"only one arm, '{names[int(per_arm.argmax())]}'" if per_arm.any() else "no cells"
        findings.append(
            Finding(
                CHECK,
                "error",
                f"The log has {held}: a preference among prompts cannot be learned from it.",
                {"arms_with_cells": int((per_arm > 0).sum())},
            )
        )
    findings += _missing(log, run, per_arm)
    findings += _parts(log, run, overlap)
    return findings + (_retried(log) or _unequal(log, run))


def _missing(log: PromptLog, run: np.ndarray, per_arm: np.ndarray) -> list[Finding]:
    findings = []
    empty = [arm.name for arm, count in zip(log.arms, per_arm) if not count]
    if empty and per_arm.any():
        sentence = f"{len(empty)} arms have no cells: {_names(empty)}."
        findings.append(Finding(CHECK, "warning", sentence, {"arms": empty}))
    unrun = np.flatnonzero(~run.any(axis=1))
    if len(unrun) and per_arm.any():
        findings.append(
            Finding(
                CHECK,
                "warning",
                f"{share(len(unrun), len(log.queries))} queries have no cells.",
                {"queries": len(unrun)},
                shortened([log.queries[i].id for i in unrun[:10]]),
                tuple(unrun.tolist()),
            )
        )
    split_of = np.array([query.split for query in log.queries], dtype=object)
    splits = ordered_splits(log)
    for split in splits if len(splits) > 1 else []:
        held = run[split_of == split].any(axis=0)
        absent = [a.name for a, here, n in zip(log.arms, held, per_arm) if n and not here]
        if absent:
            findings.append(
                Finding(
                    CHECK,
                    "warning",
                    f"{share(len(absent), len(log.arms))} arms have no cells in '{split}', only "
                    f"elsewhere: {_names(absent)}.",
                    {"split": split, "arms": absent},
                )
            )
    return findings


def _parts(log: PromptLog, run: np.ndarray, overlap: np.ndarray) -> list[Finding]:
    """Arms that no chain of shared queries connects."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    used = np.flatnonzero(run.any(axis=0))
    if len(used) < 2:
        return []
    if run.sum(axis=1).max() == 1:
        known = not np.isnan(log.propensity).any()
        return [
            Finding(
                CHECK,
                "note" if known else "warning",
                "Every query was run under one arm only: arms can be compared by off-policy "
                "estimates" + ("." if known else ", but the log has no propensities for them."),
                {"propensities": known},
            )
        ]
    count, part = connected_components(csr_matrix(overlap[np.ix_(used, used)]), directed=False)
    if count < 2:
        return []
    parts = [[log.arms[used[k]].name for k in np.flatnonzero(part == p)] for p in range(count)]
    listed = "; ".join(_names(names) for names in parts)
    sentence = f"The arms fall into {count} parts that share no query: {listed}."
    return [Finding(CHECK, "warning", sentence, {"parts": parts})]


def _retried(log: PromptLog) -> list[Finding]:
    """Arms that were run by the outcome of another one."""
    return [
        Finding(
            CHECK,
            "error",
            f"{pair.sentence(log.arm_names)}.",
            {"arm": log.arms[pair.arm].name, "after": log.arms[pair.after].name, "rows": pair.rows},
        )
        for pair in retried_arms(log.grid())
    ]


def _unequal(log: PromptLog, run: np.ndarray) -> list[Finding]:
    """Arms whose plain mean says more of the queries they were run on than of themselves."""
    weight = run.astype(float)
    if not run.any() or is_complete(weight) or few_pairs(run):
        return []
    grid = log.grid()
    plain = plain_means(grid, weight)
    found = adjusted_means(grid, weight)
    ran = np.flatnonzero(run.any(axis=0))
    apart = np.abs(plain - found.mean)
    far = np.flatnonzero((apart > LEAST_APART) & (apart > CAUTION * found.error))
    if not len(far):
        return []
    worst = int(far[apart[far].argmax()])
    return [
        Finding(
            CHECK,
            "warning",
            f"Arms were run on different queries, so their plain means mislead: that of "
            f"'{log.arms[worst].name}' is {plain[worst]:.3f}, and {found.mean[worst]:.3f} as if "
            "every arm had been run on every query.",
            {
                "arms": [log.arms[k].name for k in far],
                "plain_means": {log.arms[k].name: float(plain[k]) for k in ran},
                "comparable_means": {log.arms[k].name: float(found.mean[k]) for k in ran},
            },
        )
    ]


def _names(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more
