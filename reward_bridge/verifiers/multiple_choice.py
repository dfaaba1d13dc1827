"""Grader of multiple choice: a letter, however it is given, or the text of an option.

"B", "(b)", "B) bank", "The answer is B.", "**Answer:** (B)", "answer: b", "B is correct, not A.",
"I would say bank."
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left

from reward_bridge.verifiers.grader import boxed, is_whole, stated, stating, unwrapped
from search.interfaces import Verdict

LETTERS = "ABCDEFGHIJ"
BRACKETED = re.compile(r"\(([A-Ja-j])\)\s*")
LISTED = re.compile(r"^[ \t]*([A-J])\s*[.):]\s+", re.MULTILINE)
# The letter alone, or before a mark: not the first letter of a word, and not the article "a".
LEADING = re.compile(
    r"[\s*_\"'`$]*(?:(?i:option|choice)\b[\s*_:]*)?(?:\(([A-Ja-j])\)|([A-J])(?![\w'’]))"
)
# A small letter with nothing after it but a mark: not the article, nor the first of "e.g.".
SMALL = re.compile(
    r"""[\s*_"'`$]*(?:(?i:option|choice)\b[\s*_:]*)?([a-j])
    [*_"'`$]*(?:\s*$|[.):,;!][*_"'`$]*(?:\s|$))""",
    re.VERBOSE,
)
# What says of a letter that it is right; one that is doubted ("nor B is correct") does not count.
JUDGED = re.compile(
    r"""(?P<doubt>\b(?i:nor|or|not|if|unless|whether)\s+)?(?:(?i:option|choice)\s+)?
    (?<![\w'’])[*_]{0,4}(?:\(([A-Ja-j])\)|([A-J]))[*_]{0,4}
    \s+is\s+(?:the\s+)?(?:only\s+)?(?:correct|right)\b(?!\s+(?:if|only|that|about|out)\b|\s*\?)""",
    re.VERBOSE,
)
MUST_BE = re.compile(
    r"""(?P<doubt>\b(?i:if|whether)\s+\w+\s+)?\b(?i:must\s+be)\s+(?:(?i:option|choice)\s+)?
    [*_]*(?:\(([A-Ja-j])\)|([A-J])(?![\w'’]))(?!(?<=[AI])\s+[a-z])(?!\s+(?:or|and)\b)""",
    re.VERBOSE,
)
ALONE = re.compile(r"(?<![\w'’])([A-J])(?![\w'’])")
ARTICLE = re.compile(r"A\s+[a-z]|I\s+['’a-z]")
# What is said of a letter, or of its option, that is not chosen: "(A) is wrong", "A. bank is not".
REJECTED = re.compile(
    r"(?:is|was|seems|looks)\s+(?:\w+\s+)?(?:wrong|incorrect|false|not|impossible|unlikely)\b"
    r"|(?:isn|wasn|can)\s+t\b|cannot\b"
)
CLAUSE = re.compile(r"[.,;!?]")
# Marks at the start of a line, before the letter of an option: "**B.** bank", "- (B) bank".
LISTED_LATER = re.compile(r"^[ \t*_#-]*(?:\(([A-Ja-j])\)|([A-J])\s*[.):])", re.MULTILINE)
CHOSEN = stating(
    r"(?:answer(?:\s+(?:option|choice))?|(?:correct|right|best|final)\s+(?:option|choice))"
)
MOST_SHORT_WORDS = 15
MOST_NAMED = 2


def options(question: str) -> dict[str, str]:
    """The options of a question by letter: ``(A) bank (B) mall``, or lines ``A. 0``, ``B) 4``.

    The last list counts, as examples come before the question. Letters in an option's text
    ("both (A) and (B)") are no list.

    Returns:
        Empty where the letters do not run from A.
    """
    for pattern in (LISTED, BRACKETED):
        found: dict[str, str] = {}
        matches = list(pattern.finditer(question))
        places: dict[str, list[int]] = {letter: [] for letter in LETTERS}
        for i, match in enumerate(matches):
            places[match[1].upper()].append(i)
        for i in places["A"]:
            listed = _run(question, matches, places, i)
            # A new list has as many options as the one before, or starts on a line of its own.
            new_line = i > 0 and "\n" in question[matches[i - 1].start() : matches[i].start()]
            longer = len(listed) > 1 and (len(listed) >= len(found) or new_line)
            if not found or (longer and not _names_options(listed)):
                found = listed
        if len(found) > 1:
            return found
    return {}


def _names_options(listed: dict[str, str]) -> bool:
    """Whether what looks like a list only names options: "both (A) and (B)", "(A), (B) or (C)"."""
    return any(_words(text) in ("", "and", "or", "nor") for text in listed.values())


def _run(
    question: str, matches: list[re.Match[str]], places: dict[str, list[int]], start: int
) -> dict[str, str]:
    """The texts of options whose letters run on from A; other letters between are in the texts.

    Args:
        question: the whole text.
        matches: what looks like the start of an option.
        places: indices of matches by their letter, ascending.
        start: index of the A.
    """
    run: list[re.Match[str]] = []
    for letter in LETTERS:
        place = bisect_left(places[letter], start)
        if place == len(places[letter]):
            break
        start = places[letter][place]
        run.append(matches[start])
    ends = [match.start() for match in run[1:]] + [len(question)]
    return {
        match[1].upper(): question[match.end() : end].strip().split("\n", 1)[0].strip(" ,;")
        for match, end in zip(run, ends)
    }


class MultipleChoiceGrader:
    """Compares the letter that a text chooses with the known one."""

    name = "multiple-choice"

    def canonical_key(self, answer: str, question: str = "") -> str | None:
        """The chosen letter.

        Looked for, in this order: in the last ``\\boxed``, after the last "answer is", before
        the last "is correct" or after "must be", at the start of a short answer, the last
        ``(B)``, the last letter that stands alone, and the one option whose text appears. A small
        letter without brackets counts where it is all that is boxed, stated or answered.
        """
        known = options(question)
        letters = set(known) or set(LETTERS)

        def whole(line: str, after: str) -> bool:
            letter = _leading(line, letters)
            if letter and _begins_analysis(line, letter, after):
                return False
            return is_whole(line, after) or _only_option(line, letters, known)

        for part in (boxed(answer), stated(answer, CHOSEN, whole)):
            if part is not None:
                part = unwrapped(part)
                found = (
                    _leading(part, letters)
                    or _small_letter(part, letters, known)
                    or _option_text(part, known)
                )
                if found:
                    return found
        if _is_letter_only(answer) and (found := _small_letter(answer, letters, known)):
            return found
        found = _judged_right(answer, letters) or _chosen_at_start(answer, letters, known)
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


def _small_letter(text: str, letters: set[str], known: dict[str, str]) -> str | None:
    """The small letter with which a text begins, where a mark or nothing follows it.

    Where the letter is the text of an option, it is not the name of another.
    """
    match = SMALL.match(text)
    if match is None or match[1] in map(_words, known.values()):
        return None
    letter = match[1].upper()
    return letter if letter in letters else None


def _is_letter_only(answer: str) -> bool:
    """Whether an answer has one word, but for "option" before it."""
    first, *others = answer.split() or [""]
    return not others or (len(others) == 1 and _words(first) in ("option", "choice"))


def _judged_right(answer: str, letters: set[str]) -> str | None:
    """The letter of the last "B is correct" or "it must be B"."""
    found: list[tuple[int, str]] = []
    for pattern in (JUDGED, MUST_BE):
        for match in pattern.finditer(answer):
            letter = (match[2] or match[3]).upper()
            if match["doubt"] is None and letter in letters:
                found.append((match.start(), letter))
    return max(found)[1] if found else None


def _chosen_at_start(answer: str, letters: set[str], known: dict[str, str]) -> str | None:
    """The letter with which an answer begins, if that is its choice: not "(A) is wrong".

    It is a choice where its line holds only it, or it and its option, or where the answer is short;
    not where the answer goes on to the next options one by one.
    """
    line, _, after = answer.strip().partition("\n")
    found = _leading(line, letters)
    match = LEADING.match(line)
    if found is None or match is None:
        return None
    rest = line[match.end() :].lstrip("*_\"'`$ ")
    if _begins_analysis(line, found, after):
        return None
    if not _only_option(line, letters, known) and not _is_short(answer, letters):
        return None
    said, option = _words(rest), _words(known.get(found, ""))
    same = said.startswith(option or "\0")
    if REJECTED.match(said.removeprefix(option).lstrip()):
        return None
    if not option and REJECTED.search(_words(CLAUSE.split(rest.lstrip(".:) "))[0])):
        return None
    return found if not rest or rest[0] in ".:),;-–—" or same else None


def _only_option(line: str, letters: set[str], known: dict[str, str]) -> bool:
    """Whether a line is a letter, or a letter and the text of its option."""
    found, match = _leading(line, letters), LEADING.match(line)
    if found is None or match is None:
        return False
    return _words(line[match.end() :]) in ("", _words(known.get(found, "")))


def _begins_analysis(line: str, letter: str, after: str) -> bool:
    """Whether a line that begins with a letter says more, and later lines list the next option."""
    match = LISTED_LATER.search(after)
    if match is None or letter == LETTERS[-1] or line.strip(" .:)*_").endswith(letter):
        return False
    return (match[1] or match[2]).upper() == LETTERS[LETTERS.index(letter) + 1]


def _is_short(answer: str, letters: set[str]) -> bool:
    """Whether an answer has few words and names few options."""
    named = {letter.upper() for pattern in (BRACKETED, ALONE) for letter in pattern.findall(answer)}
    return len(answer.split()) <= MOST_SHORT_WORDS and len(named & letters) <= MOST_NAMED


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
