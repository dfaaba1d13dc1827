"""Why a selector chose a prompt: margin, features, and what happened on similar queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prompt_oirl.choice.selector import Selector
from prompt_oirl.errors import BadLog
from prompt_oirl.features.structure import NAMES
from prompt_oirl.logs.log import PromptLog
from prompt_oirl.models.outcomes import Floats, averaged


@dataclass(frozen=True)
class ArmView:
    """One prompt on the query: predicted outcome, and cautious advantage over the default."""

    arm: str
    predicted: float
    advantage: float


@dataclass(frozen=True)
class Contribution:
    """What a feature adds to the advantage of the explained prompt over the default, in outcomes.

    Attributes:
        feature: its name.
        value: its distance from the mean of the log, in standard deviations; None for several
            columns taken together.
        contribution: predicted advantage with it, minus that with it at its mean.
    """

    feature: str
    value: float | None
    contribution: float


@dataclass(frozen=True)
class LoggedQuery:
    """A similar query of a log, its distance, and its mean outcome under each prompt run on it."""

    text: str
    distance: float
    outcomes: dict[str, float]


@dataclass(frozen=True)
class Explanation:
    """Everything about one choice.

    Attributes:
        query: the text.
        chosen, default: names of prompts.
        fell_back: whether the default was taken.
        reason: one sentence.
        margin: least cautious advantage for another prompt; None if none is ever taken.
        explained: the prompt whose advantage the contributions are of: the chosen one, or where
            the default was taken the best other one.
        arms: all prompts, best cautious advantage first.
        contributions: largest first.
        similar: nearest logged queries, nearest first; empty without a log.
    """

    query: str
    chosen: str
    default: str
    fell_back: bool
    reason: str
    margin: float | None
    explained: str
    arms: tuple[ArmView, ...]
    contributions: tuple[Contribution, ...]
    similar: tuple[LoggedQuery, ...]


def explain(
    selector: Selector,
    query: str,
    log: PromptLog | None = None,
    similar: int = 5,
    features: int = 8,
) -> Explanation:
    """Explains the choice for a query.

    Args:
        selector: that chooses.
        query: its text.
        log: where similar queries are looked for.
        similar: how many of them.
        features: how many contributions.

    Raises:
        BadLog: the query is empty.
    """
    if not query.strip():
        raise BadLog("the query is empty; there is nothing to explain")
    choice = selector.choose([query])
    default, chosen = selector.rule.default, int(choice.arms[0])
    advantage = choice.advantage[0]
    others = np.array([arm for arm in range(len(selector.arms)) if arm != default])
    rival = int(others[advantage[others].argmax()])
    explained = rival if chosen == default else chosen
    order = np.argsort(-advantage, kind="stable")
    names = [arm.name for arm in selector.arms]
    return Explanation(
        query=query,
        chosen=names[chosen],
        default=names[default],
        fell_back=chosen == default,
        reason=_reason(selector, names[rival], float(advantage[rival]), chosen == default),
        margin=float(selector.rule.margin) if np.isfinite(selector.rule.margin) else None,
        explained=names[explained],
        arms=tuple(
            ArmView(names[arm], float(choice.value[0, arm]), float(advantage[arm])) for arm in order
        ),
        contributions=tuple(contributions(selector, query, explained)[:features]),
        similar=tuple(similar_queries(selector, query, log, similar)) if log is not None else (),
    )


def _reason(selector: Selector, rival: str, advantage: float, fell_back: bool) -> str:
    margin, default = selector.rule.margin, selector.default.name
    if not np.isfinite(margin):
        return (
            f"'{default}' is always taken: on unseen queries of the log no margin showed a gain "
            "clear of noise"
        )
    said = f"the cautious advantage of '{rival}' over '{default}', {100 * advantage:+.2f} points,"
    relation = "does not exceed" if fell_back else "exceeds"
    return f"{said} {relation} the margin of {100 * margin:g} points"


def contributions(selector: Selector, query: str, arm: int) -> list[Contribution]:
    """What each feature adds to the advantage of an arm over the default, largest first.

    A feature is set to its mean over the log and the fall of the mean predicted advantage is taken
    (occlusion): exact for linear models; elsewhere what happens if it alone were ordinary. Columns
    of the text embedding are taken together, and so are vectors.
    """
    x = selector.features.transform([query])
    names = selector.features.names
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        kind = name if column < len(NAMES) else name.rsplit(" ", 1)[0]
        title = {"text direction": "wording", "vector": "vectors"}.get(kind, kind)
        groups.setdefault(title, []).append(column)
    rows = np.repeat(x, len(groups) + 1, axis=0)
    for row, columns in enumerate(groups.values(), 1):
        rows[row, columns] = 0.0
    predicted: Floats = np.mean([member.predict(rows) for member in selector.members], axis=0)
    advantage = predicted[:, arm] - predicted[:, selector.rule.default]
    found = [
        Contribution(
            name,
            float(x[0, columns[0]]) if len(columns) == 1 else None,
            float(advantage[0] - advantage[row]),
        )
        for row, (name, columns) in enumerate(groups.items(), 1)
    ]
    return sorted(found, key=lambda one: -abs(one.contribution))


def similar_queries(
    selector: Selector, query: str, log: PromptLog, count: int
) -> list[LoggedQuery]:
    """The logged queries nearest in the selector's features, reruns averaged."""
    texts, value, weight, _ = averaged(log)
    if not texts:
        return []
    x = selector.features.transform([*texts, query])
    distance = np.sqrt(((x[:-1] - x[-1]) ** 2).sum(axis=1))
    return [
        LoggedQuery(
            texts[row],
            float(distance[row]),
            {
                arm.name: float(value[row, k])
                for k, arm in enumerate(log.arms)
                if weight[row, k] > 0
            },
        )
        for row in np.argsort(distance, kind="stable")[:count]
    ]
