"""Copies of one query in different groups: a split by group would put them on both sides."""

from __future__ import annotations

from prompt_oirl.audit.finding import Finding, share, shortened
from prompt_oirl.audit.normalise import normalised
from prompt_oirl.logs.log import PromptLog

CHECK = "ungrouped-duplicates"


def ungrouped_duplicates(log: PromptLog) -> list[Finding]:
    """A warning where queries with one text are in different groups, and how many have copies."""
    ids_of: dict[str, list[int]] = {}
    for index, text in enumerate(log.texts):
        key = normalised(text)
        if key:
            ids_of.setdefault(key, []).append(index)
    copies = [members for members in ids_of.values() if len(members) > 1]
    parted = [m for m in copies if len({log.queries[i].group for i in m}) > 1]
    findings = []
    if copies:
        repeated = sum(len(members) for members in copies)
        findings.append(
            Finding(
                "repeated-queries",
                "note",
                f"{share(repeated, len(log.queries))} queries share their text with another; "
                f"there are {len(ids_of):,} distinct texts.",
                {"queries": len(log.queries), "repeated": repeated, "distinct": len(ids_of)},
            )
        )
    if parted:
        concerned = [i for members in parted for i in members]
        findings.append(
            Finding(
                CHECK,
                "warning",
                f"{share(len(concerned), len(log.queries))} queries share their text but not their "
                "group with another: a split by group does not keep them together.",
                {"queries": len(log.queries), "concerned": len(concerned), "texts": len(parted)},
                shortened([_shown(log, members) for members in parted]),
                tuple(concerned),
            )
        )
    return findings


def _shown(log: PromptLog, members: list[int]) -> str:
    first = log.queries[members[0]]
    other = next(log.queries[i] for i in members if log.queries[i].group != first.group)
    return f"{first.id} and {other.id}: {first.text}"
