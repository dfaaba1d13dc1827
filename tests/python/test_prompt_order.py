"""The order of lines in a file changes nothing of what is learned from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prompt_oirl.active.next_cells import next_cells
from prompt_oirl.audit import merged_groups
from prompt_oirl.choice.selector import Settings, fit_selector
from prompt_oirl.evaluation.protocols import grouped_trial, with_groups
from prompt_oirl.evaluation.row import report_row
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.logs.order import canonical_order
from prompt_oirl.logs.read import read_log
from prompt_oirl.off_policy import FixedArm, estimate_value

SETTINGS = Settings(
    models=("advantage", "interaction"), folds=2, repeats=1, text_size=8, kind="mean"
)
WORDS = ("cats", "dogs", "birds", "apples", "pears", "coins")


def lines(arms: int) -> list[dict[str, Any]]:
    """150 queries, each run under so many of three prompts."""
    rng = np.random.default_rng(4)
    found = []
    for i in range(150):
        first, second = rng.choice(WORDS, 2)
        text = f"How many of {i} {first} and {rng.integers(99)} {second} are left?"
        for arm in rng.permutation(3)[:arms]:
            outcome = int(rng.random() < (0.8 if first == WORDS[arm] else 0.4))
            found.append({"id": f"q{i}", "query": text, "arm": f"arm {arm}", "outcome": outcome})
    return found


def orders(folder: Path, arms: int) -> list[PromptLog]:
    """The same lines in three orders."""
    rows = lines(arms)
    logs = []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(rows)) if seed else range(len(rows))
        (folder / f"{seed}").mkdir()
        path = folder / f"{seed}" / "log.jsonl"
        path.write_text("".join(json.dumps(rows[i]) + "\n" for i in order))
        logs.append(read_log(path).log)
    assert logs[0].texts != logs[1].texts
    return logs


@pytest.mark.parametrize("arms", [1, 3])
def test_an_evaluation(tmp_path: Path, arms: int) -> None:
    found = []
    for log in orders(tmp_path, arms):
        trial = grouped_trial(with_groups(log, merged_groups(log)), SETTINGS, 2)
        found.append(json.dumps(report_row(trial, "grouped")))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("arms", [1, 3])
def test_a_selector(tmp_path: Path, arms: int) -> None:
    logs = orders(tmp_path, arms)
    choices = [fit_selector(log, SETTINGS).choose(logs[0].texts) for log in logs]
    for other in choices[1:]:
        np.testing.assert_array_equal(choices[0].value, other.value)
        np.testing.assert_array_equal(choices[0].advantage, other.advantage)


def test_off_policy_estimates_and_next_cells(tmp_path: Path) -> None:
    logs = orders(tmp_path, 1)
    values = [estimate_value(log, FixedArm("arm 1")).value for log in logs]
    assert values == pytest.approx([values[0]] * 3, abs=1e-6)
    cells = [[(one.query, one.arm) for one in next_cells(log, 5)] for log in logs]
    assert cells[0] == cells[1] == cells[2]


def test_numbers_in_ids_count_by_their_value(tmp_path: Path) -> None:
    names = ["q10", "q9", "q09", "a", "q9b", "q1000000000000000000000000"]
    log = read_log(_file(tmp_path, names)).log
    ordered = [log.queries[i].id for i in canonical_order(log)]
    assert ordered == ["a", "q09", "q9", "q9b", "q10", "q1000000000000000000000000"]


def _file(folder: Path, ids: list[str]) -> Path:
    path = folder / "ids.jsonl"
    rows = [{"id": name, "query": name, "arm": "one", "outcome": 1} for name in ids]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
