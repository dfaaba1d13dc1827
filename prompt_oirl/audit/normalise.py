"""What makes two texts the same, and what of a text is its template.

"Tom has 3.0 apples ."   normalised  "tom has 3.0 apples."
                         template    "tom has # apples."     numbers  (3.0,)
"""

from __future__ import annotations

import re
import unicodedata

NUMBER = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
QUOTES = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-"})
SPACE_BEFORE_MARK = re.compile(r"\s+(?=[.,;:?!])")


def normalised(text: str) -> str:
    """The text without differences of case, spacing, quotation marks and Unicode forms.

    Signs and digits are kept, since they change what is asked.
    """
    text = unicodedata.normalize("NFKC", text).translate(QUOTES).casefold()
    return " ".join(SPACE_BEFORE_MARK.sub("", text).split())


def template(text: str) -> tuple[str, tuple[float, ...]]:
    """A normalised text with ``#`` for each number, and the numbers in their order.

    ``1,200`` and ``1200.0`` are the same number.
    """
    numbers = tuple(float(found.replace(",", "")) for found in NUMBER.findall(text))
    return NUMBER.sub("#", text), numbers
