"""Short names for texts: ids of queries that have none, and groups of queries that ask the same."""

from __future__ import annotations

from hashlib import blake2b


def text_id(text: str) -> str:
    """A name for exactly this text, 16 hexadecimal digits."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def text_group(text: str) -> str:
    """A name shared by texts that differ only in case, spacing, quotation marks or Unicode form."""
    from prompt_oirl.audit.normalise import normalised

    return text_id(normalised(text))
