"""Tiny random models in real folders: config, safetensors, and a fast tokenizer of characters."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

LETTERS = "abcdefgh\n"
PUZZLE = "0123456789 ->=+*/left\n"
PROSE = ["so it is.\n\nthen it is 4.\n\n", "it is so.\nand so on.\n\n\n", "a b c 1 2 3"] * 9

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.25,
}
WINDOW = 7
GPT2 = {
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 256,
    "initializer_range": 0.25,
    "attn_pdrop": 0.1,
}
ONE_KV = {k: v for k, v in SMALL.items() if k != "num_key_value_heads"}
# Settings by architecture: windows and caps so small that a test of 30 tokens feels them.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": SMALL,
    "qwen2": SMALL,
    "qwen3": {**SMALL, "head_dim": 16},
    "mistral": {**SMALL, "sliding_window": WINDOW},
    "gemma2": {
        **SMALL,
        "head_dim": 16,
        "sliding_window": WINDOW,
        "attn_logit_softcapping": 2.0,
        "final_logit_softcapping": 3.0,
        "query_pre_attn_scalar": 16,
    },
    "gpt2": GPT2,
    "gpt_neox": {**ONE_KV, "rotary_pct": 0.5},
    "phi": ONE_KV,
}


def tokenizer(characters: str = LETTERS, bos: bool = True) -> Any:
    """A fast tokenizer in which every character is a token, with an optional BOS in front."""
    special = ["<unk>", "<bos>", "<eos>"]
    words = special + list(dict.fromkeys(characters))
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    if bos:
        inner.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", 1)]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<bos>", eos_token="<eos>"
    )


def byte_level() -> Any:
    """A tokenizer of bytes and what often follows what, as those of GPT-2, Llama 3 and Qwen."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        PROSE,
        trainers.BpeTrainer(
            vocab_size=300, initial_alphabet=alphabet, special_tokens=["<eos>"], show_progress=False
        ),
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>")


def make(
    folder: Path,
    kind: str = "llama",
    head: str = "CausalLM",
    seed: int = 0,
    characters: str = LETTERS,
    bos: bool = True,
    favour: str = "",
    **changes: Any,
) -> Path:
    """Writes a random model to a folder.

    Args:
        folder: where to.
        kind: a key of :data:`ARCHITECTURES`.
        head: ``CausalLM``, ``TokenClassification`` or ``SequenceClassification``.
        seed: of the weights.
        characters: what the tokenizer knows.
        bos: whether the tokenizer puts a BOS in front.
        favour: characters that come often, together with <eos>; for ``phi``, which has a bias.
        **changes: further fields of the configuration.
    """
    tokens = tokenizer(characters, bos)
    settings = {**ARCHITECTURES[kind], "vocab_size": len(tokens), **changes}
    settings = {"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": None, **settings}
    config = transformers.AutoConfig.for_model(kind, **settings)
    torch.manual_seed(seed)
    model = getattr(transformers, f"AutoModelFor{head}").from_config(config)
    if favour:
        with torch.no_grad():
            model.lm_head.bias[[2, *tokens.convert_tokens_to_ids(list(favour))]] += 3.0
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


@cache
def _made(root: Path, key: str) -> Path:
    arguments = json.loads(key)
    return make(root / f"model-{abs(hash(key))}", **arguments)


def made(root: Path, **arguments: Any) -> Path:
    """As :func:`make`, once for all tests that want the same model. Do not change its files."""
    return _made(root, json.dumps(arguments, sort_keys=True))


@cache
def policy(folder: Path, **settings: Any) -> Any:
    """A policy of the engine on a folder, loaded once."""
    from search.backends.transformers_model import TransformersLanguageModel

    return TransformersLanguageModel(str(folder), **settings)


def plain_logits(folder: Path, paths: list[list[int]], dtype: Any = torch.float32) -> torch.Tensor:
    """Next-token logits after each path, one ordinary forward pass a path."""
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager"
    ).eval()
    with torch.inference_mode():
        return torch.stack([model(torch.tensor([path])).logits[0, -1].float() for path in paths])


def edit_config(folder: Path, **changes: Any) -> Path:
    """Changes fields of a folder's config.json; ``None`` removes one."""
    path = folder / "config.json"
    record = json.loads(path.read_text())
    record.update(changes)
    path.write_text(json.dumps({k: v for k, v in record.items() if v is not None}))
    return folder
