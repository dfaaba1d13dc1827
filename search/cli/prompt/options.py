"""Options that several commands of ``treeward prompt`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Log = Annotated[
    Path | None, typer.Argument(help="A log: JSONL, CSV or Parquet; by default the example.")
]
Column = Annotated[
    list[str] | None, typer.Option(help="field=column, where names are unusual; repeat.")
]
Models = Annotated[
    str,
    typer.Option(
        help="Blended models, with commas: advantage, boosting, interaction, logistic, low_rank, "
        "neighbours, perceptron."
    ),
]
Kind = Annotated[str, typer.Option(help="Cautious figure: lower, mean or worst.")]
Z = Annotated[float, typer.Option(min=0, help="Spreads below the mean, for 'lower'.")]
Default = Annotated[str, typer.Option(help="Prompt to fall back to; by default the best single.")]
Folds = Annotated[int, typer.Option(min=2, help="Folds of the cross-fit.")]
Repeats = Annotated[
    int, typer.Option(min=1, help="Times the cross-fit is repeated; once goes with --kind mean.")
]
Ensemble = Annotated[
    bool,
    typer.Option("--ensemble", help="Keep all members: slower, with the spread of each query."),
]
Vectors = Annotated[
    Path | None, typer.Option(help="Vectors of query texts, Parquet or JSONL: 'query', 'vector'.")
]
Encoder = Annotated[
    str, typer.Option(help="An encoder of transformers, folder or name, for vectors of queries.")
]
UnseenPrompts = Annotated[
    bool,
    typer.Option(
        "--unseen-prompts",
        help="Also learn to score prompts that were never tried, by their texts; slower.",
    ),
]
LARGEST_SEED = 2_000_000_000
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of folds, features and trees.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
