"""Queries of a later split that are nearly those of an earlier one.

Numbers are taken out first. A query whose wording is nearly that of an earlier one

    with the same numbers    is a near duplicate: its answer is known;
    with other numbers       shares the template: its answer is not, its difficulty may be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.audit.exact_duplicates import leaking
from prompt_oirl.audit.finding import Finding, Severity, share, shortened
from prompt_oirl.audit.normalise import normalised, template
from prompt_oirl.audit.similarity import similar_pairs
from prompt_oirl.audit.splits import later_splits
from prompt_oirl.logs.log import PromptLog

CHECK = "near-duplicates"
TEMPLATE_CHECK = "same-template"
NEAR = 0.9
TOLERATED_NEAR = 0.01  # share of a split; above it, near duplicates are an error
TOLERATED_TEMPLATES = 0.05  # share of a split; above it, shared templates are a warning
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Near:
    """Later queries with an earlier query that resembles each, no exact duplicates among them.

    Attributes:
        same_numbers: (later, earlier) pairs with the same numbers: near duplicates.
        other_numbers: (later, earlier) pairs with the same template only.
    """

    same_numbers: list[tuple[int, int]]
    other_numbers: list[tuple[int, int]]


def near_duplicates(log: PromptLog, threshold: float = NEAR) -> list[Finding]:
    """Near duplicates across splits, and templates that splits share.

    Near duplicates are an error where they are more than 1 % of a split, else a warning.

    Args:
        log: its queries with a split are compared.
        threshold: least cosine of two wordings that counts as near, in (0, 1].

    Raises:
        ValueError: the threshold is not in (0, 1].
    """
    findings = []
    for name, later, earlier in later_splits(log):
        near = nearest(log.texts, later, earlier, threshold)
        for check, pairs, tolerated, what in (
            (CHECK, near.same_numbers, TOLERATED_NEAR, "nearly repeat one of an earlier split"),
            (
                TEMPLATE_CHECK,
                near.other_numbers,
                TOLERATED_TEMPLATES,
                "are a template of an earlier split with other numbers",
            ),
        ):
            if not pairs:
                continue
            much = len(pairs) > tolerated * len(later)
            severity: Severity
            if check == CHECK:
                severity = "error" if much else "warning"
            else:
                severity = "warning" if much else "note"
            findings.append(
                Finding(
                    check,
                    severity,
                    f"{share(len(pairs), len(later))} further queries of '{name}' {what} "
                    f"(similarity of wording at least {threshold:g}).",
                    {
                        "split": name,
                        "queries": len(later),
                        "leaking": len(pairs),
                        "threshold": threshold,
                    },
                    shortened([_shown(log, pair) for pair in pairs]),
                    tuple(i for i, _ in pairs),
                    leakage=check == CHECK,
                )
            )
    return findings


def nearest(texts: list[str], later: list[int], earlier: list[int], threshold: float) -> Near:
    """The later queries that resemble an earlier one, and which.

    Two queries of exactly one wording have the same numbers if these stand in the same order; of
    nearly one wording, in any order.
    """
    plain = {i: normalised(texts[i]) for i in [*earlier, *later]}
    keys = [plain.get(i, "") for i in range(len(texts))]
    exact = set(leaking(keys, later, earlier))
    parts = {i: template(text) for i, text in plain.items()}
    in_order: dict[str, dict[Numbers, int]] = {}
    any_order: dict[str, dict[Numbers, int]] = {}
    for i in earlier:
        wording, numbers = parts[i]
        if wording:
            in_order.setdefault(wording, {}).setdefault(numbers, i)
            any_order.setdefault(wording, {}).setdefault(tuple(sorted(numbers)), i)
    rest = [i for i in later if i not in exact and parts[i][0]]
    neighbours = _neighbours(list(dict.fromkeys(parts[i][0] for i in rest)), in_order, threshold)
    found = Near([], [])
    for i in rest:
        wording, numbers = parts[i]
        same = in_order.get(wording, {}).get(numbers)
        other = next(iter(in_order[wording].values())) if wording in in_order else None
        for neighbour in neighbours.get(wording, ()):
            if same is None and neighbour != wording:
                same = any_order[neighbour].get(tuple(sorted(numbers)))
            if other is None:
                other = next(iter(in_order[neighbour].values()))
        if same is not None:
            found.same_numbers.append((i, same))
        elif other is not None:
            found.other_numbers.append((i, other))
    return found


def _neighbours(
    wordings: list[str], earlier: dict[str, dict[Numbers, int]], threshold: float
) -> dict[str, list[str]]:
    """For each wording the earlier ones that are near, the nearest first."""
    known = list(earlier)
    found: dict[str, list[str]] = {}
    for rows, columns, cosines in similar_pairs(wordings, known, threshold):
        for k in np.argsort(-cosines, kind="stable"):
            found.setdefault(wordings[rows[k]], []).append(known[columns[k]])
    return found


def _shown(log: PromptLog, pair: tuple[int, int]) -> str:
    later, earlier = (log.queries[i] for i in pair)
    return f"{later.id} ~ {earlier.id}: {later.text}"
