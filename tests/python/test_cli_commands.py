"""What the commands print when all is well."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from command_line import Run
from test_cli_errors import common, model  # noqa: F401  (fixtures)

import search
from reward_bridge.aggregation import aggregator
from search import Problem, SearchResult, bundled
from search.budget import Ledger
from search.cli import main, render
from search.cli.assemble import unescaped
from search.interfaces import StepRules
from search.problem import read_problems, with_unique_ids
from search.result import StepOfPath

BUNDLED = len(bundled.available()) == 2


@pytest.mark.parametrize("command", ["solve", "evaluate", "info"])
def test_help_of_every_command_has_an_example(run: Run, command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"treeward {command}" in out.split("Example:")[1]


def test_help_lists_the_commands_and_an_example(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for word in ("solve", "evaluate", "info", "Example:"):
        assert word in out


def test_info_is_json(run: Run) -> None:
    code, out, _ = run("info", "--json")
    record = json.loads(out)
    assert code == 0
    assert record["simd_level"] in record["simd_levels"]
    assert set(record["models"]) == set(bundled.available())
    assert record["treeward"] == version("treeward") == search.__version__
    assert record.get("native") != ""
    code, out, _ = run("info")
    assert code == 0
    assert record["simd_level"] in out


def test_solve_a_file_as_json_with_a_trace(
    run: Run,
    common: list[str],  # noqa: F811
    folders: Path,
    tmp_path: Path,
) -> None:
    reward = tiny_models.made(
        folders, characters=tiny_models.PUZZLE, head="TokenClassification", num_labels=2
    )
    words = [*common, "--json", "--budget-tokens", "100", "--algorithm", "beam"]
    words[words.index("--reward") + 1] = str(reward)
    path, trace = tmp_path / "problems.jsonl", tmp_path / "trace.jsonl"
    path.write_text('{"numbers": [4, 1, 6, 1]}\n{"numbers": [3, 5], "target": 8, "id": "sum"}\n')
    code, out, err = run("solve", "--file", str(path), "--trace", str(trace), *words)
    assert (code, err) == (0, "")
    results = json.loads(out)["results"]
    assert [result["id"] for result in results] == ["record-1", "sum"]
    for result in results:
        assert 0 < result["usage"]["policy_tokens"] <= 100
        assert result["usage"]["reward_tokens"] > 0
        assert "answer" not in result["prompt"]
    records = [json.loads(line) for line in trace.read_text().splitlines()]
    texts = {result["id"]: result["text"] for result in results}
    assert {record["id"]: record["text"] for record in records} == texts
    code, again, _ = run("solve", "--file", str(path), *words)
    texts = {result["id"]: result["text"] for result in json.loads(again)["results"]}
    assert texts == {result["id"]: result["text"] for result in results}


@pytest.mark.parametrize("text", ["1 1", "2024", "1 1 4 6 -> 24"])
def test_a_typed_prompt_is_taken_as_it_is(run: Run, common: list[str], text: str) -> None:  # noqa: F811
    words = ["solve", text, *common, "--budget-tokens", "60", "--json"]
    code, out, _ = run(*words)
    assert code == 0
    assert json.loads(out)["results"][0]["prompt"] == text


def test_a_typed_puzzle_for_a_model_of_ones_own(run: Run, common: list[str]) -> None:  # noqa: F811
    words = ["solve", *common, "--budget-tokens", "60", "--json", "--puzzle"]
    code, out, _ = run(*words, "1 1")
    assert code == 0
    assert json.loads(out)["results"][0]["prompt"] == "1 1 -> 24\n"
    code, out, err = run(*words, "--file", "puzzles.jsonl")
    assert code == 2
    assert "--puzzle goes with a typed problem" in err


@pytest.mark.skipif(not BUNDLED, reason="the bundled models are not here")
def test_a_right_answer_that_was_drawn_is_given(run: Run) -> None:
    """Although the budget ends before its task has all its draws."""
    words = ["--algorithm", "beam", "--budget-tokens", "100", "--threads", "1", "--json"]
    code, out, _ = run("solve", "4 5 10 12", *words)
    (result,) = json.loads(out)["results"]
    assert (code, result["right"], result["limit"]) == (0, True, "policy_tokens")


def test_a_model_of_ones_own_has_no_reward_and_its_delimiters_are_read(
    run: Run,
    common: list[str],  # noqa: F811
) -> None:
    words = ["--model", common[common.index("--model") + 1], "--threads", "1", "--json"]
    budget = ["--budget-tokens", "60", "--algorithm", "best_of_n", "--option", "n=1", "--seed", "2"]
    paths = []
    for delimiter in (r"\n", "\n", " "):
        code, out, _ = run("solve", "1 1 4", *words, *budget, "--delimiter", delimiter)
        assert code == 0
        (result,) = json.loads(out)["results"]
        assert result["usage"]["reward_tokens"] == 0
        assert result["score"] is None
        paths.append((result["text"], [step["text"] for step in result["steps"]]))
    assert paths[0] == paths[1] != paths[2]
    assert len(paths[0][1]) > 1


@pytest.mark.parametrize(
    "command",
    [
        ["solve", "1 1 4 6 -> 24", "--puzzle", "--algorithm", "greedy"],
        ["evaluate", "--limit", "1", "--algorithms", "greedy"],
    ],
)
def test_code_that_comes_with_a_model_runs_where_it_is_trusted(
    run: Run, tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # transformers copies such code to the home folder and imports it from there.
    modules = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.startswith("transformers_modules")]:
        monkeypatch.delitem(sys.modules, name)
    folder = tiny_models.make(tmp_path / "model", characters=tiny_models.PUZZLE)
    tiny_models.edit_config(
        folder,
        model_type="homemade",
        architectures=["HomemadeForCausalLM"],
        auto_map={
            "AutoConfig": "homemade.HomemadeConfig",
            "AutoModelForCausalLM": "homemade.HomemadeForCausalLM",
        },
    )
    proof = tmp_path / "ran"
    (folder / "homemade.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n\n"
        f"open({str(proof)!r}, 'w').close()\n\n"
        "class HomemadeConfig(LlamaConfig):\n    model_type = 'homemade'\n\n"
        "class HomemadeForCausalLM(LlamaForCausalLM):\n    config_class = HomemadeConfig\n"
    )
    words = ["--model", str(folder), "--reward", "none", "--threads", "1", "--json"]
    budget = ["--budget-tokens", "400"]
    code, _, err = run(*command, *words, *budget)
    assert (code, proof.exists()) == (2, False)
    assert "--trust-remote-code" in err
    code, out, err = run(*command, *words, *budget, "--trust-remote-code")
    assert code == 0, err
    assert proof.exists()
    assert len(next(iter(json.loads(out).values()))) == 1


def test_signs_of_a_typed_text_are_read() -> None:
    for typed, text in [(r"\n\n", "\n\n"), (r"a\tb", "a\tb"), (r"\\n", r"\n"), (r"\x", r"\x")]:
        assert unescaped(typed) == text


def test_ids_do_not_depend_on_blank_lines_and_given_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    records = ['{"numbers": [4, 1]}', '{"numbers": [4, 1], "id": "a"}', '{"numbers": [4, 2]}']
    read = []
    for between in ("\n", "\n\n", "\n  \n"):
        path.write_text("\n" + between.join(records))
        read.append([problem.id for problem in read_problems(path)[0]])
    assert read == [["record-1", "a", "record-3"]] * 3
    for given, unique in [
        (["a", "a", "a#2"], ["a", "a#3", "a#2"]),
        (["a#2", "a", "a", "a"], ["a#2", "a", "a#3", "a#4"]),
        (["a", "a", "a#2", "a#2"], ["a", "a#3", "a#2", "a#2#2"]),
    ]:
        named = list(with_unique_ids([Problem("1", id=name) for name in given]))
        assert [problem.id for problem in named] == unique
        assert list(with_unique_ids(named)) == named


def test_solve_prints_a_tree(run: Run, common: list[str]) -> None:  # noqa: F811
    code, out, err = run("solve", "1 1 4 6 -> 24\n", *common, "--budget-tokens", "80")
    assert (code, err) == (0, "")
    assert "1 1 4 6 -> 24" in out
    assert "policy 80 tokens" in out
    assert "stopped by the budget of policy_tokens" in out


def test_solve_with_compiled_models(run: Run, common: list[str]) -> None:  # noqa: F811
    words = ["solve", "1 1 4 6 -> 24", *common, "--budget-tokens", "60", "--json"]
    answers = []
    for more in ([], ["--compile"]):
        code, out, err = run(*words, *more)
        assert (code, err) == (0, "")
        answers.append(json.loads(out)["results"][0]["text"])
    assert answers[0] == answers[1]


def test_evaluate_prints_rows_or_a_table(run: Run, common: list[str]) -> None:  # noqa: F811
    words = ["evaluate", "--limit", "3", "--algorithms", "greedy,best_of_n", *common]
    words += ["--budget-tokens", "60,90"]
    code, out, err = run(*words, "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out)["rows"]
    assert [row["budget_tokens"] for row in rows] == [60, 60, 90, 90]
    code, out, err = run(*words, "--no-verifier")
    assert (code, err) == (0, "")
    assert "best_of_n" in out


@pytest.mark.parametrize("command", ["solve", "evaluate"])
def test_steps_and_values_are_as_asked(
    run: Run,
    common: list[str],  # noqa: F811
    command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[dict[str, Any]] = []

    class Recorded(search.Search):
        def __init__(self, *parts: Any, **settings: Any) -> None:
            made.append(settings)
            super().__init__(*parts, **settings)

    monkeypatch.setattr("search.engine.Search", Recorded)
    monkeypatch.setattr("search.evaluation.run.Search", Recorded)
    words = {"solve": ["solve", "1 2 3 4"], "evaluate": ["evaluate", "--limit", "1"]}[command]
    words += ["--delimiter", r"4\n", "--step-regex", "=", "--max-step-tokens", "7"]
    code, _, err = run(*words, "--aggregate", "min", "--budget-tokens", "60", *common)
    assert (code, err) == (0, "")
    assert made
    for settings in made:
        assert settings["rules"] == StepRules(("4\n",), "=", 7)
        assert settings["aggregate"] is aggregator("min")


def a_result(text: str) -> SearchResult:
    result = SearchResult(Problem(text), "finished", Ledger(), answer=text, right=True)
    result.steps.append(StepOfPath(text, -0.1, None, None, 1))
    return result


class TestTexts:
    """Texts of problems and models on a terminal."""

    @pytest.mark.parametrize(
        "text", [r"Solve \[/b] now", r"so \[x=5\] holds", "a :100: b :smile:", "[red]x", "end\\"]
    )
    def test_no_text_is_markup(self, capsys: pytest.CaptureFixture[str], text: str) -> None:
        render.print_results([a_result(text)])
        assert capsys.readouterr().out.count(text) == 3

    def test_a_stream_that_lacks_a_sign(self, monkeypatch: pytest.MonkeyPatch) -> None:
        out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "argv", ["treeward", "info"])
        monkeypatch.setattr(
            "search.cli.info.collect", lambda: render.print_results([a_result("4 + 5 → 9")]) or {}
        )
        with pytest.raises(SystemExit, match="0"):
            main()
        assert out.buffer.getvalue().startswith(b"4 + 5 \\u2192 9")  # type: ignore[attr-defined]
        assert b"\\u2713" in out.buffer.getvalue()  # type: ignore[attr-defined]


CHECK = """
import sys, time
started = time.perf_counter()
import search
seconds = time.perf_counter() - started
heavy = sorted({"torch", "transformers", "numpy", "vllm", "rich"} & set(sys.modules))
search.Budget(policy_tokens=5), search.Problem("a"), search.StepRules()
heavy += sorted({"torch", "transformers", "vllm"} & set(sys.modules))
print(seconds, heavy)
"""


def test_importing_is_fast_and_brings_in_no_model_library() -> None:
    out = subprocess.run(
        [sys.executable, "-c", CHECK], capture_output=True, text=True, check=True
    ).stdout
    seconds, heavy = out.split(" ", 1)
    assert heavy.strip() == "[]"
    assert float(seconds) < 1.0


def test_help_brings_in_no_model_library() -> None:
    code = (
        "import sys\nfrom search.cli import main\n"
        "sys.argv = ['treeward', 'solve', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert out.strip().splitlines()[-1] == "[]"


@pytest.mark.skipif(not BUNDLED, reason="the bundled models are not there")
def test_solve_with_the_bundled_models(run: Run) -> None:
    code, out, err = run("solve", "1 1 4 6", "--json", "--threads", "1")
    assert (code, err) == (0, "")
    (result,) = json.loads(out)["results"]
    assert result["right"] is True
