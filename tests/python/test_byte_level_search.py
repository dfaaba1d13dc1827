"""Whole searches over a byte-level vocabulary: where steps end, and what is read of them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import transformers

from search import Budget, Problem, Search, SearchResult, StepRules
from search.backends.token_texts import token_texts
from search.backends.transformers_model import TransformersLanguageModel
from search.trace import trace_record

OPTIONS: dict[str, dict[str, Any]] = {
    "best_of_n": {"n": 8},
    "beam": {"width": 4, "branching": 2, "rounds": 3},
    "best_first": {},
    "mcts": {},
}
PROBLEMS = tuple(
    Problem(text, id=f"p{i}") for i, text in enumerate(["so it is", "a b c\n", "∎ größer 4.", "1"])
)


@cache
def policy(folders: Path) -> TransformersLanguageModel:
    """A random model that likes tokens with line ends, whichever they are."""
    tokenizer = tiny_models.byte_level()
    texts = token_texts(tokenizer)
    folder = folders / "byte-level"
    config = transformers.AutoConfig.for_model(
        "phi",
        **{**tiny_models.ONE_KV, "vocab_size": len(tokenizer), "eos_token_id": 0},
    )
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        model.lm_head.bias[[i for i, text in enumerate(texts) if "\n" in text]] += 2.5
        model.lm_head.bias[0] += 2.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return TransformersLanguageModel(str(folder))


def solved(folders: Path, algorithm: str, rules: StepRules, **settings: Any) -> list[SearchResult]:
    search = Search(
        policy(folders),
        algorithm=algorithm,
        options=OPTIONS[algorithm],
        rules=rules,
        budget=Budget(policy_tokens=700),
        seed=5,
        **settings,
    )
    return sorted(search.solve_many(PROBLEMS), key=lambda result: result.problem.id)


def steps_of(result: SearchResult) -> list[dict[str, Any]]:
    return [node for node in trace_record(result)["nodes"] if node["tokens"] and node["finish"]]


@pytest.mark.parametrize("algorithm", OPTIONS)
@pytest.mark.parametrize("delimiters", [("\n\n",), ("\n", "4"), ("s so", ".\n")])
def test_a_step_ends_with_the_token_that_completes_a_delimiter(
    folders: Path, algorithm: str, delimiters: tuple[str, ...]
) -> None:
    texts = token_texts(policy(folders).tokenizer)
    spelled = {tuple(policy(folders).tokenizer(text)["input_ids"]) for text in delimiters}
    hidden = 0
    for result in solved(folders, algorithm, StepRules(delimiters=delimiters, max_step_tokens=24)):
        assert result.status != "failed", result.error
        for step in steps_of(result):
            text = "".join(texts[token] for token in step["tokens"])
            before = "".join(texts[token] for token in step["tokens"][:-1])
            assert not any(delimiter in before for delimiter in delimiters)
            assert (step["finish"] == "stop") == any(delimiter in text for delimiter in delimiters)
            hidden += step["finish"] == "stop" and not any(
                tuple(step["tokens"][-len(ids) :]) == ids for ids in spelled
            )
    assert hidden or delimiters == ("\n", "4")  # these two are tokens, and begin no longer ones


@pytest.mark.parametrize("algorithm", OPTIONS)
def test_texts_and_answers_are_those_of_the_whole_path(folders: Path, algorithm: str) -> None:
    model = policy(folders)
    finished = 0
    for result in solved(folders, algorithm, StepRules(max_step_tokens=12)):
        nodes = trace_record(result)["nodes"]
        for node in nodes[1:]:
            assert node["text"] == model.decode(node["tokens"])
        assert "".join(step.text for step in result.steps) == result.text
        finished += result.finished
    assert finished


@pytest.mark.parametrize("algorithm", OPTIONS)
def test_a_step_ends_where_the_regular_expression_is_found(folders: Path, algorithm: str) -> None:
    decode = policy(folders).decode
    pattern = re.compile(r"[.\d]\s*\n")
    rules = StepRules(delimiters=(), regex=pattern.pattern, max_step_tokens=24)
    stops = 0
    for result in solved(folders, algorithm, rules):
        for step in steps_of(result):
            found = pattern.search(decode(step["tokens"])) is not None
            assert (step["finish"] == "stop") == found
            assert not pattern.search(decode(step["tokens"][:-1]))
            stops += found
    assert stops


@pytest.mark.parametrize("algorithm", OPTIONS)
def test_company_changes_nothing(folders: Path, algorithm: str) -> None:
    rules = StepRules(delimiters=("\n\n",), max_step_tokens=16)
    alone = solved(folders, algorithm, rules, max_live=1)
    for result, other in zip(alone, solved(folders, algorithm, rules, max_live=4), strict=True):
        assert trace_record(result)["nodes"] == trace_record(other)["nodes"]
