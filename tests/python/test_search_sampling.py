"""best_of_n: draws, votes and frequencies against enumeration."""

from __future__ import annotations

import collections
import math
import random

import pytest
from toy_tree import drive, leaves, random_tree

from search._native.search import Machine
from search._native.tree import Arena, Child


def terminal_draws(arena: Arena, machine: Machine) -> dict[int, int]:
    votes: dict[int, int] = collections.Counter()
    for handle in machine.terminals():
        fields = arena.node(handle)
        votes[fields["answer"]] += fields["draws"]
    return votes


@pytest.mark.parametrize("max_in_flight", [1, 16])
def test_vote_frequencies_match_enumeration(max_in_flight: int) -> None:
    toy = random_tree(5, depth=3, answers=4)
    exact: dict[int, float] = collections.Counter()
    for path in leaves(toy):
        probability = 1.0
        for node in path:
            probability *= node.probability
        exact[path[-1].answer] += probability
    n = 4000
    arena = Arena()
    options = {"n": n, "selection": "majority", "max_in_flight": max_in_flight}
    machine = Machine(arena, "best_of_n", options, 11)
    drive(machine, toy, random.Random(1), max_tells=100_000)
    votes = dict(machine.selection())
    assert sum(votes.values()) == n  # n draws are n votes: nothing padded, nothing lost
    assert votes == terminal_draws(arena, machine)
    statistic = sum((votes.get(a, 0) - n * p) ** 2 / (n * p) for a, p in exact.items())
    assert statistic < 16.3  # chi-square, 3 degrees of freedom, p = 0.001
    assert len(machine.terminals()) <= len(leaves(toy))
    arena.check()


def told(selection: str, rows: list[tuple[int, float | None]], **options) -> Machine:
    """A search whose i-th walker ends at once with (answer, value) of row i."""
    machine = Machine(Arena(), "best_of_n", {"n": len(rows), "selection": selection, **options}, 0)
    for i, (task, (answer, value)) in enumerate(zip(machine.ask(99), rows, strict=True)):
        child = Child([i], -float(i), "eos", terminal=True, value=value, answer=answer)
        machine.tell(task.id, [child])
    return machine


def test_posterior_weighs_the_value_against_the_path() -> None:
    def posterior(value: float, logprob: float) -> float:
        return math.log(value / (1 - value)) + 0.5 * logprob

    rows = [(0.99, -9.0), (0.9, -1.0), (0.8, -0.5), (None, -0.1)]
    machine = Machine(Arena(), "mcts", {"selection": "posterior", "widen_batch": 4}, 0)
    (task,) = machine.ask(1)
    children = [
        Child([i], logprob, finish="eos", terminal=True, value=value, answer=i)
        for i, (value, logprob) in enumerate(rows)
    ]
    handles = machine.tell(task.id, children)
    votes = machine.selection()
    expected = {i: posterior(v, p) for i, (v, p) in enumerate(rows) if v is not None}
    assert [answer for answer, _ in votes] == [1, 2, 0, 3]
    for answer, weight in votes[:3]:
        assert weight == pytest.approx(expected[answer], rel=1e-4)
    assert machine.best() == handles[1]
    # Of two paths to one answer the better posterior speaks for it, sure values included.
    machine = Machine(Arena(), "mcts", {"selection": "posterior", "widen_batch": 4}, 0)
    (task,) = machine.ask(1)
    ends = [(1.0, -40.0), (0.999, -2.0), (0.0, -0.1)]
    children = [
        Child([i], logprob, finish="eos", terminal=True, value=value, answer=int(i == 2))
        for i, (value, logprob) in enumerate(ends)
    ]
    handles = machine.tell(task.id, children)
    assert machine.best() == handles[1]


def test_selection_rules() -> None:
    rows = [(0, 0.3), (0, 0.3), (0, 0.2), (1, 0.9), (2, 0.5), (2, 0.6), (-1, 1.0)]

    def answer(machine: Machine) -> int:
        return machine.arena.node(machine.best())["answer"]

    best, majority, weighted = (told(s, rows) for s in ("best", "majority", "weighted"))
    assert answer(best) == 1
    assert best.selection()[0] == (1, pytest.approx(0.9))
    assert majority.selection() == [(0, 3), (2, 2), (1, 1)]
    assert answer(majority) == 0
    assert [a for a, _ in weighted.selection()] == [2, 1, 0]
    assert dict(weighted.selection())[2] == pytest.approx(1.1)
    assert majority.arena.node(majority.best())["value"] == pytest.approx(0.3)


def test_ties_and_missing_values() -> None:
    assert [a for a, _ in told("majority", [(3, 0.2), (1, 0.4)]).selection()] == [1, 3]
    assert [a for a, _ in told("majority", [(3, 0.4), (1, 0.4)]).selection()] == [3, 1]
    assert [a for a, _ in told("majority", [(3, None), (1, 0.1)]).selection()] == [1, 3]
    # Without any value, weighted counts draws and best goes by log-probability.
    assert told("weighted", [(3, None), (1, None), (1, None)]).selection() == [(1, 2), (3, 1)]
    assert [a for a, _ in told("best", [(3, None), (1, None)]).selection()] == [3, 1]


def test_known_wrong_answers_do_not_vote() -> None:
    machine = Machine(Arena(), "best_of_n", {"n": 3, "selection": "majority"}, 0)
    for i, task in enumerate(machine.ask(3)):
        child = Child([i], -1.0, terminal=True, verdict=0 if i < 2 else -1, answer=i // 2)
        machine.tell(task.id, [child])
    assert machine.selection() == [(1, 1.0)]


def test_duplicates_are_one_node_and_many_draws() -> None:
    machine = told("majority", [(0, 0.5)])
    arena = Arena()
    machine = Machine(arena, "best_of_n", {"n": 5, "selection": "majority"}, 0)
    handles = set()
    draws = []
    for task in machine.ask(9):
        draws.append(task.first_draw)
        handles |= set(machine.tell(task.id, [Child([1], -0.1, terminal=True, answer=4)]))
    assert draws == [0, 1, 2, 3, 4]
    assert len(handles) == 1
    assert arena.node(handles.pop())["draws"] == 5
    assert machine.selection() == [(4, 5.0)]
    assert machine.done()


def test_unlimited_walkers_keep_the_slots_full() -> None:
    toy = random_tree(2, depth=3)
    arena = Arena()
    machine = Machine(arena, "best_of_n", {"n": 0, "max_in_flight": 6}, 0)
    tasks = machine.ask(100)
    assert len(tasks) == 6
    for task in tasks:
        machine.cancel(task.id)
    tells = drive(machine, toy, random.Random(3), max_tells=500)
    assert tells == 500
    assert not machine.done()
    arena.check()


def test_unlimited_walkers_give_up_where_nothing_new_comes() -> None:
    toy = random_tree(2, depth=2)
    machine = Machine(Arena(), "best_of_n", {"n": 0}, 0)
    tells = drive(machine, toy, random.Random(3), max_tells=100_000)
    assert machine.done()
    assert len(machine.terminals()) == len(leaves(toy))
    assert tells > 1000


def test_unlimited_walkers_give_up_where_nothing_ends() -> None:
    machine = Machine(Arena(), "best_of_n", {"n": 0}, 0)
    tells = 0
    while not machine.done():
        for task in machine.ask(4):
            at_root = task.node == machine.root
            machine.tell(task.id, [Child([1], -0.1)] if at_root else [])
            tells += 1
    assert tells < 500


def test_same_draws_whatever_the_order() -> None:
    toy = random_tree(6, depth=4)
    results = []
    for seed, at_once in [(0, 1), (1, 5), (2, 16)]:
        arena = Arena()
        machine = Machine(arena, "best_of_n", {"n": 40}, 9)
        drive(machine, toy, random.Random(seed), at_once=at_once)
        seen = sorted(
            (tuple(arena.path_tokens(t)), arena.node(t)["draws"]) for t in machine.terminals()
        )
        results.append(seen)
    assert results[0] == results[1] == results[2]
