"""Trains the process reward model of the puzzles on the Monte-Carlo labels of label_states.

The model starts from the policy's weights with a two-label head, and learns at the last token of
each labelled step the share of completions that ended right (cross-entropy with soft labels).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaForTokenClassification

from search.puzzles.arithmetic import Puzzle
from search.puzzles.countdown import may_train_on
from search.puzzles.format import prompt_text
from training.puzzles.reward_card import scores_of, write_card
from training.puzzles.train_policy import make_optimizers

FORMAT = {"head": "token_classification", "good": 1, "link": "softmax", "scope": "cumulative"}
UNLABELLED = -1.0
# A solution has 35 tokens with its prompt; what comes later has gone astray and would cost padding.
LONGEST_PATH = 40


def read_labels(path: Path) -> list[dict[str, Any]]:
    """The records of a label file."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def paths_with_labels(
    records: Sequence[dict[str, Any]], tokenizer: Any
) -> list[tuple[list[int], list[tuple[int, float]]]]:
    """Token paths with (position, share of right completions) of their labelled steps.

    A state that lies on the path of a longer one is labelled there and needs no row of its own. One
    that was labelled several times has the completions of all of them.
    """
    right: Counter[tuple[Any, ...]] = Counter()
    draws: Counter[tuple[Any, ...]] = Counter()
    for record in records:
        puzzle = Puzzle(tuple(record["numbers"]), record["target"])
        state = (prompt_text(puzzle), *map(tuple, record["steps"]))
        right[state] += record["right"]
        draws[state] += record["draws"]
    by_state = {state: right[state] / draws[state] for state in draws}
    paths = []
    placed: set[tuple[Any, ...]] = set()
    for state in sorted(by_state, key=len, reverse=True):
        if state in placed:
            continue
        tokens = list(tokenizer(state[0])["input_ids"])
        found = []
        for depth in range(1, len(state)):
            tokens += state[depth]
            prefix = state[: depth + 1]
            if prefix in by_state and prefix not in placed:
                placed.add(prefix)
                found.append((len(tokens) - 1, by_state[prefix]))
        paths.append((tokens, found))
    return paths


def to_arrays(
    paths: Sequence[tuple[list[int], list[tuple[int, float]]]], pad: int
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens ``[paths, length]`` and labels of the same shape, -1 where there is none.

    Of a path that is too long its beginning is left, with the labels that lie there.
    """
    paths = [
        (tokens[:LONGEST_PATH], [label for label in found if label[0] < LONGEST_PATH])
        for tokens, found in paths
    ]
    paths = [(tokens, found) for tokens, found in paths if found]
    length = max(len(tokens) for tokens, _ in paths)
    tokens_array = np.full((len(paths), length), pad, dtype=np.int64)
    labels = np.full((len(paths), length), UNLABELLED, dtype=np.float32)
    for row, (tokens, found) in enumerate(paths):
        tokens_array[row, : len(tokens)] = tokens
        for position, share in found:
            labels[row, position] = share
    return tokens_array, labels


def batch_loss(
    model: LlamaForTokenClassification, tokens: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Mean cross-entropy at the labelled positions, in nats."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model.model(tokens, use_cache=False).last_hidden_state
        logits = model.score(hidden)
    logits = logits.float().log_softmax(-1)
    known = labels >= 0
    share = labels[known]
    rows = logits[known]
    return -(share * rows[:, 1] + (1 - share) * rows[:, 0]).mean()


def train(arguments: argparse.Namespace) -> None:
    """Trains, scores on held-out labels, and writes the folder of the model."""
    torch.manual_seed(arguments.seed)
    tokenizer = AutoTokenizer.from_pretrained(arguments.policy)
    records = read_labels(arguments.labels)
    for record in records:
        assert may_train_on(Puzzle(tuple(record["numbers"]), record["target"]))
    tokens, labels = to_arrays(paths_with_labels(records, tokenizer), tokenizer.pad_token_id)
    print(f"{len(records)} labelled states on {len(tokens)} paths", flush=True)
    model = LlamaForTokenClassification.from_pretrained(
        arguments.policy, num_labels=2, dtype=torch.float32
    )
    torch.nn.init.zeros_(model.score.weight)
    torch.nn.init.zeros_(model.score.bias)
    optimizers = make_optimizers(model, arguments.rate)
    generator = np.random.default_rng(arguments.seed)
    per_pass = len(tokens) // arguments.batch
    steps = arguments.steps or round(per_pass * arguments.passes)
    started = time.monotonic()
    losses: list[float] = []
    step = 0
    while step < steps:
        order = generator.permutation(len(tokens))
        for start in range(0, per_pass * arguments.batch, arguments.batch):
            if step >= steps:
                break
            index = order[start : start + arguments.batch]
            warm_up = min(1.0, (step + 1) / 100)
            for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                group["lr"] = arguments.rate * warm_up * (1 - step / steps)
            loss = batch_loss(
                model, torch.from_numpy(tokens[index]), torch.from_numpy(labels[index])
            )
            model.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.item())
            step += 1
            if step % 100 == 0:
                minutes = (time.monotonic() - started) / 60
                print(
                    f"step {step}/{steps} minutes {minutes:.1f} loss {np.mean(losses):.4f}",
                    flush=True,
                )
                losses = []
    save(model.eval(), tokenizer, arguments.out)
    held_out = read_labels(arguments.held_out)
    scores = scores_of(arguments.out, arguments.policy, held_out)
    write_card(arguments, records, steps, (time.monotonic() - started) / 60, scores)
    print(json.dumps(scores, indent=2), flush=True)


def save(model: LlamaForTokenClassification, tokenizer: Any, folder: Path) -> None:
    """Writes weights rounded to bfloat16, configuration with the reward's format, and tokenizer."""
    model.config.treeward_reward = FORMAT
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    tokenizer.save_pretrained(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", type=Path, default=Path("search/bundled/countdown-policy"))
    parser.add_argument("--labels", type=Path, default=Path("build/puzzles/labels.jsonl"))
    parser.add_argument(
        "--held-out", type=Path, default=Path("build/puzzles/held_out_labels.jsonl")
    )
    parser.add_argument("--out", type=Path, default=Path("search/bundled/countdown-reward"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--passes", type=float, default=3.0)
    parser.add_argument("--steps", type=int, help="instead of --passes")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
