"""``treeward bench e2e``: whole searches with the same tree and token counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.e2e import vllm_engine
from benchmarks.e2e.models import CONTEXT, folder_of, prompt_of
from benchmarks.e2e.workloads import PROMPTS, QUICK_PROMPTS, WORKLOADS, Shape, Workload
from benchmarks.e2e.workloads import quick as quick_version
from benchmarks.in_turn import Timing, missing, time_in_turn

MODELS = ("bundled", "qwen2-110m")
DTYPE = "bfloat16"
# An alternative slower than this is run once: its ratio is clear and the time is better spent.
SLOW_SECONDS = 20.0
# The fastest of the alternatives, which are never cut short; they alone have blocks to fill.
VLLM = ("vllm", "vllm_last_token")


def run(pairs: int, quick: bool, seed: int) -> Iterator[dict[str, Any]]:
    """Yields a row a model, workload and length of the prompt.

    Args:
        pairs: rounds of each alternative.
        quick: small workloads on the bundled model only.
        seed: of weights, prompts and draws.
    """
    for name in MODELS[:1] if quick else MODELS:
        yield from _run_model(name, pairs, quick, seed)


def _run_model(name: str, pairs: int, quick: bool, seed: int) -> Iterator[dict[str, Any]]:
    from benchmarks.e2e.dynamic_cache import DynamicCacheLoop
    from benchmarks.e2e.generate_loop import GenerateLoop
    from benchmarks.e2e.ours import Ours
    from search import _native

    folder, reward = folder_of(name, seed), folder_of(f"{name}-reward", seed)
    ours = Ours(folder, reward, DTYPE, compiled=not quick)
    loops: dict[str, Any] = {
        "generate": GenerateLoop(folder, reward, DTYPE),
        "dynamic_cache": DynamicCacheLoop(folder, reward, DTYPE),
        "vllm": None,
        "vllm_last_token": None,
    }
    if vllm_engine.available():
        threads = _native.attention.num_threads()
        last_token = folder_of(f"{name}-reward-last-token", seed)
        loops["vllm"] = vllm_engine.VllmEngine(
            folder, reward, last_token, DTYPE, threads, CONTEXT, compiled=not quick
        )
        loops["vllm_last_token"] = vllm_engine.LastToken(loops["vllm"])
    else:
        missing("vLLM", vllm_engine.HOW)
    try:
        for workload in WORKLOADS:
            chosen = quick_version(workload) if quick else workload
            for length in QUICK_PROMPTS if quick else PROMPTS:
                yield _row(name, chosen, ours, loops, folder, length, pairs, seed)
    finally:
        if loops["vllm"] is not None:
            loops["vllm"].close()


def _row(
    name: str,
    workload: Workload,
    ours: Any,
    loops: dict[str, Any],
    folder: Path,
    length: int,
    pairs: int,
    seed: int,
) -> dict[str, Any]:
    words = _vocabulary(folder)
    turn = seed
    shapes: list[Shape] = []
    overheads: list[float] = []

    def prompt() -> tuple[list[int], str]:
        # A new one in every run: a prefix cache that is still warm would hide the prompt's cost.
        nonlocal turn
        turn += 1
        return prompt_of(length, words, turn)

    def run_ours() -> float:
        seconds: float = ours.run(workload, prompt()[1], length, turn)
        shapes.append(ours.shape)
        overheads.append(ours.phases.overhead_share)
        return seconds

    # A reward model that scores every token reads no cache: blocks are nothing to it.
    blocks = VLLM if not workload.scored else VLLM[1:]

    def other(key: str, loop: Any) -> Callable[[], float] | None:
        if loop is None or (key == "vllm_last_token" and not workload.scored):
            return None
        if length % vllm_engine.BLOCK_SIZE and key not in blocks:
            return None
        return lambda: float(loop.run(shapes[-1], prompt()[0], workload.scored))

    timing = time_in_turn(
        run_ours,
        {key: other(key, loop) for key, loop in loops.items()},
        pairs,
        slow=SLOW_SECONDS,
        every_round=blocks,
    )
    tokens = shapes[-1].tokens
    return {
        "workload": workload.name,
        "model": name,
        "dtype": DTYPE,
        "prompt": length,
        "tokens": tokens,
        "seconds": timing.ours.median,
        "tokens_per_second": tokens / timing.ours.median,
        **_rates(timing, tokens),
        **_ratios(timing),
        **{
            f"{key}_computed_tokens": loops[key].computed_tokens if timing.rounds[key] else None
            for key in VLLM
        },
        "overhead_share": sorted(overheads)[len(overheads) // 2],
    }


def _rates(timing: Timing, tokens: int) -> dict[str, Any]:
    return {
        f"{name}_tokens_per_second": None if spread is None else tokens / spread.median
        for name, spread in timing.others.items()
    }


def _ratios(timing: Timing) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in timing.ratios:
        row[f"{name}_rounds"] = timing.rounds[name]
        row[f"ratio_{name}"] = timing.ratio(name)
        row[f"ratio_{name}_spread"] = timing.ratio_spread(name)
    return row


def _vocabulary(folder: Path) -> int:
    import json

    return int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"])


def line(row: dict[str, Any]) -> str:
    """A row in a few words."""
    return (
        f"{row['model']} {row['workload']} {row['prompt']}: {row['tokens_per_second']:.0f} tokens/s"
    )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Tokens a second by workload, a group of bars an engine."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    engines = ("", "generate_", "dynamic_cache_", "vllm_", "vllm_last_token_")
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, axes = plt.subplots(1, len(models), figsize=(9 * len(models), 4), squeeze=False)
    for axis, model in zip(axes[0], models):
        mine = [row for row in rows if row["model"] == model]
        for place, engine in enumerate(engines):
            heights = [row[f"{engine}tokens_per_second"] or 0.0 for row in mine]
            where = [x + 0.16 * place for x in range(len(mine))]
            axis.bar(where, heights, 0.16, label=engine.rstrip("_") or "treeward")
        labels = [f"{row['workload']}\n{row['prompt']}" for row in mine]
        axis.set_xticks([x + 0.32 for x in range(len(mine))], labels)
        axis.set_yscale("log")
        axis.set_ylabel("sampled tokens a second")
        axis.set_title(model)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
