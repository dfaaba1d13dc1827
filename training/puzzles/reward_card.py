"""Scores of the puzzle reward model on held-out labels, and its model card."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reward_bridge.causal import CausalRewardModel
from search.backends.loading import load_tokenizer
from search.interfaces import RewardRequest
from search.puzzles.problems import puzzle_problem


def scores_of(folder: Path, policy: Path, records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Agreement of the rewards with Monte-Carlo labels of held-out puzzles.

    Returns:
        ``auc``: that a state with any right completion scores above one with none;
        ``brier`` and ``brier_of_mean``: squared error against the share of right completions, of
        the model and of the constant mean; ``states``: how many were scored.
    """
    tokenizer = load_tokenizer(str(policy))
    model = CausalRewardModel(str(folder), tokenizer, batch_rows=2048)
    rewards, shares = [], []
    for record in records:
        problem = puzzle_problem(record["numbers"], record["target"])
        tree, state = model.open(problem, tokenizer(problem.prompt)["input_ids"])
        score = None
        for tokens in record["steps"]:
            result = model.score([RewardRequest(tree, state, tokens, "")])[0]
            state, score = result.state, result.score
        model.close(tree)
        rewards.append(score)
        shares.append(record["right"] / record["draws"])
    x, y = np.array(rewards), np.array(shares)
    return {
        "states": len(records),
        "auc": auc(x, y > 0),
        "brier": float(np.mean((x - y) ** 2)),
        "brier_of_mean": float(np.mean((y.mean() - y) ** 2)),
    }


def auc(scores: np.ndarray, good: np.ndarray) -> float:
    """Share of (good, bad) pairs that the scores put in order; a tie counts one half."""
    order = np.argsort(scores, kind="stable")
    _, inverse, counts = np.unique(scores[order], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = int(good.sum())
    negatives = len(good) - positives
    if not positives or not negatives:
        return float("nan")
    rank_sum = float(ranks[good[order]].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


_CARD = """\
---
license: apache-2.0
library_name: transformers
---

# Countdown process reward model

Same shape and tokens as the Countdown policy, with a two-label head. At the last token of each
step, the softmax of label 1 is the estimated share of the policy's completions that end right.

## Data

{records:,} labelled states of training puzzles. The labels are Monte-Carlo counts made by
treeward's own search (`training/puzzles/label_states.py`, after Math-Shepherd, arXiv 2312.08935):
{draws} independent completions from each state; ends and steps that break the arithmetic are
labelled by the statement. No puzzle with target 24 and four numbers within 1 to 13 and no held-out
puzzle is among them.

## Training

{steps:,} steps of {batch} paths, Muon for the layers and AdamW for the rest, peak rate {rate:g} with
linear decay, seed {seed}, {minutes:.0f} minutes on 2 shared cores; starts from the policy's weights.

```
python -m training.puzzles.label_states --puzzles 4000 --seed 0 --out build/puzzles/labels0.jsonl
python -m training.puzzles.label_states --puzzles 4000 --seed 1 --out build/puzzles/labels1.jsonl
cat build/puzzles/labels?.jsonl > build/puzzles/labels.jsonl
python -m training.puzzles.label_states --held-out --puzzles 60 --seed 2 --out build/puzzles/held_out_labels.jsonl
python -m training.puzzles.train_reward --steps {steps}
```

## Scores on held-out puzzles ({states:,} states)

| what | value |
| --- | --- |
| AUC, some right completion against none | {auc:.3f} |
| Brier score | {brier:.4f} |
| Brier score of the constant mean | {brier_of_mean:.4f} |
"""


def write_card(
    arguments: argparse.Namespace,
    records: Sequence[dict[str, Any]],
    steps: int,
    minutes: float,
    scores: dict[str, float],
) -> None:
    """Writes README.md beside the model."""
    text = _CARD.format(
        records=len(records),
        draws=" or ".join(str(draws) for draws in sorted({one["draws"] for one in records})),
        steps=steps,
        batch=arguments.batch,
        rate=arguments.rate,
        seed=arguments.seed,
        minutes=minutes,
        **scores,
    )
    (arguments.out / "README.md").write_text(text, encoding="utf-8")
