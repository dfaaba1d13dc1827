"""Trees that mctx's muzero_policy grows, for the native search to be compared with.

Run as a script this writes fixtures/mctx_trees.json again; it needs ``pip install mctx``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "fixtures" / "mctx_trees.json"
ROWS = 256
TREES = 6
SIMULATIONS = 96
BRANCHINGS = (2, 5, 16, 40)


def tables(branching: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits ``[ROWS, branching]`` and values ``[ROWS]`` that a state is looked up in."""
    random = np.random.default_rng(branching)
    logits = random.standard_normal((ROWS, branching)).astype(np.float32)
    return logits, random.random(ROWS).astype(np.float32)


def next_state(state, action):
    """State after an action, for uint32 arrays of numpy and of JAX alike."""
    state = (state ^ action) * np.uint32(0x9E3779B1)
    return state ^ (state >> np.uint32(15))


def first_states() -> np.ndarray:
    """The roots' states, u32 ``[TREES]``."""
    return np.arange(1, TREES + 1, dtype=np.uint32) * np.uint32(0x85EBCA6B)


def grow(branching: int) -> dict[str, list[list[int]]]:
    """``parents``, ``actions`` and ``visits`` of the nodes of every tree, in order of creation."""
    import jax
    import jax.numpy as jnp
    import mctx

    logits, values = map(jnp.asarray, tables(branching))

    def evaluate(state):
        return logits[state % ROWS], values[state % ROWS]

    def step(_, key, action, state):
        state = next_state(state, action.astype(jnp.uint32))
        prior_logits, value = evaluate(state)
        zeros = jnp.zeros_like(value)
        return mctx.RecurrentFnOutput(
            reward=zeros, discount=zeros + 1.0, prior_logits=prior_logits, value=value
        ), state

    roots = jnp.asarray(first_states())
    prior_logits, value = evaluate(roots)
    root = mctx.RootFnOutput(prior_logits=prior_logits, value=value, embedding=roots)
    tree = mctx.muzero_policy(
        (), jax.random.PRNGKey(0), root, step, num_simulations=SIMULATIONS, dirichlet_fraction=0.0
    ).search_tree
    return {
        "parents": np.asarray(tree.parents).tolist(),
        "actions": np.asarray(tree.action_from_parent).tolist(),
        "visits": np.asarray(tree.node_visits).tolist(),
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({str(b): grow(b) for b in BRANCHINGS}, separators=(",", ":")))
