"""mctx on the CPU: ``muzero_policy`` with a jitted evaluation. Compilation is not timed."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from benchmarks.in_turn import missing
from benchmarks.tree.evaluation import ROWS, Tables


def first_states(trees: int) -> np.ndarray:
    """States of the roots, u32 ``[trees]``."""
    return np.arange(trees, dtype=np.uint32) * np.uint32(0x85EBCA6B)


def next_state(state: Any, action: Any) -> Any:
    """States after actions, for u32 arrays of numpy and of JAX; ``% ROWS`` is the row of one."""
    state = (state ^ action) * np.uint32(0x9E3779B1)
    return state ^ (state >> np.uint32(15))


class Mctx:
    """One compiled search."""

    def __init__(
        self, tables: Tables, formula: str, trees: int, simulations: int, seed: int
    ) -> None:
        import jax
        import jax.numpy as jnp
        import mctx

        logits, values = jnp.asarray(tables.logits), jnp.asarray(tables.values)

        def step(
            params: Any, key: Any, action: Any, state: Any
        ) -> tuple[mctx.RecurrentFnOutput, Any]:
            state = next_state(state, action.astype(jnp.uint32))
            row = state & (ROWS - 1)
            zeros = jnp.zeros(trees, jnp.float32)
            return mctx.RecurrentFnOutput(
                reward=zeros,
                discount=zeros + 1.0,
                prior_logits=logits[row],
                value=values[row],
            ), state

        # Its default scales the values between siblings: our formula "muzero".
        def values_as_they_are(tree: Any, node: Any) -> Any:
            visited = tree.children_visits[node] > 0
            return jnp.where(visited, tree.qvalues(node), tree.node_values[node])

        def search(key: Any, state: Any) -> Any:
            row = state & (ROWS - 1)
            root = mctx.RootFnOutput(prior_logits=logits[row], value=values[row], embedding=state)
            values_of = {"qtransform": values_as_they_are} if formula == "puct" else {}
            policy = mctx.muzero_policy(
                (),
                key,
                root,
                step,
                num_simulations=simulations,
                dirichlet_fraction=0.0,
                **values_of,
            )
            return policy.action, policy.search_tree

        self.per_run = trees * simulations
        self.key = jax.random.PRNGKey(seed)
        self.roots = jnp.asarray(first_states(trees))
        self.compiled = jax.jit(search).lower(self.key, self.roots).compile()
        self.tree: Any = None

    def run(self) -> float:
        """Seconds a simulation of one whole search."""
        self.tree = None
        began = time.perf_counter()
        _, tree = self.compiled(self.key, self.roots)
        tree.node_visits.block_until_ready()
        seconds = time.perf_counter() - began
        self.tree = tree
        return seconds / self.per_run

    def depth(self) -> float:
        """Mean depth of the nodes of the first trees."""
        depths: list[int] = []
        for row in np.asarray(self.tree.parents)[:8]:
            depth = [0]
            for parent in row[1:]:
                depth.append(depth[parent] + 1)
            depths += depth
        return float(np.mean(depths))


def make(tables: Tables, formula: str, trees: int, simulations: int, seed: int) -> Mctx | None:
    """The compiled search; ``None`` without mctx."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        import mctx  # noqa: F401
    except ImportError:
        missing("mctx", "pip install mctx")
        return None
    return Mctx(tables, formula, trees, simulations, seed)
