"""Makes the example log: the bundled policy's answers to puzzles under six prompt formats.

Every (puzzle, format, run) is one sample of the engine at the policy's own sampling settings
(temperature 1, min_p 0.02), without a reward model; the outcome is 1 where exact arithmetic says
that the answer is right. Everything but the latency is decided by the seed.

Run it from the repository root:

    python -m training.prompts.make_example_log --seed 0
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from prompt_oirl.bundled import NAME
from prompt_oirl.bundled.puzzle_formats import PUZZLE_FORMATS, state_puzzle
from reward_bridge.verifiers import ArithmeticVerifier
from search import _native
from search.backends.transformers_model import TransformersLanguageModel
from search.bundled import POLICY, resolve
from search.engine import Search
from search.interfaces import StepRules
from search.problem import Problem
from search.puzzles.format import prompt_text
from search.puzzles.problems import puzzle_problem
from search.result import SearchResult
from training.prompts.puzzle_sample import LoggedPuzzle, puzzle_sample

# A right answer has 27 tokens; a longer one cannot become right.
LONGEST_ANSWER = 28

# No one sells this policy. These are made-up prices of a usual shape, so that cost differs between
# formats: those with a first step have a longer prompt and a shorter answer.
DOLLARS_PER_PROMPT_TOKEN = 0.15e-6
DOLLARS_PER_ANSWER_TOKEN = 0.60e-6


def sample_answers(
    model: TransformersLanguageModel, problems: Sequence[Problem], seed: int, live: int
) -> Iterator[SearchResult]:
    """Yields one sampled answer a problem, checked, in any order.

    Raises:
        RuntimeError: a problem failed.
    """
    longest_prompt = max(len(model.encode(problem)) for problem in problems)
    search = Search(
        model,
        verifier=ArithmeticVerifier(),
        algorithm="best_of_n",
        options={"n": 1, "stop_when_verified": False},
        rules=StepRules(max_path_tokens=longest_prompt + LONGEST_ANSWER),
        seed=seed,
        max_live=live,
    )
    for result in search.solve_many(problems):
        if result.status == "failed":
            raise RuntimeError(result.error)
        yield result


def run_formats(
    model: TransformersLanguageModel,
    puzzles: Sequence[LoggedPuzzle],
    format_names: Sequence[str],
    run: int,
    seed: int,
    live: int,
) -> list[dict[str, Any]]:
    """One run of all puzzles under some formats; the rows puzzle by puzzle.

    The formats of a puzzle are solved side by side, so that whatever else slows the machine down
    slows them all.
    """
    cells = {
        # The id is part of the seed of a draw, so it names format and run too.
        f"{logged.id}/{format_name}/{run}": (logged, format_name)
        for logged in puzzles
        for format_name in format_names
    }
    problems = [
        state_puzzle(puzzle_problem(logged.puzzle.numbers, logged.puzzle.target, name), format_name)
        for name, (logged, format_name) in cells.items()
    ]
    results = {r.problem.id: r for r in sample_answers(model, problems, seed, live)}
    rows = []
    for name, (logged, format_name) in cells.items():
        result = results[name]
        answer_tokens = len(result.tree["tokens"])
        prompt_tokens = len(model.encode(result.problem))
        cost = prompt_tokens * DOLLARS_PER_PROMPT_TOKEN + answer_tokens * DOLLARS_PER_ANSWER_TOKEN
        query = prompt_text(logged.puzzle).strip()
        rows.append(
            {
                "query_id": logged.id,
                "query": query,
                "group": query,
                "split": logged.split,
                "arm": format_name,
                "run": run,
                "outcome": int(result.right is True),
                "tokens": answer_tokens,
                "cost": round(cost, 9),
                "latency": round(result.ledger.seconds, 3),
            }
        )
    return rows


def write_log(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Writes the log and its metadata; the same rows give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    formats = PUZZLE_FORMATS.values()
    metadata = {
        "name": NAME,
        "arms": [puzzle_format.name for puzzle_format in formats],
        "prompts": {puzzle_format.name: puzzle_format.text for puzzle_format in formats},
    }
    text = json.dumps(metadata, indent=2) + "\n"
    (folder / f"{NAME}.meta.json").write_text(text, encoding="utf-8")
    lines = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    path = folder / f"{NAME}.jsonl.gz"
    path.write_bytes(gzip.compress(lines.encode(), compresslevel=9, mtime=0))
    return path


def main() -> None:
    """Command line: writes the log into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("prompt_oirl/bundled"))
    parser.add_argument("--each", type=int, default=400, help="puzzles of each of three kinds")
    parser.add_argument("--runs", type=int, default=3, help="samples of each puzzle and format")
    parser.add_argument("--live", type=int, default=16, help="puzzles in flight at once")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    _native.attention.set_num_threads(arguments.threads)
    started = time.monotonic()
    puzzles = puzzle_sample(arguments.each, arguments.seed)
    model = TransformersLanguageModel(resolve(POLICY))
    rows: list[dict[str, Any]] = []
    for run in range(arguments.runs):
        names = list(PUZZLE_FORMATS)
        rows += run_formats(model, puzzles, names, run, arguments.seed, arguments.live)
        print(f"run {run}: {time.monotonic() - started:.0f} s", flush=True)
    # All rows of a puzzle together, which also compresses best.
    place = {logged.id: number for number, logged in enumerate(puzzles)}
    rows.sort(key=lambda row: place[row["query_id"]])
    path = write_log(arguments.out, rows)
    print(f"{len(rows)} rows, {path.stat().st_size} bytes, written to {path}")


if __name__ == "__main__":
    main()
