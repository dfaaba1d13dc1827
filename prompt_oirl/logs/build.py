"""From the cells of a file to a checked log: what cannot be used is named, the rest is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.cell_table import CellTable, Coded, LogProblem
from prompt_oirl.logs.columns import CHARACTERS_PER_TOKEN
from prompt_oirl.logs.log import Arm, Floats, Indices, PromptLog, Query
from prompt_oirl.logs.metadata import Metadata
from prompt_oirl.logs.text_hash import text_group

MOST_RUNS = 2.0**53  # above, not every whole number is a float


def build_log(
    where: str, table: CellTable, metadata: Metadata
) -> tuple[PromptLog, list[LogProblem]]:
    """Checks cells and makes a log of those that are right.

    Queries keep the order of the file; arms that of the metadata, then that of the file. Cells of
    the same query and arm without a number of their run are numbered in the order of the file.

    Raises:
        BadLog: no cell can be used, or lines with the same id differ in text, group or split.
    """
    problems = list(table.problems)
    good = _usable(table, problems)
    _check_any(where, good, problems)
    text_of_id = _one_value(where, table, good, "query")
    no_text = good & (text_of_id[table.id.codes] < 0)
    for cell in np.flatnonzero(no_text):
        name = table.id.values[table.id.codes[cell]]
        problems.append(LogProblem(int(table.line[cell]), f"query '{name}' has no text"))
    good &= ~no_text
    group_of_id = _one_value(where, table, good, "group")
    split_of_id = _one_value(where, table, good, "split")

    tokens = np.where(np.isnan(table.tokens), table.length / CHARACTERS_PER_TOKEN, table.tokens)
    arms, place = _arms(table, good, metadata)
    run, repeated = _runs(table, good, problems)
    good &= ~repeated
    _check_any(where, good, problems)

    ids, query = _first_seen(table.id.codes[good])
    group_of_text: dict[int, str] = {}
    queries = []
    for code in ids:
        text = int(text_of_id[code])
        if group_of_id[code] >= 0:
            group = table.group.values[group_of_id[code]]
        else:
            group = group_of_text.get(text) or text_group(table.query.values[text])
            group_of_text[text] = group
        split = table.split.values[split_of_id[code]] if split_of_id[code] >= 0 else ""
        queries.append(Query(table.id.values[code], table.query.values[text], group, split))
    log = PromptLog(
        name=metadata.name,
        queries=tuple(queries),
        arms=arms,
        query=query,
        arm=place[table.arm.codes[good]],
        outcome=table.outcome[good],
        run=run[good],
        cost=table.cost[good],
        tokens=tokens[good],
        latency=table.latency[good],
        propensity=table.propensity[good],
    )
    return log, sorted(problems)


def _check_any(where: str, good: NDArray[np.bool_], problems: list[LogProblem]) -> None:
    if not good.any():
        first = f"; {min(problems)}" if problems else ""
        raise BadLog(f"{where} holds nothing that can be used{first}")


def _usable(table: CellTable, problems: list[LogProblem]) -> NDArray[np.bool_]:
    """Cells whose numbers are right, ``[N]``; adds the reason for each of the others."""
    good = np.ones(len(table.line), dtype=bool)
    for name in ("id", "arm"):
        missing = getattr(table, name).codes < 0
        problems += [LogProblem(int(line), f"no {name}") for line in table.line[missing & good]]
        good &= ~missing
    run = np.nan_to_num(table.run, nan=0.0)
    not_whole = (run < 0) | (run != np.round(run)) | (run > MOST_RUNS)
    checks: list[tuple[str, NDArray[np.bool_], str]] = [
        ("outcome", np.isnan(table.outcome), "is not a number"),
        ("outcome", (table.outcome < 0) | (table.outcome > 1), "is not in 0..1"),
        ("propensity", (table.propensity <= 0) | (table.propensity > 1), "is not in (0, 1]"),
        ("run", not_whole, "is not a whole number from 0"),
    ]
    for name in ("cost", "tokens", "length", "latency"):
        values: Floats = getattr(table, name)
        wrong = (values < 0) | np.isinf(values)
        if name == "length":  # it only stands in for the tokens
            wrong &= np.isnan(table.tokens)
        checks.append((name, wrong, "is negative or infinite"))
    for name, wrong, reason in checks:
        for cell in np.flatnonzero(wrong & good):
            arm = table.arm.values[table.arm.codes[cell]]
            value = float(getattr(table, name)[cell])
            text = f"the {name} {value:g} under '{arm}' {reason}"
            problems.append(LogProblem(int(table.line[cell]), text))
        good &= ~wrong
    return good


def _one_value(where: str, table: CellTable, good: NDArray[np.bool_], field: str) -> Indices:
    """The code of each id's text, group or split, ``[ids]``; -1 where no cell has one."""
    column: Coded = getattr(table, field)
    known = np.flatnonzero(good & (column.codes >= 0))
    ids, codes = table.id.codes[known], column.codes[known]
    found = np.full(len(table.id.values), -1, dtype=np.int64)
    found[ids[::-1]] = codes[::-1]  # numpy keeps the last assignment: the first cell of each id
    differs = np.flatnonzero(found[ids] != codes)
    if len(differs):
        later = known[differs[0]]
        name = table.id.values[table.id.codes[later]]
        first = known[np.flatnonzero(ids == table.id.codes[later])[0]]
        what = {"query": "texts", "group": "groups", "split": "splits"}[field]
        raise BadLog(
            f"{where}: the query id '{name}' has different {what} in line {table.line[first]} "
            f"and line {table.line[later]}"
        )
    return found


def _arms(
    table: CellTable, good: NDArray[np.bool_], metadata: Metadata
) -> tuple[tuple[Arm, ...], Indices]:
    """The arms that were run, and the index among them of each arm code."""
    codes, _ = _first_seen(table.arm.codes[good])
    order = {name: rank for rank, name in enumerate(metadata.arms)}
    names = sorted(
        (table.arm.values[code] for code in codes), key=lambda n: order.get(n, len(order))
    )
    index = {name: i for i, name in enumerate(names)}
    place = np.array([index.get(name, -1) for name in table.arm.values], dtype=np.int64)
    texts = dict(metadata.prompts)
    known = np.flatnonzero(good & (table.arm_text.codes >= 0))
    _, first = np.unique(table.arm.codes[known], return_index=True)
    for cell in known[first]:
        name = table.arm.values[table.arm.codes[cell]]
        texts.setdefault(name, table.arm_text.values[table.arm_text.codes[cell]])
    return tuple(Arm(name, texts.get(name, "")) for name in names), place


def _runs(
    table: CellTable, good: NDArray[np.bool_], problems: list[LogProblem]
) -> tuple[Indices, NDArray[np.bool_]]:
    """The run of each cell, and which cells repeat one that was there before; both ``[N]``."""
    cell_of = table.id.codes * max(1, len(table.arm.values)) + table.arm.codes
    unknown = np.isnan(table.run)
    run = np.where(good & ~unknown, table.run, 0).astype(np.int64)
    rows = np.flatnonzero(good & unknown)
    run[rows] = _times_seen(cell_of[rows])
    rows = np.flatnonzero(good)
    runs, number = np.unique(run[rows], return_inverse=True)
    again = rows[_times_seen(cell_of[rows] * max(1, len(runs)) + number.ravel()) > 0]
    repeated = np.zeros(len(good), dtype=bool)
    repeated[again] = True
    for cell in again:
        arm = table.arm.values[table.arm.codes[cell]]
        name = table.id.values[table.id.codes[cell]]
        text = f"run {run[cell]} of query '{name}' under '{arm}' is there twice"
        problems.append(LogProblem(int(table.line[cell]), text))
    return run, repeated


def _first_seen(codes: Indices) -> tuple[list[int], Indices]:
    """The distinct codes in the order in which they appear, and the place of each code there."""
    distinct, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return [int(code) for code in distinct[order]], place[inverse.ravel()]


def _times_seen(keys: Indices) -> Indices:
    """How often each key appeared before, ``[N]``."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(keys) else _NONE
    lengths = np.diff(np.r_[starts, len(keys)])
    times = np.empty(len(keys), dtype=np.int64)
    times[order] = np.arange(len(keys)) - np.repeat(starts, lengths)
    return times


_NONE = np.empty(0, dtype=np.int64)
