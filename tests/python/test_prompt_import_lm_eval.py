"""lm-evaluation-harness: prompts are compared under one filter and one metric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tool_files import lines, lm_eval_sample

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers import ImportOptions, import_log


def files(tmp_path: Path, *changes: dict[str, Any]) -> list[Path]:
    """A file a change, each of one document under the filters and metrics that are given."""
    return [
        lines(tmp_path / f"samples_{i}.jsonl", [lm_eval_sample(0, 1.0, f"{i}: ", **change)])
        for i, change in enumerate(changes)
    ]


def test_arms_under_different_filters_are_not_compared(tmp_path: Path) -> None:
    flexible = {"filter": "flexible-extract"}
    paths = files(tmp_path, {}, flexible, flexible)
    with pytest.raises(
        BadLog,
        match=r"do not share one filter \(strict-match in samples_0\.jsonl; "
        r"flexible-extract in samples_1\.jsonl and 1 more\); .* --metric METRIC,FILTER",
    ):
        import_log("lm-eval", paths)
    both = [lm_eval_sample(0, 0.0, "b: "), lm_eval_sample(0, 1.0, "b: ", **flexible)]
    paths = [paths[0], lines(tmp_path / "samples_both.jsonl", both)]
    assert import_log("lm-eval", paths).log.grid().tolist() == [[1, 0]]


def test_arms_under_different_metrics_are_not_compared(tmp_path: Path) -> None:
    paths = files(tmp_path, {}, {"metrics": ["acc"], "acc": 0.0, "exact_match": None})
    for path in paths[1:]:
        record = json.loads(path.read_text())
        del record["exact_match"]
        path.write_text(json.dumps(record))
    with pytest.raises(
        BadLog, match=r"share one metric \(exact_match in .*0\.jsonl; acc in .*1\.jsonl\); name"
    ):
        import_log("lm-eval", paths)
    more = files(tmp_path, {"f1": 0.25}, {"f1": 0.5})
    assert import_log("lm-eval", more).log.grid().tolist() == [[1, 1]]
    log = import_log("lm-eval", more, ImportOptions(metric="f1")).log
    assert log.grid().tolist() == [[0.25, 0.5]]
