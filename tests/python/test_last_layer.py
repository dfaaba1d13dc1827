"""The last layer leaves out rows that nobody asked for, and no number changes by it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from test_runner_logits import KINDS, grow, random_prompt, run, runner_of

from search import _native
from search.backends.last_layer import LastLayer, last_layer
from search.backends.paged_runner import PagedRunner, language_head
from search.backends.self_check import check_tree_attention
from search.errors import ModelRefused


def feed_forward_rows(runner: PagedRunner, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """For each layer the numbers of rows that its feed-forward part computes from now on."""
    counts: list[list[int]] = []
    for module in runner.model.modules():
        if type(module).__name__.endswith("MLP"):
            counts.append([])
            linear = next(part for part in module.modules() if hasattr(part, "weight"))

            def counting(x: Any, inner: Any = linear.forward, seen: Any = counts[-1]) -> Any:
                seen.append(x.shape[-2])
                return inner(x)

            monkeypatch.setattr(linear, "forward", counting)
    return counts


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_are_those_of_the_whole_layer(
    folders: Path, kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_models.made(folders, kind=kind)
    runner, whole = runner_of(folder, dtype), runner_of(folder, dtype)
    whole.last.index = -1
    generator = random.Random(kind)
    prompt, seed = random_prompt(generator, 40), generator.random()

    def logits(runner: PagedRunner) -> torch.Tensor:
        tree = runner.spans.open_tree(prompt)
        return run(runner, grow(runner, tree, random.Random(seed), 8)[4:])

    with monkeypatch.context() as all_rows:
        never = property(lambda _: None, lambda *_: None)
        all_rows.setattr(LastLayer, "rows", never, raising=False)
        expected = logits(whole)
    computed = feed_forward_rows(runner, monkeypatch)
    assert torch.equal(logits(runner), expected)
    # Five states of a prompt of 40 tokens and more: padded, and in the last layer alone.
    assert computed[0][0] > 48
    assert computed[-1][0] <= 16


def test_attention_leaves_them_out_too(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = runner_of(tiny_models.made(folders, kind="llama"))
    plans: list[int] = []
    attend = _native.attention.attend

    def counting(plan: Any, *others: Any) -> None:
        plans.append(plan.n_rows)
        attend(plan, *others)

    monkeypatch.setattr(_native.attention, "attend", counting)
    root = runner.spans.root(runner.spans.open_tree([1, *range(3, 11)]))
    run(runner, [root, root])
    assert plans == [1]
    plans.clear()
    run(runner, [runner.spans.extend(root, [token]) for token in (4, 5, 6)])
    assert plans == []  # every row is asked for


def test_a_layer_that_feeds_forward_before_it_attends_is_refused(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.llama.modeling_llama import LlamaDecoderLayer

    def other_way_round(self: Any, hidden_states: torch.Tensor, **others: Any) -> torch.Tensor:
        hidden_states = hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))
        attended, _ = self.self_attn(self.input_layernorm(hidden_states), **others)
        out: torch.Tensor = hidden_states + attended
        return out

    monkeypatch.setattr(LlamaDecoderLayer, "forward", other_way_round)
    model = runner_of(tiny_models.made(folders, kind="llama")).model
    with pytest.raises(ModelRefused, match="does not give the same numbers"):
        check_tree_attention(model, language_head, "llama")


def test_a_model_is_changed_once(folders: Path) -> None:
    model = runner_of(tiny_models.made(folders, kind="llama")).model
    assert last_layer(model) is last_layer(model)
    assert last_layer(model).index == model.config.num_hidden_layers - 1  # type: ignore[union-attr]


def test_a_layer_with_other_names_is_left_whole(folders: Path) -> None:
    model = runner_of(tiny_models.made(folders, kind="llama")).model
    for layer in model.model.layers:  # type: ignore[union-attr]
        layer.self_attn.layer_idx = None
    assert LastLayer(model).index == -1


def test_parts_of_more_than_one_tensor_are_left_whole(folders: Path) -> None:
    last = last_layer(runner_of(tiny_models.made(folders, kind="llama")).model)
    x, last.rows = torch.rand(1, 6, 4), torch.tensor([5, 2])

    def part(x: torch.Tensor, other: torch.Tensor | None = None) -> torch.Tensor:
        return x + 1 if other is None else x + other

    assert last._restricted(part)(x, x).equal(x + x)
    assert last._restricted(part)(x, other=x).equal(x + x)
    assert last._restricted(part)(x=x).equal(x + 1)
    assert last._restricted(part)(x[0]).equal(x[0] + 1)
    out, extra = last._restricted(lambda x: (x + 1, x))(x)
    assert out.equal(x + 1)
    assert extra.equal(x)
    some = last._restricted(part)(x)
    assert some[:, [5, 2]].equal(x[:, [5, 2]] + 1)
    assert (some[:, [0, 1, 3, 4]] == 0).all()
