"""Choice among responses, on samples of known correctness that others published.

    GPT-4, Game of 24    votes about the expression after "Answer:"
    ChatGPT, dates       votes about the dates that the authors extracted; "No answer!" casts none
    four models, GSM8K   votes about the last number; the best model stands first

Their folders lie beside that of the logs; what is missing gives no row.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prompt_oirl.responses.evaluation import Gain, evaluate_responses
from prompt_oirl.responses.groups import with_joined_groups
from prompt_oirl.responses.response_set import Row, response_set
from prompt_oirl.responses.selector import MODELS
from prompt_oirl.responses.verdict import response_verdict
from reward_bridge.verifiers import load_grader

EXPRESSION = re.compile(r"Answer:\s*([\d\s().+*/-]*\d[\d\s().+*/-]*)")
GSM8K_MODELS = ("175b_verification", "175b_finetuning", "6b_verification", "6b_finetuning")


def rows(data: Path, seed: int) -> Iterator[dict[str, Any]]:
    """One row for each set of responses and model of them."""
    for name, (read, grader) in SOURCES.items():
        try:
            made = list(read(data.resolve().parent))
        except FileNotFoundError:
            continue
        responses = with_joined_groups(response_set(made, load_grader(grader)))
        for model in MODELS:
            trial = evaluate_responses(responses, model, seed=seed)
            yield {
                "log": name,
                "protocol": f"responses, {model}",
                "queries": trial.queries,
                "responses": trial.responses,
                "value": trial.value["vote"],
                **{rule: trial.value[rule] for rule in ("first", "majority", "random", "oracle")},
                **_gains(trial.gain["vote"]),
                "auc": trial.auc,
                "verdict": response_verdict(trial).word,
            }


def _gains(gains: dict[str, Gain]) -> dict[str, Any]:
    over, first = gains["majority"], gains["first"]
    return {
        "gain": over.mean,
        "gain_ci95": over.ci95,
        "gain_over_first": first.mean,
        "gain_over_first_ci95": first.ci95,
    }


def _game_of_24(folder: Path, most: int = 100) -> Iterator[Row]:
    """Each expression is an answer of its own: that it is said to make 24 tells nothing."""
    folder = folder / "game24"
    with open(folder / "24.csv", encoding="utf-8", newline="") as file:
        puzzles = [line["Puzzles"] for line in csv.DictReader(file)]
    for one in _load(folder / "gpt-4_0.7_naive_cot_sample_100_start900_end1000.json"):
        for text, info in list(zip(one["ys"], one["infos"]))[:most]:
            found = EXPRESSION.search(text)
            yield {
                "query_id": str(one["idx"]),
                "query": f"{puzzles[one['idx']]} -> 24",
                "response": text,
                "correct": info["r"],
                "answer": "".join(found[1].split()) if found else None,
            }


def _dates(folder: Path) -> Iterator[Row]:
    for one in _load(folder / "verify_cot" / "date_np.json"):
        samples = zip(one["model_outputs"], one["pred_answers"], one["per_sample_correct"])
        for text, answer, correct in samples:
            yield {
                "query_id": str(one["example_idx"]),
                "query": one["question"],
                "response": text,
                "correct": int(correct),
                "answer": None if answer == "No answer!" else answer,
            }


def _gsm8k(folder: Path) -> Iterator[Row]:
    path = folder / "gsm8k" / "example_model_solutions.jsonl"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        one = json.loads(line)
        for model in GSM8K_MODELS:
            yield {
                "query_id": str(number),
                "query": one["question"],
                "response": one[model]["solution"],
                "correct": int(one[model]["is_correct"]),
            }


def _load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


SOURCES: dict[str, tuple[Callable[[Path], Iterator[Row]], str]] = {
    "GPT-4, Game of 24": (_game_of_24, "exact"),
    "the same, 20 of each": (lambda folder: _game_of_24(folder, 20), "exact"),
    "ChatGPT, dates": (_dates, "exact"),
    "four models, GSM8K": (_gsm8k, "gsm8k"),
}
"""How each set is read, and the grader of its answers."""
