"""The models of the benchmark as ordinary folders, without an end token: all counts are equal."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

VOCABULARY = 8192
CONTEXT = 2048
QWEN2_110M = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": CONTEXT,
    "tie_word_embeddings": True,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}


def folder_of(name: str, seed: int = 0) -> Path:
    """The folder of a model, made when it is not there yet.

    Args:
        name: ``bundled`` (the puzzle policy), ``qwen2-110m`` (random weights), or one of them with
            ``-reward`` (the same layers with a two-label head on every token) or
            ``-reward-last-token`` (that head on the last token alone).
        seed: of random weights.
    """
    folder = Path(tempfile.gettempdir()) / "treeward-bench" / f"{name}-{seed}"
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        if name.endswith("-last-token"):
            _last_token(folder, folder_of(name.removesuffix("-last-token"), seed))
        elif name.startswith("bundled"):
            _bundled(folder, name.endswith("-reward"), seed)
        else:
            _random(folder, name.endswith("-reward"), seed)
        (folder / "done").touch()
    return folder


def _random(folder: Path, reward: bool, seed: int) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2ForTokenClassification

    torch.manual_seed(seed + 1 if reward else seed)
    kind: Any = Qwen2ForTokenClassification if reward else Qwen2ForCausalLM
    labels = {"num_labels": 2} if reward else {}
    model = kind(Qwen2Config(**QWEN2_110M, **labels))
    model.to(torch.bfloat16).save_pretrained(folder)
    _tokenizer(VOCABULARY).save_pretrained(folder)


def _bundled(folder: Path, reward: bool, seed: int) -> None:
    """The bundled weights; only the end token is taken away and the context made longer."""
    from search.bundled import POLICY, REWARD, resolve

    shutil.copytree(resolve(REWARD if reward else POLICY), folder, dirs_exist_ok=True)
    for name in ("config.json", "generation_config.json"):
        path = folder / name
        if not path.exists():
            continue
        config = json.loads(path.read_text(encoding="utf-8"))
        config["eos_token_id"] = None
        if name == "config.json":
            config["max_position_embeddings"] = CONTEXT
        path.write_text(json.dumps(config), encoding="utf-8")
    # Both models read the same plain words, so prompts of any length can be written down.
    words = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    _tokenizer(words).save_pretrained(folder)


def _last_token(folder: Path, reward: Path) -> None:
    """The reward model as one that classifies a sequence: such heads have no bias."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(reward, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("done"))
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    (architecture,) = config["architectures"]
    config["architectures"] = [architecture.replace("TokenClass", "SequenceClass")]
    path.write_text(json.dumps(config), encoding="utf-8")
    weights = load_file(folder / "model.safetensors")
    del weights["score.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _tokenizer(words: int) -> Any:
    """A tokenizer whose token ``i`` is the word ``wi``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {f"w{i}": i for i in range(words)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def prompt_of(length: int, words: int, seed: int) -> tuple[list[int], str]:
    """A random prompt as ids and as text."""
    import random

    rng = random.Random(seed)
    ids = [rng.randrange(3, words) for _ in range(length)]
    return ids, " ".join(f"w{i}" for i in ids)
