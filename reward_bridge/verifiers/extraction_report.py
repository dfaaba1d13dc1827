"""Where extractors of final answers disagree, and which answers look truncated.

Labels decide everything that is learned from a log. Two readers that disagree on an answer show
where labels are doubtful; an answer that was cut off says little about its prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from reward_bridge.verifiers.grader import Grader
from reward_bridge.verifiers.math import MathGrader
from reward_bridge.verifiers.truncation import NO_ANSWER, length_cap, truncation_signs
from search.errors import TreewardError

SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Disagreement:
    """An answer that is right for one extractor and wrong for another.

    Attributes:
        index: of the answer.
        keys: what each extractor read, by its name.
        right: what each extractor says; ``None`` where it cannot read the gold.
    """

    index: int
    keys: dict[str, str | None]
    right: dict[str, bool | None]


@dataclass(frozen=True)
class ExtractionReport:
    """What extractors say of the same answers.

    Attributes:
        answers: how many there are.
        accuracy: share of right answers by extractor, among those with a readable gold; ``None``
            where there is none.
        unread: answers without a final answer, by extractor.
        unreadable: answers with a gold that it cannot read, by extractor. They count neither as
            right or wrong nor as a disagreement.
        disagreeing: number of answers on whose rightness two extractors differ, by their names.
        disagreements: those answers, all of them.
        caps: most characters of an answer, as given or as found, by arm; none where unknown.
        truncated: why answers look cut off, by their index.
        timeouts: answers that took an extractor too long, by those that have a limit.
    """

    answers: int
    accuracy: dict[str, float | None]
    unread: dict[str, int]
    unreadable: dict[str, int]
    disagreeing: dict[tuple[str, str], int]
    disagreements: list[Disagreement] = field(repr=False)
    caps: dict[str, int]
    truncated: dict[int, list[str]] = field(repr=False)
    timeouts: dict[str, int]

    def signs(self) -> dict[str, int]:
        """How many answers show each sign of truncation."""
        counts: dict[str, int] = {}
        for signs in self.truncated.values():
            for sign in signs:
                counts[sign] = counts.get(sign, 0) + 1
        return counts

    def as_record(self, answers: Sequence[str], examples: int = 20) -> dict[str, Any]:
        """Plain data for a file, with the ends of some of the answers concerned."""

        def end(index: int) -> str:
            return answers[index].rstrip()[-SHOWN_CHARACTERS:]

        return {
            "answers": self.answers,
            "accuracy": self.accuracy,
            "unread": self.unread,
            "unreadable_golds": self.unreadable,
            "timeouts": self.timeouts,
            "disagreeing": [
                {"extractors": list(pair), "answers": count}
                for pair, count in self.disagreeing.items()
            ],
            "disagreements": [
                {"index": d.index, "keys": d.keys, "right": d.right, "end": end(d.index)}
                for d in self.disagreements[:examples]
            ],
            "length_caps": self.caps,
            "truncated": len(self.truncated),
            "truncation_signs": self.signs(),
            "truncated_examples": [
                {"index": index, "signs": signs, "end": end(index)}
                for index, signs in list(self.truncated.items())[:examples]
            ],
        }


def extraction_report(
    answers: Sequence[str],
    golds: Sequence[str],
    extractors: Mapping[str, Grader] | Sequence[Grader],
    questions: Sequence[str] | None = None,
    cap: int | None = None,
    arms: Sequence[str] | None = None,
) -> ExtractionReport:
    """Reads every answer with every extractor.

    Args:
        answers: whole texts, ``[N]``.
        golds: known answers, ``[N]``.
        extractors: graders by a name, or a list of them under their own. The first one decides
            which answers have no final answer.
        questions: what was asked, ``[N]``; needed to read options of multiple choice.
        cap: most characters that an answer could have; by default that of each arm as
            ``length_cap`` finds it.
        arms: the prompt of each answer, ``[N]``; by default one for all.

    Raises:
        TreewardError: lengths differ, or there is no extractor.
    """
    if not isinstance(extractors, Mapping):
        extractors = {grader.name: grader for grader in extractors}
    if not extractors:
        raise TreewardError("no extractor is given to report on")
    asked = questions if questions is not None else [""] * len(answers)
    prompts = arms if arms is not None else [""] * len(answers)
    if not len(answers) == len(golds) == len(asked) == len(prompts):
        raise TreewardError(
            f"{len(answers)} answers, {len(golds)} golds, {len(asked)} questions and "
            f"{len(prompts)} arms to report on"
        )
    caps = _caps(answers, prompts, cap)
    rights: dict[str, list[bool | None]] = {name: [] for name in extractors}
    keys: dict[str, list[str | None]] = {name: [] for name in extractors}
    for answer, gold, question in zip(answers, golds, asked):
        for name, grader in extractors.items():
            verdict = grader.check(answer, gold, question)
            rights[name].append(verdict.right)
            keys[name].append(verdict.key)

    first = next(iter(extractors))
    truncated = {}
    for index, answer in enumerate(answers):
        signs = truncation_signs(answer, caps.get(prompts[index]), keys[first][index] is not None)
        if signs and not (signs == [NO_ANSWER] and not answer.strip()):
            truncated[index] = signs
    return ExtractionReport(
        answers=len(answers),
        accuracy={name: _share(values) for name, values in rights.items()},
        unread={name: values.count(None) for name, values in keys.items()},
        unreadable={name: values.count(None) for name, values in rights.items()},
        disagreeing={
            (one, other): sum({a, b} == {True, False} for a, b in zip(rights[one], rights[other]))
            for one, other in combinations(extractors, 2)
        },
        disagreements=[
            Disagreement(
                index,
                {name: keys[name][index] for name in extractors},
                {name: rights[name][index] for name in extractors},
            )
            for index in range(len(answers))
            if {True, False} <= {rights[name][index] for name in extractors}
        ],
        caps=caps,
        truncated=truncated,
        timeouts={
            name: grader.timeouts
            for name, grader in extractors.items()
            if isinstance(grader, MathGrader)
        },
    )


def _caps(answers: Sequence[str], prompts: Sequence[str], cap: int | None) -> dict[str, int]:
    """The cap of each prompt: the given one, or what its answers show."""
    texts: dict[str, list[str]] = {}
    for answer, prompt in zip(answers, prompts):
        texts.setdefault(prompt, []).append(answer)
    caps = {prompt: length_cap(own) if cap is None else cap for prompt, own in texts.items()}
    return {prompt: found for prompt, found in caps.items() if found is not None}


def _share(values: Sequence[bool | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
