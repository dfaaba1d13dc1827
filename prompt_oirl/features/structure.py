"""What can be counted in a query: length, numbers and their size, cue words, layout.

Prompts fail on queries for reasons that words alone say badly: how many numbers must be combined,
how large they are, how long the text is before the answer is cut off.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?![\w])|(?<=\$)\d[\d,]*(?:\.\d+)?")
WORD = re.compile(r"[^\W\d_]+")
SENTENCE = re.compile(r"[.!?]+(?:\s|$)")
LARGEST = 1e18  # longer rows of digits are no quantities; they count as this one
OPTION = re.compile(r"(?:^|\s)\(?[A-H][).:]\s")

CUES: dict[str, tuple[str, ...]] = {
    "addition": ("total", "altogether", "sum", "together", "combined", "added", "plus", "and"),
    "subtraction": ("left", "remain", "remaining", "difference", "fewer", "less", "gave", "lost"),
    "comparison": ("more", "than", "most", "least", "larger", "greater", "older", "longer"),
    "multiplication": ("times", "each", "every", "per", "twice", "double", "triple", "product"),
    "division": ("half", "third", "quarter", "divided", "share", "shared", "equally", "split"),
    "rate": ("percent", "percentage", "discount", "interest", "average", "ratio", "rate", "speed"),
    "time": ("hour", "hours", "minute", "minutes", "day", "days", "week", "weeks", "year", "years"),
    "money": ("dollar", "dollars", "cents", "cost", "costs", "price", "pay", "paid", "sells"),
    "condition": ("if", "unless", "then", "after", "before", "when", "while", "until"),
    "negation": ("not", "no", "never", "none", "without", "cannot", "except"),
}
QUESTIONS = ("how", "many", "much", "what", "which", "who", "where", "when", "why")

NAMES: tuple[str, ...] = (
    "log characters",
    "log words",
    "mean word length",
    "sentences",
    "distinct share of words",
    "capitals",
    "commas",
    "line breaks",
    "question marks",
    "options",
    "numbers",
    "distinct numbers",
    "decimals",
    "negative numbers",
    "fractions",
    "percents",
    "currency",
    "log largest number",
    "log smallest number",
    "log spread of numbers",
    "digits in the largest number",
    "numbers above 100",
    "numbers below 1",
    "words before the first number",
    "words after the last number",
    "first number is largest",
    *(f"{cue} words" for cue in CUES),
    *(f"asks {word}" for word in QUESTIONS),
)


def structure(texts: Sequence[str]) -> NDArray[np.float64]:
    """Counts and sizes of each text, ``[Q, len(NAMES)]``, in the order of :data:`NAMES`."""
    rows = [_row(text) for text in texts]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(NAMES))


def _row(text: str) -> list[float]:
    words = [word.lower() for word in WORD.findall(text)]
    count = Counter(words)
    matches = list(NUMBER.finditer(text))
    found = [float(match.group().replace(",", "")) for match in matches]
    numbers = [max(-LARGEST, min(number, LARGEST)) for number in found]
    sizes = [abs(number) for number in numbers]
    largest, smallest = max(sizes, default=0.0), min(sizes, default=0.0)
    before = len(WORD.findall(text[: matches[0].start()])) if matches else len(words)
    after = len(WORD.findall(text[matches[-1].end() :])) if matches else len(words)
    return [
        np.log1p(len(text)),
        np.log1p(len(words)),
        sum(map(len, words)) / max(len(words), 1),
        len(SENTENCE.findall(text)),
        len(count) / max(len(words), 1),
        sum(character.isupper() for character in text),
        text.count(","),
        text.count("\n"),
        text.count("?"),
        len(OPTION.findall(text)),
        len(numbers),
        len(set(numbers)),
        sum(number != int(number) for number in numbers),
        sum(number < 0 for number in numbers),
        text.count("/"),
        text.count("%"),
        text.count("$"),
        np.log1p(largest),
        np.log1p(smallest),
        np.log1p(largest) - np.log1p(smallest),
        len(str(int(largest))),
        sum(size > 100 for size in sizes),
        sum(size < 1 for size in sizes),
        before,
        after,
        float(bool(numbers) and sizes[0] == largest),
        *(sum(count[word] for word in cue) for cue in CUES.values()),
        *(count[word] for word in QUESTIONS),
    ]
