"""Problems that come one after another, perhaps without an end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import pytest
from tiny_search import PROBLEMS, engine, shape

from search import Problem
from search.problem import with_unique_ids


def endless(read: list[int], text: str = "") -> Iterator[Problem]:
    """Problems without an end; notes how many were read."""
    for number in count():
        read.append(number)
        known = PROBLEMS[number % len(PROBLEMS)]
        yield Problem(text or known.prompt, id=f"n{number}")


@pytest.mark.parametrize(("text", "status"), [("", "finished"), ("Ω", "failed")])
def test_problems_are_read_as_there_is_room(folders: Path, text: str, status: str) -> None:
    read: list[int] = []
    results = engine(folders, "greedy", max_live=4).solve_many(endless(read, text))
    found = list(islice(results, 10))
    results.close()  # type: ignore[attr-defined]
    assert {result.status for result in found} == {status}
    assert len(read) <= 10 + 2 * 4


def test_a_stream_gives_the_trees_of_a_list(folders: Path) -> None:
    search = engine(folders, "mcts", max_live=3)
    listed = {result.problem.id: shape(result) for result in search.solve_many(PROBLEMS[:6])}
    streamed = search.solve_many(problem for problem in PROBLEMS[:6])
    assert {result.problem.id: shape(result) for result in streamed} == listed


def test_ids_of_a_stream_are_unique() -> None:
    for given, unique in [
        (["a", "a", "a"], ["a", "a#2", "a#3"]),
        (["a", "a", "a#2"], ["a", "a#2", "a#2#2"]),  # the later one was not known
        (["a#2", "a", "a"], ["a#2", "a", "a#3"]),
    ]:
        named = with_unique_ids(Problem("1", id=name) for name in given)
        assert [problem.id for problem in named] == unique


def test_a_stream_that_fails_frees_what_is_live(folders: Path) -> None:
    def broken() -> Iterator[Problem]:
        yield from PROBLEMS[:2]
        raise OSError("the line is cut")

    search = engine(folders, "best_of_n", max_live=3)
    spans = search.model.runner.spans  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="the line is cut"):
        list(search.solve_many(broken()))
    spans.evict_all()
    assert (spans.used_slots, spans.live_spans) == (0, 0)
