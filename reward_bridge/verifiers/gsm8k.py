"""Grader of GSM8K: the number after ``####``, in the answer as in the gold.

The evaluation of Cobbe et al., "Training Verifiers to Solve Math Word Problems" (arXiv:2110.14168)
asks for the marker, and most later logs have none: such an answer is read as ``numeric.py`` does,
by what it states before its last number. Numbers keep their commas and signs. Models also write
Markdown headings of that level ("#### Step 3: the total"), so the number must stand right after the
marker.
"""

from __future__ import annotations

import re

from reward_bridge.verifiers.numeric import Number, NumericGrader, plain, stated_number, with_signs

# Marks, signs of currency and a minus may stand before the number; "#### 3. Total" is a heading.
MARKED = re.compile(r"####(?=[^\w\n]{0,9}\d)(?![^\w\n]{0,9}\d+[.)][^\S\n]+[A-Za-z*])([^\n]*)")


class Gsm8kGrader(NumericGrader):
    """Compares the number after the last ``####``, or the stated or last one, with the gold one."""

    name = "gsm8k"

    def final_number(self, answer: str) -> Number | None:
        """The number right after the last ``####`` that has one; else the stated or last number."""
        marked = MARKED.findall(plain(with_signs(answer)))
        return stated_number(marked[-1]) if marked else super().final_number(answer)

    def gold_number(self, gold: str) -> Number | None:
        """The number right after the last ``####``; else that of a stated answer."""
        marked = MARKED.findall(plain(with_signs(gold)))
        return stated_number(marked[-1]) if marked else super().gold_number(gold)
