"""Algorithms that follow one path: greedy, guided, accept. Each against brute force."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from toy_tree import ToyNode, drive, random_tree, respond

from search._native.search import Machine
from search._native.tree import Arena, Child


def test_greedy_is_the_argmax_path() -> None:
    for seed in range(10):
        toy = random_tree(seed, depth=5, branching=5)
        arena = Arena()
        machine = Machine(arena, "greedy", {}, seed)
        drive(machine, toy)
        node, tokens = toy, []
        while node.children:
            node = max(node.children, key=lambda c: c.probability)
            tokens += node.tokens
        assert arena.path_tokens(machine.best()) == tokens
        assert machine.done()


def blend(node: ToyNode, weight: float) -> float:
    value = 0.0 if node.value is None else float(np.float32(node.value))
    return float(np.float32(node.logprob)) + weight * value


@pytest.mark.parametrize("top_k", [1, 2, 10])
@pytest.mark.parametrize("weight", [0.0, 1.0, 5.0])
def test_guided_is_the_argmax_of_the_blend(top_k: int, weight: float) -> None:
    for seed in range(5):
        toy = random_tree(seed, depth=5, branching=5, tokens=1, valued=0.8)
        arena = Arena()
        machine = Machine(arena, "guided", {"top_k": top_k, "weight": weight}, seed)

        def watch(task, handles):
            assert (task.unit, task.mode, task.count) == ("token", "top", top_k)

        drive(machine, toy, watch=watch)
        node, tokens = toy, []
        while node.children:
            top = sorted(node.children, key=lambda c: (-c.probability, c.tokens))[:top_k]
            node = max(top, key=lambda c: blend(c, weight))
            tokens += node.tokens
        assert arena.path_tokens(machine.best()) == tokens


def test_guided_draws_follow_the_softmax_and_the_seed() -> None:
    children = [
        Child([i], lp, value=v) for i, (lp, v) in enumerate([(-1, 0.9), (-2, 0.1), (-3, 1)])
    ]
    weights = np.exp([(-1 + 1.8) / 0.7, (-2 + 0.2) / 0.7, (-3 + 2) / 0.7])
    expected = weights / weights.sum()
    counts = np.zeros(3)
    options = {"choice": "sampled", "weight": 2.0, "temperature": 0.7, "top_k": 3}
    for seed in range(3000):
        arena = Arena()
        machine = Machine(arena, "guided", options, seed)
        machine.tell(machine.ask(1)[0].id, children)
        counts[arena.path_tokens(machine.best())[0]] += 1
    statistic = ((counts - 3000 * expected) ** 2 / (3000 * expected)).sum()
    assert statistic < 13.8  # chi-square, 2 degrees of freedom, p = 0.001


def test_guided_stops_at_max_tokens() -> None:
    toy = random_tree(1, depth=9, branching=3, tokens=1, early_stop=0.0)
    arena = Arena()
    machine = Machine(arena, "guided", {"max_tokens": 4}, 0)
    drive(machine, toy)
    assert len(arena.path_tokens(machine.best())) == 4


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7, 0.9])
def test_a_reward_that_equals_the_threshold_reaches_it(threshold: float) -> None:
    machine = Machine(Arena(), "accept", {"threshold": threshold, "max_redraws": 3}, 0)
    (task,) = machine.ask(1)
    (child,) = machine.tell(task.id, [Child([1], -1.0, value=threshold)])
    (following,) = machine.ask(1)
    assert following.node == child


@pytest.mark.parametrize("threshold", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("max_redraws", [0, 3])
def test_accept_equals_its_reference(threshold: float, max_redraws: int) -> None:
    for seed in range(6):
        toy = random_tree(seed, depth=4, branching=5, valued=0.8)
        arena = Arena()
        options = {"threshold": threshold, "max_redraws": max_redraws}
        machine = Machine(arena, "accept", options, seed)
        drive(machine, toy)

        # The reference draws from the same seeds, so it sees the same steps.
        shadow = Arena()
        shadow_machine = Machine(shadow, "greedy", {}, seed)
        node, handle, tokens = toy, shadow_machine.root, []
        while node.children:
            drawn = []
            for draw in range(max_redraws + 1):
                rng = random.Random(f"{shadow.node(handle)['seed']}/{draw}")
                child = rng.choices(node.children, [c.probability for c in node.children])[0]
                drawn.append(child)
                if child.value is not None and child.value >= threshold:
                    break
            accepted = drawn[-1]
            if accepted.value is None or accepted.value < threshold:
                accepted = max(
                    drawn, key=lambda c: (-math.inf if c.value is None else c.value, c.logprob)
                )
            tokens += accepted.tokens
            handle, _ = shadow.add_child(handle, Child(list(accepted.tokens), 0.0))
            node = accepted
        assert arena.path_tokens(machine.best()) == tokens


@pytest.mark.parametrize("algorithm", ["greedy", "guided", "accept"])
def test_cancel_and_ask_again_gives_the_same_path(algorithm: str) -> None:
    toy = random_tree(4, depth=4, tokens=1)
    arena = Arena()
    straight, disturbed = (Machine(arena, algorithm, {}, 7) for _ in range(2))
    drive(straight, toy)
    rng = random.Random(0)
    while not disturbed.done():
        (task,) = disturbed.ask(4)
        assert disturbed.ask(4) == []
        if rng.random() < 0.5:
            disturbed.cancel(task.id)
        else:
            disturbed.tell(task.id, *respond(toy, arena, task))
    assert arena.path_tokens(disturbed.best()) == arena.path_tokens(straight.best())
    arena.check()
