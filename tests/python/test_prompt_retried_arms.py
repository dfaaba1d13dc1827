"""Logs of retries and cascades, which say nothing of which prompt is better."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Run

from prompt_oirl.audit.coverage import coverage
from prompt_oirl.choice.selector import check_identified
from prompt_oirl.errors import NotIdentified
from prompt_oirl.logs.log import Arm, PromptLog, Query
from prompt_oirl.models.retried_arms import Retried, retried_arms

NAN = np.nan


def attempts(seed: int = 0, rows: int = 400, arms: int = 3) -> np.ndarray:
    """Outcomes of arms that are tried in turn until one succeeds."""
    value = (np.random.default_rng(seed).random((rows, arms)) < 0.4).astype(float)
    for arm in range(1, arms):
        value[(value[:, :arm] == 1).any(axis=1), arm] = NAN
    return value


def log_of(value: np.ndarray) -> PromptLog:
    row, arm = np.nonzero(~np.isnan(value))
    queries = tuple(Query(f"q{i}", f"question {i}", f"g{i}") for i in range(len(value)))
    arms = tuple(Arm(name) for name in "ABCDE"[: value.shape[1]])
    return PromptLog("tries", queries, arms, row, arm, value[row, arm])


def test_retries_are_found_and_named() -> None:
    value = attempts()
    found = retried_arms(value)
    failed = int((value[:, 0] == 0).sum())
    assert found[0] == Retried(arm=1, after=0, rows=failed, bound=0.0, failed=True)
    assert found[1].arm == 2
    assert found[0].sentence(["A", "B", "C"]) == (
        f"'B' was run only where 'A' had no more than 0 ({failed} queries), "
        "so the two cannot be compared"
    )


def test_a_second_look_at_successes_is_found() -> None:
    value = attempts(arms=2)
    value[:, 0] = 1 - value[:, 0]
    (found,) = retried_arms(value)
    assert (found.bound, found.failed) == (1.0, False)


def test_a_threshold_of_graded_outcomes() -> None:
    rng = np.random.default_rng(0)
    value = rng.random((300, 2))
    value[value[:, 0] > 0.3, 1] = NAN
    (found,) = retried_arms(value)
    assert found.bound == value[~np.isnan(value[:, 1]), 0].max()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 1.0])
def test_arms_that_were_run_at_random_are_not(share: float) -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        value = (rng.random((300, 4)) < (0.5, 0.9, 0.1, 0.02)).astype(float)
        value[rng.random((300, 4)) > (1.0, share, share, share)] = NAN
        assert retried_arms(value) == []
        graded = np.where(np.isnan(value), NAN, rng.random(value.shape))
        assert retried_arms(graded) == []


def test_an_arm_that_always_fails_where_the_other_was_run_is_not() -> None:
    """Two datasets, on one of which A never succeeds: B was not run by the outcome of A."""
    rng = np.random.default_rng(0)
    value = (rng.random((500, 2)) < 0.5).astype(float)
    value[:60, 0] = 0
    value[60:, 1] = NAN
    assert retried_arms(value) == []


def test_they_are_refused_and_audited(tmp_path: Path, run: Run) -> None:
    log = log_of(attempts())
    with pytest.raises(NotIdentified, match="tries: 'B' was run only where 'A' had no more than 0"):
        check_identified(log)
    assert [f.severity for f in coverage(log) if "run only where" in f.sentence] == ["error"] * 2
    path = tmp_path / "tries.jsonl"
    names, queries = log.arm_names, log.queries
    rows = [
        {"query": queries[q].text, "arm": names[a], "outcome": y}
        for q, a, y in zip(log.query, log.arm, log.outcome)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for words in (["fit", path, "--out", tmp_path / "s"], ["evaluate", path]):
        code, out, err = run("prompt", *words)
        assert (code, out) == (2, "")
        assert "so the two cannot be compared; leave it out of the log" in err
    code, out, err = run("prompt", "ope", path, "--target", "B")
    assert (code, out) == (2, "")
    assert "compared: a propensity tells" in err
    assert run("prompt", "audit", path)[0] == 2
