"""Importers: small files in each tool's own format, and the cells that must come out of them."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tool_files import document, inspect_log, lines, lm_eval_sample

from prompt_oirl.errors import BadLog
from prompt_oirl.logs.importers import ImportOptions, import_log
from prompt_oirl.logs.log import Arm, PromptLog, Query
from prompt_oirl.logs.read import read_log
from prompt_oirl.logs.write import write_log

NAN = math.nan


class TestPromptfoo:
    """Exports of ``promptfoo eval``."""

    PROMPTS = (
        {"raw": "Answer: {{q}}", "label": "short", "provider": "openai:a"},
        {"raw": "Think first.\n{{q}}", "label": "Think first.\n{{q}}", "provider": "openai:a"},
    )

    def result(self, prompt: int, test: int, question: str, **more: Any) -> dict[str, Any]:
        raw = self.PROMPTS[prompt]["raw"].replace("{{q}}", question)
        return {
            "promptIdx": prompt,
            "testIdx": test,
            "vars": {"q": question},
            "prompt": {"raw": raw, "label": self.PROMPTS[prompt]["label"]},
            "provider": {"id": "openai:a"},
            "success": True,
            "score": 1,
            "failureReason": 0,
            "latencyMs": 400,
            "cost": 0.25,
            "namedScores": {"polite": 0.5},
            "response": {"output": "four", "tokenUsage": {"completion": 7, "total": 20}},
            **more,
        }

    def export(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        return {"results": {"version": 3, "prompts": list(self.PROMPTS), "results": results}}

    def test_cells(self, tmp_path: Path) -> None:
        results = [
            self.result(0, 0, "2 + 2?"),
            self.result(1, 0, "2 + 2?", success=False, score=0.25, failureReason=1),
            self.result(0, 1, "3 + 3?", success=False, score=-3, failureReason=1),
            self.result(1, 1, "3 + 3?", success=False, score=0, failureReason=2, error="timeout"),
            self.result(0, 2, "2 + 2?", score=0, latencyMs=None, cost=None, response={}),
        ]
        path = document(tmp_path / "out.json", self.export(results))
        reading = import_log("promptfoo", [path])
        log = reading.log
        assert (log.name, reading.rows) == ("out", 5)
        assert log.texts == ["2 + 2?", "3 + 3?"]
        assert [(arm.name, arm.text) for arm in log.arms] == [
            ("short", "Answer: {{q}}"),
            ("prompt 2", "Think first.\n{{q}}"),
        ]
        np.testing.assert_array_equal(log.grid(), [[0.5, 0.25], [0, NAN]])
        np.testing.assert_array_equal(log.run, [0, 0, 0, 1])
        np.testing.assert_array_equal(log.grid("latency"), [[0.4, 0.4], [0.4, NAN]])
        np.testing.assert_array_equal(log.grid("cost"), [[0.25, 0.25], [0.25, NAN]])
        np.testing.assert_array_equal(log.tokens, [7, 7, 7, NAN])
        assert [str(p) for p in reading.problems] == ["line 4: out.json: the call failed (timeout)"]

    def test_metrics(self, tmp_path: Path) -> None:
        results = [self.result(0, 0, "a", success=False, score=0.75)]
        path = document(tmp_path / "out.json", self.export(results))
        for metric, outcome in (("", 0.75), ("score", 0.75), ("success", 0), ("polite", 0.5)):
            log = import_log("promptfoo", [path], ImportOptions(metric=metric)).log
            assert log.outcome.tolist() == [outcome]
        with pytest.raises(BadLog, match="no score 'rude'; there are polite"):
            import_log("promptfoo", [path], ImportOptions(metric="rude"))

    def test_several_providers_and_variables(self, tmp_path: Path) -> None:
        results = [
            {**self.result(0, 0, "x"), "vars": {"question": "why?", "tone": "kind"}},
            {
                **self.result(0, 0, "x", score=0),
                "promptIdx": 2,
                "vars": {"question": "why?", "tone": "kind"},
                "provider": {"id": "openai:b"},
            },
        ]
        export = self.export(results)
        export["results"]["prompts"].append({**self.PROMPTS[0], "provider": "openai:b"})
        path = document(tmp_path / "out.json", export)
        log = import_log("promptfoo", [path]).log
        assert log.arm_names == ["short [openai:a]", "short [openai:b]"]
        assert log.texts == ["question: why?\ntone: kind"]
        log = import_log("promptfoo", [path], ImportOptions(query_fields=("tone",))).log
        assert log.texts == ["kind"]
        options = ImportOptions(query_fields=("tone", "question"))
        assert import_log("promptfoo", [path], options).log.texts == ["tone: kind\nquestion: why?"]
        with pytest.raises(BadLog, match="no variable 'tone' and 'mood'; there are question, tone"):
            import_log("promptfoo", [path], ImportOptions(query_fields=("tone", "mood")))

    def test_the_expected_answer_is_no_part_of_the_query(self, tmp_path: Path) -> None:
        variables: list[dict[str, Any]] = [
            {"q": "2+2?", "expected": "4"},
            {"question": "who?", "context": "Ann sings.", "correct_answer": "Ann"},
            {"question": "who?", "context": "Bo sings.", "correct_answer": "Bo"},
            {"target": "4", "expectedAnswer": 4},
        ]
        results = [{**self.result(0, i, "x"), "vars": one} for i, one in enumerate(variables)]
        reading = import_log("promptfoo", [document(tmp_path / "a.json", self.export(results))])
        assert reading.log.texts == [
            "2+2?",
            "context: Ann sings.\nquestion: who?",
            "context: Bo sings.\nquestion: who?",
        ]
        assert [problem.line for problem in reading.problems] == [4]
        assert "each seems to be the expected answer" in reading.problems[0].reason

    def test_json_lines_without_the_list_of_prompts(self, tmp_path: Path) -> None:
        results = [self.result(0, 0, "2 + 2?"), self.result(1, 0, "2 + 2?", score=0)]
        log = import_log("promptfoo", [lines(tmp_path / "out.jsonl", results)]).log
        assert log.arm_names[0] == "short"
        assert [arm.text for arm in log.arms] == ["Answer: {{q}}", "Think first.\n{{q}}"]
        assert log.grid().tolist() == [[1, 0]]

    def test_other_files(self, tmp_path: Path) -> None:
        with pytest.raises(BadLog, match=r"no list 'results\.results'"):
            import_log("promptfoo", [document(tmp_path / "a.json", {"results": {}})])
        (tmp_path / "b.json").write_text("{")
        with pytest.raises(BadLog, match=r"b\.json is not JSON"):
            import_log("promptfoo", [tmp_path / "b.json"])
        with pytest.raises(BadLog, match="cannot read"):
            import_log("promptfoo", [tmp_path / "c.json"])


class TestLmEval:
    """Sample files of lm-evaluation-harness."""

    sample = staticmethod(lm_eval_sample)

    def test_two_tasks_are_two_prompts(self, tmp_path: Path) -> None:
        flexible = {"filter": "flexible-extract"}
        first = [self.sample(0, 0.0), self.sample(0, 1.0, **flexible), self.sample(1, 1.0)]
        first.append(self.sample(1, 0.0, **flexible))
        second = [self.sample(i, float(i), "Think. ", **flexible) for i in range(2)]
        paths = [
            lines(tmp_path / "samples_gsm8k_2026-01-02T03-04-05.678901.jsonl", first),
            lines(tmp_path / "samples_gsm8k_cot_2026-01-02T03-04-05.678901.jsonl", second),
        ]
        reading = import_log("lm-eval", paths, ImportOptions(name="mine"))
        log = reading.log
        assert (log.name, reading.problems) == ("mine", [])
        assert [(arm.name, arm.text) for arm in log.arms] == [
            ("gsm8k", "Q: {query}\nA:"),
            ("gsm8k_cot", "Think. {query}\nA:"),
        ]
        assert [(query.id, query.text) for query in log.queries] == [
            ("0", "what is 0?"),
            ("1", "what is 1?"),
        ]
        assert log.grid().tolist() == [[1, 0], [0, 1]]
        assert log.tokens.tolist() == [2.0] * 4

    def test_files_that_number_their_documents_differently(self, tmp_path: Path) -> None:
        first = [self.sample(0, 1.0), self.sample(1, 0.0)]
        second = [{**self.sample(1, 1.0), "doc_id": 0}]
        paths = [
            lines(tmp_path / "samples_a.jsonl", first),
            lines(tmp_path / "samples_b.jsonl", second),
        ]
        log = import_log("lm-eval", paths, ImportOptions(arms=("one", "two"))).log
        assert log.arm_names == ["one", "two"]
        np.testing.assert_array_equal(log.grid(), [[1, NAN], [0, 1]])

    def test_a_document_without_a_question_is_left_out(self, tmp_path: Path) -> None:
        other = {**self.sample(1, 1.0), "doc": {"picture": "x"}}
        path = lines(tmp_path / "samples_a.jsonl", [self.sample(0, 1.0), other])
        reading = import_log("lm-eval", [path])
        assert reading.log.texts == ["what is 0?"]
        assert [problem.line for problem in reading.problems] == [2]
        assert "there are picture; name one with --query-field" in reading.problems[0].reason

    def test_multiple_choice_and_metrics(self, tmp_path: Path) -> None:
        record = {
            "doc_id": 3,
            "doc": {"query": "sky?", "choices": {"text": ["red", "blue"], "label": ["A", "B"]}},
            "arguments": [["sky?", " red"], ["sky?", " blue"]],
            "resps": [[["-1.0", "False"]], [["-0.1", "True"]]],
            "acc": 1.0,
            "acc_norm": 0.0,
        }
        path = lines(tmp_path / "samples_arc.jsonl", [record, {"other": 1}])
        reading = import_log("lm-eval", [path])
        assert reading.log.texts == ["sky?\nA. red\nB. blue"]
        assert reading.log.outcome.tolist() == [1]
        assert [problem.line for problem in reading.problems] == [2]
        log = import_log("lm-eval", [path], ImportOptions(metric="acc_norm")).log
        assert log.outcome.tolist() == [0]
        with pytest.raises(BadLog, match="no metric 'f1'"):
            import_log("lm-eval", [path], ImportOptions(metric="f1"))
        unknown = lines(tmp_path / "samples_x.jsonl", [{"doc_id": 0, "doc": {"a": "b"}, "acc": 1}])
        with pytest.raises(BadLog, match="there are a; name one with --query-field"):
            import_log("lm-eval", [unknown])
        log = import_log("lm-eval", [unknown], ImportOptions(query_fields=("a",))).log
        assert log.texts == ["b"]


JUNK = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3) | st.just([]) | st.just({})
)


def spoiled(value: Any, data: st.DataObject) -> Any:
    """The value with one part of it, drawn, replaced by something else."""
    if isinstance(value, dict | list) and value and data.draw(st.integers(0, 5)):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = data.draw(st.sampled_from(keys))
        copy = value.copy()
        copy[key] = spoiled(value[key], data)
        return copy
    return data.draw(JUNK)


class TestSpoiledFiles:
    """Whatever is in a file, it is read, or refused in a sentence."""

    @pytest.mark.parametrize("tool", ["promptfoo", "lm-eval", "inspect", "treeward"])
    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def test_any(self, tmp_path: Path, tool: str, data: st.DataObject) -> None:
        promptfoo = TestPromptfoo()
        records: dict[str, Any] = {
            "promptfoo": promptfoo.export(
                [promptfoo.result(0, 0, "a"), promptfoo.result(1, 0, "a")]
            ),
            "lm-eval": TestLmEval().sample(0, 1.0),
            "inspect": inspect_log("Now: {prompt}", ["C", "I"]),
            "treeward": TestTraces().trace("a", True, "4 5 -> 9\n"),
        }
        path = document(tmp_path / "file.json", spoiled(records[tool], data))
        try:
            log = import_log(tool, [path]).log
        except BadLog:
            return
        assert len(log.outcome)


class TestTraces:
    """treeward's own traces."""

    def trace(self, name: str, right: bool | None, prompt: str, **more: Any) -> dict[str, Any]:
        usage = {"policy_tokens": 12, "seconds": 0.5}
        known = {"format": "treeward-trace", "version": 1, "error": None}
        return {**known, "id": name, "prompt": prompt, "right": right, "usage": usage, **more}

    def test_cells(self, tmp_path: Path) -> None:
        plain = [self.trace("a", True, "4 5 -> 9\n"), self.trace("b", False, "1 2 -> 3\n")]
        words = [
            self.trace("a", False, "Please: 4 5 -> 9\n"),
            self.trace("b", None, "Please: 1 2 -> 3\n"),
            self.trace("c", True, "Please: 1 1 -> 2\n", error="no room"),
            self.trace("d", True, "Please: 1 3 -> 4\n", status="interrupted"),
        ]
        paths = [
            lines(tmp_path / "plain.jsonl", plain),
            lines(tmp_path / "words.jsonl", words),
        ]
        queries = [{"id": "a", "query": "four and five"}, {"id": "b", "query": "one and two"}]
        options = ImportOptions(queries=lines(tmp_path / "q.jsonl", queries))
        reading = import_log("treeward", paths, options)
        log = reading.log
        assert log.arm_names == ["plain", "words"]
        assert log.texts == ["four and five", "one and two"]
        np.testing.assert_array_equal(log.grid(), [[1, 0], [0, NAN]])
        assert (set(log.tokens), set(log.latency)) == ({12.0}, {0.5})
        assert [problem.line for problem in reading.problems] == [2, 3, 4]
        log = import_log("treeward", paths[:1], ImportOptions(arms=("p",))).log
        assert (log.texts, log.arm_names) == (["4 5 -> 9", "1 2 -> 3"], ["p"])

    def test_chats(self, tmp_path: Path) -> None:
        chats = [
            self.trace(name, True, "", messages=[{"role": "user", "content": f"What is {name}?"}])
            for name in "ab"
        ]
        log = import_log("treeward", [lines(tmp_path / "plain.jsonl", chats)]).log
        assert log.texts == ["What is a?", "What is b?"]

    def test_lines_of_queries_that_cannot_be_used(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "plain.jsonl", [self.trace("a", True, "4 5 -> 9\n")])
        queries = lines(
            tmp_path / "q.jsonl", [{"id": "a", "query": "four"}, {"query": "one"}, {"id": "b"}]
        )
        with queries.open("a") as file:
            file.write("{\n")
        reading = import_log("treeward", [path], ImportOptions(queries=queries))
        assert (reading.log.texts, reading.rows) == (["four"], 1)
        assert [str(problem) for problem in reading.problems] == [
            "line 2: q.jsonl: no 'id'",
            "line 3: q.jsonl: no text of a query",
            "line 4: q.jsonl: not JSON",
        ]

    def test_one_id_with_two_texts(self, tmp_path: Path) -> None:
        """Problems without an id are numbered: record-1 of two files need not be one problem."""
        texts = ("4 5 -> 9\n", "1 2 -> 3\n")
        paths = [
            lines(tmp_path / f"{i}.jsonl", [self.trace("record-1", True, text)])
            for i, text in enumerate(texts)
        ]
        with pytest.raises(
            BadLog, match=r"'record-1' of 1\.jsonl has another text than in 0\.jsonl"
        ):
            import_log("treeward", paths)
        assert import_log("treeward", [paths[0], paths[0]]).log.run.tolist() == [0, 1]

    def test_other_files(self, tmp_path: Path) -> None:
        with pytest.raises(BadLog, match="holds no trace"):
            import_log("treeward", [lines(tmp_path / "a.jsonl", [{"id": 1}])])
        path = lines(tmp_path / "b.jsonl", [self.trace("a", True, "x", version=2)])
        with pytest.raises(BadLog, match="a trace of version 2"):
            import_log("treeward", [path])
        with pytest.raises(BadLog, match="1 prompts are named for 2 files"):
            import_log("treeward", [path, path], ImportOptions(arms=("a",)))

    def test_written_by_a_search(self, run: Run, tmp_path: Path) -> None:
        path = tmp_path / "greedy.jsonl"
        words = ["--algorithm", "greedy", "--reward", "none", "--threads", "1", "--trace"]
        code, out, _ = run("solve", "4 5 6 10", *words, str(path), "--json")
        result = json.loads(out)["results"][0]
        log = import_log("treeward", [path]).log
        assert log.outcome.tolist() == [float(result["right"])]
        assert log.texts == [result["prompt"].strip()]
        assert log.tokens.tolist() == [result["usage"]["policy_tokens"]]
        assert code == 0


class TestWriting:
    """What is written is read back as it was."""

    @pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
    def test_round_trip(self, tmp_path: Path, ending: str) -> None:
        log = PromptLog(
            "mine",
            (Query("q1", "öne\n\ud800", "g", "train"), Query("q2", "two", "g")),
            (Arm("b", "Say: \ud83d"), Arm("a")),
            np.array([0, 1, 0, 0]),
            np.array([1, 0, 0, 0]),
            np.array([1 / 3, 0, 1, 0.5]),
            run=np.array([0, 0, 0, 5]),
            cost=np.array([NAN, 0.1, 2.0, NAN]),
            propensity=np.array([0.5, NAN, 1.0, 1e-9]),
        )
        write_log(log, tmp_path / f"log{ending}")
        read = read_log(tmp_path / f"log{ending}").log
        assert (read.name, read.queries, read.arms) == (log.name, log.queries, log.arms)
        names = ("query", "arm", "outcome", "run", "cost", "tokens", "latency", "propensity")
        for name in names:
            np.testing.assert_array_equal(getattr(read, name), getattr(log, name))
        with pytest.raises(BadLog, match=r"not to log\.csv"):
            write_log(log, tmp_path / "log.csv")
        with pytest.raises(BadLog, match="cannot write"):
            write_log(log, tmp_path / "missing" / "log.jsonl")


class TestCommand:
    """``treeward prompt import``."""

    def test_import(self, run: Run, tmp_path: Path) -> None:
        sample = TestLmEval().sample
        first = lines(tmp_path / "samples_a.jsonl", [sample(0, 1.0), {"x": 1}])
        second = lines(tmp_path / "samples_b.jsonl", [sample(0, 0.0)])
        out = tmp_path / "log.jsonl"
        words = [str(first), str(second), "--from", "lm-eval", "--out", str(out)]
        code, text, err = run("prompt", "import", *words, "--json")
        record = json.loads(text)
        assert (code, err) == (0, "")
        assert (record["cells"], record["arms"], record["problems"]) == (2, ["a", "b"], 1)
        assert read_log(out).log.grid().tolist() == [[1, 0]]
        prompts = document(tmp_path / "prompts.json", {"a": "Now:"})
        code, text, err = run(
            "prompt", "import", *words, "--prompts", str(prompts), "--arm", "a", "--arm", "z"
        )
        assert code == 0
        assert "2 cells, 1 queries, 2 prompts" in text
        assert "1 could not be used" in err
        assert [arm.text for arm in read_log(out).log.arms] == ["Now:", "Q: {query}\nA:"]

    def test_errors(self, run: Run, tmp_path: Path) -> None:
        for words, reason in (
            (["a.json", "--from", "helm", "--out", "x.jsonl"], "unknown tool 'helm'"),
            (["a.json", "--from", "promptfoo", "--out", "x.jsonl"], "cannot read a.json"),
        ):
            code, out, err = run("prompt", "import", *words)
            assert (code, out) == (2, "")
            assert err.startswith("treeward: ")
            assert reason in err

    @pytest.mark.parametrize("tool", ["promptfoo", "lm-eval", "inspect", "treeward"])
    def test_damaged_gzip(self, run: Run, tmp_path: Path, tool: str) -> None:
        whole = bytearray(gzip.compress(b'{"a": 1}\n' * 99))
        whole[10] = 0xFF  # a block of no known type
        (tmp_path / "a.jsonl").write_bytes(whole)
        out = tmp_path / "out.jsonl"
        code, _, err = run("prompt", "import", tmp_path / "a.jsonl", "--from", tool, "--out", out)
        assert code == 2
        assert "a.jsonl is not a complete gzip file (" in err
        assert err.count("\n") == 1
