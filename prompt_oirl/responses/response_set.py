"""Responses to queries: [query, thoughts, correctness], to learn which response to return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.log import numbered

if TYPE_CHECKING:
    from reward_bridge.verifiers.grader import Grader

Row = dict[str, Any]


@dataclass(frozen=True)
class ResponseSet:
    """Responses, those of one query in the order in which they were drawn.

    Attributes:
        query_id: name of each query, ``[Q]``.
        query_text: of each query, ``[Q]``.
        group: number of the group of each query, ``[Q]``.
        query: index of the query of each response, ``[N]``.
        text: of each response, ``[N]``.
        answer: final answer in canonical form, ``[N]``; None where there is none.
        correct: in 0..1, ``[N]``; NaN where unknown.
    """

    query_id: tuple[str, ...]
    query_text: tuple[str, ...]
    group: NDArray[np.int64]
    query: NDArray[np.int64]
    text: tuple[str, ...]
    answer: tuple[str | None, ...]
    correct: NDArray[np.float64]

    def rows_by_query(self) -> list[NDArray[np.int64]]:
        """Indices of the responses of each query, ascending, ``Q`` arrays."""
        order = np.argsort(self.query, kind="stable")
        counts = np.bincount(self.query, minlength=len(self.query_text))
        return np.split(order, np.cumsum(counts)[:-1])

    def only_queries(self, keep: NDArray[np.bool_]) -> ResponseSet:
        """The responses of some queries, ``[Q]``."""
        place = np.cumsum(keep) - 1
        rows = np.flatnonzero(keep[self.query])
        return ResponseSet(
            tuple(name for name, kept in zip(self.query_id, keep) if kept),
            tuple(text for text, kept in zip(self.query_text, keep) if kept),
            self.group[keep],
            place[self.query[rows]],
            tuple(self.text[row] for row in rows),
            tuple(self.answer[row] for row in rows),
            self.correct[rows],
        )


class ResponseCollector:
    """Takes rows one after another, each checked as it comes, and makes a set of them.

    A row has "query_id", "query", "response" and where known "correct" in 0..1, "group" (queries to
    keep on one side of a split), and "answer": the final answer of the response itself, which casts
    its vote. One that is None or blank casts none, and one in two spellings is one answer. Where a
    row has "key" instead, that is the answer in canonical form already.

    Args:
        grader: puts answers in canonical form, and finds them in responses of rows without one; a
            numeric one by default.
    """

    def __init__(self, grader: Grader | None = None) -> None:
        from reward_bridge.verifiers.numeric import NumericGrader

        self._grader: Grader = grader or NumericGrader()
        self._place: dict[str, int] = {}
        self._texts: list[str] = []
        self._groups: list[str] = []
        self._rows: list[tuple[int, str, str | None, float]] = []
        self._given: list[str] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, rows: list[Row]) -> None:
        """Adds rows, all of them or none.

        Raises:
            BadLog: what is wrong with one.
        """
        known = {row["query_id"]: row["query"] for row in rows if _checked(row)}
        for row in rows:
            name = row["query_id"]
            place = self._place.get(name)
            text = known[name] if place is None else self._texts[place]
            if text != row["query"]:
                raise BadLog(f"query '{name}' has two texts")
        for row in rows:
            self._add(row)

    def _add(self, row: Row) -> None:
        name = row["query_id"]
        place = self._place.setdefault(name, len(self._place))
        if place == len(self._texts):
            self._texts.append(row["query"])
            self._groups.append(str(row.get("group", name)))
        correct = row.get("correct")
        value = np.nan if correct is None else float(correct)
        self._rows.append((place, row["response"], self._vote(row), value))
        self._given.append(_given_answer(row))

    def _vote(self, row: Row) -> str | None:
        """The final answer of a response in canonical form; None without one."""
        if "key" in row:
            key: str | None = row["key"]
            return key or None
        if "answer" not in row:
            return self._grader.canonical_key(row["response"], row["query"])
        given = _given_answer(row)
        return canonical_answer(given, row["query"], self._grader) if given else None

    def collected(self) -> ResponseSet:
        """The set of all rows.

        Raises:
            BadLog: there are none, none has a text, or their answers are the known ones.
        """
        if not self._rows:
            raise BadLog("there are no responses")
        query, text, answer, correct = zip(*self._rows)
        self._check_own_answers()
        if not any(one.strip() for one in text):
            raise BadLog("every response is empty, so there is no text to learn from")
        return ResponseSet(
            tuple(self._place),
            tuple(self._texts),
            numbered(self._groups),
            np.array(query, dtype=np.int64),
            text,
            answer,
            np.array(correct),
        )

    def _check_own_answers(self) -> None:
        """Whether the answers that rows give are those of the responses.

        Raises:
            BadLog: wherever a query has right and wrong responses, all are given one answer. That
                is the known answer, under a name that is taken for the response's own.
        """
        outcomes: dict[int, set[bool]] = {}
        answers: dict[int, set[str]] = {}
        for (place, _, _, correct), given in zip(self._rows, self._given):
            if given and not np.isnan(correct):
                outcomes.setdefault(place, set()).add(correct > 0.5)
                answers.setdefault(place, set()).add(given)
        mixed = [place for place, right in outcomes.items() if len(right) > 1]
        if mixed and all(len(answers[place]) == 1 for place in mixed):
            raise BadLog(
                "right and wrong responses of a query are all given one 'answer', so it is the "
                "known one; say --column answer=NONE, and answers are read from the responses"
            )


def canonical_answer(given: str, question: str, grader: Grader) -> str | None:
    """A final answer in the form in which its spellings are one: ``$18`` and ``18.0`` are ``18``.

    What the grader cannot read counts by its words, as do several numbers where one is looked for:
    an expression or a date is not its last number.
    """
    from reward_bridge.verifiers.exact import same_form
    from reward_bridge.verifiers.numeric import NumericGrader, numbers

    if isinstance(grader, NumericGrader) and len(numbers(given)) != 1:
        return same_form(given) or None
    return grader.canonical_key(given, question) or same_form(given) or None


def response_set(rows: list[Row], grader: Grader | None = None) -> ResponseSet:
    """Responses from rows, see :class:`ResponseCollector`.

    Raises:
        BadLog: a key is missing, ``correct`` is out of range, a query has two texts, or no rows.
    """
    collector = ResponseCollector(grader)
    for number, row in enumerate(rows, 1):
        try:
            collector.add([row])
        except BadLog as error:
            raise BadLog(f"response {number}: {error}") from None
    return collector.collected()


def _given_answer(row: Row) -> str:
    """The final answer that a row gives, as it is written; empty without one."""
    answer = row.get("answer")
    return "" if answer is None else str(answer).strip()


def _checked(row: Row) -> bool:
    for key in ("query_id", "query", "response"):
        if not isinstance(row.get(key), str):
            raise BadLog(f"'{key}' is missing or no text")
    if not row["query"].strip():
        raise BadLog("'query' is empty")
    for key, kinds in (("answer", str | int | float | None), ("key", str | None)):
        if not isinstance(row.get(key), kinds):
            raise BadLog(f"'{key}' is {row[key]!r}, no final answer")
    known = row.get("correct")
    # A NaN is no number here, which the comparison says by itself.
    if known is not None and not (isinstance(known, (int, float)) and 0 <= known <= 1):
        raise BadLog(f"'correct' is {known!r}, not in 0..1")
    return True
