"""Graders: verifiers that compare the final answer in a text with a known one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from search.errors import TreewardError
from search.interfaces import Verdict
from search.problem import Problem

BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
BRACE = re.compile(r"[{}]")
EXPLANATION = re.compile(r"\W*(?:explanation|reason|reasoning|rationale|because|note)\b", re.I)
WRAPPED = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
GOES_ON = re.compile(r"=|:(?:\s|$)")
MOST_BRIEF_WORDS = 3


def stating(what: str) -> re.Pattern[str]:
    """A pattern of what states an answer: "the answer is", "**Final answer:**", "answer =".

    Args:
        what: pattern of the word "answer", and of others that mean it.
    """
    return re.compile(
        rf"\b(?P<final>final\s+)?{what}\b(?:\s+to\s+the\s+question)?[\s*_]*"
        r"(?:is|are|was|would\s+be|(?P<colon>:)|=)(?:[\s*_]*(?:is|:|=))?[\s*_]*",
        re.IGNORECASE,
    )


FINAL = stating("answer")


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
        return self._grader.check("".join(steps), gold, problem.question)

    def allows(self, problem: Problem, steps: Sequence[str]) -> bool:
        """An unfinished answer breaks no rule."""
        return True

    def canonical_key(
        self, problem: Problem, steps: Sequence[str]
    ) -> tuple[str | None, str | None]:
        """The final answer, for voting and reading."""
        key = self._grader.canonical_key("".join(steps), problem.question)
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
    boxes = {match.end() - 1 for match in BOXED.finditer(text)}
    if not boxes:
        return None
    last = end = -1
    opened: list[int] = []
    for match in BRACE.finditer(text):
        if match[0] == "{":
            opened.append(match.start())
        elif opened and (start := opened.pop()) in boxes and start > last:
            last, end = start, match.start()
    return None if end < 0 else text[last + 1 : end]


def unwrapped(text: str) -> str:
    r"""The text without LaTeX commands for words: ``\text{Evelyn}`` is ``Evelyn``."""
    return WRAPPED.sub(r"\1", text)


def is_whole(line: str, after: str) -> bool:
    """Whether the line after "Answer:" is the answer, rather than the first of its reasoning.

    It is where nothing follows but an explanation, or where it is brief: at most three words
    without "=" and without a ":" that more should follow.
    """
    if not after.strip() or EXPLANATION.match(after):
        return True
    return len(line.split()) <= MOST_BRIEF_WORDS and not GOES_ON.search(line)


def stated(
    text: str,
    pattern: re.Pattern[str] = FINAL,
    whole: Callable[[str, str], bool] = is_whole,
) -> str | None:
    """What follows the last "answer is", "answer:" or the like, to the end of its line.

    Many texts have "Answer:" before their reasoning, so a line after it counts only where it is
    the whole answer; after "the answer is" and "Final answer:" every line does.

    Args:
        text: the answer.
        pattern: what states an answer, of ``stating``.
        whole: whether a line is the answer, given what follows it.

    Returns:
        ``None`` where the text says no such thing, or nothing after it.
    """
    for match in reversed(list(pattern.finditer(text))):
        line, _, after = text[match.end() :].lstrip().partition("\n")
        line = line.strip()
        heading = match["colon"] is not None and match["final"] is None
        if line and (not heading or whole(line, after)):
            return line
    return None
