"""Builds the tokenizer of the puzzle format: one token a word."""

from __future__ import annotations

import argparse
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from search.puzzles.format import LINE_END, words

PAD, BOS, EOS, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"
SPECIAL_TOKENS = (PAD, BOS, EOS, UNKNOWN)
MAX_LENGTH = 256


def token_ids() -> dict[str, int]:
    """The id of every token: the special tokens first, then the words of the format."""
    return {token: i for i, token in enumerate((*SPECIAL_TOKENS, *words()))}


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A fast tokenizer that puts one ``<s>`` in front of a text with its special tokens."""
    tokenizer = Tokenizer(models.WordLevel(token_ids(), unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(LINE_END, "isolated"),
            pre_tokenizers.Split(" ", "removed"),
        ]
    )
    # No token begins with the prefix, so this puts one space before every token but the first;
    # the line end then takes the spaces around it.
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(" ?\n ?"), LINE_END),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A $B:1",
        special_tokens=[(BOS, token_ids()[BOS])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def main() -> None:
    """Command line: writes the tokenizer files into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write into")
    arguments = parser.parse_args()
    build_tokenizer().save_pretrained(arguments.out)
    print(f"{len(token_ids())} tokens written to {arguments.out}")


if __name__ == "__main__":
    main()
