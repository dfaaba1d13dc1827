"""The next cells of a log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from prompt_oirl.active.contenders import probability_best
from prompt_oirl.active.design import choose_cells
from prompt_oirl.active.factors import FACTORS, query_factors
from prompt_oirl.active.posterior import fit_posterior, sigmoid
from prompt_oirl.errors import BadLog
from prompt_oirl.features import QueryFeatures
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.logs.order import in_canonical_order
from prompt_oirl.models.outcomes import distinct_texts

TEXT_SIZE = 32


@dataclass(frozen=True)
class NextCell:
    """One (query, prompt) to run.

    Attributes:
        query: id in the log, of the first query by id that has the text.
        arm: name of the prompt.
        information: expected gain in the log determinant of the information, in nats.
        success: probability of success, by what is known.
        probability_best: how often the prompt is the best one, over queries and what they may be.
    """

    query: str
    arm: str
    information: float
    success: float
    probability_best: float


def next_cells(
    log: PromptLog,
    count: int,
    features: QueryFeatures | None = None,
    arms: Sequence[str] = (),
    rule: str = "contenders",
    factors: int = FACTORS,
    seed: int = 0,
) -> list[NextCell]:
    """Which cells of a log to run next, each the one that adds most to those before it.

    Args:
        log: what was run so far; prompts and queries that were never run may be in it.
        count: cells wanted.
        features: of queries, such as those of a selector; by default made from the log.
        arms: names of the prompts that may be run; all by default.
        rule: of :data:`prompt_oirl.active.design.RULES`.
        factors: numbers a query in the model of information.
        seed: of the order of queries.

    Raises:
        BadLog: ``count`` is below 1, the rule or a prompt is unknown, or nothing is left to run.
    """
    if count < 1:
        raise BadLog(f"{count} cells cannot be chosen; at least 1")
    log = in_canonical_order(log)
    texts, row = distinct_texts(log)
    if not texts:
        raise BadLog(f"{log.name}: there are no queries")
    allowed = np.ones((len(texts), len(log.arms)), dtype=bool)
    if arms:
        wanted = [log.arm_index(name) for name in arms]
        allowed[:, np.setdiff1d(np.arange(len(log.arms)), wanted)] = False
    query = row[log.query]
    allowed[query, log.arm] = False
    if not allowed.any():
        raise BadLog(f"{log.name}: every query was run under every prompt; nothing is left to run")
    if features is None:
        features = QueryFeatures(TEXT_SIZE, seed=seed).fit(texts)
    z = query_factors(features.transform(texts), factors)
    posterior = fit_posterior(z, query, log.arm, log.outcome, len(log.arms))
    design = choose_cells(posterior, z, allowed, count, rule, seed=seed)
    success = sigmoid(posterior.logits(z) + posterior.difficulty[:, None])
    best = probability_best(posterior, z, seed)
    first = {text_row: at for at, text_row in reversed(list(enumerate(row)))}
    return [
        NextCell(
            log.queries[first[q]].id,
            log.arms[arm].name,
            float(information),
            float(success[q, arm]),
            float(best[arm]),
        )
        for q, arm, information in zip(design.query, design.arm, design.information)
    ]
