"""The tree search against its reference, and its limits against enumeration."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from reference_search import ReferenceMcts
from toy_tree import ToyNode, as_child, drive, leaves, locate, random_tree, respond

from search._native.search import Machine
from search._native.tree import Arena, Child

VARIANTS = [
    {},
    {"formula": "uct"},
    {"formula": "uct", "fpu": "absolute", "fpu_value": 1.0, "exploration": 0.4},
    {"backup": "max", "c_init": 0.3},
    {"formula": "muzero"},
    {"formula": "muzero", "backup": "min_path", "virtual_loss": "weighted"},
    {"backup": "min_path", "normalise": True},
    {"normalise": True, "virtual_loss": "weighted", "virtual_loss_weight": 2.0},
    {"widen_initial": 1, "widen_batch": 1, "widen_factor": 1.5, "widen_power": 0.6},
    {"widen_initial": 1, "widen_batch": 1, "widen_power": 0.2, "widen_below": 0.4},
    {"widen_initial": 1, "widen_below": 0.6, "widen_most": 3, "backup": "max"},
    {"widen_initial": 2, "widen_batch": 1, "mass_left": 0.3},
    {"max_collisions": 1, "widen_initial": 2},
    {"max_collisions": 3, "widen_initial": 1, "evaluation": "rollout"},
    {"evaluation": "rollout"},
    {"evaluation": "rollout", "rollouts": 3, "widen_initial": 2, "widen_batch": 2},
    {"evaluation": "rollout", "formula": "uct", "virtual_loss": "weighted"},
]


@pytest.mark.parametrize("valued", [1.0, 0.6, 0.0])
@pytest.mark.parametrize("max_in_flight", [1, 5])
@pytest.mark.parametrize("variant", range(len(VARIANTS)))
def test_equals_reference_step_by_step(variant: int, max_in_flight: int, valued: float) -> None:
    options = {**VARIANTS[variant], "max_in_flight": max_in_flight, "stop_when_verified": False}
    for seed in range(3):
        toy = random_tree(seed, depth=4, branching=5, valued=valued, verdicts=seed == 1)
        arena = Arena()
        machine = Machine(arena, "mcts", options, seed)
        reference_options = {k: v for k, v in options.items() if k != "stop_when_verified"}
        reference = ReferenceMcts(**reference_options)
        order = random.Random(seed)
        outstanding = []
        for _ in range(150):
            if machine.done():
                break
            tasks = machine.ask(3)
            expected = reference.ask(3)
            assert [(t.id, t.mode, t.count, arena.path_tokens(t.node)) for t in tasks] == [
                (i, mode, count, [x for n in reversed(list(node.up())) for x in n.tokens])
                for i, node, mode, count in expected
            ]
            outstanding += tasks
            task = outstanding.pop(order.randrange(len(outstanding)))
            children, exhausted = respond(toy, arena, task)
            machine.tell(task.id, children, exhausted)
            reference.tell(task.id, children, exhausted)
            arena.check(at_rest=False)
        rows = machine.export()
        assert rows["visits"].tolist() == [n.visits for n in reference.nodes]
        q = [reference.q(n) if n.visits else np.nan for n in reference.nodes]
        np.testing.assert_array_equal(rows["q"], q)
        closed = (rows["flags"] & 16) != 0
        assert closed.tolist() == [n.closed for n in reference.nodes]


def bandit(values: list[float], depth: int = 400) -> ToyNode:
    """Long arms from the root; everything on arm i is worth values[i]."""
    root = ToyNode()
    for lane, value in enumerate(values):
        node = root
        for level in range(depth):
            child = ToyNode((lane if level == 0 else 0,), 1.0 if level else 1 / len(values))
            child.logprob = float(np.log(child.probability))
            child.value = value
            node.children.append(child)
            node = child
    return root


@pytest.mark.parametrize("formula", ["puct", "uct", "muzero"])
@pytest.mark.parametrize("max_in_flight", [1, 4])
def test_visits_converge_to_the_best_child(formula: str, max_in_flight: int) -> None:
    arena = Arena()
    options = {"formula": formula, "max_in_flight": max_in_flight, "exploration": 0.5}
    # An arm is one leaf wide here: unlimited gathering would fill its slots with the other arms.
    options["max_collisions"] = 1
    machine = Machine(arena, "mcts", {**options, "result": "most_visited"}, 1)
    drive(machine, bandit([0.2, 0.8, 0.5]), max_tells=300)
    visits = [arena.node(c)["visits"] for c in arena.children(machine.root)]
    lanes = [arena.tokens(c)[0] for c in arena.children(machine.root)]
    assert lanes[int(np.argmax(visits))] == 1
    assert max(visits) > 0.7 * sum(visits)
    assert arena.path_tokens(machine.best())[0] == 1


@pytest.mark.parametrize("evaluation", ["reward", "rollout"])
@pytest.mark.parametrize("max_in_flight", [1, 7])
def test_runs_a_small_tree_to_its_end(evaluation: str, max_in_flight: int) -> None:
    for seed in range(8):
        toy = random_tree(seed, depth=3)
        arena = Arena()
        options = {"evaluation": evaluation, "max_in_flight": max_in_flight}
        machine = Machine(arena, "mcts", options, seed)
        drive(machine, toy, random.Random(seed))
        assert machine.done()
        assert arena.node(machine.root)["closed"]
        paths = leaves(toy)
        assert len(machine.terminals()) == len(paths)
        best = max(paths, key=lambda path: path[-1].value)
        wanted = [t for node in best for t in node.tokens]
        assert arena.path_tokens(machine.best()) == wanted
        arena.check()


@pytest.mark.parametrize("widen_batch", [1, 2, 4])
def test_distinct_draws_that_meet_children_of_rollouts_end_nothing(widen_batch: int) -> None:
    """Distinct draws follow one another; they know nothing of what samples brought."""
    toy = random_tree(2, depth=3)
    arena = Arena()
    options = {"evaluation": "rollout", "widen_initial": 1, "widen_batch": widen_batch}
    machine = Machine(arena, "mcts", {**options, "max_in_flight": 1}, 0)
    given: dict[int, int] = {}
    while not machine.done():
        (task,) = machine.ask(1)
        if task.mode == "sample":
            machine.tell(task.id, *respond(toy, arena, task))
            continue
        ranked = sorted(locate(toy, arena, task.node).children, key=lambda c: -c.probability)
        first = given.get(task.node, 0)
        given[task.node] = min(first + task.count, len(ranked))
        drawn = [as_child(c) for c in ranked[first : given[task.node]]]
        machine.tell(task.id, drawn, given[task.node] == len(ranked))
    assert len(machine.terminals()) == len(leaves(toy))


def test_terminal_is_never_expanded_and_simulations_are_counted() -> None:
    toy = random_tree(3, depth=4, early_stop=0.5)
    arena = Arena()
    machine = Machine(arena, "mcts", {"simulations": 9}, 0)

    def watch(task, handles):
        assert not arena.node(task.node)["terminal"]

    assert drive(machine, toy, watch=watch) <= 9
    assert not machine.ask(5)


def test_widening_follows_its_limit() -> None:
    arena = Arena()
    options = {"widen_initial": 2, "widen_batch": 1, "widen_power": 0.5, "widen_factor": 1.0}
    machine = Machine(arena, "mcts", {**options, "max_in_flight": 1}, 0)
    for step in range(200):
        (task,) = machine.ask(1)
        known = len(arena.children(task.node))
        visits = arena.node(task.node)["visits"]
        assert known < max(2, np.ceil(visits**0.5))
        assert task.count == 1
        machine.tell(task.id, [Child([step], -1.0, value=0.5)])


def test_a_node_without_a_good_child_is_widened_before_its_limit() -> None:
    options = {"widen_initial": 1, "widen_batch": 1, "widen_factor": 0.0, "max_in_flight": 1}
    # A child worth 0.1 is not worth less than 0.1, in whatever precision.
    for below, expected in ((0.5, 3), (0.05, 1), (0.1, 1)):
        machine = Machine(Arena(), "mcts", {**options, "widen_below": below}, 0)
        for token, value in enumerate((0.1, 0.2, 0.9, 0.95)):
            task = machine.ask(1)[0]
            if task.node != machine.root:
                break
            machine.tell(task.id, [Child([token], -1.0, value=value)])
        assert len(machine.arena.children(machine.root)) == expected


def test_a_node_is_exhausted_when_its_children_hold_the_mass() -> None:
    options = {"widen_initial": 8, "widen_batch": 1, "max_in_flight": 1, "mass_left": 0.1}
    machine = Machine(Arena(), "mcts", options, 0)
    for token, probability in enumerate((0.5, 0.3, 0.15)):
        task = machine.ask(1)[0]
        assert task.node == machine.root
        child = Child([token], math.log(probability), terminal=True, verdict=0)
        machine.tell(task.id, [child])
    # 0.95 of the probability is known and wrong: nothing is left to look for.
    assert machine.done()


def test_gathers_many_leaves_at_once() -> None:
    arena = Arena()
    machine = Machine(arena, "mcts", {"max_in_flight": 64, "widen_initial": 8, "widen_batch": 8}, 0)
    (first,) = machine.ask(64)
    assert machine.ask(64) == []
    machine.tell(first.id, [Child([i], -1.0, value=0.1 * i) for i in range(8)])
    tasks = machine.ask(64)
    # Eight leaves and nothing else can be grown; no node is handed out twice.
    assert len({task.node for task in tasks}) == len(tasks) == 8
    assert arena.node(machine.root)["in_flight"] == 64
    for task in tasks:
        machine.cancel(task.id)
    arena.check()
