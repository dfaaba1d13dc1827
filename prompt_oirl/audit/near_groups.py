"""Nearly equal queries in different groups: a split by group can put them on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from prompt_oirl.audit.finding import Finding, share, shortened
from prompt_oirl.audit.near_duplicates import NEAR, Numbers
from prompt_oirl.audit.normalise import normalised, template
from prompt_oirl.audit.similarity import similar_pairs
from prompt_oirl.logs.log import Indices, PromptLog
from prompt_oirl.logs.order import canonical_order

CHECK = "near-groups"
TOLERATED = 0.01  # share of the queries; above it, a warning


def near_groups(log: PromptLog, threshold: float = NEAR) -> list[Finding]:
    """How many queries nearly repeat one of another group, with the same numbers.

    A warning above 1 % of the queries, else a note; nothing where there are none. Queries with
    the same text are told elsewhere.

    Args:
        log: its queries are compared with each other.
        threshold: least cosine of two wordings that counts as near, in (0, 1].
    """
    members = _queries_of_texts(log)
    concerned: set[int] = set()
    examples: list[str] = []
    for first, second in _near_texts(list(members), threshold):
        found = _apart(log, members[first], members[second])
        if found:
            concerned.update(found)
            one, other = log.queries[found[0]], log.queries[found[-1]]
            examples.append(f"{one.id} ~ {other.id}: {one.text}")
    if not concerned:
        return []
    return [
        Finding(
            CHECK,
            "warning" if len(concerned) > TOLERATED * len(log.queries) else "note",
            f"{share(len(concerned), len(log.queries))} queries nearly repeat one of another group "
            f"with the same numbers (similarity of wording at least {threshold:g}): a split by "
            "group does not keep them together.",
            {"queries": len(log.queries), "concerned": len(concerned), "threshold": threshold},
            shortened(examples),
            tuple(sorted(concerned)),
        )
    ]


def merged_groups(log: PromptLog, threshold: float = NEAR) -> Indices:
    """Groups for a stricter split: those with equal or nearly equal queries become one.

    Args:
        log: its queries are compared with each other.
        threshold: least cosine of two wordings that counts as near, in (0, 1].

    Returns:
        A number for the group of every query, ``[Q]``; queries of one group of the log, with one
        text, or with nearly one wording and the same numbers have equal ones.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    order = canonical_order(log)
    log = log.only_queries(order)
    members = _queries_of_texts(log)
    groups = log.groups
    links = [(queries[0], other) for queries in members.values() for other in queries[1:]]
    for first, second in _near_texts(list(members), threshold):
        links.append((members[first][0], members[second][0]))
    ends = np.array(links, dtype=np.int64).reshape(-1, 2)
    count = int(groups.max()) + 1 if len(groups) else 0
    joined = coo_matrix(
        (np.ones(len(ends)), (groups[ends[:, 0]], groups[ends[:, 1]])), shape=(count, count)
    )
    component = connected_components(joined, directed=False)[1]
    return component[groups][np.argsort(order)].astype(np.int64)


def _queries_of_texts(log: PromptLog) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for index, text in enumerate(log.texts):
        members.setdefault(normalised(text), []).append(index)
    members.pop("", None)
    return members


def _near_texts(texts: list[str], threshold: float) -> Iterator[tuple[str, str]]:
    """Pairs of distinct normalised texts with nearly one wording and the same numbers."""
    by_wording: dict[str, dict[Numbers, list[str]]] = {}
    for text in texts:
        wording, numbers = template(text)
        by_wording.setdefault(wording, {}).setdefault(numbers, []).append(text)
    for of_numbers in by_wording.values():
        for same in of_numbers.values():  # they differ in how a number is written
            yield from pairwise(same)
    wordings = list(by_wording)
    any_order: list[dict[Numbers, list[str]]] = []
    for wording in wordings:
        regrouped: dict[Numbers, list[str]] = {}
        for numbers, same in by_wording[wording].items():
            regrouped.setdefault(tuple(sorted(numbers)), []).extend(same)
        any_order.append(regrouped)
    for rows, columns, _ in similar_pairs(wordings, wordings, threshold):
        for i, j in zip(rows.tolist(), columns.tolist()):
            if i < j:
                for numbers in any_order[i].keys() & any_order[j].keys():
                    for first in any_order[i][numbers]:
                        for second in any_order[j][numbers]:
                            yield first, second


def _apart(log: PromptLog, first: list[int], second: list[int]) -> list[int]:
    """Those of both lists that have a counterpart of another group in the other list."""
    groups = [{log.queries[i].group for i in members} for members in (first, second)]
    return [i for i in first if groups[1] - {log.queries[i].group}] + [
        i for i in second if groups[0] - {log.queries[i].group}
    ]
