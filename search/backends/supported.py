"""Which models can run over the paged pool, and how far; refused by name where they cannot."""

from __future__ import annotations

from typing import Any

from search.errors import ModelRefused

LATENT_ATTENTION = frozenset(
    [
        "axk1",
        "axk2",
        "deepseek_ocr2",
        "deepseek_v2",
        "deepseek_v3",
        "deepseek_v32",
        "dots3_note",
        "glm4_moe_lite",
        "glm5_next",
        "glm_moe_dsa",
        "hy_v4",
        "longcat_flash",
        "minicpm3",
        "mistral4",
        "mistral_large4",
        "youtu",
    ]
)
RECURRENT_STATE = frozenset(
    [
        "bailing_hybrid",
        "bamba",
        "falcon_h1",
        "falcon_mamba",
        "granitemoehybrid",
        "jamba",
        "kimi_linear",
        "lfm2",
        "lfm2_moe",
        "mamba",
        "mamba2",
        "minimax",
        "nemotron_h",
        "olmo_hybrid",
        "qwen3_5",
        "qwen3_5_moe",
        "qwen3_next",
        "recurrent_gemma",
        "rwkv",
        "xlstm",
        "zamba",
        "zamba2",
    ]
)
ATTENTION_SINKS = frozenset(["gpt_oss", "mimo", "mimo_v2"])
SHARED_LAYERS = frozenset(["gemma3n", "gemma3n_text", "gemma4", "gemma4_text", "hrm_text"])
CHUNKED_ATTENTION = frozenset(["llama4", "llama4_text"])

NO_LIMIT = 1 << 30


def longest_path(config: Any) -> int:
    """Tokens that a path may have, by a transformers configuration.

    LongRoPE turns all rows of a pass by other angles once one of them lies beyond the original
    length. Kept keys would still have the old ones, and a tree would depend on its neighbours:
    paths end at that length.
    """
    text = config.get_text_config()
    most = int(getattr(text, "max_position_embeddings", NO_LIMIT))
    for rope in _ropes(text):
        if rope.get("rope_type", rope.get("type")) == "longrope":
            of_rope = rope.get("original_max_position_embeddings") or most
            most = min(most, getattr(text, "original_max_position_embeddings", None) or of_rope)
    return most


def _ropes(config: Any) -> list[dict[str, Any]]:
    """Settings of the rotations; some models have one for each kind of layer."""
    given = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    nested = [settings for settings in given.values() if isinstance(settings, dict)]
    return nested or [given]


def refuse_unsupported(config: Any, source: str) -> None:
    """Raises :class:`ModelRefused` when the architecture cannot share pages between branches.

    Args:
        config: a transformers configuration.
        source: the model's path or name, for the message.
    """
    kind = config.model_type
    reasons = {
        "its latent attention caches no keys and values of one size": LATENT_ATTENTION,
        "its recurrent state cannot be shared between branches": RECURRENT_STATE,
        "its attention sinks are not built": ATTENTION_SINKS,
        "its layers share keys and values with each other": SHARED_LAYERS,
    }
    for reason, kinds in reasons.items():
        if kind in kinds:
            raise ModelRefused(f"{source}: model type '{kind}' cannot run here: {reason}")
    if kind in CHUNKED_ATTENTION and config.get_text_config().attention_chunk_size:
        raise ModelRefused(
            f"{source}: model type '{kind}' cannot run here: its attention in chunks is not built"
        )
    if getattr(config, "is_encoder_decoder", False):
        raise ModelRefused(f"{source}: model type '{kind}' is an encoder-decoder; give a decoder")
