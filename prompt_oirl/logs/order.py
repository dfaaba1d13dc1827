"""One order of queries and cells for all files that hold the same ones.

Embeddings, trees and draws depend a little on the order of rows. What is learned from a log must
not depend on how its lines happen to be sorted, so rows are put in this order first: by id, numbers
in it by their value.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from prompt_oirl.logs.log import MEASURES, Indices, PromptLog


def canonical_order(log: PromptLog) -> Indices:
    """The queries of a log by id, ``q2`` before ``q10``, ``[Q]``."""
    keys = [(_natural(query.id), query.id) for query in log.queries]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def in_canonical_order(log: PromptLog) -> PromptLog:
    """The log with its queries by id, and its cells by query, name of the arm and run.

    The order of arms stays.
    """
    log = log.only_queries(canonical_order(log))
    by_name = np.argsort(np.argsort(np.array(log.arm_names, dtype=object), kind="stable"))
    cells = np.lexsort((log.run, by_name[log.arm], log.query))
    columns = {name: getattr(log, name)[cells] for name in ("outcome", "run", *MEASURES)}
    return replace(log, query=log.query[cells], arm=log.arm[cells], **columns)


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]+)", name)  # text and numbers in turn
    parts[1::2] = [part.lstrip("0") for part in parts[1::2]]
    return [(len(part) if i % 2 else 0, part) for i, part in enumerate(parts)]
