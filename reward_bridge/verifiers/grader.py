"""Graders: verifiers that compare the final answer in a text with a known one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from search.errors import TreewardError
from search.interfaces import Verdict
from search.problem import Problem

BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
FINAL = re.compile(
    r"\b(?:final\s+)?answer\b(?:\s+to\s+the\s+question)?[\s*_]*(?:is|are|was|would\s+be|:|=)"
    r"(?:[\s*_]*(?:is|:|=))?[\s*_]*",
    re.IGNORECASE,
)


class Grader(Protocol):
    """Finds the final answer in a text and compares it with a known one.

    ``question`` is the text that was asked; only graders that need its options look at it.
    """

    name: str

    def canonical_key(self, answer: str, question: str = "") -> str | None:
        """The final answer of a text in canonical form, for voting; ``None`` without one."""
        ...

    def check(self, answer: str, gold: str, question: str = "") -> Verdict:
        """Whether the final answer equals the known one; ``None`` when that is unreadable."""
        ...


class GoldVerifier:
    """A grader as a verifier of searches: the known answers by the id of the problem.

    It sees stored answers, so it judges results; a search that it ends is not one that could be
    run on new problems.
    """

    def __init__(self, grader: Grader, golds: Mapping[str, str]) -> None:
        """Takes a grader and the known answer of each problem."""
        self.name = grader.name
        self._grader = grader
        self._golds = golds

    def check(self, problem: Problem, steps: Sequence[str]) -> Verdict:
        """Judges a finished path; ``None`` when the problem has no known answer."""
        gold = self._golds.get(problem.id)
        if gold is None:
            key, answer = self.canonical_key(problem, steps)
            return Verdict(None, key, answer)
        return self._grader.check("".join(steps), gold, problem.prompt)

    def allows(self, problem: Problem, steps: Sequence[str]) -> bool:
        """An unfinished answer breaks no rule."""
        return True

    def canonical_key(
        self, problem: Problem, steps: Sequence[str]
    ) -> tuple[str | None, str | None]:
        """The final answer, for voting and reading."""
        key = self._grader.canonical_key("".join(steps), problem.prompt)
        return key, key


GRADERS = ("numeric", "gsm8k", "multiple-choice", "exact", "math", "oirl-released")


def load_grader(name: str) -> Grader:
    """A grader by its name.

    Raises:
        TreewardError: no grader has this name.
        MissingExtra: it needs a package that is not installed.
    """
    if name == "numeric":
        from reward_bridge.verifiers.numeric import NumericGrader

        return NumericGrader()
    if name == "gsm8k":
        from reward_bridge.verifiers.gsm8k import Gsm8kGrader

        return Gsm8kGrader()
    if name == "multiple-choice":
        from reward_bridge.verifiers.multiple_choice import MultipleChoiceGrader

        return MultipleChoiceGrader()
    if name == "exact":
        from reward_bridge.verifiers.exact import ExactGrader

        return ExactGrader()
    if name == "math":
        from reward_bridge.verifiers.math import MathGrader

        return MathGrader()
    if name == "oirl-released":
        from reward_bridge.verifiers.oirl_released import ReleasedOirlGrader

        return ReleasedOirlGrader()
    raise TreewardError(f"unknown grader '{name}'; known: {', '.join(GRADERS)}")


def boxed(text: str) -> str | None:
    r"""What is inside the last ``\boxed{…}`` of a text; ``None`` without a closed one."""
    found = None
    for match in BOXED.finditer(text):
        depth = 1
        for place in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth == 0:
                found = text[match.end() : place]
                break
    return found


def stated(text: str) -> str | None:
    """What follows the last "answer is", "answer:" or the like, to the end of its line.

    Returns:
        ``None`` where the text says no such thing, or nothing after it.
    """
    matches = list(FINAL.finditer(text))
    for match in reversed(matches):
        rest = text[match.end() :].lstrip()
        line = rest.split("\n", 1)[0].strip()
        if line:
            return line
    return None
