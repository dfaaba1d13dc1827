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

    Caps in tokens leave different lengths and are not found.
    """
    if not answers:
        return None
    longest, count = max(Counter(map(len, answers)).items())
    most_common = Counter(map(len, answers)).most_common(1)[0][1]
    return longest if count >= LEAST_AT_LONGEST and count == most_common else None


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
