"""Best-first search against a reference, and against enumeration."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from toy_tree import drive, leaves, random_tree, respond

from search._native.search import Machine
from search._native.tree import Arena, Child

DEFAULTS = {
    "branching": 1, "root_value": 0.5, "decay": 2.0, "depth_factor": 1.5, "mass_left": 0.01,
}  # fmt: skip


class ReferenceNode:
    def __init__(self, value: float, probability: float, depth: int, tokens: tuple[int, ...]):
        self.value, self.probability, self.depth, self.tokens = value, probability, depth, tokens
        self.children: list[ReferenceNode] = []


class ReferenceBestFirst:
    """The definition of csrc/search/best_first.cc on plain objects."""

    def __init__(self, **options):
        self.o = {**DEFAULTS, **options}
        self.o.setdefault("missing_value", self.o["root_value"])
        self.queue = [ReferenceNode(self.o["root_value"], 1.0, 0, ())]

    def promise(self, node: ReferenceNode) -> float:
        unseen = 1 - sum(c.probability * (1 - c.value) for c in node.children)
        return node.value * max(unseen, 0) ** self.o["decay"] * self.o["depth_factor"] ** node.depth

    def ask(self) -> ReferenceNode | None:
        if not self.queue:
            return None
        best = max(self.queue, key=self.promise)  # the first of equals
        self.queue.remove(best)
        return best

    def tell(self, node: ReferenceNode, children: list[Child], exhausted: bool) -> None:
        for child in children:
            value = self.o["missing_value"] if child.value is None else np.float32(child.value)
            probability = math.exp(np.float32(child.logprob))
            tokens = (*node.tokens, *child.tokens)
            value = min(max(float(value), 0.0), 1.0)
            node.children.append(ReferenceNode(value, probability, node.depth + 1, tokens))
            if not child.terminal:
                self.queue.append(node.children[-1])
        known = sum(c.probability for c in node.children)
        enough = self.o["mass_left"] > 0 and known >= 1 - self.o["mass_left"]
        if children and not exhausted and not enough:
            self.queue.append(node)


@pytest.mark.parametrize("valued", [1.0, 0.6, 0.0])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"branching": 2},
        {"mass_left": 0.0, "depth_factor": 0.7, "missing_value": 0.2},
        {"decay": 0.0, "mass_left": 0.3},
        {"root_value": 0.1, "decay": 1.0},
        {"missing_value": 0.0},
    ],
)
def test_equals_reference_step_by_step(options: dict[str, float], valued: float) -> None:
    for seed in range(6):
        toy = random_tree(seed, depth=4, branching=6, valued=valued)
        arena = Arena()
        machine = Machine(
            arena, "best_first", {**options, "max_in_flight": 1, "stop_when_verified": False}, seed
        )
        reference = ReferenceBestFirst(**options)
        while tasks := machine.ask(4):
            (task,) = tasks
            node = reference.ask()
            assert node is not None
            assert tuple(arena.path_tokens(task.node)) == node.tokens
            assert (task.mode, task.count) == ("distinct", reference.o["branching"])
            children, exhausted = respond(toy, arena, task)
            machine.tell(task.id, children, exhausted)
            reference.tell(node, children, exhausted)
        assert reference.ask() is None
        assert machine.done()
        arena.check()


@pytest.mark.parametrize("seed", range(4))
def test_without_a_budget_it_is_exhaustive(seed: int) -> None:
    toy = random_tree(seed, depth=4)
    arena = Arena()
    machine = Machine(arena, "best_first", {"mass_left": 0.0}, seed)
    drive(machine, toy, random.Random(seed))
    found = {tuple(arena.path_tokens(t)) for t in machine.terminals()}
    assert found == {tuple(t for n in path for t in n.tokens) for path in leaves(toy)}
    best = max(path[-1].value for path in leaves(toy))
    assert arena.node(machine.best())["value"] == pytest.approx(best)


def test_values_outside_a_probability_are_clipped() -> None:
    machine = Machine(Arena(), "best_first", {"branching": 3, "mass_left": 0.0}, 0)
    (task,) = machine.ask(1)
    children = [Child([i], math.log(0.2), value=v) for i, v in enumerate([-3.0, 5.0, 0.9])]
    machine.tell(task.id, children)
    order = [machine.arena.tokens(t.node) for t in machine.ask(3)]
    assert order == [[1], [2], []]  # clipped to 1 and 0; -3 is worth nothing


def asked(machine: Machine, children: list[Child]) -> list[int]:
    """The tokens of the node that is asked for next; the task gets these children."""
    (task,) = machine.ask(1)
    machine.tell(task.id, children)
    return list(machine.arena.path_tokens(task.node))


def test_without_values_it_goes_down_and_comes_back_where_most_is_unseen() -> None:
    """Every promise by hand: 0.5, less half of what is known, times 1.5 a level."""
    machine = Machine(Arena(), "best_first", {"max_in_flight": 1, "mass_left": 0.0}, 0)
    log = math.log
    assert asked(machine, [Child([1], log(0.6))]) == []
    assert asked(machine, [Child([2], log(0.9))]) == [1]
    end = Child([3], log(0.8), finish="eos", terminal=True, answer=0)
    assert asked(machine, [end]) == [1, 2]
    # [1, 2]: 2.25 * (1 - 0.4)^2 = 0.81; [1]: 1.5 * (1 - 0.45)^2 = 0.45; []: (1 - 0.3)^2 = 0.49
    nothing = Child([4], log(0.19), finish="length", terminal=True)
    assert asked(machine, [nothing]) == [1, 2]
    # An end without an answer leads nowhere: [1, 2] has 2.25 * (1 - 0.4 - 0.19)^2 = 0.38
    assert asked(machine, []) == []


def test_without_values_improbable_steps_are_gone_down() -> None:
    """As those of a real vocabulary: of no node is ever more than a trace of the mass known."""
    machine = Machine(Arena(), "best_first", {"max_in_flight": 1}, 0)
    for depth in range(20):
        assert len(asked(machine, [Child([depth], -30.0)])) == depth


def test_expansions_are_limited() -> None:
    machine = Machine(Arena(), "best_first", {"expansions": 2, "mass_left": 0.0}, 0)
    (task,) = machine.ask(9)
    machine.cancel(task.id)
    (task,) = machine.ask(9)
    machine.tell(task.id, [Child([1], -1.0, value=0.5)])
    (task,) = machine.ask(9)
    machine.tell(task.id, [Child([2], -1.0, value=0.5)])
    assert machine.ask(9) == []
    assert machine.done()


def test_a_cancelled_task_is_asked_again() -> None:
    machine = Machine(Arena(), "best_first", {}, 0)
    (task,) = machine.ask(1)
    assert machine.ask(1) == []
    machine.cancel(task.id)
    (again,) = machine.ask(1)
    assert (again.node, again.first_draw) == (task.node, task.first_draw)
