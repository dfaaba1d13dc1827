"""What every algorithm keeps of the ask/tell contract."""

from __future__ import annotations

import math
import random
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_tree import drive, random_tree, respond

from search import _native
from search._native.search import Machine, algorithms, options
from search._native.tree import Arena, Child

ALGORITHMS = algorithms()
CONCURRENT = [
    ("best_of_n", {"n": 0}),
    ("best_of_n", {"n": 20}),
    ("beam", {"rounds": 0}),
    ("beam", {"rounds": 3, "distinct": False}),
    ("best_first", {}),
    ("best_first", {"branching": 3, "mass_left": 0.0, "max_depth": 2}),
    ("mcts", {}),
    ("mcts", {"evaluation": "rollout", "rollouts": 2}),
    ("mcts", {"formula": "uct", "max_depth": 2, "backup": "max"}),
]
EVERY = [*CONCURRENT, ("greedy", {}), ("guided", {}), ("accept", {})]


def first_step(machine: Machine, **fields) -> int:
    task = machine.ask(1)[0]
    return machine.tell(task.id, [Child([1], -0.5, **fields)])[0]


def test_names_and_defaults() -> None:
    assert ALGORITHMS == [
        "accept", "beam", "best_first", "best_of_n", "greedy", "guided", "mcts"
    ]  # fmt: skip
    for name in ALGORITHMS:
        known = options(name)
        assert {"max_in_flight", "max_depth", "stop_when_verified"} <= set(known)
        Machine(Arena(), name, known, 0)  # the defaults are legal


def test_bad_options_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"unknown algorithm 'bfs'; known: accept, beam"):
        Machine(Arena(), "bfs", {}, 0)
    with pytest.raises(ValueError, match=r"unknown option 'widht' of beam; known: .*width"):
        Machine(Arena(), "beam", {"widht": 3}, 0)
    for name, given_options, message in [
        ("beam", {"width": 0}, r"'width' of beam must be an integer from 1 to \d+, got 0"),
        ("beam", {"width": 2.5}, r"'width'"),
        ("beam", {"width": True}, r"'width'"),
        ("beam", {"distinct": 1}, r"'distinct' of beam must be True or False"),
        ("mcts", {"backup": "sum"}, r"one of 'mean', 'max', 'min_path', got 'sum'"),
        ("mcts", {"c_init": math.nan}, r"'c_init'"),
        ("mcts", {"widen_power": 2}, r"from 0 to 1, got 2"),
        ("best_of_n", {"n": -1}, r"'n'"),
        ("best_of_n", {"n": None}, r"'n'"),
        ("best_of_n", {"selection": "visited"}, r"'selection'"),
        ("guided", {"temperature": 0.0}, r"'temperature'"),
    ]:
        arena = Arena()
        with pytest.raises(ValueError, match=message):
            Machine(arena, name, given_options, 0)
        assert arena.trees == 0  # a refused search leaves nothing behind


@pytest.mark.parametrize(("name", "given_options"), EVERY)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_engine_any_order(name: str, given_options: dict, data) -> None:
    """Random orders, short answers, cancels and repeats: never stuck, books always right."""
    seed = data.draw(st.integers(0, 1000))
    rng = random.Random(seed)
    toy = random_tree(seed, depth=3, valued=data.draw(st.sampled_from([0.0, 0.5, 1.0])))
    arena = Arena()
    machine = Machine(arena, name, {**given_options, "max_in_flight": rng.randint(1, 6)}, seed)
    outstanding = []
    finished = []
    for _ in range(300):
        if machine.done():
            break
        outstanding += machine.ask(rng.randint(1, 4))
        assert outstanding
        assert machine.outstanding == len(outstanding)
        task = outstanding.pop(rng.randrange(len(outstanding)))
        action = rng.random()
        if action < 0.15:
            machine.cancel(task.id)
            machine.cancel(task.id)
            assert machine.tell(task.id, [Child([1], -1.0)]) == []
        else:
            children, exhausted = respond(toy, arena, task)
            if action < 0.4:
                children, exhausted = children[: rng.randint(0, len(children))], False
            handles = machine.tell(task.id, children, exhausted)
            assert len(handles) == len(children)
            finished.append((task.id, handles))
        again, handles = rng.choice(finished) if finished else (None, None)
        if again:
            before = arena.nodes
            assert machine.tell(again, [Child([99], -1.0)]) == handles
            machine.cancel(again)
            assert arena.nodes == before
        assert (machine.best() is None) == (arena.nodes == 1)
        arena.check(at_rest=False)
    for task in outstanding:
        machine.cancel(task.id)
    assert machine.outstanding == 0
    arena.check(at_rest=True)
    root = machine.root
    del machine
    assert arena.nodes == 0
    assert not arena.alive(root)
    arena.check()


@pytest.mark.parametrize(("name", "given_options"), EVERY)
def test_nothing_to_find(name: str, given_options: dict) -> None:
    machine = Machine(Arena(), name, given_options, 0)
    for _ in range(200):
        tasks = machine.ask(1)
        if not tasks:
            break
        machine.tell(tasks[0].id, [])
    assert machine.done()
    assert machine.best() is None
    assert machine.selection() == []
    assert machine.terminals() == []
    machine.arena.check()


@pytest.mark.parametrize(("name", "given_options"), EVERY)
def test_engine_that_repeats_itself(name: str, given_options: dict) -> None:
    """Distinct children were asked for, the same one comes each time: no livelock."""
    machine = Machine(Arena(), name, {**given_options, "max_depth": 3}, 0)
    for _ in range(4000):
        tasks = machine.ask(1)
        if not tasks:
            break
        machine.tell(tasks[0].id, [Child([7], -0.1, value=0.5)])
    assert machine.done()
    machine.arena.check(at_rest=machine.outstanding == 0)


@pytest.mark.parametrize(("name", "given_options"), EVERY)
def test_two_equal_problems_are_two_trees(name: str, given_options: dict) -> None:
    toy = random_tree(3, depth=4, tokens=1)
    arena = Arena()
    first, second = (Machine(arena, name, given_options, 5) for _ in range(2))
    assert first.root != second.root
    drive(first, toy, max_tells=60)
    kept = first.export()
    drive(second, toy, max_tells=60)
    alone = second.export()
    for key, column in kept.items():
        if key != "handle":
            np.testing.assert_array_equal(column, alone[key], err_msg=key)
    assert set(kept["handle"]).isdisjoint(alone["handle"])
    arena.check()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_verified_answer_ends_the_search(name: str) -> None:
    machine = Machine(Arena(), name, {}, 0)
    node = first_step(machine, terminal=True, verdict=1, answer=3)
    assert machine.done()
    assert machine.ask(5) == []
    assert machine.best() == node
    patient = Machine(Arena(), "best_of_n", {"stop_when_verified": False}, 0)
    tasks = patient.ask(8)
    right = patient.tell(tasks[0].id, [Child([1], -9.0, terminal=True, verdict=1, answer=3)])[0]
    patient.tell(tasks[1].id, [Child([2], -1.0, terminal=True, value=9.0, answer=4)])
    assert not patient.done()
    assert patient.best() == right


def test_results_after_the_end_are_still_taken() -> None:
    machine = Machine(Arena(), "best_of_n", {"n": 3}, 0)
    one, two, three = machine.ask(3)
    machine.tell(one.id, [Child([1], -1.0, terminal=True, verdict=1, answer=0)])
    machine.tell(two.id, [Child([2], -1.0, terminal=True, answer=1)])
    machine.cancel(three.id)
    assert len(machine.terminals()) == 2
    machine.arena.check()


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_numbers_that_are_none_are_refused(name: str, bad: float) -> None:
    machine = Machine(Arena(), name, {}, 0)
    task = machine.ask(1)[0]
    with pytest.raises(_native.NotFinite, match=rf"value of child 0 of node {task.node}"):
        machine.tell(task.id, [Child([1], -1.0, value=bad)])
    with pytest.raises(_native.NotFinite, match=r"logprob of child 0"):
        machine.tell(task.id, [Child([1], bad, value=1.0)])
    assert machine.outstanding >= 1  # the task is still out and nothing was added
    assert machine.arena.nodes == 1
    assert machine.tell(task.id, [Child([1], -1.0)])


def test_malformed_tells() -> None:
    machine = Machine(Arena(), "greedy", {}, 0)
    task = machine.ask(1)[0]
    with pytest.raises(ValueError, match="task 7 was never handed out"):
        machine.tell(7, [])
    with pytest.raises(ValueError, match="never handed out"):
        machine.cancel(0)
    with pytest.raises(ValueError, match="asked for 1 children, got 2"):
        machine.tell(task.id, [Child([1], -1.0), Child([2], -1.0)])
    with pytest.raises(ValueError, match="no tokens"):
        machine.tell(task.id, [Child([], -1.0)])
    with pytest.raises(ValueError, match="max_tasks"):
        machine.ask(-1)
    machine.cancel(task.id)
    machine.arena.check()


def test_a_dropped_tree_makes_its_search_stale() -> None:
    arena = Arena()
    machine = Machine(arena, "greedy", {}, 0)
    task = machine.ask(1)[0]
    arena.drop_tree(machine.root)
    for call in (
        lambda: machine.tell(task.id, []),
        lambda: machine.ask(1),
        lambda: machine.cancel(task.id),
        machine.best,
        machine.done,
        machine.terminals,
        machine.selection,
        machine.export,
    ):
        with pytest.raises(_native.StaleHandle):
            call()
    arena.check()
    assert arena.nodes == 0


def test_dead_ends_and_cuts() -> None:
    machine = Machine(Arena(), "best_of_n", {"n": 3}, 0)
    one, two, three = machine.ask(3)
    (cut,) = machine.tell(one.id, [Child([1], -1.0, "length", terminal=True, value=0.9)])
    assert machine.selection() == []
    assert machine.best() == cut  # better than nothing, but not an answer
    (step,) = machine.tell(two.id, [Child([2], -1.0, "length")])
    (more,) = machine.ask(1)
    assert more.node == step  # cut short without being terminal: to be continued
    (real,) = machine.tell(three.id, [Child([3], -5.0, "eos", terminal=True, value=0.1, answer=2)])
    assert machine.best() == real
    assert machine.arena.node(cut)["dead"]


def test_draw_numbers_and_seeds_depend_on_the_path_only() -> None:
    seen = []
    for noise in range(2):
        arena = Arena()
        others = [Machine(arena, "beam", {}, 1) for _ in range(noise)]
        machine = Machine(arena, "accept", {"threshold": 2.0, "max_redraws": 2}, 4)
        rows = []
        for i in range(6):
            (task,) = machine.ask(1)
            rows.append((task.seed, task.first_draw, task.mode, task.unit))
            machine.tell(task.id, [Child([i % 3], -1.0, value=i / 10)])
        seen.append(rows)
        assert [r[1] for r in rows] == [0, 1, 2, 0, 1, 2]
        assert rows[0][0] != rows[3][0]
        del others
    assert seen[0] == seen[1]
    other = Machine(Arena(), "accept", {}, 5)
    assert other.ask(1)[0].seed != seen[0][0][0]


@pytest.mark.parametrize("name", ["greedy", "mcts", "beam"])
def test_depth_ten_thousand(name: str) -> None:
    arena = Arena()
    depth = 10_000 if name != "mcts" else 3_000
    settings_of = {"mcts": {"max_in_flight": 1}, "beam": {"width": 1, "branching": 1}}
    machine = Machine(arena, name, settings_of.get(name, {}), 0)
    for step in range(depth):
        (task,) = machine.ask(1)
        machine.tell(task.id, [Child([step], -0.001, value=0.5)], True)
    assert len(arena.path(machine.best())) == depth + 1
    assert arena.path_tokens(machine.best()) == list(range(depth))
    rows = machine.export()
    assert rows["depth"].max() == depth
    arena.check()
    del machine
    assert arena.nodes == 0


def test_threads_share_an_arena() -> None:
    arena = Arena()
    failures = []

    def work(seed: int) -> None:
        try:
            for round_number in range(5):
                machine = Machine(arena, "mcts", {"evaluation": "rollout"}, seed)
                drive(machine, random_tree(seed, depth=3), max_tells=80)
                assert machine.best() is not None
                assert machine.export()["parent"][0] == -1
                del round_number
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert arena.nodes == 0
    arena.check()
