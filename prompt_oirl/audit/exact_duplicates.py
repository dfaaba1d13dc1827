"""Queries of a later split that an earlier one already has, word for word or by their group."""

from __future__ import annotations

from prompt_oirl.audit.finding import Finding, share, shortened
from prompt_oirl.audit.normalise import normalised
from prompt_oirl.audit.splits import later_splits, ordered_splits
from prompt_oirl.logs.log import PromptLog

CHECK = "exact-duplicates"
GROUP_CHECK = "shared-groups"


def exact_duplicates(log: PromptLog) -> list[Finding]:
    """Errors where texts or groups are on both sides of a split, else a note that there are none.

    A selector that remembers the outcomes of a training query needs no skill to answer its copy.
    """
    splits = later_splits(log)
    if not splits:
        names = ordered_splits(log)
        held = f"one split ('{names[0]}')" if names else "no splits"
        sentence = f"The log has {held}: there is nothing to leak between."
        return [Finding(CHECK, "note", sentence, {"splits": len(names)})]
    texts = [normalised(text) for text in log.texts]
    groups = [query.group for query in log.queries]
    findings = []
    for name, later, earlier in splits:
        before = _list_of({log.queries[i].split for i in earlier})
        by_text = leaking(texts, later, earlier)
        by_group = leaking(groups, later, earlier)
        counts = {"split": name, "queries": len(later), "leaking": len(by_text)}
        where = f"queries of '{name}' occur word for word in {before}."
        if by_text:
            examples = [f"{log.queries[i].id}: {log.queries[i].text}" for i in by_text]
            findings.append(
                Finding(
                    CHECK,
                    "error",
                    f"{share(len(by_text), len(later))} {where}",
                    counts,
                    shortened(examples),
                    tuple(by_text),
                    leakage=True,
                )
            )
        else:
            findings.append(Finding(CHECK, "note", f"None of {len(later):,} {where}", counts))
        if by_group:
            examples = [
                f"{log.queries[i].id}, group {groups[i]}: {log.queries[i].text}" for i in by_group
            ]
            findings.append(
                Finding(
                    GROUP_CHECK,
                    "error",
                    f"{share(len(by_group), len(later))} queries of '{name}' belong to a group "
                    f"that is also in {before}.",
                    {"split": name, "queries": len(later), "leaking": len(by_group)},
                    shortened(examples),
                    tuple(by_group),
                    leakage=True,
                )
            )
    return findings


def leaking(keys: list[str], later: list[int], earlier: list[int]) -> list[int]:
    """The later queries whose key some earlier query has; empty keys never match."""
    known = {keys[i] for i in earlier} - {""}
    return [i for i in later if keys[i] in known]


def _list_of(names: set[str]) -> str:
    return " and ".join(f"'{name}'" for name in sorted(names))
