"""Grader of short texts that must be the same, apart from case, spacing and marks around them."""

from __future__ import annotations

import unicodedata

from reward_bridge.verifiers.grader import boxed, stated, unwrapped
from search.interfaces import Verdict

AROUND = " \t\n.,;:!?\"'`*_()[]{}$“”‘’"
QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"'})


def same_form(text: str) -> str:
    """The text without differences of case, spacing, quotation marks, marks around it and LaTeX."""
    text = unicodedata.normalize("NFKC", unwrapped(text)).translate(QUOTES).casefold()
    return " ".join(text.split()).strip(AROUND)


class ExactGrader:
    """Compares the whole text, or what it states as its answer, with a known one."""

    name = "exact"

    def canonical_key(self, answer: str, question: str = "") -> str | None:
        r"""The last ``\boxed``, else what follows the last "answer is", else the whole text."""
        for part in (boxed(answer), stated(answer), answer):
            if part is not None and (key := same_form(part)):
                return key
        return None

    def check(self, answer: str, gold: str, question: str = "") -> Verdict:
        """Whether the answer is the known one."""
        known, key = same_form(gold), self.canonical_key(answer)
        if not known:
            return Verdict(None, key, key)
        return Verdict(key == known or same_form(answer) == known, key, key)
