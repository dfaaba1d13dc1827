"""The audit of published logs: what is known to be wrong is found, what is sound passes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prompt_oirl.audit import AuditReport, audit
from prompt_oirl.logs.read import read_log

DATA = Path(os.environ.get("TREEWARD_DATA") or Path(__file__).parents[3] / "shared/data")
LOGS = DATA / "prompt_logs"
pytestmark = pytest.mark.skipif(
    not LOGS.is_dir(), reason=f"the published logs are not in {LOGS}; set TREEWARD_DATA"
)
LEAKING = {"oirl_llama2_svamp": 4690, "oirl_llama2_mawps": 1685}
CORRUPT = {"oirl_tiger13b_mawps_test6": {"APE", "Dis", "ToT", "Decomp"}}
NAMES = sorted(path.name.removesuffix(".meta.json") for path in LOGS.glob("*.meta.json"))


@pytest.fixture(scope="module", params=NAMES)
def report(request: pytest.FixtureRequest) -> AuditReport:
    reading = read_log(LOGS / f"{request.param}.jsonl.gz")
    return audit(reading.log, problems=reading.problems)


def test_leakage_and_corrupt_arms(report: AuditReport) -> None:
    """Findings F2 and F6: nothing else in these logs is an error."""
    assert sum(leak.leaking for leak in report.leaks) == LEAKING.get(report.log, 0)
    corrupt = {found.counts["arm"] for found in report.named("constant-arms")}
    assert corrupt == CORRUPT.get(report.log, set())
    assert report.fails() == (report.log in LEAKING or report.log in CORRUPT)
    assert report.fails(allow_leakage=True) == (report.log in CORRUPT)
    assert report.named("copied-arms") == ()
    assert report.named("arm-correlation") == ()
    for leak in report.leaks:
        if report.log in LEAKING:
            assert leak.leaking == leak.queries


@pytest.mark.parametrize(
    ("name", "best_single", "value"),
    [("oirl_llama2_svamp", 0.633, 0.679), ("oirl_llama2_mawps", 0.644, 0.695)],
)
def test_rerun_ceiling(name: str, best_single: float, value: float) -> None:
    """Finding F10: reruns leave 4.6 and 5.1 points to gain."""
    from prompt_oirl.audit import rerun_ceiling

    ceiling = rerun_ceiling(read_log(LOGS / f"{name}.jsonl.gz").log)
    assert ceiling is not None
    assert len(ceiling.arms) == 6
    assert ceiling.best_single == pytest.approx(best_single, abs=5e-4)
    assert ceiling.value == pytest.approx(value, abs=5e-4)
    assert ceiling.gain_ci95[0] > 0.03
    assert ceiling.intra_question_correlation["nan"] > 0.6
    assert ceiling.intra_question_correlation["ToT"] < 0.08
