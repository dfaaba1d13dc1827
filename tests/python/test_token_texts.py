"""What tokens add to a text, for tokenizers of the usual kinds."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from search.backends.token_texts import token_texts
from search.errors import ModelRefused
from search.interfaces import StepRules


def sentence_piece() -> Any:
    """As Llama 2 and Mistral: a space is part of the word after it, and goes at the start."""
    vocabulary = ["<eos>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁itsoab123.", "▁i", "▁it"]
    merges = [("▁", "i"), ("▁i", "t"), ("s", "o"), ("▁", "so")]
    vocabulary += ["so", "▁so"]
    numbers = {text: i for i, text in enumerate(vocabulary)}
    inner = Tokenizer(models.BPE(vocab=numbers, merges=merges, byte_fallback=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>")


@pytest.mark.parametrize(
    "tokenizer",
    [tiny_models.byte_level(), sentence_piece(), tiny_models.tokenizer()],
    ids=["bytes", "sp", "letters"],
)
def test_texts_of_tokens_make_the_text_of_them_all(tokenizer: Any) -> None:
    texts = token_texts(tokenizer)
    assert len(texts) == len(tokenizer)
    assert texts[tokenizer.eos_token_id] == ""
    plain = [i for i, text in enumerate(texts) if text and "\ufffd" not in text]
    assert len(plain) >= 9
    first = next(i for i in plain if texts[i].isalnum())
    generator = random.Random(0)
    for _ in range(200):
        ids = [first, *generator.choices(plain, k=6)]
        assert "".join(texts[i] for i in ids) == tokenizer.decode(ids)


def test_a_delimiter_hides_in_longer_tokens() -> None:
    """Why a delimiter is not looked for as the tokens that write it alone."""
    tokenizer = tiny_models.byte_level()
    texts = token_texts(tokenizer)
    alone = tokenizer("\n\n")["input_ids"]
    ids = tokenizer("it is so.\n\n")["input_ids"]
    assert "\n\n" in "".join(texts[i] for i in ids)
    assert ids[-len(alone) :] != alone
    assert any("\n\n" in texts[i] and texts[i] != "\n\n" for i in ids)


def test_the_space_before_a_word_is_kept() -> None:
    tokenizer = sentence_piece()
    texts = token_texts(tokenizer)
    ids = tokenizer("it is so")["input_ids"]
    assert "".join(texts[i] for i in ids) == " it is so"


class Stripping:
    """A tokenizer that drops what is white at both ends of a text."""

    def __init__(self, inner: Any) -> None:
        self.get_vocab, self.inner = inner.get_vocab, inner

    def decode(self, tokens: list[int], **options: Any) -> str:
        return str(self.inner.decode(tokens, **options)).strip()

    def batch_decode(self, many: list[list[int]], **options: Any) -> list[str]:
        return [self.decode(tokens, **options) for tokens in many]


@pytest.mark.parametrize("wrapped", [lambda tokenizer: tokenizer, Stripping])
def test_bytes_are_read_and_ends_are_kept(wrapped: Any) -> None:
    tokenizer = sentence_piece()
    texts = token_texts(wrapped(tokenizer))
    assert texts[tokenizer.convert_tokens_to_ids("<0x0A>")] == "\n"
    assert texts[tokenizer.convert_tokens_to_ids("▁")] == " "
    assert texts[tokenizer.convert_tokens_to_ids("▁so")] == " so"


def test_delimiters_that_no_text_of_tokens_has_are_compared_as_tokens(folders: Path) -> None:
    model = tiny_models.policy.__wrapped__(tiny_models.made(folders))
    rules = StepRules(delimiters=("a\n", "<eos>", (4, 5)))
    assert model.delimiters(rules) == ([[2], [4, 5]], ["a\n"])
    model.tokenizer = tiny_models.byte_level()
    model._token_texts = []
    spelled = model.tokenizer("∎")["input_ids"]
    assert len(spelled) > 1
    assert model.delimiters(StepRules(delimiters=("∎", "\n\n"))) == ([spelled], ["\n\n"])


def test_a_tokenizer_that_cannot_read_its_tokens_is_refused(folders: Path) -> None:
    class Broken:
        unk_token_id = None

        def __call__(self, *_: Any, **__: Any) -> dict[str, list[int]]:
            return {"input_ids": [3]}

    model = tiny_models.policy.__wrapped__(tiny_models.made(folders))
    model.tokenizer = Broken()
    with pytest.raises(ModelRefused, match="cannot read its tokens one by one"):
        model.delimiters(StepRules())
