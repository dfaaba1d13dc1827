"""Draws of segments against exact enumeration of a toy model."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from reference_draws import EOS, Driver, assert_distributed, log_softmax, segments, toy_logits

RULES = {"delimiters": [[3], [1, 1]]}
EXACT = segments(toy_logits, delimiters=[(3,), (1, 1)])


def many(mode: str, count: int, n_seeds: int, one_by_one: bool = False) -> list[list]:
    """The draws of many seeds, each in its order."""
    driver = Driver(pages=1 << 17, page_size=1)
    trees = [driver.open(seed=1000 + i, **RULES) for i in range(n_seeds)]
    out: dict[int, list] = {tree: [] for tree in trees}
    for first in range(count if one_by_one else 1):
        for tree in trees:
            driver.draws.expand(tree, 7, 0, mode, 1 if one_by_one else count, first)
        for found in driver.finish(*trees):
            assert found.draw == len(out[found.tree]) or mode != "distinct"
            out[found.tree].append(found)
    assert set(driver.asked.values()) == {1}
    return [[tuple(f.tokens) for f in sorted(out[t], key=lambda f: f.draw)] for t in trees]


# ---------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("count", [1, 7, 200])
def test_distinct_draws_return_every_segment_once_and_then_nothing(count: int) -> None:
    driver = Driver()
    tree = driver.open(**RULES)
    found = []
    for first in range(0, len(EXACT) + 3, count):
        found += driver.expand(tree, "distinct", count, first)
    ended = [tuple(f.tokens) for f in found if f.prefix >= 0]
    assert len(ended) == len(set(ended)) == len(EXACT)
    assert set(ended) == set(EXACT)
    assert all(f.prefix == -1 and not f.tokens for f in found[len(EXACT) :])
    assert len(found) > len(EXACT)
    assert set(driver.asked.values()) == {1}
    inner = {segment[:i] for segment in EXACT for i in range(len(segment))}
    assert len(driver.asked) == len(inner)
    assert driver.draws.wasted(tree) == 0


def test_the_first_of_several_distinct_draws_has_the_exact_distribution() -> None:
    draws = many("distinct", 3, 4000)
    assert_distributed(Counter(d[0] for d in draws), EXACT)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_distinct_draws_follow_the_exact_conditional_distribution(one_by_one: bool) -> None:
    draws = many("distinct", 2, 4000, one_by_one)
    pairs = {
        (a, b): EXACT[a] * EXACT[b] / (1 - EXACT[a]) for a, b in itertools.permutations(EXACT, 2)
    }
    assert_distributed(Counter((d[0], d[1]) for d in draws), pairs)
    seconds: Counter = Counter()
    for (_, b), p in pairs.items():
        seconds[b] += p
    assert_distributed(Counter(d[1] for d in draws), dict(seconds))


def test_distinct_draws_together_are_those_one_after_another() -> None:
    assert many("distinct", 6, 100) == many("distinct", 6, 100, one_by_one=True)


def test_a_peaked_model_gives_its_second_best_step_and_not_a_broken_best_one() -> None:
    """Ten draws walk the same likely path; the later ones must leave it where mass is left."""

    def peaked(path: tuple[int, ...]) -> np.ndarray:
        row = np.full(5, -12.0, dtype=np.float32)
        if len(path) == 1:
            row[[0, 1]] = np.log([0.9, 0.1])  # two steps ...
        else:
            row[3] = 0.0  # ... both of which end here, nearly always
        return row

    firsts = []
    for seed in range(200):
        driver = Driver(peaked)
        tree = driver.open(seed=seed, delimiters=[[3]])
        found = driver.expand(tree, "distinct", 2)
        firsts.append({f.tokens[0] for f in found} == {0, 1})
    assert sum(firsts) > 190


def test_samples_are_independent_and_follow_the_model() -> None:
    draws = many("sample", 2, 3000)
    assert_distributed(Counter(itertools.chain(*draws)), EXACT)
    assert_distributed(
        Counter(tuple(d) for d in draws),
        {(a, b): EXACT[a] * EXACT[b] for a in EXACT for b in EXACT},
    )


def test_a_thousand_unlikely_tokens_do_not_underflow() -> None:
    """The probability of the segment is below the smallest double."""
    for mode in ("sample", "distinct"):
        driver = Driver(lambda path: np.zeros(5, dtype=np.float32))
        tree = driver.open(eos=[99], max_step_tokens=1000, max_path_tokens=2000)
        for found in driver.expand(tree, mode, 2):
            assert len(found.tokens) == 1000
            assert found.logprob == pytest.approx(-1000 * np.log(5), rel=1e-5)
        assert set(driver.asked.values()) == {1}


def test_greedy_takes_the_most_probable_token() -> None:
    driver = Driver()
    tree = driver.open(max_step_tokens=6)
    (found,) = driver.expand(tree, "greedy", 1)
    path = (0,)
    for token in found.tokens:
        assert token == int(np.argmax(toy_logits(path)))
        path = (*path, token)


def test_top_gives_the_most_probable_tokens_and_no_more() -> None:
    driver = Driver()
    tree = driver.open(max_step_tokens=6)
    found = driver.expand(tree, "top", 7)
    row = toy_logits((0,))
    order = list(np.argsort(-row))
    assert [f.tokens for f in found[:5]] == [[t] for t in order]
    assert [f.prefix for f in found[5:]] == [-1, -1]
    assert [f.end for f in found[:5]] == ["eos" if t == EOS else "length" for t in order]
    assert len(driver.asked) == 1


def test_log_probabilities_are_of_the_model_whatever_the_temperature() -> None:
    driver = Driver()
    tree = driver.open(temperature=3.0, top_k=4)
    for found in driver.expand(tree, "sample", 20):
        path, total = (0,), 0.0
        for token in found.tokens:
            total += log_softmax(toy_logits(path))[token]
            path = (*path, token)
        assert found.logprob == pytest.approx(total, abs=1e-5)
        assert driver.draws.tokens(tree, found.prefix) == list(path)
        assert driver.draws.state(tree, found.prefix).length == len(path)


def test_a_masked_token_never_comes() -> None:
    def masked(path: tuple[int, ...]) -> np.ndarray:
        row = toy_logits(path)
        row[[0, 2]] = -np.inf
        return row

    driver = Driver(masked)
    tree = driver.open(max_step_tokens=2)
    found = driver.expand(tree, "distinct", 12)
    ended = {tuple(f.tokens) for f in found if f.prefix >= 0}
    assert ended == {(4,), *itertools.product((1, 3), (1, 3, 4))}


# ---------------------------------------------------------------- seeds


def test_a_tree_never_depends_on_its_neighbours() -> None:
    def draw(batch_rows: int, others: int, first: bool) -> list:
        driver = Driver(batch_rows=batch_rows)
        mine = driver.open(seed=5, **RULES) if first else -1
        trees = [driver.open(seed=50 + i, prompt=[1, i]) for i in range(others)]
        if not first:
            mine = driver.open(seed=5, **RULES)
        for tree in [mine, *trees] if first else [*trees, mine]:
            for mode in ("distinct", "sample"):
                driver.draws.expand(tree, 1, 0, mode, 5, 0)
        found = driver.finish(*([mine, *trees] if first else [*trees, mine]))
        return sorted((f.draw, f.tokens, f.end, f.logprob) for f in found if f.tree == mine)

    alone = draw(1 << 20, 0, True)
    assert len(alone) == 10
    for batch_rows, others, first in itertools.product((1, 3, 1 << 20), (1, 4), (True, False)):
        assert draw(batch_rows, others, first) == alone


def test_other_seeds_and_other_draws_give_other_segments() -> None:
    draws = many("sample", 4, 50)
    assert len({tuple(d) for d in draws}) > 30


# ---------------------------------------------------------------- where segments end


def test_a_delimiter_of_several_tokens_ends_the_step_it_closes() -> None:
    driver = Driver(lambda path: np.zeros(3, dtype=np.float32))
    tree = driver.open(prompt=[1], delimiters=[[1, 2, 1]], eos=[], max_step_tokens=5)
    found = driver.expand(tree, "distinct", 3**5)
    for f in (f for f in found if f.prefix >= 0):
        text = "".join(map(str, f.tokens))
        assert (f.end == "stop") == text.endswith("121")
        assert "121" not in text[:-1]
        assert f.end != "stop" or len(text) >= 3  # the 1 of the prompt is no part of it
        assert f.end == "stop" or len(text) == 5


@pytest.mark.parametrize("wanted", [["\n\n"], ["\n\n!"], [".", "\nx"], ["x.\n\n\n"]])
def test_a_text_ends_the_step_however_its_tokens_spell_it(wanted: list[str]) -> None:
    texts = ["x", ".\n", "\n", "\n\n!", ""]
    driver = Driver()
    driver.draws.set_token_texts(texts)
    tree = driver.open(texts=wanted, eos=[], max_step_tokens=4)
    found = [f for f in driver.expand(tree, "distinct", 1000) if f.prefix >= 0]
    assert sum(np.exp(f.logprob) for f in found) == pytest.approx(1)

    def has_one(tokens: Sequence[int]) -> bool:
        return any(text in "".join(texts[token] for token in tokens) for text in wanted)

    for f in found:
        assert not has_one(f.tokens[:-1])
        assert f.end == ("stop" if has_one(f.tokens) else "length")
    assert {f.end for f in found} == {"stop", "length"}


@pytest.mark.parametrize(
    "rules", [{"delimiters": [[1, 2, 1]]}, {"texts": ["b\nb"]}, {"ask_after_token": True}]
)
def test_a_step_that_is_drawn_token_by_token_ends_where_it_would(rules: dict[str, Any]) -> None:
    def drawn(limit: int, seed: int) -> list[tuple[int, ...]]:
        """The first steps of greedy draws, from pieces of at most so many tokens."""
        random_logits = np.random.default_rng(seed).normal(size=(99, 5)).astype(np.float32)
        random_logits[:, 3:] = -9
        driver = Driver(
            lambda path: random_logits[len(path)],
            ends=lambda tokens: tokens[-3:] == [1, 2, 1],
            pages=1 << 14,
        )
        driver.draws.set_token_texts(["a", "b", "\n"])
        options = {"ask_after_token": False, "eos": [], "max_step_tokens": 90, **rules}
        tree = driver.open(max_path_tokens=90, **options)
        steps: list[tuple[int, ...]] = [()]
        prefix = 0
        while sum(map(len, steps)) < 80:
            (found,) = driver.expand(tree, "greedy", 1, prefix=prefix, limit=limit)
            prefix = found.prefix
            steps[-1] += tuple(found.tokens)
            if found.end == "stop":
                steps.append(())
            elif not limit:
                break
        return steps[:-1]

    whole = [drawn(0, seed) for seed in range(20)]
    assert sum(map(len, whole)) > 20
    assert all(step[-3:] == (1, 2, 1) for steps in whole for step in steps)
    for seed, steps in enumerate(whole):
        for limit in (1, 2):
            pieces = drawn(limit, seed)
            assert len(steps) - 1 <= len(pieces)
            assert pieces[: len(steps)] == steps[: len(pieces)]


def test_a_text_does_not_reach_into_the_step_before() -> None:
    driver = Driver(lambda path: np.array([0, -np.inf, -np.inf, -np.inf, -np.inf], np.float32))
    driver.draws.set_token_texts(["\n"])
    tree = driver.open(texts=["\n\n\n"], eos=[], max_step_tokens=8, max_path_tokens=9)
    (first,) = driver.expand(tree, "greedy", 1)
    (second,) = driver.expand(tree, "greedy", 1, prefix=first.prefix)
    (third,) = driver.expand(tree, "greedy", 1, prefix=second.prefix)
    assert [(f.end, len(f.tokens)) for f in (first, second, third)] == [
        ("stop", 3),
        ("stop", 3),
        ("length", 2),
    ]


def test_every_end_token_ends() -> None:
    driver = Driver()
    tree = driver.open(eos=[2, 4], max_step_tokens=4)
    found = driver.expand(tree, "sample", 60)
    assert {f.tokens[-1] for f in found if f.end == "eos"} == {2, 4}
    for f in found:
        assert not {2, 4} & set(f.tokens[:-1])
        assert f.end == ("eos" if f.tokens[-1] in (2, 4) else "length")


def test_the_path_limit_cuts_and_then_leaves_nothing_to_draw() -> None:
    driver = Driver(lambda path: np.zeros(3, dtype=np.float32))
    tree = driver.open(prompt=[0, 0], eos=[], max_step_tokens=9, max_path_tokens=5)
    (found,) = driver.expand(tree, "sample", 1)
    assert (len(found.tokens), found.end) == (3, "length")
    for mode in ("sample", "distinct", "greedy", "top"):
        more = driver.expand(tree, mode, 2, prefix=found.prefix)
        assert [(f.prefix, f.end) for f in more] == [(-1, "length")] * 2


def test_a_request_may_cut_earlier_than_the_rules() -> None:
    driver = Driver(lambda path: np.zeros(3, dtype=np.float32))
    tree = driver.open(eos=[], max_step_tokens=9)
    (found,) = driver.expand(tree, "sample", 1, limit=2)
    assert (len(found.tokens), found.end) == (2, "length")
    (more,) = driver.expand(tree, "sample", 1, prefix=found.prefix)
    assert driver.draws.tokens(tree, more.prefix) == [0, *found.tokens, *more.tokens]


# ---------------------------------------------------------------- the rule outside


def test_a_rule_outside_ends_segments() -> None:
    driver = Driver(ends=lambda tokens: sum(tokens) >= 4)
    tree = driver.open(eos=[], max_step_tokens=4)
    found = driver.expand(tree, "distinct", 700)
    ended = [tuple(f.tokens) for f in found if f.prefix >= 0]
    assert len(set(ended)) == len(ended)
    for f in (f for f in found if f.prefix >= 0):
        assert sum(f.tokens[:-1]) < 4
        # A step that ends where it would be cut has ended.
        assert f.end == ("stop" if sum(f.tokens) >= 4 else "length")
    whole = set()
    for n in range(1, 5):
        for t in itertools.product(range(5), repeat=n):
            stops = sum(t) >= 4 > sum(t[:-1])
            if stops or (n == 4 and sum(t) < 4):
                whole.add(t)
    assert set(ended) == whole
    assert set(driver.asked.values()) == {1}


def test_draws_that_ask_about_the_same_prefix_stay_distinct() -> None:
    driver = Driver(lambda path: np.log([0.97, 0.03]).astype(np.float32), ends=lambda t: True)
    for seed in range(20):
        tree = driver.open(seed=seed, eos=[])
        found = driver.expand(tree, "distinct", 3)
        assert sorted(tuple(f.tokens) for f in found) == [(), (0,), (1,)]


def test_an_answer_nobody_asked_for_is_refused() -> None:
    driver = Driver(ends=lambda tokens: False)
    tree = driver.open()
    driver.draws.expand(tree, 1, 0, "sample", 1, 0)
    for walker in (-1, 0, 5):  # walker 0 waits for logits
        with pytest.raises(ValueError, match="no question"):
            driver.draws.answer(tree, walker, True)
