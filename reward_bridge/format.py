"""How a causal model's outputs become a score: the few things in which reward models differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from search.errors import ModelRefused

HeadKind = Literal["token_classification", "scalar", "two_tokens"]
Link = Literal["softmax", "sigmoid", "none"]
Scope = Literal["step", "cumulative"]


@dataclass(frozen=True)
class RewardFormat:
    """Layout and reading of a causal reward model.

    Attributes:
        head: ``token_classification`` (labels at each token), ``scalar`` (one number), or
            ``two_tokens`` (the language-model head compared at two tokens).
        good: index of the good label, or the text of the good token for ``two_tokens``.
        bad: text of the bad token for ``two_tokens``.
        separator: text put after every step, tokenised apart from it; the score is read at its
            last token. A token may be named as the vocabulary spells it (``▁ки``). By default a
            line end, or nothing where the policy's tokens are used.
        link: ``softmax`` over the labels, ``sigmoid`` of one number, or ``none``; two tokens are
            always compared by softmax.
        scope: whether a score is about the step or the whole prefix.
        between: text between a separator and the next step. It is put before the next step, as
            the score is read before it.
    """

    head: HeadKind = "token_classification"
    good: int | str = 1
    bad: str | None = None
    separator: str | None = None
    link: Link = "softmax"
    scope: Scope = "cumulative"
    between: str = ""


def format_of(config: Any, source: str, given: RewardFormat | None = None) -> RewardFormat:
    """Reads the format from a model's configuration.

    A ``treeward_reward`` entry in config.json is taken as it is; without one the class name in
    ``architectures`` decides.

    Args:
        config: of the model.
        source: its name, for errors.
        given: the format where it is known already; it is checked.

    Raises:
        ModelRefused: nothing says how to read the model, or what is said does not fit it.
    """
    if given is not None:
        if fault := _fault(given, config):
            raise ModelRefused(f"{source}: bad reward format ({fault})")
        return given
    stated = getattr(config, "treeward_reward", None)
    if stated is not None:
        try:
            found = RewardFormat(**stated)
        except TypeError as error:
            raise ModelRefused(f"{source}: bad treeward_reward in config.json ({error})") from error
        fault = _fault(found, config)
        if fault:
            raise ModelRefused(f"{source}: bad treeward_reward in config.json ({fault})")
        return found
    architecture = (getattr(config, "architectures", None) or [""])[0]
    if architecture.endswith("ForTokenClassification"):
        labels = config.num_labels
        return RewardFormat(
            link="softmax" if labels > 1 else "sigmoid", good=1 if labels > 1 else 0
        )
    if architecture.endswith("ForSequenceClassification"):
        if config.num_labels != 1:
            raise ModelRefused(
                f"{source}: a scalar reward needs one label, not {config.num_labels}"
            )
        return RewardFormat(head="scalar", good=0, link="sigmoid")
    raise ModelRefused(
        f"{source} ({architecture or 'no architecture'}) does not say how to read a reward from "
        'it; add "treeward_reward" to its config.json'
    )


def _fault(stated: RewardFormat, config: Any) -> str:
    """What is wrong with a format that a configuration states; empty when nothing is."""
    for name, allowed in (("head", HeadKind), ("link", Link), ("scope", Scope)):
        value, known = getattr(stated, name), get_args(allowed)
        if value not in known:
            return f"{name} is {value!r}, not one of {', '.join(known)}"
    if not isinstance(stated.separator, str | None):
        return f"separator must be text, not {stated.separator!r}"
    if not isinstance(stated.between, str):
        return f"between must be text, not {stated.between!r}"
    if stated.between and not stated.separator:
        return "between is put after a separator, and none is stated"
    if stated.head == "two_tokens":
        for name in ("good", "bad"):
            if not isinstance(getattr(stated, name), str):
                return f"{name} must be the text of a token for two_tokens"
        return ""
    labels = config.num_labels
    if isinstance(stated.good, bool) or not isinstance(stated.good, int):
        return f"good must be the index of a label, not {stated.good!r}"
    if not 0 <= stated.good < labels:
        return f"good is label {stated.good} of {labels}"
    if labels == 1 and stated.link == "softmax":
        return "link is 'softmax', which of one label is always 1; say 'sigmoid' or 'none'"
    return ""
