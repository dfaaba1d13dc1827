"""A problem as the token ids that a model starts from."""

from __future__ import annotations

from typing import Any

from search.errors import BadProblem
from search.problem import Problem


def encode_prompt(tokenizer: Any, problem: Problem, name: str) -> list[int]:
    """Token ids of a prompt or of chat messages, with exactly one BOS where there is one.

    Args:
        tokenizer: a tokenizer of transformers.
        problem: what to read.
        name: the model's name, for messages.

    Raises:
        BadProblem: the prompt is empty, or has what the tokenizer cannot read.
    """
    if problem.messages is not None and getattr(tokenizer, "chat_template", None) is None:
        raise BadProblem(f"{problem.id}: {name} has no chat template for messages")
    try:
        ids = _token_ids(tokenizer, problem)
    except Exception as error:  # a chat template is the model's own code and may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadProblem(f"{problem.id}: {name} cannot read the prompt: {reason}") from error
    bos = tokenizer.bos_token_id
    while bos is not None and ids[:2] == [bos, bos]:
        ids = ids[1:]
    unknown = tokenizer.unk_token_id
    if unknown is not None and unknown in ids:
        raise BadProblem(f"{problem.id}: the prompt has text that {name} cannot read")
    if not ids:
        raise BadProblem(f"{problem.id}: the prompt has no tokens")
    return ids


def _token_ids(tokenizer: Any, problem: Problem) -> list[int]:
    text = problem.prompt
    if problem.messages is not None:
        text = tokenizer.apply_chat_template(
            list(problem.messages), tokenize=False, add_generation_prompt=True
        )
    text.encode()  # tokenizers do not say that a lone surrogate is what they cannot read
    # A chat template writes the BOS itself.
    return list(tokenizer(text, add_special_tokens=problem.messages is None)["input_ids"])
