"""Traces: plain JSON lines from which the tree can be read back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import tiny_search
from tiny_search import ALGORITHMS, PROBLEMS, ToyVerifier, by_id, engine

from prompt_oirl.apply import query_of_trace
from search import Budget, Problem, SearchResult
from search.algorithms import describe
from search.budget import Ledger
from search.errors import TreewardError
from search.graph import tree_graph
from search.trace import FORMAT, TraceWriter, result_record, trace_record


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module", params=ALGORITHMS)
def written(
    request: pytest.FixtureRequest, folders: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, SearchResult], list[dict[str, Any]]]:
    search = engine(folders, request.param, verifier=ToyVerifier(right="a"))
    path = tmp_path_factory.mktemp("traces") / "trace.jsonl"
    results = by_id(search, [*PROBLEMS[:4], Problem("Ω?", id="bad")])
    with TraceWriter(path) as writer:
        for result in results.values():
            writer.write(result)
    return results, [strict(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_one_line_a_problem(written: Any) -> None:
    results, records = written
    assert [record["id"] for record in records] == list(results)
    for record in records:
        assert (record["format"], record["version"]) == (FORMAT, 1)
    failed = next(record for record in records if record["id"] == "bad")
    assert failed["status"] == "failed"
    assert failed["nodes"] == []
    assert "cannot read" in failed["error"]


def test_parents_come_before_children(written: Any) -> None:
    for record in written[1]:
        for row, node in enumerate(record["nodes"]):
            assert -1 <= node["parent"] < row or row == 0
            assert (node["parent"] == -1) == (row == 0)
            assert (node["finish"] is None) == (row == 0)


def test_texts_and_tokens_join_to_the_result(written: Any, folders: Path) -> None:
    model = tiny_search.policy(folders)
    for record in written[1]:
        texts: list[str] = []
        paths: list[list[int]] = []
        for node in record["nodes"]:
            before = node["parent"]
            texts.append((texts[before] if before >= 0 else "") + node["text"])
            paths.append(paths[before] + node["tokens"] if before >= 0 else [])
            assert model.decode(paths[-1]) == texts[-1]
        assert record["status"] == "failed" or record["text"] in texts
        parents = {node["parent"] for node in record["nodes"]}
        leaves = [i for i in range(1, len(paths)) if i not in parents]
        assert len({tuple(paths[i]) for i in leaves}) == len(leaves)


def test_the_prompt_is_the_first_row(written: Any, folders: Path) -> None:
    model = tiny_search.policy(folders)
    for record in written[1]:
        problem = Problem(record["prompt"])
        assert record["messages"] is None
        if record["nodes"]:
            assert record["nodes"][0]["tokens"] == model.encode(problem)
            assert record["nodes"][0]["text"] == ""


def test_the_settings_are_there(written: Any, folders: Path) -> None:
    results, records = written
    for record in records:
        run = record["run"]
        assert run["model"] == tiny_search.policy(folders).name
        assert run["reward"] == tiny_search.reward(folders).spec.name
        assert (run["verifier"], run["judge"], run["seed"]) == ("toy", True, 0)
        assert run["budget"] == {
            "policy_tokens": 300,
            "reward_tokens": None,
            "nodes": None,
            "seconds": None,
        }
        given = tiny_search.OPTIONS[run["algorithm"]]
        assert {name: run["options"][name] for name in given} == given
        assert set(run["options"]) == set(describe(run["algorithm"]))
        assert run["rules"]["delimiters"] == ["\n"]
        assert run["sampling"]["top_k"] == (0 if run["algorithm"] == "guided" else 64)
        assert run == results[record["id"]].run


def test_settings_that_are_no_json(folders: Path) -> None:
    budget = Budget(policy_tokens=np.int64(60), seconds=math.inf)
    rules = replace(tiny_search.RULES, delimiters=((11,), "\n"))
    run = engine(folders, "greedy", budget=budget, rules=rules).solve(PROBLEMS[0]).run
    assert strict(json.dumps(run, allow_nan=False)) == run
    assert (run["budget"]["policy_tokens"], run["budget"]["seconds"]) == (60, None)
    assert run["rules"]["delimiters"] == [[11], "\n"]


def test_a_chat_keeps_its_messages(tmp_path: Path) -> None:
    folder = tiny_models.make(tmp_path / "policy")
    tokens = tiny_models.tokenizer()
    tokens.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    tokens.save_pretrained(folder)
    policy = tiny_models.policy.__wrapped__(folder)
    chat = Problem("", id="chat", messages=({"role": "user", "content": "abc\n"},))
    result = engine(tmp_path, "greedy", model=policy, reward=None).solve(chat)
    record = strict(json.dumps(trace_record(result)))
    assert record["messages"] == list(chat.messages or ())
    assert record["nodes"][0]["tokens"] == policy.encode(chat)
    assert tree_graph(result).graph["messages"] == record["messages"]
    assert query_of_trace(record) == "abc"
    for damaged in ("abc", 5, [5], [{"role": "user"}], [{"role": "system", "content": "a"}]):
        assert query_of_trace({**record, "messages": damaged}) == ""


def test_numbers_agree_with_the_tree(written: Any) -> None:
    results, records = written
    for record in records:
        ledger = results[record["id"]].ledger
        usage = record["usage"]
        assert usage["policy_tokens"] == ledger.policy.computed
        assert usage["nodes"] == max(0, len(record["nodes"]) - 1)
        for node in record["nodes"][1:]:
            assert node["logprob"] <= 0
            assert node["score"] is not None
            assert node["visits"] >= 0
            if node["answer"] is not None:
                assert node["finish"] == "eos"


def test_a_number_that_is_none_is_null() -> None:
    result = SearchResult(Problem("a"), "finished", Ledger(), score=math.nan)
    result.votes = [("x", math.inf)]
    record = strict(json.dumps(result_record(result), allow_nan=False))
    assert record["score"] is None
    assert record["votes"] == [["x", None]]
    assert trace_record(result)["nodes"] == []


def test_a_score_of_zero_stays_zero() -> None:
    result = SearchResult(Problem("a"), "finished", Ledger(), score=0.0)
    assert result_record(result)["score"] == 0.0


def test_what_is_done_is_kept_when_a_run_breaks_off(folders: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    writer = TraceWriter(path)
    writer.write(engine(folders, "greedy", budget=Budget()).solve(PROBLEMS[0]))
    assert strict(path.read_text())["id"] == "p0"  # before it is closed
    writer.__exit__()


def test_a_file_is_kept_until_there_is_a_result(folders: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text("kept")
    with TraceWriter(path) as writer:
        assert path.read_text() == "kept"
        writer.write(engine(folders, "greedy", budget=Budget()).solve(PROBLEMS[0]))
    assert strict(path.read_text())["id"] == "p0"
    with TraceWriter(tmp_path / "new.jsonl"):
        pass
    assert not (tmp_path / "new.jsonl").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_disk_that_is_full(folders: Path) -> None:
    result = engine(folders, "greedy", budget=Budget()).solve(PROBLEMS[0])
    full = pytest.raises(TreewardError, match="cannot write /dev/full: No space left")
    with full, TraceWriter("/dev/full") as writer:
        writer.write(result)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(TreewardError, match=r"cannot write .*: "):
        TraceWriter(tmp_path / "missing" / "trace.jsonl")
    with pytest.raises(TreewardError, match="cannot write"):
        TraceWriter(tmp_path)
