"""The workloads on the engine itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.e2e.workloads import Shape, Workload, shape_of
from search.budget import PhaseSeconds
from search.engine import Search
from search.interfaces import Sampling, StepRules
from search.problem import Problem

# Siblings that draw the same tokens share them here and would not elsewhere: the bundled model is
# heated until that hardly happens.
TEMPERATURE = 2.0


class Ours:
    """One model, and a reward model where a workload wants one."""

    def __init__(self, folder: Path, reward: Path, dtype: str, compiled: bool) -> None:
        from reward_bridge.causal import CausalRewardModel
        from search.backends.transformers_model import TransformersLanguageModel

        self.model = TransformersLanguageModel(
            str(folder), dtype, pool_tokens=65_536, compiled=compiled
        )
        self.reward = CausalRewardModel(
            str(reward),
            self.model.tokenizer,
            dtype=dtype,
            pool_tokens=65_536,
            compiled=compiled,
        )
        self.phases = PhaseSeconds()
        self.shape: Shape | None = None
        self.tokens = 0

    def run(self, workload: Workload, prompt: str, prompt_tokens: int, seed: int) -> float:
        """Runs a workload once; returns its seconds. The tree's shape is kept in ``shape``."""
        search = Search(
            self.model,
            reward=self.reward if workload.scored else None,
            algorithm=workload.algorithm,
            options=dict(workload.options),
            rules=StepRules(
                delimiters=(),
                max_step_tokens=workload.step_tokens,
                max_path_tokens=prompt_tokens + workload.depth * workload.step_tokens,
            ),
            sampling=Sampling(temperature=TEMPERATURE),
            seed=seed,
        )
        started = time.perf_counter()
        result = search.solve(Problem(prompt=prompt, id=str(seed)))
        seconds = time.perf_counter() - started
        tree: dict[str, Any] = result.tree
        self.phases = search.seconds
        self.tokens = len(tree["tokens"])
        parents = [int(parent) for parent in tree["parent"]]
        self.shape = shape_of(parents, workload.step_tokens, workload.at_once)
        return seconds
