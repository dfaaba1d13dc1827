"""Whether an answer looks cut off: at the limit of its length, or in the middle of a sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

AT_CAP = "as long as the cap"
MID_SENTENCE = "ends mid-sentence"
NO_ANSWER = "no final answer"
SENTENCE_END = re.compile(r"[.!?…。！？)\]}\"'”’»`*_|$%>#°]$")
LEAST_WORDS = 4
LEAST_AT_LONGEST = 3
LEAST_CAP = 100


def ends_mid_sentence(text: str) -> bool:
    """Whether the last line breaks off: several words, and no mark or number at the end.

    A line of up to three words is an answer of its own (``18 apples``), and a line that ends in a
    number or an emoji may be complete.
    """
    text = text.rstrip()
    if not text or SENTENCE_END.search(text):
        return False
    line = text.rsplit("\n", 1)[-1].strip()
    last = text[-1]
    if last in ",;:-–—=+*/\\(":
        return True
    return last.isalpha() and len(line.split()) >= LEAST_WORDS


def length_cap(answers: Sequence[str]) -> int | None:
    """The cap on characters that answers seem to have had: the longest length, if it repeats.

    At least three different answers have it, no length from 100 characters on is more common, and
    it is that long itself: short answers, such as letters, share a length without being cut off.
    Caps in tokens leave different lengths and are not found.

    Args:
        answers: of one prompt. Those of prompts that ask for more or less are no evidence.
    """
    lengths = Counter(length for length in map(len, set(answers)) if length >= LEAST_CAP)
    if not lengths:
        return None
    longest, count = max(lengths.items())
    return longest if count >= LEAST_AT_LONGEST and count == max(lengths.values()) else None


def truncation_signs(answer: str, cap: int | None, answered: bool) -> list[str]:
    """Why an answer looks cut off; empty where it does not.

    Args:
        answer: the whole text.
        cap: most characters that an answer could have; ``None`` where unknown.
        answered: whether an extractor found a final answer.
    """
    signs = []
    if cap is not None and len(answer) >= cap:
        signs.append(AT_CAP)
    if not answered:
        signs.append(NO_ANSWER)
    if ends_mid_sentence(answer):
        signs.append(MID_SENTENCE)
    return signs
