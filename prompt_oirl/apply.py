"""A chosen prompt put around a problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from prompt_oirl.bundled.puzzle_formats import PUZZLE_FORMATS, puzzle_of, state_puzzle
from prompt_oirl.errors import BadArtefact
from prompt_oirl.logs.log import Arm
from search.errors import BadProblem
from search.problem import Problem

if TYPE_CHECKING:
    from prompt_oirl.choice.selector import Selector

PLACEHOLDER = "{query}"


def query_text(problem: Problem) -> str:
    """What a problem asks, as a selector reads it: the last message of the user, or the prompt.

    Raises:
        BadProblem: chat messages without one of the user.
    """
    if problem.messages is None:
        return problem.prompt.strip()
    return problem.messages[_last_of_user(problem)]["content"].strip()


def query_of_trace(record: Mapping[str, Any]) -> str:
    """What the problem of a trace asks; an empty text where it asks nothing that can be read."""
    prompt, messages = str(record.get("prompt") or ""), record.get("messages")
    try:
        return query_text(Problem(prompt, messages=messages and tuple(messages)))
    except (BadProblem, AttributeError, KeyError, TypeError):
        return ""


def fill(template: str, query: str) -> str:
    """The query in its prompt.

    Every ``{query}`` of the template becomes the query; other braces are left alone. A template
    without it is a suffix, on a line of its own unless white space stands at the joint. An empty
    template leaves the query as it is.
    """
    if PLACEHOLDER in template:
        return template.replace(PLACEHOLDER, query)
    if not template.strip():
        return query
    joined = query[-1:].isspace() or template[:1].isspace()
    return f"{query}{template}" if joined else f"{query}\n{template}"


def apply_arm(problem: Problem, arm: Arm) -> Problem:
    """The problem under a prompt; its id and its facts are kept.

    A puzzle under an arm that is named like a puzzle format is stated in that format
    (:mod:`prompt_oirl.bundled.puzzle_formats`). Otherwise the arm's text is a template for the
    prompt, or for the last message of the user.

    Raises:
        BadProblem: the arm is a puzzle format and the problem no puzzle, or the messages hold
            none of the user.
    """
    if arm.name in PUZZLE_FORMATS and (puzzle_of(problem) is not None or _is_format(arm)):
        return state_puzzle(problem, arm.name)
    if problem.messages is None:
        return replace(problem, prompt=fill(arm.text, problem.prompt))
    place = _last_of_user(problem)
    messages = list(problem.messages)
    messages[place] = {**messages[place], "content": fill(arm.text, messages[place]["content"])}
    return replace(problem, messages=tuple(messages))


class Prompted(NamedTuple):
    """Problems under their prompts.

    Attributes:
        problems: those that could be put in a prompt, in the order given.
        names: the prompt of each of them.
        faults: why the others could not.
    """

    problems: list[Problem]
    names: list[str]
    faults: list[BadProblem]


def with_chosen_prompts(problems: Sequence[Problem], selector: Selector) -> Prompted:
    """Every problem under the prompt that the selector chooses for it.

    Raises:
        BadArtefact: several of the selector's prompts have no text, so that none would be applied.
    """
    _check_texts(selector.arms)
    prompted = Prompted([], [], [])
    asking: list[Problem] = []
    texts: list[str] = []
    for problem in problems:
        try:
            texts.append(query_text(problem))
            asking.append(problem)
        except BadProblem as fault:
            prompted.faults.append(fault)
    for problem, index in zip(asking, selector.choose(texts).arms, strict=True):
        arm = selector.arms[int(index)]
        try:
            prompted.problems.append(apply_arm(problem, arm))
            prompted.names.append(arm.name)
        except BadProblem as fault:
            prompted.faults.append(fault)
    return prompted


def _check_texts(arms: Sequence[Arm]) -> None:
    """One prompt may be empty: the query alone. Two empty ones are texts that the log lacked."""
    empty = [a.name for a in arms if not a.text.strip() and a.name not in PUZZLE_FORMATS]
    if len(empty) > 1:
        raise BadArtefact(
            f"{len(empty)} prompts of the selector have no text, among them '{empty[0]}' and "
            f"'{empty[1]}': fit it on a log with the texts of its prompts (arm_text, or .meta.json)"
        )


def _is_format(arm: Arm) -> bool:
    """Whether it is the format itself, and not another prompt of the same name."""
    return arm.text in ("", PUZZLE_FORMATS[arm.name].text)


def _last_of_user(problem: Problem) -> int:
    messages = problem.messages or ()
    places = [i for i, message in enumerate(messages) if message["role"] == "user"]
    if not places:
        raise BadProblem(f"{problem.id}: no message of the user to put a prompt around")
    return places[-1]
