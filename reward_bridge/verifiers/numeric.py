r"""Grader of numbers, read exactly: commas, signs, fractions, percent, currency, units, powers.

"$1,200.50"   2401/2        "−3"                 -3         "1 3/4 cups"   7/4
"50%"         50, or 1/2    "2.5 × 10^3 km"      2500       "\frac{3}{4}"  3/4
"3 million"   3000000       "the 3rd of May"     no number
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from reward_bridge.verifiers.grader import boxed, stated
from search.interfaces import Verdict

LARGEST_POWER = 308
MOST_DIGITS = 400
WORDS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
VULGAR = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "⅕": "1/5", "⅛": "1/8"}
LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(-?\d+)\s*\}\s*\{\s*(\d+)\s*\}")
SENTENCE = re.compile(r"[^\w\\]*[A-Za-z]")
NUMBER = re.compile(
    r"""
    (?<![\w./])                                   # not inside a word, a number or a fraction
    (?P<sign>(?<![\w)%])[-+](?=[\d.]|[$€£¥₹]\s?[\d.]))?
    (?:[$€£¥₹]\s?)?
    (?P<inner>-(?=[\d.]))?                        # $-5
    (?:
        (?P<whole>\d+)[ ](?P<over>\d+)/(?P<under>\d+)            # 1 3/4
      | (?P<top>\d+)/(?P<bottom>\d+)                             # 3/4
      | (?P<body>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)
        (?:[eE](?P<power>[-+]?\d{1,4})(?!\w)
          |\s*(?:[×x*·]|\\times|\\cdot)\s*10\s*(?:\^|\*\*)\s*[{(]?(?P<ten>[-+]?\d{1,4})[)}]?)?
    )
    (?!\d|/\d|[eE][-+]?\d)
    (?!(?:st|nd|rd|th)\b)
    (?:\s*(?P<word>hundred|thousand|million|billion|trillion)\b)?
    (?P<percent>\s?(?:%|percent\b))?
    """,
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Number:
    """A number as it was written: its value, and whether a percent sign followed."""

    value: Fraction
    percent: bool = False


def numbers(text: str) -> list[Number]:
    """All numbers of a text in their order; what is part of a word or an ordinal is none."""
    found = []
    for match in NUMBER.finditer(_plain(text)):
        value = _value(match)
        if value is not None:
            found.append(Number(value, match["percent"] is not None))
    return found


def equal(first: Number, second: Number, tolerance: float = 1e-6) -> bool:
    """Whether two numbers are the same, within a relative tolerance.

    Where only one has a percent sign, 50 % equals 50 (the sign was left out) and 1/2.
    """
    if _close(first.value, second.value, tolerance):
        return True
    if first.percent == second.percent:
        return False
    percent, plain = (first, second) if first.percent else (second, first)
    return _close(percent.value / 100, plain.value, tolerance)


class NumericGrader:
    """Compares the final number of a text with a known one."""

    name = "numeric"

    def __init__(self, tolerance: float = 1e-6) -> None:
        """Takes the relative difference that still counts as equal."""
        self._tolerance = tolerance

    def final_number(self, answer: str) -> Number | None:
        r"""The number in the last ``\boxed``, else after the last "answer is", else the last."""
        for part in (boxed(answer), stated(answer)):
            if part is not None and (found := numbers(part)):
                # "is $18 for 7 days", but "is that the 3 friends have 12"
                first = "=" not in part and not SENTENCE.match(part)
                return found[0] if first else found[-1]
        found = numbers(answer)
        return found[-1] if found else None

    def gold_number(self, gold: str) -> Number | None:
        """The number in a known answer: the last one."""
        found = numbers(gold)
        return found[-1] if found else None

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


def _plain(text: str) -> str:
    """The text with one spelling of signs, spaces, fractions and LaTeX."""
    for sign, fraction in VULGAR.items():
        text = re.sub(rf"(?<=\d)\s?{sign}", f" {fraction}", text).replace(sign, fraction)
    text = text.translate({0x2212: "-", 0x2044: "/", 0xFF0D: "-"})
    text = re.sub("(?<=\\d)[\u00a0\u202f\u2009](?=\\d{3}(?!\\d))", ",", text)
    text = re.sub(r"(?<=\d)(?=\\[dt]?frac)", " ", text.replace("{,}", ","))
    text = LATEX_FRACTION.sub(r"\1/\2 ", text)
    return text.replace("\\$", "$").replace("\\%", "%").replace("\\,", "").replace("\\!", "")


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
    value *= Fraction(10) ** (power + WORDS.get((match["word"] or "").lower(), 0))
    return -value if (match["sign"] == "-") != (match["inner"] is not None) else value


def _close(first: Fraction, second: Fraction, tolerance: float) -> bool:
    return abs(first - second) <= Fraction(tolerance) * max(abs(first), abs(second))
