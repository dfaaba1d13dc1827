"""The splits of a log, in the order in which they are used."""

from __future__ import annotations

from collections import Counter

from prompt_oirl.logs.log import PromptLog

TRAINING = ("train", "training", "fit")
VALIDATION = ("validation", "valid", "val", "dev", "calibration")
TEST = ("test", "testing", "eval", "evaluation", "holdout", "held_out")


def ordered_splits(log: PromptLog) -> list[str]:
    """Names of the splits: training, then validation, unknown names by size, and test at the end.

    What is in an earlier split is known when a later one is judged. Queries without a split
    belong to none.
    """
    sizes = Counter(query.split for query in log.queries if query.split)

    def place(name: str) -> tuple[int, int, str]:
        kinds = (TRAINING, VALIDATION, (), TEST)
        kind = next((i for i, names in enumerate(kinds) if name.strip().casefold() in names), 2)
        return kind, -sizes[name], name

    return sorted(sizes, key=place)


def later_splits(log: PromptLog) -> list[tuple[str, list[int], list[int]]]:
    """Each split but the first: its name, its queries, and the queries of all earlier splits."""
    members: dict[str, list[int]] = {name: [] for name in ordered_splits(log)}
    for index, query in enumerate(log.queries):
        if query.split:
            members[query.split].append(index)
    found = []
    earlier: list[int] = []
    for name, queries in members.items():
        if earlier:
            found.append((name, queries, list(earlier)))
        earlier += queries
    return found
