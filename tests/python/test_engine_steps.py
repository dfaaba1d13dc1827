"""Where steps end, what is finished, and who may see a verdict."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import tiny_search
from tiny_search import ALGORITHMS, PROBLEMS, ToyVerifier, by_id, engine

from search import Budget, Problem, Sampling, SearchResult, StepRules
from search.errors import TreewardError
from search.puzzles.problems import puzzle_problem

EOS, BREAK = 2, 11


def nodes(result: SearchResult) -> list[tuple[list[int], str]]:
    tree = result.tree
    names = ("stop", "eos", "length")
    return [
        (
            [int(t) for t in tree["tokens"][tree["token_offset"][r] : tree["token_offset"][r + 1]]],
            names[int(tree["finish"][r])],
        )
        for r in range(1, len(tree["parent"]))
    ]


@pytest.mark.parametrize(
    "algorithm", ["greedy", "best_of_n", "beam", "best_first", "mcts", "accept"]
)
def test_a_delimiter_ends_the_step_it_closes(folders: Path, algorithm: str) -> None:
    seen = set()
    for result in by_id(engine(folders, algorithm)).values():
        for tokens, finish in nodes(result):
            seen.add(finish)
            assert tokens
            assert all(token not in (EOS, BREAK) for token in tokens[:-1])
            assert (finish == "stop") == (tokens[-1] == BREAK)
            assert (finish == "eos") == (tokens[-1] == EOS)
            if finish == "length":
                assert len(tokens) == 6 or result.tree["flags"] is not None
    assert seen >= ({"stop"} if algorithm == "greedy" else {"stop", "eos", "length"})


def test_steps_by_token_count(folders: Path) -> None:
    rules = StepRules(delimiters=(), max_step_tokens=3, max_path_tokens=30)
    for result in by_id(engine(folders, "beam", rules=rules), PROBLEMS[:4]).values():
        prompt = len(tiny_search.policy(folders).encode(result.problem))
        paths = tiny_search.node_paths(result, [0] * prompt)[1:]
        for (tokens, finish), path in zip(nodes(result), paths):
            assert finish in ("length", "eos")
            assert len(tokens) == 3 or finish == "eos" or len(path) == 30
            assert len(tokens) <= 3


def test_steps_by_regular_expression(folders: Path) -> None:
    rules = StepRules(delimiters=(), regex=r"[ab]$", max_step_tokens=8, max_path_tokens=40)
    stops = 0
    for result in by_id(engine(folders, "best_of_n", rules=rules), PROBLEMS[:6]).values():
        for tokens, finish in nodes(result):
            assert all(token not in (3, 4) for token in tokens[:-1])
            assert (finish == "stop") == (tokens[-1] in (3, 4))
            stops += finish == "stop"
    assert stops > 5


def test_a_malformed_regular_expression_is_one_sentence() -> None:
    for regex in ("([", "a{99999999999999999999}"):
        with pytest.raises(ValueError, match=re.escape(f"the step regex {regex!r} is malformed")):
            StepRules(regex=regex)


def test_a_delimiter_of_several_tokens(folders: Path) -> None:
    rules = StepRules(delimiters=("ab", (5, 5)), max_step_tokens=12, max_path_tokens=60)
    search = engine(folders, "best_of_n", rules=rules, options={"n": 40}, budget=Budget())
    stops = 0
    for result in by_id(search, PROBLEMS[:4]).values():
        for tokens, finish in nodes(result):
            pairs = [tuple(tokens[i : i + 2]) for i in range(len(tokens) - 1)]
            assert all(pair not in ((3, 4), (5, 5)) for pair in pairs[:-1])
            assert (finish == "stop") == (bool(pairs) and pairs[-1] in ((3, 4), (5, 5)))
            stops += finish == "stop"
    assert stops


def test_every_end_token_ends(tmp_path: Path) -> None:
    folder = tiny_models.make(tmp_path / "model", initializer_range=0.15, eos_token_id=[2, 7, 9])
    model = tiny_models.policy.__wrapped__(folder)
    assert model.end_tokens() == [2, 7, 9]
    search = engine(tmp_path, "best_of_n", model=model, reward=None, options={"n": 40})
    ends = set()
    for tokens, finish in nodes(search.solve(Problem("abc\n"))):
        assert all(token not in (2, 7, 9) for token in tokens[:-1])
        if finish == "eos":
            ends.add(tokens[-1])
        else:
            assert tokens[-1] not in (2, 7, 9)
    assert ends == {2, 7, 9}


def test_a_path_cut_by_length_is_not_finished(tmp_path: Path, folders: Path) -> None:
    model = tiny_search.policy(folders)
    prompt = len(model.encode(PROBLEMS[3]))
    rules = StepRules(delimiters=(), max_step_tokens=3, max_path_tokens=prompt + 5)
    search = engine(
        folders, "best_of_n", rules=rules, options={"n": 30}, verifier=ToyVerifier(right="")
    )
    result = search.solve(PROBLEMS[3])
    answers = result.tree["answer"].tolist()[1:]
    cut = [i for i, (_, finish) in enumerate(nodes(result)) if finish == "length"]
    assert cut
    assert all(answers[i] == -1 for i in cut)
    for path in tiny_search.node_paths(result, model.encode(PROBLEMS[3])):
        assert len(path) <= prompt + 5
    never = engine(
        folders, "greedy", rules=StepRules(delimiters=(), max_step_tokens=1, max_path_tokens=7)
    )
    for found in by_id(never, PROBLEMS[3:4]).values():
        assert found.finished == (nodes(found)[-1][1] == "eos")
        assert found.finished or found.answer is None


def test_an_answer_is_the_last_step_that_has_text(folders: Path) -> None:
    empty = 0
    search = engine(folders, "best_of_n", options={"n": 40}, budget=Budget(policy_tokens=2000))
    for result in by_id(search, PROBLEMS[:6]).values():
        assert all(text for text, _ in result.votes)
        assert result.answer != ""
        empty += sum(tokens == [EOS] for tokens, _ in nodes(result))
    assert empty


@pytest.mark.parametrize("algorithm", ["best_of_n", "beam", "mcts"])
def test_a_step_cut_by_length_is_read_whole_where_it_ends(folders: Path, algorithm: str) -> None:
    verifier = ToyVerifier(right="")
    rules = StepRules(max_step_tokens=2, max_path_tokens=40)
    search = engine(folders, algorithm, rules=rules, verifier=verifier)
    model = tiny_search.policy(folders)
    several = 0
    for problem in PROBLEMS[:6]:
        verifier.seen.clear()
        result = search.solve(problem)
        prompt = model.encode(problem)
        paths = tiny_search.node_paths(result, prompt)[1:]
        texts = {
            model.decode(path[len(prompt) :])
            for path, (_, finish) in zip(paths, nodes(result))
            if finish == "eos"
        }
        assert {"".join(steps) for _, steps in verifier.seen} == texts
        for _, steps in verifier.seen:
            assert all(step.endswith("\n") for step in steps[:-1])
            assert all("\n" not in step[:-1] for step in steps)
            several += any(len(step) > 3 for step in steps)
    assert several


@pytest.mark.parametrize("algorithm", ["best_of_n", "beam", "best_first", "mcts"])
def test_a_verified_answer_ends_the_search(folders: Path, algorithm: str) -> None:
    budget = Budget(policy_tokens=2000)
    options: dict[str, Any] = {"n": 0} if algorithm == "best_of_n" else {}
    settings = {"verifier": ToyVerifier(), "budget": budget, "options": options}
    for result in by_id(engine(folders, algorithm, **settings), PROBLEMS[:4]).values():
        assert (result.status, result.right, result.finished) == ("finished", True, True)
        assert result.answer
        assert result.ledger.policy.computed < 1000
        verdicts = result.tree["verdict"].tolist()
        # The steps under way when it was found may hold more.
        assert verdicts.count(1) >= 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_without_judging_no_verdict_is_ever_asked_for(folders: Path, algorithm: str) -> None:
    blind = engine(folders, algorithm, verifier=ToyVerifier(blind=True), judge=False)
    plain = engine(folders, algorithm)
    named, unnamed = by_id(blind, PROBLEMS[:5]), by_id(plain, PROBLEMS[:5])
    for name, result in named.items():
        assert result.right is None
        assert set(result.tree["verdict"].tolist()) == {-1}
        assert result.status != "failed"
        # It only names answers: the search is the one without a verifier.
        for field in ("tokens", "parent", "token_offset"):
            assert result.tree[field].tolist() == unnamed[name].tree[field].tolist()


def test_a_wrong_answer_does_not_end_the_search(folders: Path) -> None:
    wrong = ToyVerifier(right="")
    result = engine(folders, "mcts", verifier=wrong).solve(PROBLEMS[3])
    assert (result.status, result.limit) == ("budget", "policy_tokens")
    assert result.right is not True


def test_only_the_statement_reaches_a_search() -> None:
    problem = puzzle_problem([4, 5, 6, 10], 24)
    assert set(problem.facts) == {"numbers", "target"}
    assert problem.prompt == "4 5 6 10 -> 24\n"


def test_the_models_never_see_the_facts(folders: Path) -> None:
    plain = Problem("abc\n", id="p")
    told = Problem("abc\n", id="p", facts={"solution": "gggg"})
    trees = [tiny_search.shape(engine(folders, "mcts").solve(p)) for p in (plain, told)]
    assert trees[0] == trees[1]


def test_votes_drop_missing_answers(folders: Path) -> None:
    options = {"n": 60, "selection": "majority"}
    verifier = ToyVerifier(right="")
    result = engine(
        folders, "best_of_n", options=options, verifier=verifier, budget=Budget()
    ).solve(PROBLEMS[3])
    weights = [weight for _, weight in result.votes]
    assert weights == sorted(weights, reverse=True)
    answers = result.tree["answer"]
    draws = result.tree["draws"]
    assert sum(weights) == sum(int(d) for a, d in zip(answers, draws) if a >= 0) < 60
    assert len(result.votes) == len({text[:1] for text, _ in result.votes})


def test_temperature_zero_is_greedy(folders: Path) -> None:
    cold = Sampling(temperature=0.0)
    sampled = engine(folders, "best_of_n", sampling=cold, options={"n": 3}, reward=None)
    greedy = engine(folders, "greedy", reward=None)
    for problem in PROBLEMS[:4]:
        assert sampled.solve(problem).text == greedy.solve(problem).text


def test_a_sequence_of_chat_messages_needs_a_template(folders: Path) -> None:
    chat = Problem("", id="chat", messages=({"role": "user", "content": "abc"},))
    with pytest.raises(TreewardError, match="no chat template"):
        engine(folders, "greedy").solve(chat)


@pytest.mark.parametrize("own", [False, True])
def test_a_chat_has_one_bos_on_both_sides(tmp_path: Path, own: bool) -> None:
    template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
    letters = "hgfedcba\n" if own else tiny_models.LETTERS
    models = []
    for name, characters, head in (
        ("policy", tiny_models.LETTERS, {}),
        ("reward", letters, {"head": "TokenClassification"}),
    ):
        folder = tiny_models.make(tmp_path / name, characters=characters, **head)
        tokens = tiny_models.tokenizer(characters)
        tokens.chat_template = template
        tokens.save_pretrained(folder)
        models.append(folder)
    policy = tiny_models.policy.__wrapped__(models[0])
    scorer = tiny_search.CausalRewardModel(str(models[1]), policy.tokenizer)
    chat = Problem("", id="chat", messages=({"role": "user", "content": "abc\n"},))
    prompt = policy.encode(chat)
    assert prompt == [1, 3, 4, 5, BREAK]
    tree, root = scorer.open(chat, prompt)
    read = scorer.runner.spans.tokens(root)
    assert scorer.tokenizer.decode(read) == "<bos>abc\n"
    scorer.close(tree)
    search = tiny_search.engine(tmp_path, "greedy", model=policy, reward=scorer)
    assert search.solve(chat).status != "failed"
