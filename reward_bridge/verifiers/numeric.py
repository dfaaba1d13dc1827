r"""Grader of numbers, read exactly: commas, signs, fractions, percent, currency, units, powers.

"$1,200.50"   2401/2        "−3"                 -3         "1 3/4 cups"   7/4
"50%"         50, or 1/2    "2.5 × 10^3 km"      2500       "\frac{3}{4}"  3/4
"3 million"   3000000       "the 3rd of May"     no number  "10^6"         1000000
"25 cm^2"     25            "at 10:30"           no number  "(3, 5)"       two numbers
"$5k", "5K"   5000          "1.2M"               1200000    "5 m", "5 K"   5

What states one number may hold others in words ("$18 for 3 days"); a list, a sum, a root or a
multiple of π is not one of the numbers in it, and is not read. Formulas are for ``math.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from reward_bridge.verifiers.grader import boxed, stated
from search.interfaces import Verdict

LARGEST_POWER = 308
MOST_DIGITS = 400
WORDS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
LETTERS = {"k": 3, "m": 6}
VULGAR = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "⅕": "1/5", "⅛": "1/8"}
SIGNS = {0x2212: "-", 0x2044: "/", 0xFF0D: "-", ord("²"): "^2", ord("³"): "^3"}
# A dash that is a minus: right before a number, and not between two.
DASH = re.compile(r"(?<![^\s(=:,$€£¥₹])(?<![\d)%]\s)–(?=\.?\d|[$€£¥₹]\s?[\d.])")
# One with a space after it, where the number begins: "is – 3", "= – 3", but no mark of a list.
SPACED_MINUS = re.compile(
    r"(^\s*|(?:\b(?:is|are|was|be)|[=:{#])[ \t*_$]*)[–\u2212][ \t]+(?=\.?\d|[$€£¥₹]\s?[\d.])"
)
# \frac{3}{4}, and as LaTeX allows it \frac34 or \frac9{19}
LATEX_FRACTION = re.compile(
    r"\\[dt]?frac\s*(?:\{\s*(-?\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))",
)
DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ\b)")
SENTENCE = re.compile(r"[^\w\\]*[A-Za-z]")
NUMBER = re.compile(
    r"""
    (?<![\w./])(?<!\d:)                           # not inside a word, a number, fraction or time
    (?P<sign>(?<![\w)%])[-+](?=[\d.]|[$€£¥₹]\s?[\d.]))?
    (?:[$€£¥₹]\s?)?
    (?P<inner>-(?=[\d.]))?                        # $-5
    (?:
        (?P<whole>\d+)[ ](?P<over>\d+)/(?P<under>\d+)            # 1 3/4
      | (?P<top>\d+)/(?P<bottom>\d+)                             # 3/4
      | (?P<body>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)
        (?:[eE](?P<power>[-+]?\d{1,4})(?!\w)
          |\s*(?:[×x*·]|\\times|\\cdot)\s*10\s*(?:\^|\*\*)\s*[{(]?(?P<ten>[-+]?\d{1,4})[)}]?
          |(?:\s?\^\s?[{(]?|\*\*)(?P<raised>[-+]?\d{1,4})(?!\.?\d)[)}]?)?
    )
    (?!\d|/\d|[eE][-+]?\d)
    (?!:\d|\s?\^\s?[\w{(]|_[\d{])                 # no time, unread power or base: 2^n, 52_8
    (?!(?:st|nd|rd|th)\b)
    (?:\s*(?P<word>hundred|thousand|million|billion|trillion)\b
      |(?P<letter>(?-i:[kKM]))(?![\w$^]))?       # not a unit: "5 K", "5m"; not the formula $5k$
    (?P<percent>\s?(?:%|percent\b))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
# What stands before the exponent of something else (cm^2, x^{n+2}), or before an index (x_{2}).
RAISING = re.compile(r"(?:\^\s*(?:[-+]?|[{(][^{}()]*)|_\{[^{}]*)$")
RAISING_CHARACTERS = 24
# Between numbers that are parts of one thing: "3, 5", "3 and 5", "2x + 3", "5 feet 10", "1 \pm 2".
JOINING = re.compile(
    r"""(?:[\s\d,;:&|+*/×·^°'"(){}\[\]$_-]|\\(?:[A-Za-z]+|(?![A-Za-z]))|^–$
    |(?<![A-Za-z])[A-Za-z](?![A-Za-z])
    |\b(?:and|or|hours?|hrs?|minutes?|mins?|feet|foot|ft|pounds?|lbs?|dollars?)\b)*""",
    re.VERBOSE,
)
SEPARATOR = re.compile(r"[,;&]|\b(?:and|or)\b")
REMARK = re.compile(r"[\w\s.%$]*\s\(")
RESTATING = re.compile(r"\bor\b")  # "0.4, or 40%"
WORD = re.compile(r"(?<![\\A-Za-z])(?!(?:and|or)\b)[A-Za-z]{2,}")
FORMULA = re.compile(r"\\(?:sqrt|pi|infty|pm)(?![A-Za-z])|[√π∞±]")


@dataclass(frozen=True)
class Number:
    """A number as it was written: its value, and whether a percent sign followed."""

    value: Fraction
    percent: bool = False


@dataclass(frozen=True)
class _Place:
    """A number and where it stands in a plain text."""

    number: Number
    start: int
    end: int


def numbers(text: str) -> list[Number]:
    """All numbers of a text in their order.

    What is part of a word, an ordinal, a time, an index or the exponent of something else is none.
    """
    return [place.number for place in _places(plain(text))]


def equal(first: Number, second: Number, tolerance: float = 1e-6) -> bool:
    """Whether two numbers are the same, within a relative tolerance; whole ones exactly.

    Where only one has a percent sign, 50 % equals 50 (the sign was left out) and 1/2.
    """
    if _close(first.value, second.value, tolerance):
        return True
    if first.percent == second.percent:
        return False
    percent, plain_one = (first, second) if first.percent else (second, first)
    return _close(percent.value / 100, plain_one.value, tolerance)


def stated_number(part: str) -> Number | None:
    """The one number that a gold or a stated answer gives.

    The first number ("$18 for 7 days"), in a sentence the last ("that the 3 friends have 12"),
    each after the last "=" that a number follows.

    Returns:
        ``None`` where there is none, or where it is a part of a list, a sum or a formula.
    """
    text = plain(part)
    right = text.rpartition("=")[2]
    if _places(right):
        text = right
    places = _places(text)
    if not places:
        return None
    last = SENTENCE.match(text) is not None
    index = len(places) - 1 if last else 0
    before, after = _around(text, places, index)
    other = before if last else after
    number = places[index].number
    if len(places) > 1 and JOINING.fullmatch(other) and not REMARK.match(other):
        second = places[index - 1 if last else index + 1].number
        if not (RESTATING.search(other) and equal(number, second)):
            return None
    return None if FORMULA.search(before + after) else number


def last_number(text: str) -> Number | None:
    """The last number of a text; ``None`` without one, or where its line is nothing but a list."""
    text = plain(text)
    places = _places(text)
    if not places:
        return None
    start = text.rfind("\n", 0, places[-1].start) + 1
    line = text[start:].split("\n", 1)[0]
    before, _ = _around(text, places, len(places) - 1)
    listed = len(places) > 1 and places[-2].start >= start
    if listed and JOINING.fullmatch(before) and SEPARATOR.search(before) and not WORD.search(line):
        return None
    return places[-1].number


class NumericGrader:
    """Compares the final number of a text with a known one."""

    name = "numeric"

    def __init__(self, tolerance: float = 1e-6) -> None:
        """Takes the relative difference that still counts as equal; whole numbers have none."""
        self._tolerance = tolerance

    def final_number(self, answer: str) -> Number | None:
        r"""The number in the last ``\boxed``, else after the last "answer is", else the last."""
        answer = with_signs(answer)
        for part in (boxed(answer), stated(answer)):
            if part is not None and numbers(part):
                return stated_number(part)
        return last_number(answer)

    def gold_number(self, gold: str) -> Number | None:
        r"""The number of a known answer, read as a stated answer is.

        Of a whole solution: what is in its last ``\boxed``, else its last line with a number.
        """
        gold = with_signs(gold)
        part = boxed(gold)
        if part is None:
            lines = [line for line in gold.split("\n") if numbers(line)]
            line = lines[-1] if lines else ""
            part = stated(line)
            part = part if part is not None and numbers(part) else line
        return stated_number(part)

    def canonical_key(self, answer: str, question: str = "") -> str | None:
        """The final number as an exact fraction, as in ``7/4``."""
        number = self.final_number(answer)
        return None if number is None else str(number.value)

    def check(self, answer: str, gold: str, question: str = "") -> Verdict:
        """Whether the final number is the known one."""
        known, number = self.gold_number(gold), self.final_number(answer)
        key = None if number is None else str(number.value)
        if known is None:
            return Verdict(None, key, key)
        right = number is not None and equal(number, known, self._tolerance)
        return Verdict(right, key, key)


def plain(text: str) -> str:
    """The text with one spelling of signs, spaces, fractions and LaTeX."""
    for sign, fraction in VULGAR.items():
        text = re.sub(rf"(?<=\d)\s?{sign}", f" {fraction}", text).replace(sign, fraction)
    text = DASH.sub("-", text).translate(SIGNS)
    text = re.sub("(?<=\\d)[\u00a0\u202f\u2009](?=\\d{3}(?!\\d))", ",", text)
    text = re.sub(r",\\!\s*", ",", text.replace("{,}", ","))
    text = re.sub(r"(?<=\d)(?=\\[dt]?frac)", " ", text)
    text = LATEX_FRACTION.sub(_slashed, text)
    text = DEGREES.sub("", text)
    return text.replace("\\$", "$").replace("\\%", "%").replace("\\,", "").replace("\\!", "")


def with_signs(text: str) -> str:
    """The text with minus signs right before the numbers that begin with them: "is – 3" is -3."""
    return SPACED_MINUS.sub(r"\1-", text)


def _slashed(match: re.Match[str]) -> str:
    return f"{match[1] or match[2]}/{match[3] or match[4]} "


def _places(text: str) -> list[_Place]:
    """The numbers of a plain text and where they stand."""
    found = []
    for match in NUMBER.finditer(text):
        before = text[max(0, match.start() - RAISING_CHARACTERS) : match.start()]
        value = None if RAISING.search(before) else _value(match)
        if value is not None:
            number = Number(value, match["percent"] is not None)
            found.append(_Place(number, match.start(), match.end()))
    return found


def _around(text: str, places: Sequence[_Place], index: int) -> tuple[str, str]:
    """What stands between a number and the ones before and after it."""
    start = places[index - 1].end if index else 0
    end = places[index + 1].start if index + 1 < len(places) else len(text)
    return text[start : places[index].start], text[places[index].end : end]


def _value(match: re.Match[str]) -> Fraction | None:
    if match["whole"] is not None:
        parts = (match["whole"], match["over"], match["under"])
    elif match["top"] is not None:
        parts = ("0", match["top"], match["bottom"])
    else:
        parts = (match["body"].replace(",", ""), "0", "1")
    if any(len(part) > MOST_DIGITS for part in parts) or int(parts[2]) == 0:
        return None
    power = int(match["power"] or match["ten"] or 0)
    if abs(power) > LARGEST_POWER:
        return None
    value = Fraction(parts[0]) + Fraction(int(parts[1]), int(parts[2]))
    if match["raised"] is not None:
        raised = int(match["raised"])
        if abs(raised) * len(parts[0]) > MOST_DIGITS or (value == 0 and raised < 0):
            return None
        value **= raised
    power += WORDS.get((match["word"] or "").lower(), 0)
    power += LETTERS.get((match["letter"] or "").lower(), 0)
    value *= Fraction(10) ** power
    return -value if (match["sign"] == "-") != (match["inner"] is not None) else value


def _close(first: Fraction, second: Fraction, tolerance: float) -> bool:
    if first.denominator == second.denominator == 1:
        return first == second
    return abs(first - second) <= Fraction(tolerance) * max(abs(first), abs(second))
