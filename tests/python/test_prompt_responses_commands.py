"""``treeward prompt responses``: what fit, evaluate and select print, exit codes, and bad input."""

from __future__ import annotations

import gzip
import io
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run
from planted_logs import planted_log

from prompt_oirl.array_folder import checksum
from prompt_oirl.errors import BadLog
from prompt_oirl.responses.reading import read_responses
from prompt_oirl.responses.selector import ResponseSelector, fit_response_selector


@pytest.fixture
def run(run: Run) -> Run:
    """Runs ``treeward prompt responses``; returns (exit code, stdout, stderr)."""
    return partial(run, "prompt", "responses")


def made(queries: int, informative: bool = True, seed: int = 0) -> list[dict[str, Any]]:
    """Five responses a query, right with probability 0.4; careful words go with right ones."""
    rng = np.random.default_rng(seed)
    rows = []
    for q in range(queries):
        for _ in range(5):
            right = bool(rng.random() < 0.4)
            careful = right if informative and rng.random() < 0.8 else bool(rng.random() < 0.5)
            start = "Checking each step with care," if careful else "Guessing quickly,"
            number = q + 1 if right else q + int(rng.integers(2, 4))
            text = f"{start} the answer is {number}"
            rows.append({"question": f"{q} + 1", "thoughts": text, "correct": int(right)})
    return rows


def written(path: Path, rows: list[Any]) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def sentence(result: tuple[int, str, str]) -> str:
    code, out, err = result
    assert (code, out) == (2, ""), err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("treeward: ")
    return lines[0]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("responses") / "made.jsonl", made(120))


@pytest.fixture(scope="module")
def folder(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("selectors") / "made"
    fit_response_selector(read_responses(file).responses).save(found)
    return found


ASKED = [
    {"query": "7 + 1", "responses": ["Guessing quickly, the answer is 9", "Checking, it is 8"]},
    {
        "query_id": "b",
        "query": "9 + 1",
        "responses": [
            {"response": "Guessing quickly, the answer is 12"},
            {"response": "Checking each step with care, the answer is 10"},
        ],
    },
]


@pytest.mark.parametrize("command", ["fit", "evaluate", "select"])
def test_help_has_an_example(run: Run, command: str) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert "Example:  treeward prompt responses" in out
    assert "--json" in out
    assert command == "select" or "--seed" in out


class TestRoundTrip:
    def test_fit_saves_what_select_reads(self, run: Run, file: Path, tmp_path: Path) -> None:
        out_folder = tmp_path / "new" / "selector"
        code, out, err = run("fit", file, "--out", out_folder, "--json")
        record = json.loads(out)
        assert (code, err) == (0, "")
        assert (record["queries"], record["responses"], record["known"]) == (120, 600, 600)
        assert (record["lines"], record["problems"]) == (600, 0)
        assert sorted(path.name for path in out_folder.iterdir()) == ["arrays.npz", "selector.json"]
        asked = written(tmp_path / "asked.jsonl", ASKED)
        code, out, err = run("select", asked, "--selector", out_folder, "--json", "--rule", "best")
        found = json.loads(out)
        assert (code, err) == (0, "")
        first, second = found["choices"]
        assert (second["query_id"], second["place"], second["answer"]) == ("b", 1, "10")
        assert second["response"] == ASKED[1]["responses"][1]["response"]
        assert second["score"] == max(second["scores"]) > 0.5
        assert first["query_id"] == first["query"] == "7 + 1"
        asked = written(tmp_path / "accents.jsonl", [ASKED[1] | {"query_id": "été"}])
        out = run("select", asked, "--selector", out_folder, "--json")[1]
        assert out.isascii()  # whatever the encoding of stdout

    @pytest.mark.parametrize("model", ["logistic", "boosting"])
    def test_the_same_scores_after_loading(self, file: Path, tmp_path: Path, model: str) -> None:
        responses = read_responses(file).responses
        selector = fit_response_selector(responses, model)
        selector.save(tmp_path)
        loaded = ResponseSelector.load(tmp_path)
        assert loaded.scores(responses).tolist() == selector.scores(responses).tolist()
        assert (loaded.name, loaded.about) == (model, selector.about)

    def test_two_fits_of_one_seed_are_the_same_bytes(
        self, run: Run, file: Path, tmp_path: Path
    ) -> None:
        for name in ("a", "b"):
            assert run("fit", file, "--out", tmp_path / name, "--seed", 3)[0] == 0
        heads = [(tmp_path / name / "selector.json").read_text() for name in ("a", "b")]
        assert heads[0] == heads[1]

    def test_words_for_people(
        self, run: Run, file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code, out, err = run("fit", file, "--out", tmp_path / "s")
        assert (code, err) == (0, "")
        assert out.startswith("600 responses to 120 queries, 600 of known correctness")
        asked = written(tmp_path / "asked.jsonl", ASKED)
        code, out, err = run("select", asked, "--selector", folder, "--rule", "best")
        assert (code, err) == (0, "")
        lines = [line.split("\t") for line in out.splitlines()]
        assert [line[1] for line in lines] == ["7 + 1", "b"]
        assert 0 <= float(lines[0][0]) <= 1
        one = written(tmp_path / "one.jsonl", ASKED[1:])
        text = "Checking each step with care, the answer is 10\n"
        assert run("select", one, "--selector", folder, "--rule", "best") == (0, text, "")
        stdin = io.TextIOWrapper(io.BytesIO(one.read_bytes()))
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run("select", "-", "--selector", folder, "--rule", "best") == (0, text, "")


class TestEvaluate:
    def test_what_can_be_learned_is_deployed(self, run: Run, file: Path) -> None:
        code, out, err = run("evaluate", file, "--json")
        record = json.loads(out)
        assert (code, err, record["verdict"]) == (0, "", "deploy")
        assert (record["queries"], record["left_out"], record["responses"]) == (120, 0, 600)
        gains = record["gain"]["vote"]
        for baseline in ("majority", "first"):
            difference = record["value"]["vote"] - record["value"][baseline]
            assert gains[baseline]["mean"] == pytest.approx(difference)
            assert 0 < gains[baseline]["ci95"][0] <= gains[baseline]["mean"]
        assert record["auc_within_query"] > 0.7

    def test_noise_is_not(self, run: Run, tmp_path: Path) -> None:
        path = written(tmp_path / "noise.jsonl", made(120, informative=False))
        code, out, _ = run("evaluate", path, "--rule", "best", "--json")
        record = json.loads(out)
        assert code in (3, 4)
        assert record["verdict"] == {3: "hold", 4: "insufficient evidence"}[code]

    def test_a_gain_beyond_reach_is_held(self, run: Run, tmp_path: Path) -> None:
        path = written(tmp_path / "noise.jsonl", made(120, informative=False))
        code, out, _ = run("evaluate", path, "--worthwhile", "0.9")
        assert code == 3
        assert "hold: a gain of 90 points is ruled out: over the majority of answers" in out

    def test_the_table(self, run: Run, file: Path) -> None:
        code, out, err = run("evaluate", file, "--rule", "best")
        assert (code, err) == (0, "")
        for words in ("learned, best response (judged)", "first response", "oracle", "deploy: "):
            assert words in out

    def test_the_seed_decides(self, run: Run, file: Path) -> None:
        found = [run("evaluate", file, "--json", "--seed", seed)[1] for seed in (0, 0, 1)]
        assert found[0] == found[1] != found[2]

    def test_unknown_responses_are_left_out(self, run: Run, tmp_path: Path) -> None:
        rows = made(60)
        del rows[0]["correct"]
        code, out, _ = run("evaluate", written(tmp_path / "r.jsonl", rows), "--json")
        record = json.loads(out)
        assert (record["queries"], record["left_out"]) == (59, 1)
        assert code in (0, 4)


class TestFormats:
    def test_lists_and_lines_say_the_same(self, tmp_path: Path) -> None:
        rows = made(12)
        lists = [
            {
                "query": rows[start]["question"],
                "responses": [row["thoughts"] for row in rows[start : start + 5]],
                "correct": [row["correct"] for row in rows[start : start + 5]],
            }
            for start in range(0, 60, 5)
        ]
        one = read_responses(written(tmp_path / "lines.jsonl", rows)).responses
        other = read_responses(written(tmp_path / "lists.jsonl", lists)).responses
        assert (one.text, one.answer, one.query_text) == (
            other.text,
            other.answer,
            other.query_text,
        )
        assert one.correct.tolist() == other.correct.tolist()
        assert one.query.tolist() == other.query.tolist()

    def test_an_answer_alone_is_the_text_and_names_may_be_given(self, tmp_path: Path) -> None:
        rows: list[dict[str, Any]] = [
            {"query": "q", "answer": "it is 4", "label": True},
            {"query": "q", "response": "so it is five", "answer": "5", "label": False},
        ]
        found = read_responses(written(tmp_path / "r.jsonl", rows)).responses
        assert (found.text, found.answer) == (("it is 4", "so it is five"), ("4", "5"))
        assert found.correct.tolist() == [1, 0]
        path = written(tmp_path / "s.jsonl", [{"q": "1", "r": "it is 4", "group": 7, "id": 3}])
        named = read_responses(path, mapping={"query": "q", "response": "r"}).responses
        assert (named.query_id, named.query_text, named.text) == (("3",), ("1",), ("it is 4",))

    def test_an_answer_for_each_response(self, tmp_path: Path) -> None:
        line = {"query": "q", "responses": ["four?", "five?", "who knows 7"]}
        path = tmp_path / "r.jsonl"
        found = read_responses(written(path, [line | {"answer": ["4", "$5", None]}])).responses
        assert found.answer == ("4", "5", None)
        one = {"query": "q", "response": "who knows 7", "final_answer": ""}
        assert read_responses(written(path, [one])).responses.answer == (None,)
        gold = line | {"answer": "4"}
        with pytest.raises(BadLog, match="'answer' is no list of 3, one for each response; is it"):
            read_responses(written(path, [gold]))
        found = read_responses(path, mapping={"answer": "NONE"}).responses
        assert found.answer == (None, None, "7")

    def test_compressed(self, tmp_path: Path, file: Path) -> None:
        path = tmp_path / "r.jsonl.gz"
        path.write_bytes(gzip.compress(file.read_bytes()))
        assert len(read_responses(path).responses.text) == 600

    def test_traces_are_judged_as_puzzles(self, run: Run, folder: Path, tmp_path: Path) -> None:
        steps = ["4 * 6 = 24 left 1 1 24\n", "1 * 1 = 1 left 1 24\n", "1 * 24 = 24 left 24\n"]
        nodes = [{"parent": -1, "text": "", "finish": None, "verdict": None, "answer": None}]
        for place, text in enumerate([*steps, "1 - 1 = 0 left 0 24\n", "0 * 24 = 0 left 0\n"]):
            parent = {3: 1}.get(place, place)
            finish = "eos" if place in (2, 4) else "stop"
            nodes.append({**nodes[0], "parent": parent, "text": text, "finish": finish})
        trace = {
            "format": "treeward-trace",
            "id": "a",
            "prompt": "1 1 4 6 -> 24\n",
            "nodes": nodes,
        }
        unfinished = {**trace, "id": "b", "nodes": nodes[:1]}
        path = written(tmp_path / "trace.jsonl", [trace, unfinished])
        from reward_bridge.verifiers import ArithmeticVerifier

        reading = read_responses(path, verifier=ArithmeticVerifier())
        assert reading.responses.correct.tolist() == [1, 0]
        assert [str(problem) for problem in reading.problems] == ["line 2: no path is finished"]
        code, out, err = run("select", path, "--selector", folder, "--json")
        assert code == 0
        assert "1 of 2 lines cannot be used" in err
        assert json.loads(out)["choices"][0]["query"] == "1 1 4 6 -> 24"


class TestBadInput:
    @pytest.mark.parametrize("command", ["fit", "evaluate"])
    def test_no_file_is_named(self, run: Run, command: str) -> None:
        assert "the bundled example has no texts of answers" in sentence(run(command))

    def test_files_that_cannot_be_used(self, run: Run, tmp_path: Path) -> None:
        def refusal(rows: list[Any]) -> str:
            return sentence(run("evaluate", written(tmp_path / "r.jsonl", rows)))

        assert "cannot read" in sentence(run("evaluate", tmp_path / "none.jsonl"))
        assert "is empty" in refusal([""])
        assert "no line of 1 can be used; line 1: no JSON object" in refusal(["3"])
        same = [row | {"correct": 1} for row in made(40)]
        assert "every response has correctness 1" in refusal(same)
        assert "every response is empty" in refusal([row | {"thoughts": ""} for row in made(4)])
        assert "20 needed" in refusal(made(3))
        named = [row | {"id": f"r{i}"} for i, row in enumerate(made(40))]
        assert "every query has one response" in refusal(named)
        unknown = [{"query": row["question"], "response": row["thoughts"]} for row in made(40)]
        assert "no query has only responses of known correctness" in refusal(unknown)
        one = [row | {"group": "g"} for row in made(40)]
        assert "cannot make 5 folds" in refusal(one)
        (tmp_path / "r.gz").write_bytes(gzip.compress(b"{}")[:-9])
        assert "not a complete gzip file" in sentence(run("evaluate", tmp_path / "r.gz"))

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("{", "no JSON object"),
            ({"response": "a", "correct": 1}, "no query (any of query, question"),
            ({"query": "a", "correct": 1}, "no response (any of response, thoughts"),
            ({"query": "a", "response": 3}, "'response' is missing or no text"),
            ({"query": " ", "response": "a"}, "'query' is empty"),
            ({"query": "a", "response": "b", "correct": 2}, "'correct' is 2, not in 0..1"),
            ('{"query": "a", "response": "b", "correct": NaN}', "'correct' is nan, not in 0..1"),
            ({"query": "a", "response": "b", "correct": "yes"}, "'correct' is 'yes'"),
            ({"query": "a", "responses": []}, "'responses' is no list with a response"),
            ({"query": "a", "responses": ["b"], "correct": [1, 0]}, "'correct' is no list of 1"),
            ({"query": "a", "id": "0 + 1", "response": "b"}, "query '0 + 1' has two texts"),
            ({"format": "treeward-trace", "id": "a"}, "a damaged trace"),
        ],
    )
    def test_a_malformed_line_is_named_and_the_rest_used(
        self, run: Run, tmp_path: Path, line: Any, reason: str
    ) -> None:
        path = written(tmp_path / "r.jsonl", [*made(30), line])
        code, out, err = run("fit", path, "--out", tmp_path / "s", "--json")
        assert code == 0
        assert json.loads(out)["problems"] == 1
        assert err.startswith("treeward: 1 of 151 lines cannot be used and are left out; ")
        assert f"line 151: {reason}" in err
        assert json.loads(out)["responses"] == 150

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--column", "respons=x"), "responses have no field 'respons'"),
            (("--column", "response"), "field=column"),
            (("--grader", "none"), "unknown grader 'none'"),
            (("--rule", "most"), "unknown rule of choice 'most'"),
            (("--model", "forest"), "unknown model of responses 'forest'"),
            (("--folds", "500"), "cannot make 500 folds"),
        ],
    )
    def test_options(self, run: Run, file: Path, words: tuple[str, ...], message: str) -> None:
        assert message in sentence(run("evaluate", file, *words))

    def test_selectors_that_are_none(self, run: Run, tmp_path: Path, folder: Path) -> None:
        asked = written(tmp_path / "asked.jsonl", ASKED)

        def refusal(**changes: Any) -> str:
            path = tmp_path / "s"
            path.mkdir(exist_ok=True)
            head = json.loads((folder / "selector.json").read_text()) | changes
            arrays = (folder / "arrays.npz").read_bytes()
            if "sha256" not in changes:
                head["sha256"] = checksum(head, arrays)
            (path / "selector.json").write_text(json.dumps(head))
            (path / "arrays.npz").write_bytes(arrays)
            return sentence(run("select", asked, "--selector", path))

        missing = sentence(run("select", asked, "--selector", tmp_path / "none"))
        assert "is no selector of responses: there is no selector.json" in missing
        assert "version 1 of the format; this treeward reads 2, fit it again" in refusal(version=1)
        assert "this is no selector of responses" in refusal(format="other")
        assert "was changed after the selector of responses was saved" in refusal(sha256="0")
        assert "unknown model 'forest'" in refusal(model="forest")
        assert "incomplete or damaged" in refusal(model="boosting")

    def test_a_selector_of_prompts_is_told_apart(self, run: Run, tmp_path: Path) -> None:
        from prompt_oirl.choice import Settings, fit_selector

        settings = Settings(models=("interaction",), folds=2, repeats=1, text_size=4, kind="mean")
        fit_selector(planted_log(60), settings).save(tmp_path / "prompts")
        asked = written(tmp_path / "asked.jsonl", ASKED)
        found = sentence(run("select", asked, "--selector", tmp_path / "prompts"))
        assert "no selector of responses but a selector of prompts" in found

    def test_a_selector_of_responses_is_no_selector_of_prompts(self, folder: Path) -> None:
        from prompt_oirl.choice import Selector
        from prompt_oirl.errors import BadArtefact

        with pytest.raises(BadArtefact, match="no selector of prompts"):
            Selector.load(folder)

    def test_a_folder_that_cannot_be_written(self, run: Run, file: Path, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("")
        assert "cannot write" in sentence(run("fit", file, "--out", tmp_path / "taken"))
