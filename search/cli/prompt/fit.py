"""``treeward prompt fit``: a selector from a log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from search.cli.prompt import options

HELP = """Fit a selector on a log and save it in a folder.

Which margin over the default prompt is needed is chosen on groups that the models did not see,
near duplicates together. Where most queries were run under one prompt, gains are doubly robust
estimates, with the log's propensities or estimated ones.
Without a log the bundled example is used. Fit on what you would deploy on; whether it should be
deployed, 'treeward prompt evaluate' says.

Example:  treeward prompt fit log.jsonl --out selector/
"""


def fit(
    log: options.Log = None,
    out: Annotated[Path, typer.Option(help="Folder of the selector.")] = Path("selector"),
    column: options.Column = None,
    models: options.Models = "advantage,interaction,neighbours",
    kind: options.Kind = "lower",
    z: options.Z = 1.0,
    default: options.Default = "",
    folds: options.Folds = 4,
    repeats: options.Repeats = 2,
    ensemble: options.Ensemble = False,
    vectors: options.Vectors = None,
    encoder: options.Encoder = "",
    unseen_prompts: options.UnseenPrompts = False,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
) -> None:
    import time

    from prompt_oirl.audit import merged_groups
    from prompt_oirl.choice.selector import CALIBRATED_BY, fit_selector
    from prompt_oirl.evaluation.protocols import with_groups
    from search.cli.assemble import status_line
    from search.cli.prompt.reading import read_for_command, settings_from, vectors_from

    settings = settings_from(models, kind, z, default, folds, repeats, ensemble)
    found = read_for_command(log, column)
    started = time.perf_counter()
    with status_line("fitting", as_json) as say:
        say(f"{len(found.queries)} queries, {len(found.arms)} prompts")
        found = with_groups(found, merged_groups(found))
        given = vectors_from(vectors, encoder)
        selector = fit_selector(found, settings, seed, given, unseen_prompts)
    selector.save(out)
    rule = selector.rule
    record = {
        "folder": str(out),
        "log": found.name,
        "queries": len(found.queries),
        "arms": [arm.name for arm in selector.arms],
        "default": selector.default.name,
        "margin": None if rule.margin == float("inf") else rule.margin,
        "gain_unseen": rule.gain,
        "gain_unseen_error": rule.gain_error,
        "calibrated_by": selector.about[CALIBRATED_BY],
        "unseen_prompts": selector.unseen.facts() if selector.unseen else None,
        "seconds": time.perf_counter() - started,
    }
    if as_json:
        print(json.dumps(record, allow_nan=False))
        return
    print(
        f"{len(found.queries)} queries, {len(selector.arms)} prompts, default: {record['default']}"
    )
    print(f"the margin over the default is calibrated by {record['calibrated_by']}")
    if record["margin"] is None:
        print("no margin showed a gain clear of noise: the default is taken for every query")
    else:
        gain, error = 100 * rule.gain, 100 * rule.gain_error
        print(
            f"leaves the default for a cautious advantage above {rule.margin:g}: "
            f"{gain:+.2f} ± {error:.2f} points on groups that a model did not see"
        )
    if selector.unseen:
        print(f"new prompts: {selector.unseen.evidence.sentence()}")
    print(f"saved in {out}")
