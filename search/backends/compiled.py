"""``torch.compile`` of a model over the paged pool, as an option.

Elementwise operations are fused and weights packed; attention stays ours, as one opaque operation.
Everything is compiled once, for any number of rows, so that a row still has the same bits whatever
it is batched with. They are not the bits of the model as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
import torch._inductor.config

from search.backends import attention
from search.backends.compiled_graph import Compiler
from search.backends.joined_products import JoinProducts
from search.backends.paged_runner import Forward, PagedRunner
from search.errors import ModelRefused

# Rows of the first call. Layouts of weights are chosen for them, and two sizes that are equal there
# (all rows, and those whose outputs are asked for) would be taken for one.
ROWS = 256
BRANCHES = 64
# What several operations read is computed and stored once. Left alone, the compiler fuses it into
# each of them: sines of all positions in every layer, all earlier layers in every sum.
STORED_ONCE = {"realize_reads_threshold": 1, "realize_opcount_threshold": 3}
# Shapes of what our own operations return are tested, not looked at in every step.
UNCHECKED = {"size_asserts": False, "alignment_asserts": False}
# Numbers become constants, as weights do: the key of a model, the epsilon of a norm.
NUMBERS = {"specialize_int": True, "specialize_float": True}
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.15}


def compile_runner(runner: PagedRunner, source: str) -> None:
    """Compiles the runner's model, which takes from seconds to a minute, and checks it.

    Raises:
        ModelRefused: the model cannot be compiled, or then gives other numbers.
    """
    plain = runner.forward
    expected = _warm_up(runner)
    runner.forward = _compiled(runner)
    try:
        with torch._inductor.config.patch(freezing=True), torch._dynamo.config.patch(NUMBERS):
            _warm_up(runner)
        found = _warm_up(runner)
        _check_difference(found, expected, TOLERANCE[runner.pool.dtype], source)
    except ModelRefused:
        runner.forward = plain
        raise
    except Exception as error:
        runner.forward = plain
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelRefused(f"{source} cannot be compiled: {reason}") from error


def _check_difference(
    found: torch.Tensor, expected: torch.Tensor, limit: float, source: str
) -> None:
    difference = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))
    if not difference <= limit:
        raise ModelRefused(
            f"{source} gives other numbers when compiled "
            f"(difference {difference:.2g}, allowed {limit:g})"
        )


def _compiled(runner: PagedRunner) -> Forward:
    key = attention.new_key()
    head, model = runner.head, runner.model

    def forward(tokens: torch.Tensor, positions: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = head(model, tokens, positions, key, rows)
        return out

    # What is compiled is remembered by code object: each model gets one of its own. Then only the
    # tensors need to be looked at before it runs.
    own = FunctionType(
        forward.__code__.replace(), globals(), f"forward_{key}", closure=forward.__closure__
    )
    compiler = Compiler({"post_grad_custom_pre_pass": JoinProducts(), **STORED_ONCE, **UNCHECKED})
    guards: Any = {"guard_filter_fn": torch.compiler.keep_tensor_guards_unsafe}
    guarded = torch.compile(own, backend=compiler, dynamic=True, fullgraph=True, options=guards)
    call: Callable[..., torch.Tensor] | None = None

    def run(
        tokens: torch.Tensor, positions: torch.Tensor, step: Any, rows: torch.Tensor
    ) -> torch.Tensor:
        nonlocal call
        attention.STEPS[key] = step
        try:
            if call is not None:
                return call(tokens, positions, rows)
            # The warm-up, in which rows and outputs differ in number.
            out: torch.Tensor = guarded(tokens, positions, rows)
            constants = (*model.parameters(), *model.buffers())
            call = compiler.graph((tokens, positions, rows), constants) or guarded
            return out
        finally:
            del attention.STEPS[key]

    return run


def _warm_up(runner: PagedRunner) -> torch.Tensor:
    vocabulary = runner.model.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, vocabulary, (ROWS,), generator=generator).tolist()
    tree = runner.spans.open_tree(tokens[:-BRANCHES])
    try:
        root = runner.spans.root(tree)
        states = [runner.spans.extend(root, [token]) for token in tokens[-BRANCHES:]]
        batch = runner.new_batch()
        for state in states:
            if not batch.add(state):
                batch.abort()
                raise runner.pool_too_small(ROWS)
        return runner.run(batch)
    finally:
        runner.spans.close_tree(tree)
        runner.spans.evict_all()
