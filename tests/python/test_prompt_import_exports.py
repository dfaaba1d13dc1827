"""Importers on what the tools themselves wrote: excerpts of exports, and the cells in them.

Versions and commands are in the README of the folder of the excerpts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers import ImportOptions, import_log
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.logs.read import LogReading

EXPORTS = Path(__file__).parent / "fixtures" / "tool_exports"
NAN = float("nan")
PENS = "Ana has 11 pens and buys 3 more. How many pens does Ana have?"
BOXES = "Bo packs 9 pens in each of 5 boxes. How many pens are packed?"
GIVEN = "Cy had 41 pens and gave 8 away, then lost 1. How many pens are left?"
EIGHT = "Eli packs 8 pens in each of 6 boxes. How many pens are packed?"


def read(tool: str, *names: str, **options: Any) -> LogReading:
    """The log in some exports, with options as on the command line."""
    return import_log(tool, [EXPORTS / name for name in names], ImportOptions(**options))


def outcomes(log: PromptLog) -> dict[tuple[str, str], list[float]]:
    """The outcomes of all runs in their order, by prompt and text of the query."""
    cells: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for query, arm, run_number, outcome in zip(log.query, log.arm, log.run, log.outcome):
        key = log.arms[arm].name, log.queries[query].text
        cells.setdefault(key, []).append((int(run_number), float(outcome)))
    return {key: [outcome for _, outcome in sorted(runs)] for key, runs in cells.items()}


class TestPromptfoo:
    CLERK = "As a clerk, give the number only: {{question}}"

    @pytest.mark.parametrize("ending", ["json", "jsonl"])
    def test_repeats_scores_and_measures(self, ending: str) -> None:
        reading = read("promptfoo", f"promptfoo.{ending}", query_fields=("question",))
        log = reading.log
        assert [(arm.name, arm.text) for arm in log.arms] == [
            ("plain: plain.txt", "{{question}}"),
            ("prompt 2", "Think step by step.\nQuestion: {{question}}\nEnd with the answer."),
            (self.CLERK, self.CLERK),
        ]
        assert outcomes(log) == {
            ("plain: plain.txt", PENS): [1, 1],
            ("prompt 2", PENS): [0.25, 0.25],
            (self.CLERK, PENS): [0.5, 0.5],
            ("plain: plain.txt", GIVEN): [0.5, 0.5],
            ("prompt 2", GIVEN): [0.75, 0.75],
            (self.CLERK, GIVEN): [0.5, 0.5],
        }
        # They ended in another order than that of the prompts; runs follow the number of the test.
        assert log.latency[:6].tolist() == [0.513, 0.599, 0.62, 0.657, 0.127, 0.119]
        assert log.grid("cost").round(6).tolist() == [
            [0.0061, 0.0112, 0.0095],
            [0.0068, 0.0119, 0.0102],
        ]
        assert set(log.tokens) == {12.0}
        assert [problem.line for problem in reading.problems] == [13, 14, 15]
        assert reading.problems[0].reason.endswith("the call failed (deliberately broken)")

    def test_success_and_named_scores(self) -> None:
        log = read("promptfoo", "promptfoo.json", metric="success").log
        assert log.grid().tolist() == [[1, 0, 0], [0, 1, 0]]
        log = read("promptfoo", "promptfoo.json", metric="short").log
        assert log.grid().tolist() == [[1, 0.5, 1], [1, 0.5, 1]]

    def test_one_provider_under_two_labels(self) -> None:
        log = read("promptfoo", "promptfoo_providers.json").log
        names = ("plain: plain.txt", "prompt 2", self.CLERK)
        assert log.arm_names == [f"{name} [mock {end}]" for end in "ab" for name in names]
        assert log.grid().tolist() == [[1, 0, 0, 1, 0, 1]]

    def test_prompts_of_files_chats_and_functions(self) -> None:
        """JSONL does not list the prompts; 'kind' is 0 or 1, which other texts have too."""
        log = read("promptfoo", "promptfoo_kinds.jsonl").log
        chat = [
            {"role": "system", "content": "Be kind. Answer 0 if unsure."},
            {"role": "user", "content": "{{question}}"},
        ]
        written = json.dumps(chat, separators=(",", ":"))
        assert [(arm.name, arm.text) for arm in log.arms] == [
            ("multi.txt", "You are careful.\n\nQuestion: {{question}}\nGive the number."),
            ("chat.json", written),
            ("fn.py:shout", ""),
            ("kind chat", written),
            ("tell", "Tell: {{question}} ({{kind}})"),
        ]
        assert log.texts == [f"kind: 2\nquestion: {GIVEN}", f"kind: 1\nquestion: {EIGHT}"]
        assert log.grid().tolist() == [[1, 1, 0, 1, 1], [1, 1, 1, 1, 1]]

    def test_cached_answers_and_equal_names(self, tmp_path: Path) -> None:
        export = json.loads((EXPORTS / "promptfoo.json").read_text())
        results = export["results"]
        results["results"] = [r for r in results["results"] if r["testIdx"] == 0]
        results["results"][0]["response"]["cached"] = True
        results["prompts"][1]["raw"] = "Another one:\n{{question}}"
        (tmp_path / "other.json").write_text(json.dumps(export))
        paths = [EXPORTS / "promptfoo.json", tmp_path / "other.json"]
        log = import_log("promptfoo", paths).log
        assert [arm.name for arm in log.arms][1:] == ["prompt 2", self.CLERK, "prompt 4"]
        assert log.arms[3].text == "Another one:\n{{question}}"
        assert np.isnan(log.cost).sum() == np.isnan(log.latency).sum() == 1

    def test_other_outputs(self, tmp_path: Path) -> None:
        (tmp_path / "results.csv").write_text("question,Score\n")
        with pytest.raises(BadLog, match=r"results\.csv: of what promptfoo can write, JSON"):
            import_log("promptfoo", [tmp_path / "results.csv"])


class TestLmEval:
    END = "2026-11-21T14-40-37.884393.jsonl"

    def samples(self, *tasks: str) -> list[str]:
        return [f"lm_eval/samples_{task}_{self.END}" for task in tasks]

    def test_tasks_and_filters(self) -> None:
        paths = self.samples("arith_plain", "arith_steps")
        log = read("lm-eval", *paths).log
        assert [(arm.name, arm.text) for arm in log.arms] == [
            ("arith_plain", "Question: {query}\nAnswer:"),
            ("arith_steps", "Think step by step. {query}\nAnswer:"),
        ]
        assert [(query.id, query.text) for query in log.queries] == [
            ("0", PENS),
            ("2", GIVEN),
            ("4", EIGHT),
        ]
        assert log.grid().tolist() == [[1, 0], [0, 0], [0, 1]]
        assert log.grid("tokens").tolist() == [[0.75, 7], [7, 0.75], [7, 0.75]]
        strict = read("lm-eval", *paths, metric="exact_match,strict-match").log
        assert strict.grid().tolist() == [[0, 0]] * 3
        with pytest.raises(BadLog, match="no filter 'lax'; there are strict-match, flexible-extr"):
            read("lm-eval", *paths, metric="exact_match,lax")

    def test_likelihoods(self) -> None:
        log = read("lm-eval", *self.samples("pick_a", "pick_b")).log
        assert [(arm.name, arm.text) for arm in log.arms] == [
            ("pick_a", "{query}\nAnswer:"),
            ("pick_b", "Consider carefully: {query}\nThe number is"),
        ]
        assert log.texts[0] == f"{PENS}\nA. 13\nB. 14\nC. 16"
        assert log.grid().tolist() == [[0, 1], [0, 0], [0, 1]]
        assert np.isnan(log.tokens).all()

    def test_repeats_in_one_line(self) -> None:
        paths = self.samples("arith_repeats")
        log = read("lm-eval", *paths).log
        assert log.outcome.tolist() == [1, 2 / 3, 1 / 3]
        assert log.tokens.tolist() == pytest.approx([59 / 12, 34 / 12, 59 / 12])
        assert read("lm-eval", *paths, metric="exact_match,maj").log.outcome.tolist() == [1, 1, 0]

    def test_runs_of_one_task(self) -> None:
        """The first two differ in their seed; the third has two examples in the prompt."""
        folder = EXPORTS / "lm_eval" / "tiny"
        log = import_log("lm-eval", sorted(folder.iterdir())).log
        plain, shots = log.arms
        assert (plain.name, plain.text) == (
            "Question: {query} Answer:",
            "Question: {query}\nAnswer:",
        )
        assert shots.text.startswith("Question: Eli packs 5 maps in each of 2 boxes.")
        assert shots.text.endswith("Question: {query}\nAnswer:")
        assert outcomes(log) == {
            (plain.name, PENS): [1, 0],
            (plain.name, GIVEN): [0, 0],
            (shots.name, PENS): [0],
            (shots.name, GIVEN): [0],
        }

    def test_the_results_beside_the_samples(self, tmp_path: Path) -> None:
        (tmp_path / "results_x.json").write_text("{\n}")
        with pytest.raises(BadLog, match=r"results_x\.json is no file of samples; --log_samples"):
            import_log("lm-eval", [tmp_path / "results_x.json"])


class TestInspect:
    def read(self, *names: str, **options: Any) -> LogReading:
        return read("inspect", *(f"inspect/{name}" for name in names), **options)

    def test_task_arguments_epochs_and_order(self) -> None:
        log = self.read("direct.json", "system.json").log
        assert [(arm.name, arm.text) for arm in log.arms] == [
            ("style=direct", ""),
            ("style=system", "You are a careful accountant. Check every step."),
        ]
        assert [query.id for query in log.queries] == ["1", "2", "10"]
        assert list(outcomes(log).values()) == [[1, 1], [0, 0], [1, 1], [1, 0], [1, 1], [1, 0]]
        assert log.tokens[:3].tolist() == [10, 11, 10]
        assert log.latency[:6].tolist() == [0.43, 0.431, 0.426, 0.335, 0.332, 0.063]

    def test_archives(self) -> None:
        log = self.read("direct.eval").log
        assert (log.name, log.texts, log.run.tolist()) == ("direct", [PENS, BOXES], [0, 0, 1, 1])
        assert log.outcome.tolist() == [1, 0, 1, 0]
        assert log.latency.tolist() == [0.467, 0.052, 0.044, 0.037]
        log = self.read("direct.eval", metric="includes").log
        assert log.outcome.tolist() == [1, 0, 1, 0]

    def test_archive_of_a_run_that_was_killed(self) -> None:
        log = self.read("killed.eval").log
        assert [query.id for query in log.queries] == ["1", "2", "3", "4"]
        assert log.outcome.tolist() == [1, 0, 0, 1]

    def test_archive_that_was_cut_off(self, tmp_path: Path) -> None:
        whole = (EXPORTS / "inspect" / "direct.eval").read_bytes()
        (tmp_path / "cut.eval").write_bytes(whole[:5000])
        with pytest.raises(BadLog, match=r"cut\.eval is no whole archive"):
            import_log("inspect", [tmp_path / "cut.eval"])

    def test_samples_that_a_retry_took_over_count_once(self) -> None:
        reading = self.read("failed.json", "retried.json")
        assert [query.id for query in reading.log.queries] == ["4", "5", "6"]
        assert reading.log.run.tolist() == [0, 0, 0]
        assert [problem.reason for problem in reading.problems] == [
            "failed.json: sample 5 ended with an error",
            "failed.json: sample 6 ended with an error",
        ]

    def test_all_calls_before_the_scorer_count(self) -> None:
        """An answer, a critique and a second answer of 5 tokens each; then the grader's own 5."""
        log = self.read("graded.json").log
        assert (log.outcome.tolist(), log.tokens.tolist()) == ([0.5], [15])

    def test_configurations_are_prompts(self) -> None:
        names = ("config_none.json", "config_temperature.json", "config_system_message.json")
        log = self.read(*names).log
        assert [(arm.name, arm.text) for arm in log.arms] == [
            ("plain", ""),
            ("temperature=0.5", ""),
            ("Answer in one line.", "Answer in one line."),
        ]
        assert log.grid().tolist() == [[0, 0, 1]]

    def test_choices(self) -> None:
        log = self.read("choice_0.json", "choice_1.json").log
        assert log.arm_names == ["cot=False", "cot=True"]
        assert log.texts == ["Which is 14?\nA) 14\nB) 15\nC) 16"]
        assert list(outcomes(log).values()) == [[1, 0], [1, 1]]

    def test_equal_ids_of_other_questions(self) -> None:
        log = self.read("data_plain.json", "data_other.json").log
        figs = "Eli packs 5 figs in each of 5 boxes. How many figs are packed?"
        assert log.texts == [PENS, figs, f"Other: {PENS}"]
        np.testing.assert_array_equal(log.grid(), [[0, 0], [0, NAN], [NAN, 1]])
        log = self.read("choice_0.json", "choice_shuffled.json").log
        assert log.texts[1] == "Which is 14?\nA) 15\nB) 16\nC) 14"

    def test_without_samples_or_scores(self, tmp_path: Path) -> None:
        document = json.loads((EXPORTS / "inspect" / "direct.json").read_text())
        document["samples"][0]["scores"] = None
        document["samples"][1]["invalidation"] = {"reason": "wrong key"}
        (tmp_path / "a.json").write_text(json.dumps(document))
        (tmp_path / "b.json").write_text(json.dumps({**document, "samples": []}))
        reading = import_log("inspect", [tmp_path / "a.json", tmp_path / "b.json"])
        assert sorted(problem.reason for problem in reading.problems) == [
            "a.json: sample 1 has no score",
            "a.json: sample 2 was invalidated",
            "b.json: a log without samples",
        ]


@pytest.mark.parametrize(
    ("tool", "pattern", "queries"),
    [
        ("promptfoo", "promptfoo.json", 2),
        ("lm-eval", "lm_eval/samples_arith_[ps]*", 3),
        ("inspect", "inspect/[ds][iy]*.json", 3),
    ],
)
def test_the_audit_reads_what_was_imported(
    run: Run, tmp_path: Path, tool: str, pattern: str, queries: int
) -> None:
    log = tmp_path / "log.jsonl"
    paths = sorted(EXPORTS.glob(pattern))
    code, out, _ = run("prompt", "import", *paths, "--from", tool, "--out", log, "--json")
    assert (code, json.loads(out)["queries"]) == (0, queries)
    code, out, _ = run("prompt", "audit", log, "--json")
    assert (code, json.loads(out)["queries"]) == (0, queries)
