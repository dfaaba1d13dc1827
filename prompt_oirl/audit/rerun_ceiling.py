"""How much choosing per question can gain at most, as told by reruns of the same questions.

    question g    arm 0  arm 1  arm 2
    rerun 1         1      0      1      ◄ judged: the arm that is best on reruns 2 and 3
    rerun 2         1      0      0
    rerun 3         0      0      1

No selector knows a question better than its own reruns do, up to their number. An oracle, which
looks at the outcomes it is judged by, is inflated by the noise of sampling; this is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np

from prompt_oirl.audit.finding import Finding
from prompt_oirl.logs.log import Floats, Indices, PromptLog

CHECK = "rerun-ceiling"
FEWEST_GROUPS = 30
FEWEST_RERUNS = 3  # of a question, for reruns to show that nothing can be gained
MOST_KINDS = 64  # of rows, by the arms that they have, that are tried as those to compare
ALWAYS_AGREE = 0.999  # correlation of reruns
REPLICATES = 2000
WORTHWHILE = 0.005  # a gain whose upper bound is below this is not worth a selector


@dataclass(frozen=True)
class RerunCeiling:
    """What the reruns say.

    Attributes:
        arms: that all rows counted here were run under.
        rows: reruns, over all groups with two or more.
        groups: with two or more reruns.
        best_arm: with the highest mean over the rows.
        best_single: that mean.
        value: mean outcome when the arm of each rerun is chosen by the group's other reruns.
        gain: ``value - best_single``.
        gain_ci95: interval of the gain by a bootstrap over groups.
        intra_question_correlation: per arm, the share of the outcome's variance that is between
            questions: 1 where reruns always agree, 0 where the question tells nothing.
    """

    arms: tuple[str, ...]
    rows: int
    groups: int
    best_arm: str
    best_single: float
    value: float
    gain: float
    gain_ci95: tuple[float, float]
    intra_question_correlation: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        record = dict(vars(self))
        record["arms"], record["gain_ci95"] = list(self.arms), list(self.gain_ci95)
        return record


def rerun_ceiling(
    log: PromptLog, replicates: int = REPLICATES, seed: int = 0
) -> RerunCeiling | None:
    """The leave-one-out value of choosing an arm by the other reruns of the same question.

    Reruns of a question are the rows (a query in one run) of its group. Only rows that were run
    under all arms compared count; the arms are those of the kind of row that keeps most rows.
    Between equally good arms, the one with the higher mean over all other groups is chosen.

    Returns:
        ``None`` where fewer than 30 groups have two rows, or fewer than two arms are shared.
    """
    outcomes, groups, arms = _rows(log)
    sizes = np.bincount(groups, minlength=1)
    keep = sizes[groups] >= 2
    if len(arms) < 2 or len(np.unique(groups[keep])) < FEWEST_GROUPS:
        return None
    outcomes = outcomes[keep]
    groups = np.unique(groups[keep], return_inverse=True)[1]
    sizes = np.bincount(groups)
    sums = np.zeros((len(sizes), len(arms)))
    np.add.at(sums, groups, outcomes)
    chosen = _leave_one_out(outcomes, groups, sizes, sums)
    means = outcomes.mean(axis=0)
    best = int(means.argmax())
    gain_of_group = np.zeros(len(sizes))
    np.add.at(gain_of_group, groups, chosen - outcomes[:, best])
    low, high = _interval(gain_of_group, sizes, replicates, seed)
    return RerunCeiling(
        arms=tuple(log.arms[arm].name for arm in arms),
        rows=len(outcomes),
        groups=len(sizes),
        best_arm=log.arms[arms[best]].name,
        best_single=float(means[best]),
        value=float(chosen.mean()),
        gain=float(gain_of_group.sum() / len(outcomes)),
        gain_ci95=(low, high),
        intra_question_correlation={
            log.arms[arm].name: intra_group_correlation(outcomes[:, k], groups)
            for k, arm in enumerate(arms)
        },
    )


def rerun_findings(log: PromptLog, seed: int = 0) -> list[Finding]:
    """The ceiling as a note; a warning where it leaves next to nothing to gain."""
    ceiling = rerun_ceiling(log, seed=seed)
    if ceiling is None:
        sentence = (
            f"Fewer than {FEWEST_GROUPS} questions were rerun under the same arms: how much can be "
            "gained by choosing per question is unknown."
        )
        return [Finding(CHECK, "note", sentence)]
    low, high = (100 * bound for bound in ceiling.gain_ci95)
    reruns = ceiling.rows / ceiling.groups
    sentence = (
        f"Choosing by the other reruns of a question yields {ceiling.value:.3f}, the best single "
        f"arm '{ceiling.best_arm}' {ceiling.best_single:.3f}: {100 * ceiling.gain:+.1f} points "
        f"[{low:.1f}, {high:.1f}] are about the ceiling ({ceiling.groups:,} questions, "
        f"{reruns:.1f} reruns of each)."
    )
    # With two reruns, one outcome chooses: too little to say that there is nothing to choose.
    little = ceiling.gain_ci95[1] < WORTHWHILE and reruns >= FEWEST_RERUNS
    if little:
        sentence += " Nothing is to be gained by choosing per question."
    vary = [value for value in ceiling.intra_question_correlation.values() if not isnan(value)]
    if vary and min(vary) >= ALWAYS_AGREE:
        sentence += " The reruns never differ: they were not sampled, or are copies."
    return [Finding(CHECK, "warning" if little else "note", sentence, ceiling.to_json())]


def intra_group_correlation(values: Floats, groups: Indices) -> float:
    """Share of the variance that is between groups, from the one-way analysis of variance.

    The estimator for groups of unequal size, ICC(1) of Shrout and Fleiss, "Intraclass
    Correlations", Psychological Bulletin 1979, with the average size of Donner, "A Review of
    Inference Procedures for the Intraclass Correlation Coefficient", 1986.

    Args:
        values: ``[N]``.
        groups: number of the group of each, ``[N]``, from 0 without gaps.

    Returns:
        At most 1, around 0 by chance, and -1 at least; NaN where the values or the groups do not
        vary.
    """
    sizes = np.bincount(groups)
    if len(sizes) < 2 or len(values) <= len(sizes):
        return float("nan")
    means = np.bincount(groups, weights=values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (len(sizes) - 1)
    within = float(((values - means[groups]) ** 2).sum()) / (len(values) - len(sizes))
    size = (len(values) - float((sizes**2).sum()) / len(values)) / (len(sizes) - 1)
    total = between + (size - 1) * within
    return (between - within) / total if total > 0 else float("nan")


def _rows(log: PromptLog) -> tuple[Floats, Indices, list[int]]:
    """Outcomes of complete rows ``[rows, arms]``, the group of each, and the arms."""
    keys = np.stack([log.query, log.run], axis=1)
    rows, row = np.unique(keys, axis=0, return_inverse=True)
    table = np.full((len(rows), len(log.arms)), np.nan)
    table[row.ravel(), log.arm] = log.outcome
    known = ~np.isnan(table)
    group = log.groups[rows[:, 0]] if len(rows) else np.empty(0, dtype=np.int64)
    kinds, often = np.unique(known, axis=0, return_counts=True)
    kinds = kinds[np.argsort(-often, kind="stable")][:MOST_KINDS]
    best: tuple[int, int] = (0, 0)
    arms: list[int] = []
    for kind in kinds[kinds.sum(axis=1) >= 2]:
        complete = known[:, kind].all(axis=1)
        repeated = int((np.bincount(group[complete]) - 1).clip(0).sum())
        if (repeated, int(kind.sum())) > best:
            best, arms = (repeated, int(kind.sum())), np.flatnonzero(kind).tolist()
    complete = known[:, arms].all(axis=1) if arms else np.zeros(len(rows), dtype=bool)
    return table[complete][:, arms], group[complete], arms


def _leave_one_out(outcomes: Floats, groups: Indices, sizes: Indices, sums: Floats) -> Floats:
    """The outcome of each row under the arm that the other rows of its group prefer."""
    others = (sums[groups] - outcomes) / (sizes[groups] - 1)[:, None]
    elsewhere = (sums.sum(axis=0) - sums[groups]) / (len(outcomes) - sizes[groups])[:, None]
    best = others >= others.max(axis=1, keepdims=True) - 1e-9
    arm = np.where(best, elsewhere, -1.0).argmax(axis=1)
    return outcomes[np.arange(len(outcomes)), arm]


def _interval(
    gain_of_group: Floats, sizes: Indices, replicates: int, seed: int
) -> tuple[float, float]:
    """The middle 95 % of the gain over groups drawn with replacement."""
    generator = np.random.default_rng(seed)
    groups = len(sizes)
    gains = np.empty(replicates)
    for replicate in range(replicates):
        drawn = generator.integers(0, groups, groups)
        gains[replicate] = gain_of_group[drawn].sum() / sizes[drawn].sum()
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)
