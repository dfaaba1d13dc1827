"""What each token of a vocabulary adds to a text.

A delimiter of steps is a text, and a tokenizer has many ways to write it: a blank line is one token
after a word, part of another after a full stop, and two after a line end.
"""

from __future__ import annotations

from typing import Any


def token_texts(tokenizer: Any) -> list[str]:
    """Text of every token id, special ones empty, as it stands after another token.

    A byte that is no whole character is the replacement character; at the start of a text some
    tokenizers drop a space, so every token is read behind one of a single letter or digit.
    """
    ids = range(len(tokenizer))
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    read_alone = (str(tokenizer.decode([i], **options)) for i in ids)
    anchor = next(
        (i for i, text in enumerate(read_alone) if len(text) == 1 and text.isalnum()), None
    )
    if anchor is None:
        return [str(text) for text in tokenizer.batch_decode([[i] for i in ids], **options)]
    skipped = len(tokenizer.decode([anchor], **options))
    texts = tokenizer.batch_decode([[anchor, i] for i in ids], **options)
    return [str(text)[skipped:] for text in texts]
