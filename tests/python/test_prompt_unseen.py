"""Prompts that were never tried: scores by hand, evidence by leaving prompts out, and consent."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from command_line import Run
from planted_logs import planted_log, query_text

from prompt_oirl.array_folder import checksum
from prompt_oirl.choice import Selector, Settings, fit_selector
from prompt_oirl.choice.unseen_prompts import _drawn, _gains, _LeftOut, _ordering
from prompt_oirl.errors import BadArtefact, BadLog, NotIdentified
from prompt_oirl.logs.log import Arm, PromptLog, Query

QUICK = Settings(models=("interaction",), folds=3, repeats=1, text_size=8, kind="mean")
NUMERIC = "At the market there are 12 books. How many books are left of 12?"
IN_WORDS = "Which colour have the hats of the garden with the name bhats?"
KINDS = ("small", "clear", "careful", "simple", "single", "short", "even", "plain")
STEPS = [f"Think in {kind} steps and calculate." for kind in KINDS]
BRIEF = [f"Give the name in a {kind} way, be brief!" for kind in KINDS]


def related_log(queries: int = 300, noise: bool = False) -> PromptLog:
    """Two families of prompts, each good on one kind of query; with noise nothing is."""
    rng = np.random.default_rng(0)
    numeric = rng.integers(0, 2, queries)
    texts = [f"{query_text(bool(kind), 10 + i, rng)} ({i})" for i, kind in enumerate(numeric)]
    family = np.array([1] * 8 + [0] * 8)
    chance = np.where(numeric[:, None] == family, 0.95, 0.1)
    if noise:
        chance = np.full(chance.shape, 0.5)
    outcome = (rng.random(chance.shape) < chance).astype(float)
    made = [Query(f"q{i}", text, f"g{i}") for i, text in enumerate(texts)]
    arms = [Arm(f"arm{k}", text) for k, text in enumerate([*STEPS, *BRIEF])]
    return PromptLog.from_grid("related", made, arms, outcome)


@pytest.fixture(scope="module")
def related() -> Selector:
    return fit_selector(related_log(), QUICK, unseen_prompts=True)


class TestScores:
    def test_by_hand(self) -> None:
        """Two logged prompts at distance 1: similarities 1 and 1/e, penalty 1."""
        logged, known = np.array([[0.0], [1.0]]), np.array([[0.9, 0.1], [0.4, 0.4]])
        e = np.exp(-1.0)
        weight = np.linalg.inv([[2, e], [e, 2]]) @ [1, e]
        expected = 0.5 + weight @ [0.4, -0.4]
        found = _drawn(np.array([[0.0], [99.0]]), logged, known)
        assert found == pytest.approx(np.array([[expected, 0.5], [0.4, 0.4]]))

    def test_a_new_prompt_is_like_its_family(self, related: Selector) -> None:
        scores = related.score_unseen(
            [NUMERIC, IN_WORDS],
            ["Think in tiny steps and calculate.", "Give the name in a rapid way, be brief!"],
        )
        assert scores.value.shape == scores.advantage.shape == (2, 2)
        assert scores.value[0, 0] > scores.value[0, 1] + 0.2
        assert scores.value[1, 1] > scores.value[1, 0] + 0.2
        assert ((scores.value >= 0) & (scores.value <= 1)).all()

    def test_choices_among_logged_prompts_are_the_same(self, related: Selector) -> None:
        plain = fit_selector(related_log(), QUICK)
        texts = [NUMERIC, IN_WORDS]
        assert np.array_equal(plain.choose(texts).value, related.choose(texts).value)
        assert plain.unseen is None

    def test_nothing_to_score(self, related: Selector) -> None:
        assert related.score_unseen([], ["Sing it."]).value.shape == (0, 1)
        assert related.score_unseen([NUMERIC], []).value.shape == (1, 0)


class TestEvidence:
    def test_left_out_by_hand(self) -> None:
        nan = np.nan
        one = _LeftOut(
            np.array([1.0, 0.0, 1.0, nan]),
            np.array([0.8, 0.6, 0.2, 0.9]),
            np.array([[0.0, 1.0], [1.0, nan], [0.0, 1.0], [0.0, 0.0]]),
            np.array([[0.5, 0.5], [0.5, 0.5], [0.5, 0.1], [0.5, 0.5]]),
        )
        assert one.level_error == pytest.approx((0.8 + 0.6 + 0.2) / 3 - 2 / 3)
        # The second of the others is the best; rows 0 and 2 are known; only row 0 is taken.
        assert one.gain(0.2) == pytest.approx(0.0)
        assert one.gain(9.0) == 0

    def test_the_caution_of_a_left_out_prompt_knows_nothing_of_its_own_error(self) -> None:
        """Its own large error would hide a prompt that is only predicted to be better."""
        zero, one = np.zeros(4), np.ones(4)
        left_out = [
            _LeftOut(zero, 0.5 * one, one[:, None], zero[:, None]),  # taken, and worse
            _LeftOut(one, 0.0 * one, zero[:, None], zero[:, None]),
            _LeftOut(one, 0.0 * one, zero[:, None], zero[:, None]),
        ]
        assert _gains(np.array([0.9, 0.1, 0.1]), left_out).tolist() == [-1, 0, 0]
        assert left_out[0].gain(float(np.sqrt((0.9**2 + 2 * 0.1**2) / 3))) == 0

    def test_ordering_by_hand(self) -> None:
        happened = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, np.nan, 1.0]])
        predicted = np.array([[0.9, 0.5, 0.2], [0.4, 0.6, 0.5], [0.3, 0.1, 0.3]])
        # Pairs that differ: row 0 right, right; row 1 wrong, right; row 2 a tie.
        auc, error = _ordering(happened, predicted)
        assert auc == pytest.approx(3.5 / 5)
        left = np.array([1 / 1, 1.5 / 3, 1 / 1])  # without each prompt
        assert error == pytest.approx(np.sqrt(2 / 3 * ((left - left.mean()) ** 2).sum()))
        assert _ordering(np.ones((4, 3)), np.ones((4, 3))) == (0.5, 0.5)

    def test_families_are_clear_and_noise_is_not(self, related: Selector) -> None:
        assert related.unseen is not None
        evidence = related.unseen.evidence
        assert evidence.prompts == 16
        assert evidence.clear
        assert evidence.auc > 0.75
        assert evidence.gain > 0.1
        assert ": clear of noise" in evidence.sentence()
        noise = fit_selector(related_log(noise=True), QUICK, unseen_prompts=True)
        assert noise.unseen is not None
        assert not noise.unseen.evidence.clear
        assert 0.4 < noise.unseen.evidence.auc < 0.52

    def test_three_unrelated_prompts_are_no_evidence(self) -> None:
        made = fit_selector(planted_log(200), QUICK, unseen_prompts=True)
        assert made.unseen is not None
        assert not made.unseen.evidence.clear


class TestRefusals:
    def test_few_prompts(self) -> None:
        log = planted_log(100)
        with pytest.raises(NotIdentified, match="2 logged prompts say nothing of others"):
            fit_selector(log.only_arms(["steps", "short"]), QUICK, unseen_prompts=True)
        with pytest.raises(NotIdentified, match="all outcomes are of one prompt"):
            fit_selector(log.only_arms(["steps"]), QUICK, unseen_prompts=True)

    def test_prompts_without_texts(self) -> None:
        log = planted_log(100)
        bare = replace(log, arms=tuple(Arm(arm.name) for arm in log.arms))
        with pytest.raises(BadLog, match="every logged prompt needs its own text"):
            fit_selector(bare, QUICK, unseen_prompts=True)

    def test_a_prompt_that_was_never_run(self) -> None:
        log = planted_log(100)
        more = replace(log, arms=(*log.arms, Arm("new", "Whistle.")))
        with pytest.raises(BadLog, match="one of these was never run"):
            fit_selector(more, QUICK, unseen_prompts=True)

    def test_one_prompt_a_query(self) -> None:
        log = planted_log(150)
        keep = log.arm == np.arange(150)[log.query] % 3
        columns = {name: getattr(log, name)[keep] for name in ("query", "arm", "outcome", "run")}
        partial_log = PromptLog("partial", log.queries, log.arms, **columns)
        with pytest.raises(BadLog, match="most queries were run under one prompt"):
            fit_selector(partial_log, QUICK, unseen_prompts=True)

    def test_scores_that_cannot_be_given(self, related: Selector) -> None:
        with pytest.raises(BadLog, match="was logged as 'arm1'"):
            related.score_unseen([NUMERIC], [STEPS[1]])
        with pytest.raises(BadLog, match="empty"):
            related.score_unseen([NUMERIC], [" "])
        plain = replace(related, unseen=None)
        with pytest.raises(NotIdentified, match="fit it with --unseen-prompts"):
            plain.score_unseen([NUMERIC], ["Sing it."])


class TestSaved:
    def test_the_same_scores(self, related: Selector, tmp_path: Path) -> None:
        related.save(tmp_path)
        loaded = Selector.load(tmp_path)
        assert loaded.unseen is not None
        assert related.unseen is not None
        assert loaded.unseen.evidence == related.unseen.evidence
        new = ["Sing in small steps.", "Brief."]
        assert np.array_equal(
            loaded.score_unseen([NUMERIC], new).value, related.score_unseen([NUMERIC], new).value
        )

    def test_damage(self, related: Selector, tmp_path: Path) -> None:
        related.save(tmp_path)
        path = tmp_path / "selector.json"
        head = json.loads(path.read_text(encoding="utf-8"))
        del head["unseen"]["auc"]
        head["sha256"] = checksum(head, (tmp_path / "arrays.npz").read_bytes())
        path.write_text(json.dumps(head), encoding="utf-8")
        with pytest.raises(BadArtefact, match="incomplete or damaged"):
            Selector.load(tmp_path)


class TestCommand:
    @pytest.fixture
    def run(self, run: Run) -> Run:
        return partial(run, "prompt")

    def test_scored_but_not_chosen(self, run: Run, related: Selector, tmp_path: Path) -> None:
        related.save(tmp_path)
        new = ["--prompt", "Think in tiny steps and calculate."]
        code, out, err = run("select", NUMERIC, "--selector", tmp_path, *new, "--json")
        assert (code, err) == (0, "")
        record = json.loads(out)
        choice = record["choices"][0]
        assert not choice["prompt"].startswith("new")
        assert choice["unseen"][0]["text"] == new[1]
        assert choice["unseen"][0]["predicted"] > 0.5
        assert choice["unseen"][0]["error"] == record["unseen_evidence"]["level_error"] > 0
        assert record["unseen_evidence"]["sentence"].endswith("not chosen without --allow-unseen")
        code, out, err = run("select", NUMERIC, "--selector", tmp_path, *new)
        assert code == 0
        assert "new prompt 1: predicted" in out
        assert "predicted from the others" in err

    def test_chosen_with_consent_and_evidence_only(
        self, run: Run, related: Selector, tmp_path: Path
    ) -> None:
        default = related.rule.default
        rule = replace(related.rule, margin=np.inf)
        assert related.unseen is not None
        text = IN_WORDS if default < 8 else NUMERIC  # where the default is bad
        path = tmp_path / "new.jsonl"
        lines = [
            {"prompt": "Think in tiny steps and calculate."},
            {"prompt": "Give the name in a rapid way, be brief!"},
        ]
        path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        better = 2 if default < 8 else 1
        for clear in (True, False):
            evidence = replace(related.unseen.evidence, clear=clear)
            made = replace(related, rule=rule, unseen=replace(related.unseen, evidence=evidence))
            made.save(tmp_path / "s")
            options = ["--selector", tmp_path / "s", "--prompts", path, "--allow-unseen"]
            code, out, _ = run("select", text, *options, "--top", 3, "--json")
            assert code == 0
            record = json.loads(out)
            choice = record["choices"][0]
            assert choice["top"][0] == choice["prompt"]
            assert len(set(choice["top"])) == 3
            words = run("select", text, *options, "--top", 3)[1]
            assert words.startswith(", ".join(choice["top"]) + "\n")
            if clear:
                assert choice["prompt"] == f"new prompt {better}"
                assert choice["text"] == lines[better - 1]["prompt"]
                assert not choice["fell_back"]
            else:
                assert choice["prompt"] == related.default.name
                assert record["unseen_evidence"]["sentence"].endswith("are not chosen")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--prompt", "Sing it.", "--price", "1"], "what a new prompt costs is unknown"),
            (["--allow-unseen"], "needs a new prompt"),
        ],
    )
    def test_bad_options(
        self, run: Run, related: Selector, tmp_path: Path, options: list[str], words: str
    ) -> None:
        related.save(tmp_path)
        code, out, err = run("select", NUMERIC, "--selector", tmp_path, *options)
        assert (code, out) == (2, "")
        assert words in err

    def test_fit(self, run: Run, tmp_path: Path) -> None:
        log = planted_log(90)
        path = tmp_path / "log.jsonl"
        rows = [
            {
                "query_id": log.queries[query].id,
                "query": log.queries[query].text,
                "arm": log.arms[arm].name,
                "arm_text": log.arms[arm].text,
                "outcome": outcome,
            }
            for query, arm, outcome in zip(log.query, log.arm, log.outcome.tolist())
        ]
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        words = ["--models", "interaction", "--folds", "2", "--repeats", "1", "--kind", "mean"]
        words.append("--unseen-prompts")
        code, out, err = run("fit", path, "--out", tmp_path / "s", *words)
        assert (code, err) == (0, "")
        assert "new prompts: each of 3 logged prompts, predicted from the others" in out
