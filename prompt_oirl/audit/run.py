"""All checks of a log, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prompt_oirl.audit.arm_correlation import arm_correlation
from prompt_oirl.audit.arm_pairs import arm_pairs
from prompt_oirl.audit.class_balance import class_balance
from prompt_oirl.audit.constant_arms import constant_arms
from prompt_oirl.audit.copied_arms import copied_arms
from prompt_oirl.audit.coverage import coverage
from prompt_oirl.audit.exact_duplicates import exact_duplicates
from prompt_oirl.audit.finding import SEVERITIES, Finding
from prompt_oirl.audit.malformed_lines import malformed_lines
from prompt_oirl.audit.measures import measures
from prompt_oirl.audit.near_duplicates import NEAR, near_duplicates
from prompt_oirl.audit.near_groups import near_groups
from prompt_oirl.audit.propensities import propensities
from prompt_oirl.audit.report import AuditReport, SplitLeak
from prompt_oirl.audit.rerun_ceiling import rerun_findings
from prompt_oirl.audit.splits import later_splits
from prompt_oirl.audit.texts import gold_answers, prompt_texts, query_texts
from prompt_oirl.audit.ungrouped_duplicates import ungrouped_duplicates
from prompt_oirl.audit.unused_columns import unused_columns
from prompt_oirl.logs.log import PromptLog

Check = Callable[[], list[Finding]]


def audit(
    log: PromptLog,
    *,
    near_threshold: float = NEAR,
    golds: Mapping[str, str] | None = None,
    problems: Sequence[object] = (),
    unused: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[], None] = lambda: None,
) -> AuditReport:
    """Checks a log before anything is learned from it.

    Args:
        log: what to check.
        near_threshold: least cosine of two wordings that counts as near, in (0, 1].
        golds: gold answer of a query by its id, where known.
        problems: what the reader of the log had to leave out, one for each line.
        unused: columns of the file that nothing was read from.
        seed: of the bootstrap of the rerun ceiling.
        progress: called after each of the ``CHECKS`` checks.

    Raises:
        ValueError: the threshold is not in (0, 1].
    """
    if not 0 < near_threshold <= 1:
        raise ValueError(
            f"the threshold of near duplicates must be in (0, 1], got {near_threshold}"
        )
    pairs = arm_pairs(log.grid())
    checks: list[Check] = [
        lambda: malformed_lines(problems),
        lambda: unused_columns(unused),
        lambda: exact_duplicates(log),
        lambda: near_duplicates(log, near_threshold),
        lambda: ungrouped_duplicates(log),
        lambda: near_groups(log, near_threshold),
        lambda: constant_arms(log),
        lambda: copied_arms(log, pairs),
        lambda: arm_correlation(log, pairs),
        lambda: query_texts(log),
        lambda: prompt_texts(log),
        lambda: gold_answers(log, golds or {}),
        lambda: coverage(log),
        lambda: class_balance(log),
        lambda: measures(log),
        lambda: propensities(log),
        lambda: rerun_findings(log, seed),
    ]
    findings: list[Finding] = []
    for check in checks:
        findings += check()
        progress()
    leaking = {i for found in findings if found.leakage for i in found.queries}
    return AuditReport(
        log=log.name,
        queries=len(log.queries),
        arms=len(log.arms),
        cells=len(log.outcome),
        findings=tuple(sorted(findings, key=lambda found: SEVERITIES.index(found.severity))),
        leaks=tuple(
            SplitLeak(name, len(later), len(leaking.intersection(later)))
            for name, later, _ in later_splits(log)
        ),
        near_threshold=near_threshold,
    )


CHECKS = 17
