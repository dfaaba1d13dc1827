"""What each token of a vocabulary adds to a text.

A delimiter of steps is a text, and a tokenizer has many ways to write it: a blank line is one token
after a word, part of another after a full stop, and two after a line end.
"""

from __future__ import annotations

from typing import Any


def token_texts(tokenizer: Any) -> list[str]:
    """Text of every token id, special ones empty, as it stands between other tokens.

    A byte that is no whole character is the replacement character. At the ends of a text some
    tokenizers drop spaces, so every token is read between two of a single letter or digit.
    """
    ids = range(max(tokenizer.get_vocab().values()) + 1)
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}

    def read(tokens: list[int]) -> str:
        return str(tokenizer.decode(tokens, **options))

    anchor = next((i for i in ids if len(text := read([i])) == 1 and text.isalnum()), None)
    if anchor is None:
        return [str(text) for text in tokenizer.batch_decode([[i] for i in ids], **options)]
    before = len(read([anchor]))
    after = len(read([anchor, anchor])) - before
    texts = tokenizer.batch_decode([[anchor, i, anchor] for i in ids], **options)
    return [str(text)[before : len(text) - after] for text in texts]
