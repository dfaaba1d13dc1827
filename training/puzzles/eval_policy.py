"""Scores a puzzle policy by plain sampling: greedy accuracy and pass@k."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from search.puzzles.arithmetic import Puzzle, check_solution
from search.puzzles.countdown import (
    LARGE_NUMBER_MAX,
    SMALL_NUMBER_MAX,
    SolutionTable,
    held_out_puzzles,
)
from search.puzzles.format import ALLOWED_VALUES, prompt_text, solution_lines
from search.puzzles.game24 import read_24_csv

# A right solution has 27 tokens; a longer text cannot become right.
MAX_NEW_TOKENS = 28


def held_out_sample(count: int, seed: int = 0) -> list[Puzzle]:
    """`count` held-out Countdown puzzles, 70 % with numbers from 1 to 13, the rest from 1 to 25."""
    table = SolutionTable(ALLOWED_VALUES)
    generator = random.Random(seed)
    small = list(held_out_puzzles(table, SMALL_NUMBER_MAX))
    large = list(held_out_puzzles(table, LARGE_NUMBER_MAX))
    small_count = round(0.7 * count)
    return generator.sample(small, small_count) + generator.sample(large, count - small_count)


@torch.inference_mode()
def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    puzzles: Sequence[Puzzle],
    samples: int,
    temperature: float,
    batch_size: int = 512,
) -> list[list[str]]:
    """For each puzzle the texts of `samples` completions; temperature 0 means greedy."""
    prompts = [prompt_text(puzzle) for puzzle in puzzles for _ in range(samples)]
    texts: list[str] = []
    for start in range(0, len(prompts), batch_size):
        inputs = tokenizer(prompts[start : start + batch_size], return_tensors="pt")
        choose = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        output = model.generate(
            **inputs,
            max_new_tokens=MAX_NEW_TOKENS,
            **(choose if temperature > 0 else {"do_sample": False}),
        )
        new = output[:, inputs["input_ids"].shape[1] :]
        texts += tokenizer.batch_decode(new, skip_special_tokens=True)
    return [texts[i : i + samples] for i in range(0, len(texts), samples)]


def solved_counts(puzzles: Sequence[Puzzle], texts: Sequence[Sequence[str]]) -> list[int]:
    """For each puzzle how many of its texts are right solutions."""
    return [
        sum(check_solution(puzzle, solution_lines(text)) for text in some)
        for puzzle, some in zip(puzzles, texts, strict=True)
    ]


def evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    puzzles: Sequence[Puzzle],
    samples: int,
    seed: int = 0,
) -> dict[str, float]:
    """Shares from 0 to 1: greedy solved, right samples at temperature 1, and pass@`samples`."""
    torch.manual_seed(seed)
    greedy = solved_counts(puzzles, complete(model, tokenizer, puzzles, 1, 0.0))
    sampled = solved_counts(puzzles, complete(model, tokenizer, puzzles, samples, 1.0))
    return {
        "puzzles": len(puzzles),
        "greedy": sum(greedy) / len(puzzles),
        "sample": sum(sampled) / (samples * len(puzzles)),
        f"pass@{samples}": sum(count > 0 for count in sampled) / len(puzzles),
    }


def evaluate_suites(
    folder: Path, held_out: int, game24: Path | None, seed: int = 0
) -> dict[str, dict[str, float]]:
    """The scores of the model in a folder: held-out Countdown, and ranks 901 to 1000 of the CSV.

    held_out: the number of held-out puzzles. game24: the CSV file, or None to leave it out.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    scores = {}
    if held_out > 0:
        scores["countdown held out"] = evaluate(
            model, tokenizer, held_out_sample(held_out), 16, seed
        )
    if game24 is not None:
        puzzles = read_24_csv(game24, (901, 1000))
        scores["game of 24, ranks 901-1000"] = evaluate(model, tokenizer, puzzles, 64, seed)
    return scores


def main() -> None:
    """Command line: prints the scores as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the folder of the model")
    parser.add_argument("--held-out", type=int, default=500, help="number of held-out puzzles")
    parser.add_argument("--game24", type=Path, help="the CSV file of the Game of 24 puzzles")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    scores = evaluate_suites(arguments.model, arguments.held_out, arguments.game24, arguments.seed)
    print(json.dumps(scores, indent=2))


if __name__ == "__main__":
    main()
