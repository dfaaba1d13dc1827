"""Drift: none on queries of the same kind, found where texts, outcomes or gains change."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from prompt_oirl.choice.selector import Selector, Settings, fit_selector
from prompt_oirl.errors import BadLog
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
