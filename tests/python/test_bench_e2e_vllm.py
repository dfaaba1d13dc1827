"""What vLLM computes of a tree, where an interpreter with it is named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.e2e import vllm_engine
from benchmarks.e2e.models import CONTEXT, folder_of, prompt_of
from benchmarks.e2e.workloads import Expansion, Shape

pytestmark = pytest.mark.skipif(
    not vllm_engine.available(), reason=f"{vllm_engine.VARIABLE} names no interpreter"
)
# The prompt gets four children, and each of them one.
SHAPE = Shape(32, [[Expansion(0, 4)], [Expansion(i, 1) for i in range(1, 5)]])


@pytest.fixture(scope="module")
def engine() -> Iterator[vllm_engine.VllmEngine]:
    folders = [folder_of(f"bundled{kind}") for kind in ("", "-reward", "-reward-last-token")]
    engine = vllm_engine.VllmEngine(*folders, "bfloat16", 1, CONTEXT, compiled=False)
    yield engine
    engine.close()


def computed(engine: vllm_engine.VllmEngine, length: int, seed: int) -> int:
    prompt = prompt_of(length, 400, seed)[0]
    assert engine.run(SHAPE, prompt, scored=False) > 0
    return engine.computed_tokens


def test_a_prompt_of_whole_blocks_costs_a_block_again_for_every_child(
    engine: vllm_engine.VllmEngine,
) -> None:
    # The last of the sampled tokens is never read: 31 a step of 32. Of four children one reads
    # the prompt; of grandchildren, each reads what is not a whole block of its path.
    assert computed(engine, 64, 1) == 64 + 3 * 32 + 4 * 31 + 4 * 32 + 4 * 31
    assert computed(engine, 65, 2) == 65 + 3 * 1 + 4 * 31 + 4 * 1 + 4 * 31


def test_scores_at_the_last_token_read_the_cache(engine: vllm_engine.VllmEngine) -> None:
    last_token = vllm_engine.LastToken(engine)
    of_policy = computed(engine, 64, 3)
    engine.run(SHAPE, prompt_of(64, 400, 4)[0], scored=True)
    last_token.run(SHAPE, prompt_of(64, 400, 5)[0], scored=True)
    assert engine.computed_tokens - of_policy == 4 * 96 + 4 * 128
    assert last_token.computed_tokens - of_policy == 96 + 3 * 32 + 4 * 32
