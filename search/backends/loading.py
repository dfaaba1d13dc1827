"""Loading of models and tokenizers, with every way it fails said in one sentence.

Weights are safetensors only, code from a model repository runs only when asked for, and a model
with missing weights is refused: transformers would fill them with random numbers.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from search.backends import attention
from search.backends.supported import refuse_unsupported
from search.errors import ModelRefused
from search.json_text import parse_json

# Tokenizers that are all in tokenizer.json.
GENERIC_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps warnings and progress bars of the libraries off the terminal while loading."""
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging as hf_logging

    level, hub_level = hf_logging.get_verbosity(), hub_logging.get_verbosity()
    bars = hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity(logging.CRITICAL)
    hub_logging.set_verbosity(logging.CRITICAL)  # it tells each try of a hub that is out of reach
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        if bars:
            hf_logging.enable_progress_bar()


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # Those that end with a colon only announce the reason.
    last = next((i for i, line in enumerate(lines) if not line.endswith(":")), len(lines) - 1)
    text = " ".join(lines[: last + 1])
    if isinstance(error, LookupError | ArithmeticError | TypeError | AttributeError):
        # No check of transformers but a fault it met half-way, which needs its type to be read.
        return f"transformers fails with {type(error).__name__}: {text}"
    return text


def load_config(source: str, trust_remote_code: bool = False) -> Any:
    """The model's configuration.

    Raises:
        ModelRefused: no such model, an unknown model type, or one that cannot run here.
    """
    from transformers import AutoConfig

    path = Path(source)
    if path.exists() and not (path / "config.json").is_file():
        raise ModelRefused(f"{source} has no config.json, so it is not a transformers model")
    if not path.exists() and (path.is_absolute() or source.startswith((".", "~"))):
        raise ModelRefused(f"there is no model at {source}")
    try:
        with quiet():
            config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise ModelRefused(f"cannot load {source}: {_config_reason(path, error)}") from error
    refuse_unsupported(config, source)
    return config


def _config_reason(path: Path, error: Exception) -> str:
    try:
        record = parse_json((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _one_line(error)
    kind = record.get("model_type") if isinstance(record, dict) else None
    if kind is None:
        return "its config.json names no model_type"
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if kind not in CONFIG_MAPPING_NAMES:
        if "auto_map" in record:
            return (
                f"model type '{kind}' runs code from its repository; "
                "allow it with --trust-remote-code"
            )
        return f"unknown model type '{kind}'"
    return _one_line(error)


def load_model(
    source: str,
    auto_class: Any,
    dtype: torch.dtype,
    trust_remote_code: bool = False,
    **settings: Any,
) -> torch.nn.Module:
    """Loads a model with tree attention, in eval mode.

    Args:
        source: a folder or a hub name.
        auto_class: the transformers auto class, such as ``AutoModelForCausalLM``.
        dtype: ``torch.float32`` or ``torch.bfloat16``.
        trust_remote_code: run code of the model's repository.
        **settings: further settings of ``from_pretrained``.

    Raises:
        ModelRefused: files or weights are missing, or attention cannot be replaced.
    """
    config = load_config(source, trust_remote_code)
    attention.register()
    try:
        with quiet():
            model, info = auto_class.from_pretrained(
                source,
                dtype=dtype,
                attn_implementation=attention.NAME,
                use_safetensors=True,
                trust_remote_code=trust_remote_code,
                output_loading_info=True,
                **settings,
            )
    except Exception as error:
        raise ModelRefused(f"cannot load {source}: {_one_line(error)}") from error
    missing = sorted(info["missing_keys"])
    mismatched = sorted(str(key[0]) for key in info.get("mismatched_keys", []))
    if missing or mismatched:
        names = ", ".join((missing + mismatched)[:3])
        more = len(missing) + len(mismatched) - 3
        raise ModelRefused(
            f"{source} lacks the weights {names}{f' and {more} more' if more > 0 else ''}, "
            f"which {type(model).__name__} would fill with random numbers"
        )
    text = config.get_text_config()
    layers = getattr(text, "num_hidden_layers", None)
    if layers is not None:
        # Layers that predict further tokens, which no model of transformers has, come after them.
        last = layers + (getattr(text, "num_nextn_predict_layers", 0) or 0)
        beyond = sorted(key for key in info["unexpected_keys"] if _layer_of(key) >= last)
        if layers < 1 or beyond:
            raise ModelRefused(
                f"{source}: config.json has {layers} layers"
                + (f", and the weights have more: {beyond[0]}" if beyond else "")
            )
    if model.config._attn_implementation != attention.NAME:
        raise ModelRefused(
            f"{source}: the attention of model type '{config.model_type}' cannot be replaced"
        )
    return model.eval()


def load_tokenizer(source: str, trust_remote_code: bool = False) -> Any:
    """Loads the tokenizer of a model.

    Raises:
        ModelRefused: there is none.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    try:
        with quiet():
            named = get_tokenizer_config(source).get("tokenizer_class")
            if named in GENERIC_TOKENIZERS:
                # AutoTokenizer would put the model type's own splitting in place of the file's.
                return PreTrainedTokenizerFast.from_pretrained(source)
            return AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise ModelRefused(f"cannot load the tokenizer of {source}: {_one_line(error)}") from error


def _layer_of(key: str) -> int:
    """The number of the layer of a weight; -1 where it is of none."""
    found = re.search(r"\.(?:layers|h|blocks)\.(\d+)\.", f".{key}")
    return int(found[1]) if found else -1


def check_vocabulary(model: torch.nn.Module, tokenizer: Any, source: str) -> None:
    """Refuses a tokenizer that has ids beyond the model's embedding.

    Raises:
        ModelRefused: it has.
    """
    rows = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        raise ModelRefused(
            f"{source}: the tokenizer has ids up to {largest} and the model's embedding {rows} rows"
        )


def dtype_of(name: str) -> torch.dtype:
    """``float32`` or ``bfloat16`` as a torch type; ModelRefused for anything else."""
    if name not in DTYPES:
        raise ModelRefused(f"unknown dtype '{name}'; known: {', '.join(DTYPES)}")
    return DTYPES[name]
