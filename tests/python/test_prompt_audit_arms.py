"""Audit of a log: arms that are corrupt, copied or misplaced, and which cells were run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prompt_oirl.audit import AuditReport, audit
from prompt_oirl.audit.propensities import propensities
from prompt_oirl.logs import Arm, PromptLog, Query
from prompt_oirl.logs.read import read_log

NAN = float("nan")


def sampled(queries: int = 1000, arms: int = 4, seed: int = 0) -> np.ndarray:
    """Outcomes ``[queries, arms]`` that share the difficulty of their query."""
    generator = np.random.default_rng(seed)
    ease = generator.beta(1.0, 1.0, (queries, 1))
    return (generator.random((queries, arms)) < ease).astype(float)


def log_of(outcomes: np.ndarray, splits: list[str] | None = None, **measures: Any) -> PromptLog:
    """Arms a, b, c, … with prompts of their own; every query its own group."""
    count, arms = outcomes.shape
    splits = splits or [""] * count
    queries = [Query(f"q{i}", f"question number {i}", f"g{i}", splits[i]) for i in range(count)]
    named = [Arm(chr(97 + k), f"Do it in way {'abcdefghijkl'[k]}.") for k in range(arms)]
    return PromptLog.from_grid("made", queries, named, outcomes, **measures)


def severities(report: AuditReport, check: str) -> list[str]:
    return [found.severity for found in report.named(check)]


class TestConstant:
    """Arms with one outcome everywhere."""

    @pytest.mark.parametrize("outcome", [0.0, 1.0])
    def test_corrupt(self, outcome: float) -> None:
        outcomes = sampled()
        outcomes[:, 2] = outcome
        (found,) = audit(log_of(outcomes)).named("constant-arms")
        assert found.severity == "error"
        assert found.counts["arm"] == "c"
        assert "'c' is corrupt" in found.sentence

    def test_probability(self) -> None:
        outcomes = sampled(200, 3)
        outcomes[:, 2] = 0.0
        (found,) = audit(log_of(outcomes)).named("constant-arms")
        shares = 1 - outcomes[:, :2].mean(axis=0)
        expected = 200 * np.log10(1 - (1 - shares.max()) / 10)
        assert found.counts["log10_probability"] == pytest.approx(expected)
        assert found.counts["nearest_arm"] == "ab"[int(shares.argmax())]

    def test_a_very_bad_arm_is_only_a_warning(self) -> None:
        outcomes = sampled(300, 3)
        outcomes[:, 1] = 0.0
        outcomes[:5, 1] = 1.0  # 1.7 %: an arm at a tenth of it is seldom seen to succeed
        outcomes[:, 2] = 0.0
        assert severities(audit(log_of(outcomes)), "constant-arms") == ["warning"]

    def test_few_cells_are_a_note(self) -> None:
        outcomes = sampled(300, 3)
        outcomes[:, 2] = NAN
        outcomes[:20, 2] = 0.0
        assert severities(audit(log_of(outcomes)), "constant-arms") == ["note"]

    def test_in_one_split_only(self) -> None:
        outcomes = sampled(800, 3)
        outcomes[400:, 1] = 0.0
        report = audit(log_of(outcomes, ["train"] * 400 + ["test"] * 400))
        (found,) = report.named("constant-arms")
        assert found.counts["arm"] == "b"
        assert found.counts["split"] == "test"
        assert found.severity == "error"

    def test_sound_arms_pass(self) -> None:
        for seed in range(5):
            report = audit(log_of(sampled(seed=seed)))
            for check in ("constant-arms", "copied-arms", "arm-correlation"):
                assert report.named(check) == ()
            assert not report.fails()


class TestRelations:
    """Copies, and arms out of line with the others."""

    def test_copy(self) -> None:
        outcomes = sampled()
        outcomes[:, 3] = outcomes[:, 0]
        (found,) = audit(log_of(outcomes)).named("copied-arms")
        assert found.counts["arms"] == ["a", "d"]
        assert found.severity == "error"

    def test_copy_on_few_queries(self) -> None:
        outcomes = sampled(60)
        outcomes[:, 3] = outcomes[:, 0]
        assert severities(audit(log_of(outcomes)), "copied-arms") == ["warning"]

    def test_a_copy_beside_constant_arms(self) -> None:
        """Two arms that always fail agree everywhere, which excuses no other pair."""
        outcomes = sampled(2000, 4)
        outcomes[:, 1] = outcomes[:, 0]
        outcomes[:, 2:] = 0.0
        (found,) = audit(log_of(outcomes)).named("copied-arms")
        assert found.severity == "error"
        assert found.counts["arms"] == ["a", "b"]

    def test_nearly_copied(self) -> None:
        outcomes = sampled()
        outcomes[:, 3] = outcomes[:, 0]
        outcomes[:5, 3] = 1 - outcomes[:5, 3]
        (found,) = audit(log_of(outcomes)).named("arm-correlation")
        assert found.counts["kind"] == "nearly copied"

    @pytest.mark.parametrize(
        ("change", "kind"),
        [
            (lambda column: np.roll(column, 1), "shifted"),
            (lambda column: np.roll(column, -3), "shifted"),
            (lambda column: 1 - column, "reversed"),
            (lambda column: np.random.default_rng(1).permutation(column), "unrelated"),
        ],
    )
    def test_out_of_line(self, change: Any, kind: str) -> None:
        outcomes = sampled(2000)
        outcomes[:, 1] = change(outcomes[:, 1])
        (found,) = audit(log_of(outcomes)).named("arm-correlation")
        assert found.counts["arm"] == "b"
        assert found.counts["kind"] == kind
        assert found.severity == "warning"

    def test_size_of_a_shift(self) -> None:
        outcomes = sampled(2000)
        outcomes[:, 1] = np.roll(outcomes[:, 1], -3)
        (found,) = audit(log_of(outcomes)).named("arm-correlation")
        assert found.counts["rows"] == -3
        assert "shifted up by 3" in found.sentence


class TestCoverage:
    """Which cells were run."""

    def test_counts_and_overlap(self) -> None:
        outcomes = np.array([[1, 0, NAN], [0, NAN, NAN], [1, 1, 0]])
        counts = audit(log_of(outcomes)).named("coverage")[0].counts
        assert counts["queries_of_arm"] == {"a": 3, "b": 2, "c": 1}
        assert counts["overlap"] == [[3, 2, 1], [2, 2, 1], [1, 1, 1]]
        assert counts["cells"] == 6

    def test_nothing_at_all(self) -> None:
        none = np.empty(0, dtype=np.int64)
        report = audit(PromptLog("made", (), (), none, none, np.empty(0)))
        assert [found.check for found in report.of("error")] == ["coverage"]
        json.dumps(report.to_json(), allow_nan=False)

    def test_one_arm(self) -> None:
        report = audit(log_of(sampled(50, 1)))
        assert "only one arm, 'a'" in report.of("error")[0].sentence
        assert report.fails(allow_leakage=True)

    def test_one_arm_with_cells(self) -> None:
        outcomes = sampled(50, 2)
        outcomes[:, 1] = NAN
        report = audit(log_of(outcomes))
        assert any("only one arm, 'a'" in found.sentence for found in report.of("error"))
        assert any("have no cells: 'b'" in found.sentence for found in report.of("warning"))

    def test_disconnected(self) -> None:
        outcomes = sampled(40, 4)
        outcomes[:20, 2:] = NAN
        outcomes[20:, :2] = NAN
        parts = [
            f.counts["parts"]
            for f in audit(log_of(outcomes)).of("warning")
            if f.counts.get("parts")
        ]
        assert parts == [[["a", "b"], ["c", "d"]]]

    def test_connected_by_a_chain(self) -> None:
        outcomes = sampled(30, 3)
        outcomes[:15, 2] = NAN
        outcomes[15:, 0] = NAN
        assert not any(f.counts.get("parts") for f in audit(log_of(outcomes)).findings)

    def test_arm_missing_in_a_split(self) -> None:
        outcomes = sampled(40, 3)
        outcomes[:30, 2] = NAN
        report = audit(log_of(outcomes, ["train"] * 30 + ["test"] * 10))
        assert any(
            f.counts.get("split") == "train" and f.counts["arms"] == ["c"]
            for f in report.of("warning")
        )

    def test_queries_without_cells(self) -> None:
        outcomes = sampled(40, 3)
        outcomes[7] = NAN
        assert any(f.examples == ("q7",) for f in audit(log_of(outcomes)).named("coverage"))


class TestOutcomesAndTexts:
    """Classes, measures and texts."""

    def test_one_class(self) -> None:
        report = audit(log_of(np.zeros((40, 3))))
        assert severities(report, "class-balance") == ["error"]
        assert report.named("constant-arms") == ()

    def test_balance(self) -> None:
        outcomes = sampled(500, 3)
        (found,) = audit(log_of(outcomes)).named("class-balance")
        assert found.counts["mean"] == pytest.approx(outcomes.mean())
        assert found.counts["mean_of_arm"]["b"] == pytest.approx(outcomes[:, 1].mean())

    def test_rare_class(self) -> None:
        outcomes = np.zeros((400, 2))
        outcomes[:3, 0] = outcomes[1:3, 1] = 1
        assert severities(audit(log_of(outcomes)), "class-balance") == ["warning"]

    def test_negative_measures(self) -> None:
        cost = np.ones((50, 2))
        cost[3, 1] = -1
        (found,) = audit(log_of(sampled(50, 2), cost=cost)).named("out-of-range")
        assert found.counts == {"measure": "cost", "cells": 100, "wrong": 1}
        assert found.examples == ("q3 under 'b': -1",)

    def test_prompts(self) -> None:
        queries = [Query(f"q{i}", f"t{i}", f"g{i}") for i in range(40)]
        arms = [Arm("a", "Think."), Arm("b", "think ."), Arm("c")]
        report = audit(PromptLog.from_grid("made", queries, arms, sampled(40, 3)))
        same, missing = report.named("prompt-texts")
        assert same.counts == {"arms": ["a", "b"]}
        assert same.severity == "warning"
        assert missing.counts == {"arms": 3, "without": 1}

    @pytest.mark.parametrize(("empty", "severity"), [(3, "warning"), (40, "error")])
    def test_queries_without_text(self, empty: int, severity: str) -> None:
        queries = [Query(f"q{i}", "" if i < empty else f"t{i}", f"g{i}") for i in range(40)]
        arms = [Arm("a"), Arm("b")]
        report = audit(PromptLog.from_grid("made", queries, arms, sampled(40, 2)))
        assert severities(report, "query-texts") == [severity]

    def test_the_reader_leaves_out_queries_without_text(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        line = '{{"id": "{0}", "query": "{1}", "arm": "{2}", "outcome": 1}}\n'
        cells = [(f"q{i}", " " if i < 3 else f"t{i}", arm) for i in range(40) for arm in "ab"]
        path.write_text("".join(line.format(*cell) for cell in cells))
        reading = read_log(path)
        report = audit(reading.log, problems=reading.problems)
        assert report.named("query-texts") == ()
        (found,) = report.named("malformed-lines")
        assert found.counts["lines"] == 6

    def test_gold_answers(self) -> None:
        texts = ["How many?", "how many ?", "How many?", "Which?", "Which?"]
        queries = [Query(f"q{i}", text, "g") for i, text in enumerate(texts)]
        log = PromptLog.from_grid("made", queries, [Arm("a"), Arm("b")], sampled(5, 2))
        golds = {"q0": "1,200", "q1": "1200.0", "q2": "6", "q3": "A", "q4": "a"}
        (found,) = audit(log, golds=golds).named("gold-answers")
        assert found.counts == {"texts": 1, "queries": 3}
        assert audit(log, golds={**golds, "q2": "1200"}).named("gold-answers") == ()


def bandit_log(probabilities: np.ndarray, logged: np.ndarray, seed: int = 0) -> PromptLog:
    """One arm a query, drawn by ``probabilities``; the log says it was drawn by ``logged``."""
    generator = np.random.default_rng(seed)
    count, arms = probabilities.shape
    chosen = (generator.random((count, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    outcomes = np.full((count, arms), NAN)
    rows = np.arange(count)
    outcomes[rows, chosen] = sampled(count, arms, seed)[rows, chosen]
    return log_of(outcomes, propensity=np.where(np.isnan(outcomes), NAN, logged))


class TestPropensities:
    """Probabilities of the logging policy."""

    policy = np.tile([0.6, 0.3, 0.1], (3000, 1))

    def test_right_ones_pass(self) -> None:
        for seed in range(5):
            report = audit(bandit_log(self.policy, self.policy, seed))
            assert report.named("propensities") == ()
            assert not report.fails()

    def test_too_small(self) -> None:
        report = audit(bandit_log(self.policy, self.policy / 2))
        found = report.named("propensities")
        assert [one.severity for one in found] == ["error"] * 3
        assert found[0].counts["sum"] == pytest.approx(6000, rel=0.1)
        # 1,800 cells or so with a propensity of 0.3; the others have none.
        cells = round(found[0].counts["sum"] * 0.3)
        variance = cells * (1 / 0.3 - 1) ** 2 + (3000 - cells)
        assert found[0].counts["standard_error"] == pytest.approx(variance**0.5)

    @pytest.mark.parametrize("users", [2, 20, 200])
    def test_an_arm_for_each_user(self, users: int) -> None:
        """Fifty queries of one user have one arm: as many decisions as users, not as queries."""
        for seed in range(20):
            chosen = np.random.default_rng(seed).integers(0, 2, users).repeat(50)
            count = len(chosen)
            outcomes = np.full((count, 2), NAN)
            outcomes[np.arange(count), chosen] = 1.0
            log = log_of(outcomes, propensity=np.where(np.isnan(outcomes), NAN, 0.5))
            by_user = tuple(replace(q, group=f"u{i // 50}") for i, q in enumerate(log.queries))
            assert propensities(replace(log, queries=by_user)) == []
            too_small = replace(log, queries=by_user, propensity=log.propensity / 4)
            if users == 200:
                assert {found.severity for found in propensities(too_small)} == {"error"}

    def test_too_large(self) -> None:
        report = audit(bandit_log(self.policy, np.sqrt(self.policy)))
        assert set(severities(report, "propensities")) == {"warning"}

    def test_missing(self) -> None:
        logged = self.policy.copy()
        logged[:100] = NAN
        found = audit(bandit_log(self.policy, logged)).named("propensities")
        assert found[0].counts == {"cells": 3000, "without": 100}

    def test_no_exploration(self) -> None:
        found = audit(bandit_log(self.policy, np.ones_like(self.policy))).named("propensities")
        assert "All propensities are 1" in found[0].sentence

    def test_grid_that_does_not_add_up(self) -> None:
        propensity = np.tile([0.5, 0.3, 0.2], (100, 1))
        outcomes = sampled(100, 3)
        assert audit(log_of(outcomes, propensity=propensity)).named("propensities") == ()
        propensity[4] = [0.5, 0.5, 0.5]
        (found,) = audit(log_of(outcomes, propensity=propensity)).named("propensities")
        assert found.severity == "error"
        assert found.examples == ("q4: sum 1.500",)

    def repeated(self, place: Path, texts: int, twice: int, logged: float = 1.0) -> PromptLog:
        """Texts without ids or numbers of runs; some asked again when the policy had changed."""
        draw, rows = np.random.default_rng(0), []
        for i in range(texts):
            for chance_of_b in (0.5, 0.1)[: 1 + (i < twice)]:
                arm = int(draw.random() < chance_of_b)
                propensity = logged * (1 - chance_of_b, chance_of_b)[arm]
                query = f"question number {i}"
                rows.append({"query": query, "arm": "ab"[arm], "outcome": 1, "p": propensity})
        path = place / "log.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return read_log(path, propensity="p").log

    def test_decisions_of_their_own_on_one_text(self, tmp_path: Path) -> None:
        for twice in (300, 30, 1):
            found = propensities(self.repeated(tmp_path, 300, twice))
            assert {one.severity for one in found} <= {"note"}
            assert any("decisions of their own" in one.sentence for one in found) or twice == 1

    def test_some_texts_asked_again_hide_no_wrong_propensities(self, tmp_path: Path) -> None:
        found = propensities(self.repeated(tmp_path, 600, 20, logged=0.5))
        assert [one.severity for one in found if "inverse" in one.sentence] == ["error"] * 2
        assert {one.counts["decisions"] for one in found if "inverse" in one.sentence} == {580}

    def test_grid_that_was_surely_run(self) -> None:
        log = log_of(sampled(100, 3), propensity=np.ones((100, 3)))
        assert audit(log).named("propensities") == ()

    def test_one_arm_a_query_without_propensities(self) -> None:
        report = audit(bandit_log(self.policy, np.full_like(self.policy, NAN)))
        assert any("no propensities" in found.sentence for found in report.of("warning"))
