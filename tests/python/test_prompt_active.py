"""What to run next: information against brute force, rules, and a simulation that must gain."""

from __future__ import annotations

import numpy as np
import pytest

from prompt_oirl.active.contenders import contenders, probability_best
from prompt_oirl.active.design import choose_cells, greedy_d_optimal
from prompt_oirl.active.next_cells import next_cells
from prompt_oirl.active.posterior import Posterior, cell_features, fit_posterior, sigmoid
from prompt_oirl.active.simulation import simulate
from prompt_oirl.errors import BadLog
from prompt_oirl.logs.log import Arm, PromptLog, Query


def some_posterior(seed: int = 0, queries: int = 12, arms: int = 3) -> tuple[np.ndarray, Posterior]:
    rng = np.random.default_rng(seed)
    z = np.hstack([np.ones((queries, 1)), rng.normal(size=(queries, 2))])
    query, arm = rng.integers(0, queries, 15), rng.integers(0, arms, 15)
    outcome = rng.integers(0, 2, 15).astype(float)
    return z, fit_posterior(z, query, arm, outcome, arms)


def whole_log_det(z: np.ndarray, posterior: Posterior, ran: np.ndarray) -> float:
    """log det of prior and information with one column for every query's own difficulty."""
    queries, arms = ran.shape
    precision = posterior.prior.precision(arms, z.shape[1])
    size = len(precision)
    matrix = np.diag(np.concatenate([precision, np.full(queries, 1 / 1.5**2)]))
    for q in range(queries):
        for k in range(arms):
            phi = np.zeros(size + queries)
            phi[:size] = cell_features(z[[q]], np.array([k]), arms)[0]
            phi[size + q] = 1
            matrix += ran[q, k] * np.outer(phi, phi)
    # of what remains when the difficulties are integrated out
    return float(np.linalg.slogdet(np.linalg.inv(np.linalg.inv(matrix)[:size, :size]))[1])


def test_the_gain_is_that_of_the_whole_matrix_and_the_first_choice_is_the_largest() -> None:
    z, posterior = some_posterior()
    open_cells = posterior.ran == 0
    p = sigmoid(posterior.logits(z) + posterior.difficulty[:, None])
    design, _ = greedy_d_optimal(posterior, z, open_cells, 6)
    ran = posterior.ran.copy()
    for number, (query, arm) in enumerate(zip(design.query, design.arm)):
        before = whole_log_det(z, posterior, ran)
        gains = np.full(ran.shape, -np.inf)
        for q, k in np.argwhere(open_cells):
            more = ran.copy()
            more[q, k] += p[q, k] * (1 - p[q, k])
            gains[q, k] = whole_log_det(z, posterior, more) - before
        assert gains[query, arm] == pytest.approx(gains.max(), rel=1e-8)
        assert design.information[number] == pytest.approx(gains.max(), rel=1e-8)
        open_cells[query, arm] = False
        ran[query, arm] += p[query, arm] * (1 - p[query, arm])


def test_a_batch_of_several_parts_counts_all_of_them_in() -> None:
    """Contenders take as many queries as they can all be run on, and then more of them."""
    z, posterior = some_posterior()
    open_cells = posterior.ran == 0
    count = int(open_cells.sum())
    design = choose_cells(posterior, z, open_cells, count, "contenders")
    assert len(design.query) == count
    p = sigmoid(posterior.logits(z) + posterior.difficulty[:, None])
    ran = posterior.ran.copy()
    place = design.query, design.arm
    ran[place] += (p * (1 - p))[place]
    gained = whole_log_det(z, posterior, ran) - whole_log_det(z, posterior, posterior.ran)
    assert design.information.sum() == pytest.approx(gained, rel=1e-8)


def test_the_posterior_is_the_mode_and_its_curvature() -> None:
    z, posterior = some_posterior(3)
    rng = np.random.default_rng(3)
    z = np.hstack([np.ones((12, 1)), rng.normal(size=(12, 2))])
    query, arm = rng.integers(0, 12, 15), rng.integers(0, 3, 15)
    outcome = rng.integers(0, 2, 15).astype(float)
    phi = cell_features(z[query], arm, 3)
    p = sigmoid(phi @ posterior.mean.ravel() + posterior.difficulty[query])
    slope = phi.T @ (p - outcome) + posterior.prior.precision(3, 3) * posterior.mean.ravel()
    assert np.abs(slope).max() < 1e-4
    own = np.bincount(query, p - outcome, minlength=12) + posterior.difficulty / 1.5**2
    assert np.abs(own).max() < 1e-4
    log_det = np.linalg.slogdet(np.linalg.inv(posterior.covariance))[1]
    assert log_det == pytest.approx(whole_log_det(z, posterior, posterior.ran), rel=1e-9)


def test_what_was_run_tells_less() -> None:
    z = np.ones((40, 1))
    empty = np.zeros(0, dtype=np.int64)
    fresh = fit_posterior(z, empty, empty, np.zeros(0), 2)
    query = np.arange(30)
    past = fit_posterior(z, query, np.zeros(30, dtype=np.int64), query % 2.0, 2)
    open_cells = np.zeros((40, 2), dtype=bool)
    open_cells[35:] = True
    assert greedy_d_optimal(past, z, open_cells, 1)[0].arm[0] == 1
    first = greedy_d_optimal(fresh, z, open_cells & [True, False], 1)[0].information[0]
    later = greedy_d_optimal(past, z, open_cells & [True, False], 1)[0].information[0]
    assert later < first / 3


def test_a_prompt_that_loses_is_no_contender() -> None:
    z = np.ones((100, 1))
    query, arm = np.divmod(np.arange(300), 3)
    outcome = (np.array([0.9, 0.85, 0.05])[arm] > (query % 20) / 20).astype(float)
    posterior = fit_posterior(z, query, arm, outcome, 3)
    assert probability_best(posterior, z).sum() == pytest.approx(1)
    assert contenders(posterior, z).tolist() == [0, 1]
    more_z = np.ones((120, 1))
    grown = fit_posterior(more_z, query, arm, outcome, 3)
    open_cells = np.zeros((120, 3), dtype=bool)
    open_cells[100:] = True
    design = choose_cells(grown, more_z, open_cells, 10)
    assert set(design.arm.tolist()) == {0, 1}
    assert sorted(design.query[design.arm == 0]) == sorted(design.query[design.arm == 1])
    assert len(choose_cells(grown, more_z, open_cells, 1000).arm) == 60  # all, each once
    with pytest.raises(BadLog, match="unknown rule"):
        choose_cells(grown, more_z, open_cells, 1, "best")


def made_log(queries: int = 300, seed: int = 0) -> PromptLog:
    rng = np.random.default_rng(seed)
    rates = np.array([0.7, 0.55, 0.5, 0.3, 0.2, 0.15, 0.1, 0.1])
    grid = (rng.random((queries, 8)) < rates).astype(float)
    words = rng.choice(["ant", "bee", "cow", "dog", "eel", "fox"], (queries, 5))
    asked = [Query(f"q{i}", f"{' '.join(row)} number {i}?", f"g{i}") for i, row in enumerate(words)]
    return PromptLog.from_grid("made", asked, [Arm(f"a{k}") for k in range(8)], grid)


def test_cells_of_a_log_are_open_and_distinct() -> None:
    log = made_log(60)
    keep = np.random.default_rng(1).random(len(log.outcome)) < 0.5
    partial = log._cells(keep)
    cells = next_cells(partial, 25)
    ran = set(zip(partial.query.tolist(), partial.arm.tolist()))
    found = {(int(cell.query[1:]), int(cell.arm[1:])) for cell in cells}
    assert len(found) == 25
    assert not found & ran
    assert all(cell.information > 0 and 0 < cell.success < 1 for cell in cells)
    assert {cell.arm for cell in next_cells(partial, 9, arms=["a6", "a7"])} <= {"a6", "a7"}
    few = next_cells(partial, 5)
    assert len({(cell.query, cell.arm) for cell in few}) == 5
    assert {cell.query for cell in few} <= {cell.query for cell in cells}  # in the same order
    with pytest.raises(BadLog, match="nothing is left"):
        next_cells(log, 1)
    with pytest.raises(BadLog, match="no arm 'x'"):
        next_cells(partial, 1, arms=["x"])
    with pytest.raises(BadLog, match="at least 1"):
        next_cells(partial, 0)


def test_contenders_gain_on_random_cells_while_cells_are_few() -> None:
    gains = []
    for seed in range(3):
        log = made_log(600, seed)
        random, active = (
            simulate(log, rule, budget=200, seeds=12, factors=1)
            for rule in ("random", "contenders")
        )
        assert active.cells.tolist() == random.cells.tolist()
        assert active.value[:, 0].tolist() == random.value[:, 0].tolist()  # the same random start
        gains.append(active.value[:, 1:].mean() - random.value[:, 1:].mean())
    assert np.mean(gains) > 0.01
    assert active.cells_to(-1.0) == (32, 32)
    assert active.cells_to(2.0) == (None, None)
