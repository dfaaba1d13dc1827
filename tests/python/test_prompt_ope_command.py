"""``treeward prompt ope`` and the file of a policy."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from command_line import Run
from off_policy_world import ARMS, World, make_world

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.log import Floats
from prompt_oirl.off_policy import (
    ESTIMATORS,
    FixedArm,
    estimate_value,
)
from prompt_oirl.off_policy.policy import policy_table
from prompt_oirl.off_policy.policy_file import PolicyFile


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


class TestPolicyFile:
    def table(self, tmp_path: Path, text: str) -> Floats:
        made = make_world(2)
        path = tmp_path / "policy.csv"
        path.write_text(text)
        return policy_table(PolicyFile(path), made.log)

    def test_with_and_without_probabilities(self, tmp_path: Path) -> None:
        table = self.table(tmp_path, "query,arm\nq1,plan\nq0,steps\nother,unknown\n")
        assert (table == [[0, 1, 0], [0, 0, 1]]).all()
        text = "query,arm,probability\nq1,plan,0.25\nq0,steps,1\nq1,steps,.75\n"
        assert (self.table(tmp_path, text) == [[0, 1, 0], [0, 0.75, 0.25]]).all()

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("id,arm\nq0,plan\n", "needs the columns"),
            ("", "needs the columns"),
            ("query,arm\nq0,planned\n", "line 2: the log has no arm 'planned'"),
            ("query,arm\nq0\n", "line 2: the line has no arm"),
            ('query,arm\nq0,"plan\nq1,plan\n', "line 2: a quote that opens here is not closed"),
            ("query,arm\nq0,plan\nq0,plan\n", "line 3: .* twice"),
            ("query,arm\nq0,plan\n", "1 of the log's 2 queries have no line, first 'q1'"),
            ("query,arm,probability\nq0,plan,much\n", "line 2: the probability 'much'"),
            ("query,arm,probability\nq0,plan,nan\n", "line 2: the probability 'nan'"),
            ("query,arm,probability\nq0,plan\n", "line 2: the probability None"),
            ("query,arm,probability\nq0,plan,.5\nq1,plan,1\n", "'q0' are not a distribution"),
        ],
    )
    def test_bad_files(self, tmp_path: Path, text: str, reason: str) -> None:
        with pytest.raises(BadLog, match=reason):
            self.table(tmp_path, text)

    def test_long_values_of_other_columns(self, tmp_path: Path) -> None:
        text = f"query,arm,note\nq1,plan,{'x' * 200_000}\nq0,steps,\n"
        assert (self.table(tmp_path, text) == [[0, 1, 0], [0, 0, 1]]).all()

    def test_not_text(self, world: World, tmp_path: Path) -> None:
        path = tmp_path / "policy.csv"
        path.write_bytes(b"query,arm\nq0,plan\nq1,\xe9\n")
        with pytest.raises(BadLog, match=r"policy\.csv, line 3: not UTF-8 text"):
            PolicyFile(path).probabilities(world.log)


@pytest.fixture
def run(run: Run) -> Run:
    """Runs ``treeward prompt ope``; returns (exit code, stdout, stderr)."""
    return partial(run, "prompt", "ope")


@pytest.fixture(scope="module")
def file(world: World, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    log = world.log
    rows = [
        {
            "id": log.queries[q].id,
            "query": log.queries[q].text,
            "group": log.queries[q].group,
            "arm": ARMS[a],
            "outcome": r,
            "propensity": p,
        }
        for q, a, r, p in zip(log.query, log.arm, log.outcome, log.propensity.tolist())
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


class TestCommand:
    def test_json(self, run: Run, file: str, world: World) -> None:
        code, out, err = run(file, "--target", "steps", "--json")
        assert (code, err) == (0, "")
        record = json.loads(out)
        expected = estimate_value(world.log, FixedArm("steps"))
        assert record["value"] == pytest.approx(expected.value)
        assert record["interval"]["low"] == pytest.approx(expected.interval.low)
        assert record["propensities"] == "logged"
        assert record["choices"] == {"direct": 0.0, "steps": 1.0, "plan": 0.0}

    @pytest.mark.parametrize("estimator", ESTIMATORS)
    def test_every_estimator_prints(self, run: Run, file: str, estimator: str) -> None:
        code, out, _ = run(file, "--estimator", estimator, "--interval", "bootstrap")
        assert code == 0
        assert "effective size" in out
        assert "bootstrap, by group" in out

    def test_a_policy_file(self, run: Run, file: str, world: World, tmp_path: Path) -> None:
        path = tmp_path / "policy.csv"
        chosen = np.where(world.features[:, 0] == 1, "steps", "direct")
        lines = [f"q{i},{arm}\n" for i, arm in enumerate(chosen)]
        path.write_text("query,arm\n" + "".join(lines))
        code, out, _ = run(file, "--target", str(path), "--json")
        assert code == 0
        kind = world.features[:, 0].astype(np.int64)
        truth = world.outcomes[np.arange(900), kind].mean()
        found = json.loads(out)
        assert found["value"] == pytest.approx(truth, abs=0.08)
        assert found["gain_interval"]["low"] > 0

    def test_no_support(self, run: Run, file: str) -> None:
        code, out, err = run(file, "--target", "plan", "--least-propensity", "0.5")
        assert (code, out) == (2, "")
        assert err.startswith("treeward: the target chooses with probability")
        assert len(err.strip().splitlines()) == 1

    @pytest.mark.parametrize(
        ("words", "reason"),
        [
            (["--target", "nobody"], "no arm; the arms are "),
            (["--estimator", "magic"], "unknown estimator 'magic'; known: dm, ips"),
            (["--interval", "exact"], "'asymptotic' or 'bootstrap'"),
            (["--switch-threshold", "3"], "belongs to switch-dr"),
        ],
    )
    def test_bad_words(self, run: Run, file: str, words: list[str], reason: str) -> None:
        code, out, err = run(file, *words)
        assert (code, out) == (2, "")
        assert reason in err

    def test_missing_log(self, run: Run, tmp_path: Path) -> None:
        code, _, err = run(str(tmp_path / "none.jsonl"))
        assert code == 2
        assert "none.jsonl" in err

    def test_lines_that_cannot_be_used_are_counted(
        self, run: Run, file: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "log.jsonl"
        path.write_text(Path(file).read_text() + "{not json\n")
        code, out, err = run(str(path), "--target", "steps", "--json")
        assert code == 0
        assert json.loads(out)["decisions"] == 900
        assert "1 line" in err
        assert "line 901" in err

    def test_help(self, run: Run) -> None:
        code, out, _ = run("--help")
        assert code == 0
        assert "Example:" in out
