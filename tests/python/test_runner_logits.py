"""Packed branches over shared pages give what each branch gives alone in a plain forward pass."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from transformers import AutoModelForCausalLM

from search.backends.loading import load_model
from search.backends.packed_linear import pack_linear_layers
from search.backends.paged_runner import PagedRunner, language_head

FP32_TOLERANCE = 1e-4
# Largest difference over the largest logit. The plain forward pass in bfloat16 is off by as much.
BF16_TOLERANCE = 0.04

KINDS = sorted(tiny_models.ARCHITECTURES)


def runner_of(folder: Path, dtype: torch.dtype = torch.float32, **settings: Any) -> PagedRunner:
    model = load_model(str(folder), AutoModelForCausalLM, dtype)
    pack_linear_layers(model)
    return PagedRunner(model, language_head, **{"pool_tokens": 4096, "page_size": 4, **settings})


def grow(runner: PagedRunner, tree: int, generator: random.Random, segments: int) -> list[Any]:
    """States of a random tree: forks anywhere, inside segments too, several levels deep."""
    states = [runner.spans.root(tree)]
    for _ in range(segments):
        parent = generator.choice(states[-4:] if generator.random() < 0.7 else states)
        tokens = [generator.randrange(3, 12) for _ in range(generator.randint(1, 9))]
        states.append(runner.spans.extend(parent, tokens))
    return states


def random_prompt(generator: random.Random, length: int) -> list[int]:
    return [1] + [generator.randrange(3, 12) for _ in range(length - 1)]


def run(runner: PagedRunner, states: list[Any]) -> torch.Tensor:
    return torch.stack([t for t in runner.run_states(states, 512) if isinstance(t, torch.Tensor)])


@pytest.mark.parametrize("kind", KINDS)
def test_tree_logits_equal_plain_logits(folders: Path, kind: str) -> None:
    folder = tiny_models.made(folders, kind=kind)
    runner = runner_of(folder)
    generator = random.Random(kind)
    tree = runner.spans.open_tree(random_prompt(generator, 11))
    states = grow(runner, tree, generator, 24)
    paths = [runner.spans.tokens(state) for state in states]
    assert max(map(len, paths)) > 3 * tiny_models.WINDOW
    expected = tiny_models.plain_logits(folder, paths)

    # Once as a single packed batch, then branch by branch on top of what is resident.
    torch.testing.assert_close(run(runner, states), expected, atol=FP32_TOLERANCE, rtol=0)
    again = torch.cat([run(runner, [state]) for state in reversed(states)]).flip(0)
    torch.testing.assert_close(again, expected, atol=FP32_TOLERANCE, rtol=0)

    runner.spans.evict_all()
    assert runner.spans.used_slots == 0
    generator.shuffle(order := list(range(len(states))))
    back = run(runner, [states[i] for i in order])
    torch.testing.assert_close(back, expected[order], atol=FP32_TOLERANCE, rtol=0)
    runner.spans.check_invariants()
    runner.spans.close_tree(tree)
    assert runner.spans.used_slots == 0


@pytest.mark.parametrize("kind", KINDS)
def test_growing_step_by_step_equals_plain_logits(folders: Path, kind: str) -> None:
    folder = tiny_models.made(folders, kind=kind)
    runner = runner_of(folder)
    generator = random.Random(kind + "steps")
    tree = runner.spans.open_tree(random_prompt(generator, 5))
    states = [runner.spans.root(tree)]
    paths, logits = [], []
    for _ in range(14):
        states = [
            runner.spans.extend(state, [token])
            for state in states[-2:]
            for token in generator.sample(range(3, 12), 2)
        ]
        paths += [runner.spans.tokens(state) for state in states]
        logits.append(run(runner, states))
    expected = tiny_models.plain_logits(folder, paths)
    torch.testing.assert_close(torch.cat(logits), expected, atol=FP32_TOLERANCE, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_tree_logits_are_close(folders: Path, kind: str) -> None:
    folder = tiny_models.made(folders, kind=kind)
    runner = runner_of(folder, torch.bfloat16)
    generator = random.Random(kind)
    tree = runner.spans.open_tree(random_prompt(generator, 11))
    states = grow(runner, tree, generator, 16)
    expected = tiny_models.plain_logits(
        folder, [runner.spans.tokens(state) for state in states], torch.bfloat16
    )
    difference = (run(runner, states) - expected).abs().max() / expected.abs().max()
    assert difference < BF16_TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_has_the_same_bits_whatever_is_in_the_batch(
    folders: Path, kind: str, dtype: torch.dtype
) -> None:
    runner = runner_of(tiny_models.made(folders, kind=kind), dtype)
    generator = random.Random(kind)
    grown = []
    for _ in range(7):
        tree = runner.spans.open_tree(random_prompt(generator, generator.randint(3, 15)))
        grown.append(grow(runner, tree, generator, generator.randint(1, 12)))
    together = run(runner, [state for states in grown for state in states])
    runner.spans.evict_all()
    alone = torch.cat([run(runner, states) for states in grown])
    assert torch.equal(together, alone)
    runner.spans.evict_all()
    one_by_one = torch.cat([run(runner, [state]) for states in grown for state in states])
    assert torch.equal(together, one_by_one)


def test_a_window_and_a_cap_change_the_logits(folders: Path) -> None:
    """Otherwise the comparisons above would hold for a runner that ignored both."""
    path = [random_prompt(random.Random(1), 25)]
    capped = tiny_models.made(folders, kind="gemma2")
    for changes in ({"sliding_window": 200}, {"attn_logit_softcapping": None}):
        other = tiny_models.made(folders, kind="gemma2", **changes)
        difference = tiny_models.plain_logits(capped, path) - tiny_models.plain_logits(other, path)
        assert difference.abs().max() > 100 * FP32_TOLERANCE


def test_other_branches_are_invisible(folders: Path) -> None:
    runner = runner_of(tiny_models.made(folders, kind="llama"))
    tree = runner.spans.open_tree([1, 3, 4, 5])
    root = runner.spans.root(tree)
    branches = [runner.spans.extend(root, [token, 7]) for token in range(6, 12)]
    together = run(runner, branches)
    for branch, logits in zip(branches, together):
        runner.spans.evict_all()
        assert torch.equal(run(runner, [branch])[0], logits)


def test_rows_are_computed_once(folders: Path) -> None:
    runner = runner_of(tiny_models.made(folders, kind="llama"))
    tree = runner.spans.open_tree([1, 3, 4])
    root = runner.spans.root(tree)
    left, right = runner.spans.extend(root, [5, 6]), runner.spans.extend(root, [5, 7])
    run(runner, [left, right])
    assert runner.rows_computed == 6  # 3 of the prompt, then 5, 6 and 7
    run(runner, [runner.spans.extend(left, [8])])
    assert runner.rows_computed == 7
    assert runner.spans.counts(tree)["recomputed"] == 0
