"""What a selector remembers of logged queries: the posterior, and when it is worth remembering."""

from __future__ import annotations

import numpy as np
import pytest
from planted_logs import text_log

from prompt_oirl.choice.memory import LEAST_RERUNS, PRIORS, Memory, remembered, text_key
from prompt_oirl.logs.log import Arm, PromptLog, Query


def rerun_log(chance: np.ndarray, runs: int, seed: int = 0) -> PromptLog:
    """Every query run so often under every arm with its own chance of success, ``[Q, K]``."""
    rng = np.random.default_rng(seed)
    queries = tuple(Query(f"q{i}", f"text {i}", f"g{i}") for i in range(len(chance)))
    arms = tuple(Arm(f"arm{k}") for k in range(chance.shape[1]))
    query, arm, run = (part.ravel() for part in np.indices((*chance.shape, runs)))
    outcome = (rng.random(len(query)) < chance[query, arm]).astype(float)
    return PromptLog("reruns", queries, arms, query, arm, outcome, run)


def test_posterior_by_hand() -> None:
    memory = Memory(
        np.array([text_key("Known")]), np.array([[3.0, 0.0]]), np.array([[4.0, 0.0]]), 2.0
    )
    predicted = np.array([[[0.5, 0.6], [0.1, 0.2], [0.5, 0.6]], [[0.8, 0.9], [0.3, 0.4], [0, 0]]])
    before = predicted.copy()
    found = memory.recall(["known", "unseen", " KNOWN "], predicted)
    assert found[0, 0] == pytest.approx([(2 * 0.5 + 3) / 6, 0.6])
    assert found[1, 0] == pytest.approx([(2 * 0.8 + 3) / 6, 0.9])
    assert found[1, 2] == pytest.approx([3 / 6, 0.0])
    assert np.array_equal(found[:, 1], before[:, 1])
    assert np.array_equal(predicted, before)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3, 1.0])
def test_the_prior_predicts_reruns_best(noise: float) -> None:
    """Each rerun left out in turn, by loops over the log."""
    rng = np.random.default_rng(3)
    chance = np.clip(0.5 + noise * rng.normal(size=(60, 2)), 0, 1)
    log = rerun_log(chance, 3)
    unseen = np.full((60, 2), 0.5)
    errors = dict.fromkeys((*PRIORS, np.inf), 0.0)
    for cell in range(len(log.query)):
        same = (log.query == log.query[cell]) & (log.arm == log.arm[cell])
        same[cell] = False
        for prior in errors:
            total, count = log.outcome[same].sum(), same.sum()
            guess = 0.5 if np.isinf(prior) else (prior * 0.5 + total) / (prior + count)
            errors[prior] += (guess - log.outcome[cell]) ** 2
    assert remembered(log, unseen).prior == min(errors, key=errors.__getitem__)


def test_steady_queries_are_remembered_and_noise_is_not() -> None:
    steady = np.random.default_rng(0).integers(0, 2, (60, 2)).astype(float)
    memory = remembered(rerun_log(steady, 3), np.full((60, 2), 0.5))
    assert memory.prior == min(PRIORS)
    assert len(memory.key) == 60
    recalled = memory.recall(["text 7"], np.full((1, 1, 2), 0.5))
    assert recalled[0, 0] == pytest.approx((0.5 * 0.5 + 3 * steady[7]) / 3.5)
    # A prediction that knows the chances needs no memory.
    chance = np.where(steady > 0, 0.6, 0.4)
    assert np.isinf(remembered(rerun_log(chance, 2), chance).prior)


def test_nothing_is_remembered_without_reruns() -> None:
    steady = np.random.default_rng(0).integers(0, 2, (300, 2)).astype(float)
    log = text_log(steady, [f"text {i}" for i in range(300)])
    memory = remembered(log, np.full((300, 2), 0.5))
    assert np.isinf(memory.prior)
    assert len(memory.key) == 0
    predicted = np.full((1, 1, 2), 0.5)
    assert memory.recall(["text 7"], predicted) is predicted
    few = rerun_log(steady[: LEAST_RERUNS // 4 - 1], 2)
    assert np.isinf(remembered(few, np.full((LEAST_RERUNS // 4 - 1, 2), 0.5)).prior)


def test_texts_that_are_the_same_question_share_a_memory() -> None:
    steady = np.random.default_rng(0).integers(0, 2, (60, 1)).astype(float)
    twice = np.repeat(steady, 2, axis=0)
    texts = [form.format(i) for i in range(60) for form in ("Text {}?", "text  {} ?")]
    grid = text_log(np.hstack([twice, twice]), texts)
    log = PromptLog(
        "twice", grid.queries, grid.arms, *(np.tile(part, 2) for part in (grid.query, grid.arm)),
        outcome=np.tile(grid.outcome, 2), run=np.repeat([0, 1], len(grid.query)),
    )  # fmt: skip
    memory = remembered(log, np.full((120, 2), 0.5))
    assert len(memory.key) == 60
    assert (memory.count == 4).all()
    assert text_key("3 + 4") != text_key("3 - 4")


def test_any_text_has_a_key() -> None:
    assert len({text_key(text) for text in ("", "\ud800", "a", "\0")}) == 4
