"""Drift: none on queries of the same kind, found where texts, outcomes or gains change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prompt_oirl.choice.selector import Selector, Settings, fit_selector
from prompt_oirl.errors import BadArtefact, BadLog
from prompt_oirl.logs.log import Arm, PromptLog, Query
from prompt_oirl.operation.drift import drift, wording_shift

WORDS = ("cats", "dogs", "birds", "apples", "pears", "coins", "books", "stones")


def asked(count: int, seed: int, words: tuple[str, ...] = WORDS) -> list[Query]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        a, b = rng.integers(2, 90, 2)
        first, second = rng.choice(words, 2)
        ask = rng.choice(["are left", "are there", "did they give"])
        text = f"How many of {a} {first} and {b} {second} {ask} in box {rng.integers(1000, 9999)}?"
        made.append(Query(f"q{seed}-{i}", text, f"g{seed}-{i}"))
    return made


def log_of(queries: list[Query], seed: int, rates: tuple[float, float] = (0.6, 0.5)) -> PromptLog:
    grid = (np.random.default_rng(seed + 100).random((len(queries), 2)) < rates).astype(float)
    return PromptLog.from_grid("made", queries, [Arm("long"), Arm("short")], grid)


def fitted() -> tuple[PromptLog, Selector]:
    log = log_of(asked(300, 1), 1)
    return log, fit_selector(log, Settings(models=("interaction",), text_size=8))


@pytest.fixture(scope="module")
def made() -> tuple[PromptLog, Selector]:
    return fitted()


def test_queries_of_the_same_kind_do_not_drift(made: tuple[PromptLog, Selector]) -> None:
    log, selector = made
    alarms = [
        drift(selector, log_of(asked(200, seed), seed), alpha=0.01).drifted for seed in range(2, 12)
    ]
    assert sum(alarms) <= 1
    assert not drift(selector, log_of(asked(200, 2), 2), log, permutations=99).drifted


def test_other_texts_are_found(made: tuple[PromptLog, Selector]) -> None:
    _, selector = made
    longer = [
        replace(query, text=query.text + " Explain it. Say why. Then stop, please.")
        for query in asked(150, 3)
    ]
    found = drift(selector, log_of(longer, 3))
    assert found.drifted
    assert "log words" in {one.name for one in found.changes if one.drift}


def test_other_words_of_the_same_shape_are_found_by_the_classifier(
    made: tuple[PromptLog, Selector],
) -> None:
    log, _ = made
    new = log_of(asked(200, 4, ("lamps", "doors", "walls", "planes", "rooms")), 4)
    auc, p = wording_shift(log, new, 99)
    assert auc > 0.9
    assert p == pytest.approx(0.01)
    _, same = wording_shift(log_of(asked(100, 5), 5), log_of(asked(100, 5), 6), 99)
    assert same > 0.05


def test_arms_and_calibration_are_found(made: tuple[PromptLog, Selector]) -> None:
    _, selector = made
    found = drift(selector, log_of(asked(300, 6), 6, (0.2, 0.5)))
    drifted = {(one.kind, one.name) for one in found.changes if one.drift}
    assert ("arm", "long") in drifted
    assert ("arm", "short") not in drifted
    assert any(kind == "calibration" for kind, _ in drifted)
    change = next(one.change for one in found.changes if one.name == "long")
    assert change == pytest.approx(-0.4, abs=0.1)


def test_the_realised_gain_is_the_mean_of_paired_differences(
    made: tuple[PromptLog, Selector],
) -> None:
    _, selector = made
    eager = replace(selector, rule=replace(selector.rule, default=0, margin=-1.0))
    new = log_of(asked(60, 7), 7)
    chosen = eager.choose(new.texts).arms
    grid = new.grid()
    found = drift(eager, new)
    expected = (grid[np.arange(60), chosen] - grid[:, 0]).mean()
    assert found.gain == pytest.approx(expected)
    assert found.gain_queries == 60
    json.dumps(found.gain_ci95, allow_nan=False)
    with pytest.raises(BadLog, match="too few"):
        drift(selector, log_of(asked(5, 8), 8))


def policy_log(count: int, seed: int, shares: tuple[float, float] = (0.8, 0.2)) -> PromptLog:
    """One prompt a query, of two that are equally good; which, depends on the kind of query."""
    rng = np.random.default_rng([seed, 5])
    plain = rng.random(count) < 0.5
    queries = [
        replace(query, text=("Plainly: " if easy else "In full detail: ") + query.text)
        for query, easy in zip(asked(count, seed), plain)
    ]
    share = np.where(plain, *shares)
    arm = (rng.random(count) >= share).astype(np.int64)
    outcome = (rng.random(count) < np.where(plain, 0.8, 0.3)).astype(float)
    propensity = np.where(arm == 0, share, 1 - share)
    arms = (Arm("long"), Arm("short"))
    return PromptLog(
        "made", tuple(queries), arms, np.arange(count), arm, outcome, propensity=propensity
    )


def rerun_log(count: int, runs: int, seed: int, lost: float = 0.0) -> PromptLog:
    """Every query ``runs`` times under both prompts, each nearly decided by the query; the first
    prompt has lost so many points."""
    rng = np.random.default_rng([seed, 6])
    rate = np.where(rng.random((count, 2)) < 0.5, 0.95, 0.05)
    rate[:, 0] = np.maximum(rate[:, 0] - lost, 0)
    query, arm, run = (part.ravel() for part in np.indices((count, 2, runs)))
    outcome = (rng.random(query.size) < rate[query, arm]).astype(float)
    queries = tuple(asked(count, seed))
    return PromptLog("made", queries, (Arm("long"), Arm("short")), query, arm, outcome, run)


SMALL = Settings(models=("interaction",), repeats=1, text_size=0, kind="mean")


def test_the_log_that_it_was_fitted_on_is_no_drift_where_the_policy_looked_at_queries() -> None:
    log = policy_log(800, 1)
    selector = fit_selector(log, SMALL)
    found = drift(selector, log)
    assert not found.drifted
    shift = {one.name: abs(one.change) for one in found.changes if one.kind == "arm"}
    assert set(shift) == {"long", "short"}
    assert max(shift.values()) < 0.02


def test_another_policy_alone_is_no_drift_of_prompts() -> None:
    selector = fit_selector(policy_log(800, 1), SMALL)
    assert not drift(selector, policy_log(800, 2, (0.3, 0.7))).drifted


def test_false_alarms_are_as_rare_as_alpha() -> None:
    # Few queries, with and without reruns: errors of the fit are larger than those of the new log.
    alarms = []
    for seed in range(0, 30, 2):
        for runs in (1, 4):
            selector = fit_selector(rerun_log(100, runs, seed), SMALL)
            alarms.append(drift(selector, rerun_log(600, 1, seed + 1), alpha=0.01).drifted)
    assert len(alarms) == 30
    assert sum(alarms) <= 2


def test_a_prompt_that_lost_is_found_beside_errors_of_the_fit() -> None:
    found = []
    for seed in range(0, 12, 2):
        selector = fit_selector(rerun_log(500, 4, seed), SMALL)
        new = rerun_log(1500, 1, seed + 1, lost=0.25)  # 15 points: half are .05
        drifted = {one.name for one in drift(selector, new).changes if one.drift}
        assert "short" not in drifted
        found.append("long" in drifted)
    assert sum(found) >= 5


def test_few_outcomes_that_are_all_alike_are_no_drift() -> None:
    def nine_in_ten(count: int, seed: int, misses: int) -> PromptLog:
        grid = np.ones((count, 2))
        grid[:misses] = 0.0
        return PromptLog.from_grid("made", asked(count, seed), [Arm("long"), Arm("short")], grid)

    selector = fit_selector(nine_in_ten(200, 1, 20), SMALL)
    assert not drift(selector, nine_in_ten(30, 2, 0)).drifted


def test_a_prompt_that_loses_to_the_default_is_found_by_the_gain(
    made: tuple[PromptLog, Selector],
) -> None:
    _, selector = made
    eager = replace(selector, rule=replace(selector.rule, default=1, margin=-1.0))
    queries = asked(200, 9)
    chosen = eager.choose([query.text for query in queries]).arms
    grid = np.full((200, 2), 0.5)
    grid[chosen == 0, 0] = 0.2
    log = PromptLog.from_grid("made", queries, [Arm("long"), Arm("short")], grid)
    assert "gain" in {one.kind for one in drift(eager, log).changes if one.drift}
    few = PromptLog.from_grid("made", queries, [Arm("long"), Arm("short")], grid).only_queries(
        np.flatnonzero(chosen == 0)[:2]
    )
    filled = replace(few, queries=(*few.queries, *queries[100:140]))
    assert "gain" not in {one.kind for one in drift(eager, filled).changes}


def test_a_selector_of_an_older_version_is_refused_with_the_reason(
    made: tuple[PromptLog, Selector], tmp_path: Path
) -> None:
    log, selector = made
    replace(selector, baseline=None).save(tmp_path / "old")
    with pytest.raises(BadArtefact, match="fit it again"):
        drift(Selector.load(tmp_path / "old"), log)
    selector.save(tmp_path / "new")
    loaded = drift(Selector.load(tmp_path / "new"), log)
    assert loaded == drift(selector, log)
