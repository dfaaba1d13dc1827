"""A check at load time that tree attention gives this very model the right numbers.

A beginning goes through the paged runner, then two branches over it in one packed batch; each of
the three also goes through the model's ordinary forward pass. Whatever cannot be paged (a recurrent
state, an attention variant that ignores our function, so that branches know nothing of their
beginning) shows up as a difference and is refused by name.
Windows are mostly longer than these branches: whether they arrive is looked at by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from search.backends import attention
from search.backends.paged_runner import Head, PagedRunner
from search.errors import ModelRefused

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.15}
# Rounding may send a token to another expert, which is no fault, but not with all tokens.
EXPERT_TRIES = 3
# The attention function that only looks at what it is given.
NOTING = "treeward_noting"
# Shorter than the beginning that is checked, so that a model which reads it gives other numbers.
SHORT_WINDOW = 2


def check_tree_attention(model: torch.nn.Module, head: Head, source: str) -> float:
    """Compares paged branches with plain forward passes.

    Returns:
        The largest difference of the outputs, relative to their largest size.

    Raises:
        ModelRefused: they differ by more than :data:`TOLERANCE` of the dtype, or a window of the
            model would be left unheard.
    """
    config: Any = model.config
    limit = TOLERANCE[next(model.parameters()).dtype]
    tries = EXPERT_TRIES if _mixes_experts(config) else 1
    kind = config.model_type
    try:
        difference = min(_differences(model, head, tries, limit))
    except ModelRefused as error:
        raise ModelRefused(f"{source}: model type '{kind}' cannot run here: {error}") from error
    if not difference <= limit:
        raise ModelRefused(
            f"{source}: model type '{kind}' does not give the same numbers over shared pages "
            f"(difference {difference:.2g}, allowed {limit:g})"
        )
    _refuse_unheard_window(model, head, source)
    return difference


def _differences(model: torch.nn.Module, head: Head, tries: int, limit: float) -> Iterator[float]:
    """Between paged and plain outputs of one draw of tokens after the other, up to a small one."""
    for seed in range(tries):
        shared, branches = _tokens(model, seed)
        paged = paged_outputs(model, head, seed)
        model.set_attn_implementation("eager")  # type: ignore[operator]
        try:
            plain = torch.cat([_plain(model, head, shared + branch) for branch in ([], *branches)])
        finally:
            model.set_attn_implementation(attention.NAME)  # type: ignore[operator]
        found = relative_difference(paged, plain)
        yield found
        if found <= limit:
            return


def _mixes_experts(config: Any) -> bool:
    text = config.get_text_config().to_dict()
    return any("experts" in name and isinstance(n, int) and n > 1 for name, n in text.items())


def _refuse_unheard_window(model: torch.nn.Module, head: Head, source: str) -> None:
    """Some models put their window into a mask only, and transformers makes us no mask."""
    config: Any = model.config
    text = config.get_text_config()
    window = getattr(text, "sliding_window", None)
    if not window or _window_arrives(model, head):
        return
    tokens = _tokens(model)[0]
    model.set_attn_implementation("eager")  # type: ignore[operator]
    try:
        # A field that the model does not read, or a window that no layer has, changes nothing.
        whole = _plain(model, head, tokens)
        text.sliding_window = SHORT_WINDOW
        cut = _plain(model, head, tokens)
    finally:
        text.sliding_window = window
        model.set_attn_implementation(attention.NAME)  # type: ignore[operator]
    if not torch.equal(whole, cut):
        raise ModelRefused(
            f"{source}: model type '{config.model_type}' cannot run here: its window of {window} "
            "tokens reaches attention only as a mask"
        )


def _window_arrives(model: torch.nn.Module, head: Head) -> bool:
    """Whether a layer hands a window to its attention function.

    In a pass without a plan: there native layers, too, are as they came.
    """
    from transformers import AttentionInterface

    windows: list[int | None] = []

    def note(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        sliding_window: int | None = None,
        **others: Any,
    ) -> tuple[torch.Tensor, None]:
        windows.append(sliding_window)
        heads, rows = query.shape[1:3]
        return value.new_zeros((1, rows, heads, value.shape[-1])), None

    AttentionInterface.register(NOTING, note)
    model.set_attn_implementation(NOTING)  # type: ignore[operator]
    try:
        _plain(model, head, _tokens(model)[0])
    finally:
        model.set_attn_implementation(attention.NAME)  # type: ignore[operator]
    return any(windows)


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference, relative to the largest size; infinite between different shapes."""
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))


def paged_outputs(model: torch.nn.Module, head: Head, seed: int = 0) -> torch.Tensor:
    """Outputs at the end of a beginning, and at the ends of two branches over it in one batch."""
    shared, branches = _tokens(model, seed)
    runner = PagedRunner(model, head, pool_tokens=128)
    root = runner.spans.root(runner.spans.open_tree(shared))
    outputs = []
    for states in [root], [runner.spans.extend(root, branch) for branch in branches]:
        batch = runner.new_batch()
        for state in states:
            batch.add(state)
        outputs.append(runner.run(batch))
    if not runner.pool.bytes_per_token:
        raise ModelRefused("its attention is not the one that is replaced")
    return torch.cat(outputs)


def _tokens(model: torch.nn.Module, seed: int = 0) -> tuple[list[int], list[list[int]]]:
    """A beginning and two branches: many more rows than are asked for, so that the last layer
    leaves some out."""
    vocabulary = model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, vocabulary, (36,), generator=generator).tolist()
    shared, branches = tokens[:30], [tokens[30:33], tokens[33:]]
    if branches[0][0] == branches[1][0]:
        branches[1][0] = (branches[1][0] + 1) % vocabulary
    return shared, branches


def _plain(model: torch.nn.Module, head: Head, tokens: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        ids = torch.tensor([tokens])
        positions = torch.arange(len(tokens)).unsqueeze(0)
        last = torch.tensor([len(tokens) - 1])
        return head(model, ids, positions, None, last)  # type: ignore[arg-type]
