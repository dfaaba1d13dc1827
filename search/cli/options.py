"""Options that ``solve`` and ``evaluate`` share."""

from __future__ import annotations

from typing import Annotated

import typer

Aggregate = Annotated[
    str, typer.Option(help="How step scores become a value: last, min, mean, product, …")
]
Temperature = Annotated[
    float | None, typer.Option(help="Sampling temperature; by default the model's own.")
]
TopK = Annotated[int | None, typer.Option(help="Next tokens kept, the most probable.")]
TopP = Annotated[float | None, typer.Option(help="Probability of the tokens kept.")]
MinP = Annotated[
    float | None, typer.Option(help="Least share of the largest probability that is kept.")
]
Delimiter = Annotated[
    list[str] | None,
    typer.Option(help=r"Text that ends a step, \n a line end, \t a tab; repeat. \n by default."),
]
StepRegex = Annotated[str | None, typer.Option(help="A step ends where this is found in it.")]
MaxStepTokens = Annotated[int, typer.Option(help="A longer step is cut.")]
Seed = Annotated[int, typer.Option(help="Seed of every draw.")]
Dtype = Annotated[str, typer.Option(help="float32 or bfloat16.")]
PoolTokens = Annotated[int, typer.Option(help="Tokens of keys and values kept, for each model.")]
Compiled = Annotated[
    bool, typer.Option("--compile", help="Compile the models first; takes up to a minute.")
]
MaxLive = Annotated[int, typer.Option(help="Problems in flight at once.")]
Threads = Annotated[
    int | None, typer.Option(help="Threads; by default OMP_NUM_THREADS, or all cores.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the models.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
