"""Many leaves gathered in one ask are those of as many separate descents."""

from __future__ import annotations

import random

import numpy as np
import pytest
from reference_search import ReferenceMcts
from toy_tree import random_tree, respond

from search import _native
from search._native.search import Machine
from search._native.tree import Arena

CASES = [
    {},
    {"widen_initial": 20, "widen_batch": 20},
    {"formula": "muzero", "widen_initial": 3},
    {"formula": "uct", "widen_initial": 3, "widen_batch": 1},
    {"virtual_loss": "weighted", "virtual_loss_weight": 3.0, "virtual_loss_value": 1.0},
    {"virtual_loss": "weighted", "formula": "uct", "fpu": "absolute", "fpu_value": 0.5},
    {"backup": "max", "normalise": True, "fpu_reduction": 0.0},
    {"max_collisions": 4, "widen_initial": 2, "widen_factor": 0.5},
    {"widen_initial": 1, "widen_batch": 1, "widen_below": 0.7, "widen_most": 5},
    {"evaluation": "rollout", "rollouts": 2},
]


@pytest.fixture(autouse=True)
def _level():
    level = _native.attention.simd_level()
    yield
    _native.attention.set_simd_level(level)


@pytest.mark.parametrize("level", _native.attention.simd_levels())
@pytest.mark.parametrize("case", range(len(CASES)))
def test_tasks_of_an_ask_equal_separate_descents(case: int, level: str) -> None:
    _native.attention.set_simd_level(level)
    for seed in range(3):
        options = {**CASES[case], "max_in_flight": 40}
        branching = 24 if seed == 2 else 6
        toy = random_tree(seed, depth=3 if seed == 2 else 5, branching=branching)
        arena = Arena()
        machine = Machine(arena, "mcts", {**options, "stop_when_verified": False}, seed)
        reference = ReferenceMcts(**options)
        order = random.Random(seed)
        outstanding = []
        for _ in range(40):
            if machine.done():
                break
            most = order.choice([1, 2, 7, 40])
            tasks = machine.ask(most)
            assert [(t.id, t.mode, t.count, arena.path_tokens(t.node)) for t in tasks] == [
                (i, mode, count, [x for n in reversed(list(node.up())) for x in n.tokens])
                for i, node, mode, count in reference.ask(most)
            ]
            outstanding += tasks
            for _ in range(order.randint(0, len(outstanding))):
                task = outstanding.pop(order.randrange(len(outstanding)))
                children, exhausted = respond(toy, arena, task)
                machine.tell(task.id, children, exhausted)
                reference.tell(task.id, children, exhausted)
            arena.check(at_rest=False)
        np.testing.assert_array_equal(
            machine.export()["visits"], [node.visits for node in reference.nodes]
        )
