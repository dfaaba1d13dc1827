"""A small explicit tree that stands for a language model, and a driver that answers tasks from it.

Every step's probability, value and answer is known, so each algorithm has an exact oracle.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from search._native.search import Machine, Task
from search._native.tree import Arena, Child


@dataclass
class ToyNode:
    """A state: how it is reached, what it is worth, and what can follow."""

    tokens: tuple[int, ...] = ()
    probability: float = 1.0
    logprob: float = 0.0
    value: float | None = 0.0
    terminal: bool = False
    answer: int = -1
    verdict: int = -1
    children: list[ToyNode] = field(default_factory=list)


def random_tree(
    seed: int,
    depth: int = 3,
    branching: int = 4,
    tokens: int = 2,
    answers: int = 3,
    early_stop: float = 0.2,
    valued: float = 1.0,
    verdicts: bool = False,
) -> ToyNode:
    """A random tree. `early_stop`: chance that a step ends; `valued`: chance of a value."""
    rng = random.Random(seed)

    def grow(node: ToyNode, level: int) -> None:
        width = rng.randint(max(1, branching - 2), branching)
        weights = [rng.random() + 0.05 for _ in range(width)]
        for lane, weight in enumerate(weights):
            # The first token is the lane, so siblings differ.
            segment = (lane, *(rng.randrange(50) for _ in range(rng.randint(0, tokens - 1))))
            child = ToyNode(tokens=segment, probability=weight / sum(weights))
            child.value = round(rng.random(), 3) if rng.random() < valued else None
            child.terminal = level + 1 == depth or rng.random() < early_stop
            if child.terminal:
                child.answer = rng.randrange(answers)
                if verdicts:
                    child.verdict = rng.randrange(2)
            else:
                grow(child, level + 1)
            node.children.append(child)

    root = ToyNode()
    grow(root, 0)
    stack = [root]
    while stack:
        node = stack.pop()
        node.logprob = math.log(node.probability)
        stack.extend(node.children)
    return root


def walk(node: ToyNode, path: tuple[ToyNode, ...] = ()) -> Iterator[tuple[ToyNode, ...]]:
    """Every root-to-node path, the root's own included."""
    path = (*path, node)
    yield path
    for child in node.children:
        yield from walk(child, path)


def leaves(root: ToyNode) -> list[tuple[ToyNode, ...]]:
    """Paths to all terminals."""
    return [path for path in walk(root) if path[-1].terminal]


def locate(root: ToyNode, arena: Arena, handle: int) -> ToyNode:
    """The toy node that an arena node stands for."""
    node = root
    for step in arena.path(handle)[1:]:
        wanted = tuple(arena.tokens(step))
        node = next(child for child in node.children if child.tokens == wanted)
    return node


def as_child(node: ToyNode) -> Child:
    return Child(
        list(node.tokens),
        node.logprob,
        finish="eos" if node.terminal else "stop",
        terminal=node.terminal,
        value=node.value,
        verdict=node.verdict,
        answer=node.answer,
    )


def respond(root: ToyNode, arena: Arena, task: Task) -> tuple[list[Child], bool]:
    """What an engine would bring for a task: its children and whether no more exist."""
    node = locate(root, arena, task.node)
    ranked = sorted(node.children, key=lambda c: (-c.probability, c.tokens))
    known = {tuple(arena.tokens(child)) for child in arena.children(task.node)}
    if task.mode == "sample":
        drawn = []
        for draw in range(task.first_draw, task.first_draw + task.count):
            rng = random.Random(f"{task.seed}/{draw}")
            weights = [c.probability for c in node.children]
            drawn.append(rng.choices(node.children, weights)[0])
        return [as_child(c) for c in drawn], False
    if task.mode == "distinct":
        fresh = [c for c in ranked if c.tokens not in known]
        return [as_child(c) for c in fresh[: task.count]], len(fresh) <= task.count
    return [as_child(c) for c in ranked[: task.count]], False


def drive(
    machine: Machine,
    root: ToyNode,
    order: random.Random | None = None,
    max_tells: int = 10_000,
    at_once: int = 8,
    watch: Callable[[Task, list[int]], None] | None = None,
) -> int:
    """Runs a search to its end, telling in random order if `order` is given; returns the tells."""
    outstanding: list[Task] = []
    for tells in itertools.count():
        if tells == max_tells or machine.done():
            for task in outstanding:
                machine.cancel(task.id)
            return tells
        outstanding += machine.ask(at_once)
        assert outstanding, "not done, nothing outstanding, nothing to ask: a livelock"
        task = outstanding.pop(order.randrange(len(outstanding)) if order else 0)
        children, exhausted = respond(root, machine.arena, task)
        handles = machine.tell(task.id, children, exhausted)
        if watch:
            watch(task, handles)
    raise AssertionError("unreachable")
