"""Beam search against enumeration and against a level-by-level reference."""

from __future__ import annotations

import random

import pytest
from toy_tree import ToyNode, drive, leaves, random_tree, walk

from search._native.search import Machine
from search._native.tree import Arena, Child


def flat(path: tuple[ToyNode, ...]) -> tuple[int, ...]:
    return tuple(token for node in path for token in node.tokens)


def found(arena: Arena, machine: Machine) -> set[tuple[int, ...]]:
    return {tuple(arena.path_tokens(t)) for t in machine.terminals()}


@pytest.mark.parametrize("seed", range(6))
def test_wide_beam_is_the_exhaustive_optimum(seed: int) -> None:
    toy = random_tree(seed, depth=4)
    arena = Arena()
    machine = Machine(arena, "beam", {"width": 1000, "branching": 10}, seed)
    drive(machine, toy, random.Random(seed))
    assert found(arena, machine) == {flat(path) for path in leaves(toy)}
    best = max(leaves(toy), key=lambda path: path[-1].value)
    assert tuple(arena.path_tokens(machine.best())) == flat(best)
    arena.check()


def reference_beam(toy: ToyNode, width: int, branching: int) -> set[tuple[int, ...]]:
    """Terminals that a narrow beam meets."""

    def rank(path: tuple[ToyNode, ...]) -> tuple[bool, float, float]:
        value = path[-1].value
        return (value is None, -(value or 0.0), -sum(node.logprob for node in path))

    beam, seen, owed = [(toy,)], set(), width * branching
    while beam:
        live = []
        for path in beam:
            ranked = sorted(path[-1].children, key=lambda c: (-c.probability, c.tokens))
            for child in ranked[:owed]:
                if child.terminal:
                    seen.add(flat((*path, child)))
                else:
                    live.append((*path, child))
        beam = sorted(live, key=rank)[:width]
        owed = branching
    return seen


@pytest.mark.parametrize("valued", [1.0, 0.5, 0.0])
@pytest.mark.parametrize(("width", "branching"), [(1, 1), (1, 3), (2, 2), (3, 2)])
def test_narrow_beam_equals_its_reference(width: int, branching: int, valued: float) -> None:
    for seed in range(5):
        toy = random_tree(seed, depth=5, branching=6, valued=valued)
        arena = Arena()
        machine = Machine(arena, "beam", {"width": width, "branching": branching}, 0)
        drive(machine, toy, random.Random(seed))
        assert found(arena, machine) == reference_beam(toy, width, branching)


@pytest.mark.parametrize("distinct", [True, False])
def test_rounds_reuse_the_tree(distinct: bool) -> None:
    toy = random_tree(8, depth=4)
    arena = Arena()
    options = {"width": 1, "branching": 6, "rounds": 0, "distinct": distinct}
    machine = Machine(arena, "beam", options, 0)
    asked: dict[int, int] = {}

    def watch(task, handles):
        asked[task.node] = asked.get(task.node, 0) + task.count

    drive(machine, toy, random.Random(0), max_tells=2000, watch=watch)
    arena.check()
    if distinct:
        # Rounds double until nothing is left out; by then everything was found, once.
        assert machine.done()
        assert found(arena, machine) == {flat(path) for path in leaves(toy)}
        assert arena.nodes == sum(1 for _ in walk(toy))
    for handle, count in asked.items():
        if handle != machine.root:
            assert count == 6, "a node is asked for its branching once over all rounds"


def test_rounds_end_with_a_verified_answer() -> None:
    toy = random_tree(8, depth=4)
    for path in leaves(toy):
        path[-1].verdict = 1
    nodes = {}
    for rounds, stop in ((0, True), (1, True), (1, False), (0, False)):
        options = {"width": 1, "rounds": rounds, "stop_when_verified": stop}
        machine = Machine(Arena(), "beam", options, 0)
        drive(machine, toy)
        assert any(machine.arena.node(t)["verdict"] == 1 for t in machine.terminals())
        nodes[rounds, stop] = machine.arena.nodes
    assert nodes[0, True] == nodes[1, True] <= nodes[1, False] < nodes[0, False]


def test_first_level_and_max_depth() -> None:
    machine = Machine(Arena(), "beam", {"width": 3, "branching": 2, "max_depth": 2}, 0)
    (task,) = machine.ask(9)
    assert (task.mode, task.count) == ("distinct", 6)
    machine.tell(task.id, [Child([i], -1.0, value=i / 10) for i in range(6)])
    tasks = machine.ask(9)
    tokens = [machine.arena.tokens(t.node) for t in tasks]
    assert tokens == [[5], [4], [3]]
    for task in tasks:
        machine.tell(task.id, [Child([9], -1.0, value=0.1)])
    assert machine.done()
    flags = {tuple(machine.arena.tokens(c)): machine.arena.node(c)["pruned"]
             for c in machine.arena.children(machine.root)}  # fmt: skip
    assert [flags[(i,)] for i in range(6)] == [True, True, True, False, False, False]


def test_root_branching_and_short_answers_are_not_padded() -> None:
    machine = Machine(Arena(), "beam", {"width": 4, "branching": 4, "root_branching": 5}, 0)
    (task,) = machine.ask(9)
    assert task.count == 5
    machine.tell(task.id, [Child([1], -1.0), Child([2], -2.0, terminal=True, answer=0)])
    (only,) = machine.ask(9)
    assert machine.arena.tokens(only.node) == [1]
    machine.tell(only.id, [])
    assert machine.done()
    assert machine.arena.nodes == 3
    assert machine.arena.node(machine.best())["answer"] == 0
