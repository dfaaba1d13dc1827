"""Choice among responses: votes by hand, features that agree, and a gain on unseen queries."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run

from prompt_oirl.errors import BadLog
from prompt_oirl.responses.evaluation import evaluate_responses, unseen_scores
from prompt_oirl.responses.features import agreement
from prompt_oirl.responses.reading import read_responses
from prompt_oirl.responses.response_set import ResponseCollector, response_set
from prompt_oirl.responses.selector import choose, fit_response_selector
from prompt_oirl.responses.traces import responses_of_trace
from reward_bridge.verifiers import ArithmeticVerifier, ExactGrader, NumericGrader, load_grader
from search.problem import Problem


def row(query: str, response: str, correct: float | None = 0, **more: Any) -> dict[str, Any]:
    return {
        "query_id": query,
        "query": f"What is {query}?",
        "response": response,
        "correct": correct,
        **more,
    }


def small() -> list[dict[str, Any]]:
    texts = ["so it is 4", "the answer is 5", "it must be 4", "I do not know", "the answer is 7"]
    return [row("a", text, text.endswith("5")) for text in texts] + [row("b", "it is 1", 1)]


def test_votes_are_those_counted_by_hand() -> None:
    found = response_set(small())
    assert found.answer == ("4", "5", "4", None, "7", "1")
    assert choose(found, np.ones(6), "vote").tolist() == [0, 5]
    scores = np.array([0.2, 0.7, 0.4, 0.9, 0.1, 0.0])
    assert choose(found, scores, "best").tolist() == [3, 5]
    assert choose(found, scores, "vote").tolist() == [1, 5]  # 0.7 against 0.2 + 0.4
    scores[0] = 0.35
    assert choose(found, scores, "vote").tolist() == [2, 5]
    with pytest.raises(BadLog, match="unknown rule"):
        choose(found, scores, "most")


def test_groups_take_no_memory_of_the_longest_name_for_each_query() -> None:
    rows = [
        row(str(i), "it is 1", group="g" * 100_000 if i == 7 else f"g{i // 2}") for i in range(500)
    ]
    collector = ResponseCollector()
    collector.add(rows)
    tracemalloc.start()
    found = collector.collected()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    assert found.group[0] == found.group[1] != found.group[7]
    assert sorted(set(found.group.tolist())) == list(range(251))


def test_agreement_counts_the_others() -> None:
    table = agreement(response_set(small()))
    assert table[:, 0].tolist() == [0.25, 0, 0.25, 0, 0, 0]
    assert table[:, 1].tolist() == [1, 0, 1, 0, 0, 1]
    assert table[:, 2].tolist() == [1, 1, 1, 0, 1, 1]
    assert table[:, 3].tolist() == [3 / 5] * 5 + [1]
    assert table[:, 4].tolist() == [1, 0, 0, 0, 0, 1]


def made(queries: int, informative: bool, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows = []
    for q in range(queries):
        for _ in range(5):
            right = bool(rng.random() < 0.4)
            careful = right if informative and rng.random() < 0.8 else bool(rng.random() < 0.5)
            start = "Checking each step with care," if careful else "Guessing quickly,"
            number = 10 if right else int(rng.integers(11, 13))
            rows.append(row(f"{q} + 1", f"{start} the answer is {number}", int(right)))
    return rows


def test_what_can_be_learned_beats_the_majority_and_noise_does_not_pretend_to() -> None:
    trial = evaluate_responses(response_set(made(150, True)))
    assert trial.gain["vote"]["majority"].ci95[0] > 0
    assert trial.value["vote"] > trial.value["majority"] > trial.value["random"]
    assert trial.value["oracle"] >= max(trial.value.values())
    assert trial.auc > 0.7
    assert trial.queries == 150


def test_scores_of_a_group_do_not_depend_on_its_labels() -> None:
    rows = made(40, True)
    before = unseen_scores(response_set(rows), folds=4)
    for one in rows[:5]:
        one["correct"] = 1 - one["correct"]
    after = unseen_scores(response_set(rows), folds=4)
    assert before[:5].tolist() == after[:5].tolist()
    assert before.tolist() != after.tolist()


def test_boosting_is_fitted_too() -> None:
    found = response_set(made(120, True))
    scores = fit_response_selector(found, "boosting").scores(found)
    assert scores[found.correct == 1].mean() > scores[found.correct == 0].mean() + 0.1


def test_bad_responses_are_named(tmp_path: Path) -> None:
    for rows, words in (
        ([], "no responses"),
        ([{"query_id": "a", "query": "b"}], "'response' is missing"),
        ([row("a", "b", 2)], "not in 0..1"),
        ([row("a", "b"), {**row("a", "b"), "query": "other"}], "two texts"),
    ):
        with pytest.raises(BadLog, match=words):
            response_set(rows)
    with pytest.raises(BadLog, match="too few"):
        fit_response_selector(response_set(small()))
    with pytest.raises(BadLog, match="nothing to learn"):
        fit_response_selector(response_set([row(f"q{i}", "it is 1") for i in range(30)]))
    with pytest.raises(BadLog, match="cannot make"):
        unseen_scores(response_set(small()))
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps(row("a", "it is 3", None)) + "\n")
    assert np.isnan(read_responses(path).responses.correct[0])
    path.write_text("3\n")
    with pytest.raises(BadLog, match="line 1: no JSON object"):
        read_responses(path)


def test_finished_paths_of_a_trace_are_judged(tmp_path: Path) -> None:
    nodes = [
        (-1, "", None, None, None),
        (0, "4 * 6 = 24 left 1 1 24\n", "stop", None, None),
        (1, "1 * 1 = 1 left 1 24\n", "stop", None, None),
        (2, "1 * 24 = 24 left 24\n", "eos", None, None),
        (1, "1 - 1 = 0 left 0 24\n", "stop", None, None),
        (4, "0 * 24 = 0 left 0\n", "eos", None, None),
        (0, "4 + 6 =", "length", None, None),
        (0, "4 + 6 = 10 left 1 1 10\n", "stop", None, None),  # pruned: no answer
        (0, "4 + 6 = 11 left 1 1 11\n", "stop", False, None),  # not allowed: no answer either
    ]
    keys = ("parent", "text", "finish", "verdict", "answer")
    record = {
        "format": "treeward-trace",
        "id": "a",
        "prompt": "1 1 4 6 -> 24\n",
        "nodes": [dict(zip(keys, node)) for node in nodes],
    }
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(record) + "\n")
    problem = Problem("1 1 4 6 -> 24\n", "a", {"numbers": [1, 1, 4, 6], "target": 24})
    found = responses_of_trace(path, ArithmeticVerifier(), [problem])
    assert found.correct.tolist() == [1, 0]
    assert found.text[0] == "".join(nodes[i][1] for i in (1, 2, 3)).strip()
    assert np.isnan(responses_of_trace(path).correct).all()
    path.write_text("{}\n")
    with pytest.raises(BadLog, match="line 1: no trace"):
        responses_of_trace(path)


def test_a_chat_asks_what_its_last_message_does(tmp_path: Path) -> None:
    nodes = [
        {"parent": -1, "text": "", "finish": None, "verdict": None, "answer": None},
        {"parent": 0, "text": "5", "finish": "eos", "verdict": None, "answer": None},
    ]
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "2 + 3?"}]
    record = {"format": "treeward-trace", "id": "a", "prompt": "", "messages": chat, "nodes": nodes}
    path = tmp_path / "trace.jsonl"
    path.write_text(json.dumps(record) + "\n")
    assert responses_of_trace(path).query_text == ("2 + 3?",)


def test_a_beam_gives_its_whole_answers_only(run: Run, tmp_path: Path) -> None:
    """The search prunes steps that end well: they are neither answers nor wrong ones."""
    path = tmp_path / "beam.jsonl"
    words = ["--algorithm", "beam", "--reward", "none", "--threads", "1", "--trace", path]
    run("solve", "4 5 6 10", *words, "--no-verifier", "--json")
    nodes = json.loads(path.read_text())["nodes"]
    parents = {node["parent"] for node in nodes}
    leaves = [node for place, node in enumerate(nodes) if place not in parents]
    whole = [node["finish"] == "eos" for node in leaves]
    assert 0 < sum(whole) < len(whole)
    found = responses_of_trace(path, ArithmeticVerifier())
    assert len(found.text) == sum(whole)
    assert all(len(text.splitlines()) == 3 for text in found.text)
    assert set(found.correct) <= {0, 1}
    for answer, correct in zip(found.answer, found.correct):
        assert answer is not None
        assert "left" not in answer
        assert "=" not in answer or correct == 0


class TestGivenAnswers:
    def test_none_casts_no_vote(self) -> None:
        """Were they votes, two missing answers would outvote the one that is there."""
        rows = [
            row("a", "no idea, was it 9?", answer=None),
            row("a", "no idea, was it 9 or so?", answer=" "),
            row("a", "it is 5", 1, answer="5"),
        ]
        found = response_set(rows)
        assert found.answer == (None, None, "5")
        assert choose(found, np.ones(3), "vote").tolist() == [2]

    @pytest.mark.parametrize(
        ("grader", "given", "form"),
        [
            (NumericGrader(), ["$18", "18", "18.0", 18, "18 eggs", "#### 18"], "18"),
            (NumericGrader(), ["11/22/2001", " 11/22/2001."], "11/22/2001"),
            (NumericGrader(), ["Ann", "ann "], "ann"),
            (ExactGrader(), ["6 * 4", "6  *  4"], "6 * 4"),
        ],
    )
    def test_spellings_are_one_answer(self, grader: Any, given: list[Any], form: str) -> None:
        rows = [row("a", "so it is", answer=answer) for answer in given]
        assert set(response_set(rows, grader).answer) == {form}

    def test_an_expression_is_not_its_last_number(self) -> None:
        rows = [row("a", "so", answer=answer) for answer in ("6 * (4 - 1)", "3 + 1")]
        assert len(set(response_set(rows).answer)) == 2

    def test_the_known_answer_is_refused(self) -> None:
        rows = [
            row(query, f"it is {number}", number == 4, answer="4")
            for query in ("a", "b")
            for number in (4, 5)
        ]
        with pytest.raises(BadLog, match="so it is the known one; say --column answer=NONE"):
            response_set(rows)
        del rows[0]["answer"]
        rows[1]["answer"] = "5"
        rows.append(row("a", "so 4", 1, answer="4"))
        assert response_set(rows).answer[:2] == ("4", "5")

    def test_what_is_no_answer(self) -> None:
        with pytest.raises(BadLog, match=r"'answer' is \['4'\], no final answer"):
            response_set([row("a", "it is 4", answer=["4"])])


@pytest.mark.skipif("TREEWARD_DATA" not in os.environ, reason="needs the published samples")
def test_the_published_majority_of_dates() -> None:
    """.721 where missing dates cast no vote, .699 where they are a class; the first of equals."""
    from benchmarks.prompts.responses import SOURCES

    read, grader = SOURCES["ChatGPT, dates"]
    found = response_set(list(read(Path(os.environ["TREEWARD_DATA"]))), load_grader(grader))
    assert found.answer.count(None) == 206
    chosen = choose(found, np.ones(len(found.text)), "vote")
    assert found.correct[chosen].mean() == pytest.approx(0.7209, abs=5e-5)
