"""``treeward prompt select``: the prompt for queries."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from search.cli.prompt import options

HELP = """Choose the prompt for each query, with a saved selector.

Queries are given as words of the command, or one a line in a file ('-' is stdin; lines that are
JSON objects have the text under 'query').

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
    as_json: options.AsJson = False,
) -> None:
    from prompt_oirl.choice.selector import Selector
    from prompt_oirl.errors import BadLog
    from search.cli.prompt.reading import vectors_from

    texts = [*(query or []), *(_lines(file) if file else [])]
    if not texts:
        raise BadLog("no query is given")
    loaded = Selector.load(selector, vectors_from(vectors, "") if vectors else None)
    choice = loaded.choose(texts, price, budget)
    order = loaded.top(texts, top, price, budget) if top > 1 else choice.arms[:, None]
    records = []
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
    if as_json:
        print(json.dumps({"choices": records}, allow_nan=False))
        return
    for text, arms in zip(texts, order):
        names = ", ".join(loaded.arms[k].name for k in arms)
        print(names if len(texts) == 1 else f"{names}\t{text}")


def _lines(path: Path) -> list[str]:
    from prompt_oirl.errors import BadLog

    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadLog(f"{path}: cannot be read ({error})") from error
    found = []
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would cut JSON at U+2028
        line = line.rstrip("\r")
        if not line.strip():
            continue
        if line.lstrip().startswith("{"):
            try:
                line = json.loads(line)["query"]
            except (ValueError, KeyError, TypeError):
                raise BadLog(f"{path}, line {number}: no JSON object with a 'query'") from None
            if not isinstance(line, str):
                raise BadLog(f"{path}, line {number}: 'query' is not a text")
        found.append(line)
    return found
