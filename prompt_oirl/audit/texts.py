"""Texts that are missing or contradict each other: of queries, of prompts, of gold answers."""

from __future__ import annotations

from collections.abc import Mapping

from prompt_oirl.audit.finding import Finding, share, shortened
from prompt_oirl.audit.normalise import normalised
from prompt_oirl.logs.log import PromptLog


def query_texts(log: PromptLog) -> list[Finding]:
    """An error where no query has a text, a warning where some have none."""
    empty = [i for i, text in enumerate(log.texts) if not text.strip()]
    if not empty:
        return []
    everywhere = len(empty) == len(log.queries)
    return [
        Finding(
            "query-texts",
            "error" if everywhere else "warning",
            f"{share(len(empty), len(log.queries))} queries have no text.",
            {"queries": len(log.queries), "without": len(empty)},
            shortened([log.queries[i].id for i in empty]),
            tuple(empty),
        )
    ]


def prompt_texts(log: PromptLog) -> list[Finding]:
    """Arms without the text of their prompt (a note), and arms with the same text (a warning)."""
    findings = []
    without = [arm.name for arm in log.arms if not arm.text.strip()]
    if without:
        findings.append(
            Finding(
                "prompt-texts",
                "note",
                f"{share(len(without), len(log.arms))} arms have no text of their prompt: nothing "
                "can be learned about prompts that are not in the log.",
                {"arms": len(log.arms), "without": len(without)},
                shortened(without),
            )
        )
    names_of: dict[str, list[str]] = {}
    for arm in log.arms:
        if arm.text.strip():
            names_of.setdefault(normalised(arm.text), []).append(arm.name)
    for text, names in names_of.items():
        if len(names) > 1:
            listed = ", ".join(f"'{name}'" for name in names)
            findings.append(
                Finding(
                    "prompt-texts",
                    "warning",
                    f"Arms {listed} have the same prompt.",
                    {"arms": names},
                    shortened([text]),
                )
            )
    return findings


def gold_answers(log: PromptLog, golds: Mapping[str, str]) -> list[Finding]:
    """A warning where queries with one text have different gold answers.

    Args:
        log: its queries.
        golds: gold answer of a query by its id; queries without one are left out.
    """
    answers: dict[str, dict[str, list[int]]] = {}
    for index, query in enumerate(log.queries):
        gold, text = golds.get(query.id, ""), normalised(query.text)
        if text and gold.strip():
            answers.setdefault(text, {}).setdefault(_comparable(gold), []).append(index)
    different = [found for found in answers.values() if len(found) > 1]
    if not different:
        return []
    concerned = [i for found in different for members in found.values() for i in members]
    examples = []
    for found in different:
        firsts = [log.queries[members[0]] for members in found.values()]
        listed = ", ".join(f"{query.id} = {golds[query.id]}" for query in firsts)
        examples.append(f"{listed}: {firsts[0].text}")
    return [
        Finding(
            "gold-answers",
            "warning",
            f"Texts with different gold answers under different ids: {len(different):,} "
            f"({len(concerned):,} queries).",
            {"texts": len(different), "queries": len(concerned)},
            shortened(examples),
            tuple(concerned),
        )
    ]


def _comparable(gold: str) -> str:
    try:
        return repr(float(gold.replace(",", "")))
    except ValueError:
        return normalised(gold)
