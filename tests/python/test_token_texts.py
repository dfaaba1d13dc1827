"""What tokens add to a text, for tokenizers of the usual kinds."""

from __future__ import annotations

import random
from typing import Any

import pytest
import tiny_models
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from search.backends.token_texts import token_texts

TEXT = ["so it is.\n\nthen it is 4.\n\n", "it is so.\nand so on.\n\n\n", "a b c 1 2 3"] * 9


def byte_level() -> Any:
    """As GPT-2, Llama 3 and Qwen."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(
            vocab_size=300, initial_alphabet=alphabet, special_tokens=["<eos>"], show_progress=False
        ),
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>")


def sentence_piece() -> Any:
    """As Llama 2 and Mistral: a space is part of the word after it, and goes at the start."""
    inner = Tokenizer(models.BPE(byte_fallback=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = ["<eos>", *(f"<0x{byte:02X}>" for byte in range(256))]
    inner.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=330, special_tokens=special, show_progress=False)
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>")


@pytest.mark.parametrize(
    "tokenizer",
    [byte_level(), sentence_piece(), tiny_models.tokenizer()],
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
    tokenizer = byte_level()
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
