"""Grader of multiple choice: a letter, however it is given, or the text of an option.

"B", "(b)", "B) bank", "The answer is B.", "**Answer:** (B)", "I would say bank."
"""

from __future__ import annotations

import re
import unicodedata

from reward_bridge.verifiers.grader import boxed, stated
from search.interfaces import Verdict

LETTERS = "ABCDEFGHIJ"
BRACKETED = re.compile(r"\(([A-Ja-j])\)\s*")
LISTED = re.compile(r"^\s*([A-J])\s*[.):]\s+", re.MULTILINE)
# The letter alone, or before a mark: not the first letter of a word, and not the article "a".
LEADING = re.compile(r"[\s*_\"'`$]*(?:option|choice)?\s*(?:\(([A-Ja-j])\)|([A-J])(?![\w'’]))")
ALONE = re.compile(r"(?<![\w'’])([A-J])(?![\w'’])")
ARTICLE = re.compile(r"A\s+[a-z]|I\s+['’a-z]")


def options(question: str) -> dict[str, str]:
    """The options of a question by letter: ``(A) bank (B) mall``, or lines ``A. 0``, ``B) 4``.

    Returns:
        Empty where the letters do not run from A.
    """
    for pattern in (LISTED, BRACKETED):
        matches = list(pattern.finditer(question))
        starts = [i for i, match in enumerate(matches) if match[1].upper() == "A"]
        if not starts:
            continue
        found: dict[str, str] = {}
        matches = matches[starts[-1] :]  # the last list: examples come before the question
        for i, match in enumerate(matches):
            letter = match[1].upper()
            if letter != LETTERS[min(i, len(LETTERS) - 1)]:
                break
            end = matches[i + 1].start() if i + 1 < len(matches) else len(question)
            found[letter] = question[match.end() : end].strip().split("\n")[0].strip(" ,;")
        if len(found) > 1:
            return found
    return {}


class MultipleChoiceGrader:
    """Compares the letter that a text chooses with the known one."""

    name = "multiple-choice"

    def canonical_key(self, answer: str, question: str = "") -> str | None:
        """The chosen letter.

        Looked for, in this order: in the last ``\\boxed``, after the last "answer is", at the
        start of a short answer, the last ``(B)``, the last letter that stands alone, and the one
        option whose text appears.
        """
        known = options(question)
        letters = set(known) or set(LETTERS)
        for part in (boxed(answer), stated(answer)):
            if part is not None:
                part = re.sub(r"\\text\s*\{([^}]*)\}", r"\1", part)
                found = _leading(part, letters) or _option_text(part, known)
                if found:
                    return found
        found = _chosen_at_start(answer.strip().split("\n", 1)[0], letters, known)
        if found:
            return found
        bracketed = [m[1].upper() for m in BRACKETED.finditer(answer) if m[1].upper() in letters]
        if bracketed:
            return bracketed[-1]
        alone = [
            match[1]
            for match in ALONE.finditer(answer)
            if match[1] in letters and not ARTICLE.match(answer, match.start())
        ]
        if alone:
            return alone[-1]
        return _option_text(answer.strip().rsplit("\n", 1)[-1], known) or _option_text(
            answer, known
        )

    def check(self, answer: str, gold: str, question: str = "") -> Verdict:
        """Whether the chosen letter is the known one, given as a letter or as an option's text."""
        known = options(question)
        right = _leading(gold, set(known) or set(LETTERS)) if len(gold.strip()) <= 4 else None
        right = right or _option_text(gold, known) or self.canonical_key(gold, question)
        key = self.canonical_key(answer, question)
        return Verdict(None if right is None else key == right, key, key)


def _leading(text: str, letters: set[str]) -> str | None:
    """The letter with which a text begins, if it stands alone there."""
    match = LEADING.match(text)
    if match is None:
        return None
    letter = (match[1] or match[2]).upper()
    if letter not in letters or (match[2] and ARTICLE.match(text, match.start(2))):
        return None
    return letter


def _chosen_at_start(line: str, letters: set[str], known: dict[str, str]) -> str | None:
    """The letter with which a line begins, alone or with its option: not "(A) is wrong"."""
    found = _leading(line, letters)
    match = LEADING.match(line)
    if found is None or match is None:
        return None
    rest = line[match.end() :].lstrip("*_\"'`$ ")
    same = _words(rest).startswith(_words(known.get(found, "")) or "\0")
    return found if not rest or rest[0] in ".:),;-–—" or same else None


def _option_text(text: str, known: dict[str, str]) -> str | None:
    """The one option whose text appears in another; of nested ones the longest."""
    words = f" {_words(text)} "
    shown = {letter: _words(option) for letter, option in known.items()}
    found = {
        letter: option for letter, option in shown.items() if option and f" {option} " in words
    }
    longest = [
        letter
        for letter, option in found.items()
        if not any(f" {option} " in f" {o} " for k, o in found.items() if k != letter)
    ]
    return longest[0] if len(longest) == 1 else None


def _words(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[^\w.+-]|[.](?!\d)", " ", text).split())
