"""``treeward prompt select``: the prompt for queries."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from search.cli.prompt import options

HELP = """Choose the prompt for each query, with a saved selector.

Queries are given as words of the command, or one a line in a file ('-' is stdin; lines that are
JSON objects have the text under 'query').

A prompt that was never tried is scored by its text (--prompt, --prompts), if the selector was
fitted with --unseen-prompts. Such a prompt is chosen only with --allow-unseen, and only if leaving
out each logged prompt in turn showed, clear of noise, that this gains anything.

Example:  treeward prompt select "How many are left?" --selector selector/
"""


def select(
    query: Annotated[list[str] | None, typer.Argument(help="Texts of queries.")] = None,
    selector: Annotated[Path, typer.Option(help="Folder of a saved selector.")] = Path("selector"),
    file: Annotated[Path | None, typer.Option(help="Queries, one a line; '-' for stdin.")] = None,
    top: Annotated[int, typer.Option(min=1, help="So many prompts a query, best first.")] = 1,
    vectors: options.Vectors = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="Outcomes that a unit of cost is worth.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, help="Mean cost of a query that is not exceeded.")
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option(help="Text of a prompt that was never tried; repeat.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Such prompts, one a line or JSON with 'prompt'.")
    ] = None,
    allow_unseen: Annotated[
        bool, typer.Option("--allow-unseen", help="Choose such a prompt where it looks better.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    from prompt_oirl.errors import BadLog
    from search.cli.prompt.reading import lines_of, selector_from

    texts = [*(query or []), *(lines_of(file, "query") if file else [])]
    new = [*(prompt or []), *(lines_of(prompts, "prompt") if prompts else [])]
    if not texts:
        raise BadLog("no query is given")
    if new and (price is not None or budget is not None):
        raise BadLog("what a new prompt costs is unknown, so neither price nor budget applies")
    if allow_unseen and not new:
        raise BadLog("--allow-unseen needs a new prompt, by --prompt or --prompts")
    loaded = selector_from(selector, vectors)
    choice = loaded.choose(texts, price, budget)
    order = loaded.top(texts, top, price, budget) if top > 1 else choice.arms[:, None]
    records: list[dict[str, Any]] = []
    for i, text in enumerate(texts):
        arm = int(choice.arms[i])
        records.append(
            {
                "query": text,
                "prompt": loaded.arms[arm].name,
                "text": loaded.arms[arm].text,
                "fell_back": bool(choice.fell_back[i]),
                "predicted": float(choice.value[i, arm]),
                "cautious_advantage": float(choice.advantage[i, arm]),
                "top": [loaded.arms[k].name for k in order[i]],
            }
        )
    evidence = _add_new(records, loaded, texts, new, allow_unseen) if new else None
    if as_json:
        whole = {"choices": records} | ({"unseen_evidence": evidence} if evidence else {})
        print(json.dumps(whole, allow_nan=False))
        return
    for text, record in zip(texts, records):
        names = record["prompt"] if top == 1 else ", ".join(record["top"])
        print(names if len(texts) == 1 else f"{names}\t{text}")
        for i, one in enumerate(record.get("unseen", []), 1):
            print(
                f"  new prompt {i}: predicted {one['predicted']:.3f} ± {one['error']:.3f}, "
                f"the default {record['default_predicted']:.3f}"
            )
    if evidence:
        print(evidence["sentence"], file=sys.stderr)


def _add_new(
    records: list[dict[str, Any]], loaded: Any, texts: list[str], new: list[str], allowed: bool
) -> dict[str, Any]:
    """Puts scores of new prompts into the records; returns what they are worth."""
    scores = loaded.score_unseen(texts, new)
    evidence = loaded.unseen.evidence
    default = loaded.choose(texts).value[:, loaded.rule.default]
    for i, record in enumerate(records):
        record["default_predicted"] = float(default[i])
        record["unseen"] = [
            {
                "text": text,
                "predicted": float(scores.value[i, j]),
                "error": evidence.level_error,
                "cautious_advantage": float(scores.advantage[i, j]),
            }
            for j, text in enumerate(new)
        ]
        best = int(scores.advantage[i].argmax())
        least = max(0.0, record["cautious_advantage"])
        if allowed and evidence.clear and scores.advantage[i, best] > least:
            record |= record["unseen"][best] | {
                "prompt": f"new prompt {best + 1}",
                "fell_back": False,
            }
            del record["error"]
            record["top"] = [record["prompt"], *record["top"][:-1]]
    use = "not chosen without --allow-unseen"
    if allowed:
        use = "chosen where better" if evidence.clear else "so new prompts are not chosen"
    return {**loaded.unseen.facts(), "sentence": f"{evidence.sentence()}; {use}"}
