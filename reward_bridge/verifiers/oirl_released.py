r"""How the authors of Prompt-OIRL read answers: for comparison only, since it is often wrong.

Their code takes the last match of ``\d*\.?\d+`` in the answer and in the gold and compares floats:
"1,200" becomes 200, the sign is lost, and any number at the end counts. Source: ``test_answer`` in
github.com/holarissun/Prompt-OIRL, ``llama_exps/llama_step1_gen_offline.py``.
"""

from __future__ import annotations

import re

from search.interfaces import Verdict

PATTERN = re.compile(r"\d*\.?\d+")


class ReleasedOirlGrader:
    """The released extractor, faults and all."""

    name = "oirl-released"

    def canonical_key(self, answer: str, question: str = "") -> str | None:
        """The last match, as a float."""
        found = PATTERN.findall(answer)
        return repr(float(found[-1])) if found else None

    def check(self, answer: str, gold: str, question: str = "") -> Verdict:
        """Whether the last matches are equal as floats; no number is wrong, as in their code."""
        key, known = self.canonical_key(answer), self.canonical_key(gold)
        return Verdict(None if known is None else key == known, key, key)
