"""Monte-Carlo labels of puzzle states, made by the engine's own search.

The construction of Math-Shepherd (Wang et al., 2312.08935): a state is worth the share of
completions from it that end right. For each puzzle a tree search proposes states; from each state
the engine draws independent completions, and the counts of right ones and of all are kept. States
that are ends themselves, and steps that break the arithmetic, are labelled by the statement.

Puzzles that the policy must not train on (target 24 with numbers 1 to 13, and the held-out ones)
are left out here too, except with --held-out, which labels held-out puzzles for scoring.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reward_bridge.verifiers import ArithmeticVerifier
from search import _native
from search.backends.transformers_model import TransformersLanguageModel
from search.budget import Budget
from search.engine import Search
from search.problem import Problem
from search.puzzles.arithmetic import Puzzle
from search.puzzles.countdown import (
    LARGE_NUMBER_MAX,
    SMALL_NUMBER_MAX,
    SolutionTable,
    may_train_on,
    multisets,
)
from search.puzzles.format import ALLOWED_VALUES, prompt_text
from search.puzzles.problems import puzzle_problem
from search.result import SearchResult
from training.puzzles.eval_policy import held_out_sample

TERMINAL = _native.tree.TERMINAL


def training_puzzles(count: int, seed: int) -> list[Puzzle]:
    """Random solvable puzzles, 70 % with numbers 1 to 13, none that may not be trained on."""
    table = SolutionTable(ALLOWED_VALUES)
    generator = random.Random(seed)
    pools = [list(multisets(SMALL_NUMBER_MAX)), list(multisets(LARGE_NUMBER_MAX))]
    chosen: dict[Puzzle, None] = {}
    while len(chosen) < count:
        numbers = generator.choice(pools[0] if generator.random() < 0.7 else pools[1])
        targets = table.targets(numbers)
        if not targets:
            continue
        puzzle = Puzzle(numbers, generator.choice(targets))
        if may_train_on(puzzle):
            chosen[puzzle] = None
    return list(chosen)


@dataclass(frozen=True)
class ProposedState:
    """A state of a search tree: the tokens and the text of each step that leads to it.

    verdict: None for a state to go on from, else whether it is a right end.
    """

    tokens: tuple[tuple[int, ...], ...] = ()
    lines: tuple[str, ...] = ()
    verdict: bool | None = None


def proposed_states(
    result: SearchResult, most: int, generator: random.Random
) -> tuple[list[ProposedState], list[ProposedState]]:
    """States of a search tree: up to `most` to go on from, and half as many that ended."""
    tree = result.tree
    states: list[ProposedState] = []
    for row, parent in enumerate(tree["parent"]):
        if parent < 0:
            states.append(ProposedState())
            continue
        begin, end = tree["token_offset"][row : row + 2]
        ended = bool(tree["flags"][row] & TERMINAL)
        states.append(
            ProposedState(
                (*states[parent].tokens, tuple(int(t) for t in tree["tokens"][begin:end])),
                (*states[parent].lines, tree["text"][row].strip()),
                tree["verdict"][row] == 1 if ended else None,
            )
        )
    open_states = [state for state in states[1:] if state.verdict is None]
    ends = [state for state in states[1:] if state.verdict is not None]
    generator.shuffle(open_states)
    generator.shuffle(ends)
    return open_states[:most], ends[: most // 2]


def joined(start: ProposedState, rest: ProposedState) -> ProposedState:
    """A state reached from another."""
    return ProposedState(start.tokens + rest.tokens, start.lines + rest.lines, rest.verdict)


def state_problem(puzzle: Problem, state: ProposedState, name: str) -> Problem:
    """A problem that starts after some steps of a puzzle."""
    text = puzzle.prompt + "".join(f"{line}\n" for line in state.lines)
    return Problem(text, name, {**puzzle.facts, "steps": list(state.lines)})


def right_draws(result: SearchResult) -> int:
    """How many of the completions ended right, repeats counted."""
    tree = result.tree
    right = (tree["flags"] & TERMINAL > 0) & (tree["verdict"] == 1)
    return int(np.asarray(tree["draws"])[right].sum())


def labels(
    model: TransformersLanguageModel, puzzles: Sequence[Puzzle], arguments: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yields one record a labelled state, puzzle by puzzle."""
    verifier = ArithmeticVerifier()
    generator = random.Random(arguments.seed)
    explore = Search(
        model,
        verifier=verifier,
        algorithm="mcts",
        options={"stop_when_verified": False, "widen_initial": 16, "c_init": 3.0},
        budget=Budget(policy_tokens=arguments.explore_tokens),
        seed=arguments.seed,
    )
    complete = Search(
        model,
        verifier=verifier,
        algorithm="best_of_n",
        options={"n": arguments.draws, "stop_when_verified": False},
        seed=arguments.seed + 1,
        max_live=128,
    )
    for start in range(0, len(puzzles), 64):
        problems = [puzzle_problem(p.numbers, p.target) for p in puzzles[start : start + 64]]
        states: dict[str, ProposedState] = {}
        state_problems: list[Problem] = []
        for result in sorted(explore.solve_many(problems), key=lambda r: r.problem.id):
            if result.status == "failed":
                raise RuntimeError(result.error)
            open_states, ends = proposed_states(result, arguments.states, generator)
            for state in ends:
                right = arguments.draws if state.verdict else 0
                yield _record(result.problem, state, right, arguments.draws)
            for i, state in enumerate(open_states):
                problem = state_problem(result.problem, state, f"{result.problem.id}/{i}")
                prompt = model.encode(result.problem)
                # A state that is not written as the format writes it cannot be gone on from.
                if model.encode(problem) == [*prompt, *(t for step in state.tokens for t in step)]:
                    states[problem.id] = state
                    state_problems.append(problem)
        for result in complete.solve_many(state_problems):
            if result.status == "failed":
                raise RuntimeError(result.error)
            state = states[result.problem.id]
            yield _record(result.problem, state, right_draws(result), arguments.draws)
            # One whole solution attempt a state, so that last steps are judged too.
            ends = proposed_states(result, 2, generator)[1]
            for end in ends:
                right = arguments.draws if end.verdict else 0
                yield _record(result.problem, joined(state, end), right, arguments.draws)


def _record(problem: Problem, state: ProposedState, right: int, draws: int) -> dict[str, Any]:
    return {
        "numbers": problem.facts["numbers"],
        "target": problem.facts["target"],
        "steps": [list(tokens) for tokens in state.tokens],
        "right": right,
        "draws": draws,
        "end": state.verdict is not None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", default="search/bundled/countdown-policy")
    parser.add_argument("--out", type=Path, default=Path("build/puzzles/labels.jsonl"))
    parser.add_argument("--puzzles", type=int, default=6000)
    parser.add_argument("--states", type=int, default=14, help="states of a puzzle at most")
    parser.add_argument("--draws", type=int, default=8, help="completions of a state")
    parser.add_argument("--explore-tokens", type=int, default=350)
    parser.add_argument("--held-out", action="store_true", help="label held-out puzzles")
    parser.add_argument("--minutes", type=float, help="stop after this time")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    unfinished = arguments.out.with_name(f"{arguments.out.name}.unfinished")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    if arguments.held_out:
        puzzles = held_out_sample(arguments.puzzles, arguments.seed)
    else:
        puzzles = training_puzzles(arguments.puzzles, arguments.seed)
        assert all(may_train_on(puzzle) for puzzle in puzzles)
    model = TransformersLanguageModel(arguments.policy, batch_rows=2048)
    started = time.monotonic()
    seen: set[str] = set()
    count = 0
    # Beside the labels that are there, which should outlive a run that breaks off.
    with unfinished.open("w", encoding="utf-8") as file:
        for record in labels(model, puzzles, arguments):
            file.write(json.dumps(record) + "\n")
            count += 1
            seen.add(prompt_text(Puzzle(tuple(record["numbers"]), record["target"])))
            minutes = (time.monotonic() - started) / 60
            if count % 5000 == 0:
                print(f"{count} states of {len(seen)} puzzles, {minutes:.1f} minutes", flush=True)
            if arguments.minutes is not None and minutes > arguments.minutes:
                break
    unfinished.replace(arguments.out)
    print(f"{count} states of {len(seen)} puzzles, {torch.get_num_threads()} threads", flush=True)


if __name__ == "__main__":
    main()
