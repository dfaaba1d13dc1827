"""Runs inside vLLM's own interpreter: one JSON request a line in, one JSON answer a line out.

It imports nothing of treeward, because vLLM pins other versions of the packages.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1")


def run(model: Any, rewards: dict[str, Any], request: dict[str, Any]) -> float:
    """Fills a tree; returns the seconds."""
    from vllm import SamplingParams

    started = time.perf_counter()
    paths = [request["prompt"]]
    for wave in request["waves"]:
        parameters = [
            SamplingParams(
                n=children,
                max_tokens=request["step_tokens"],
                temperature=1.0,
                ignore_eos=True,
                detokenize=False,
            )
            for _, children in wave
        ]
        prompts = [{"prompt_token_ids": paths[parent]} for parent, _ in wave]
        new = [
            prompt["prompt_token_ids"] + list(sample.token_ids)
            for prompt, output in zip(
                prompts, model.generate(prompts, parameters, use_tqdm=False), strict=True
            )
            for sample in output.outputs
        ]
        inputs = [{"prompt_token_ids": path} for path in new]
        if request["scored"] == "every_token":
            rewards["every_token"].encode(inputs, pooling_task="token_classify", use_tqdm=False)
        elif request["scored"] == "last_token":
            rewards["last_token"].classify(inputs, use_tqdm=False)
        paths += new
    return time.perf_counter() - started


class ComputedTokens:
    """Counts the tokens that schedulers send through their models."""

    def __init__(self, *models: Any) -> None:
        self.total = 0
        for model in models:
            self._count(model.llm_engine.engine_core.engine_core.scheduler)

    def _count(self, scheduler: Any) -> None:
        schedule = scheduler.schedule

        def counted(*args: Any, **kwargs: Any) -> Any:
            step = schedule(*args, **kwargs)
            self.total += step.total_num_scheduled_tokens
            return step

        scheduler.schedule = counted


def main() -> None:
    settings = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w")  # vLLM writes to stdout as it likes
    os.dup2(2, 1)
    from vllm import LLM

    common = {
        "dtype": settings["dtype"],
        "max_model_len": settings["context"],
        "enforce_eager": not settings["compiled"],
        "block_size": settings["block_size"],
        "kv_cache_memory_bytes": 1 << 30,
        "disable_log_stats": True,
    }
    model = LLM(model=settings["model"], enable_prefix_caching=True, **common)
    rewards = {
        # A score at every token cannot come from a cache: vLLM does not read one for this task.
        "every_token": LLM(model=settings["reward"], runner="pooling", **common),
        "last_token": LLM(
            model=settings["reward_last_token"],
            runner="pooling",
            enable_prefix_caching=True,
            **common,
        ),
    }
    computed = ComputedTokens(model, *rewards.values())
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        before = computed.total
        seconds = run(model, rewards, json.loads(line))
        answer = {"seconds": seconds, "computed_tokens": computed.total - before}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
