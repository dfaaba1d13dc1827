"""Vectors of texts from any encoder of transformers: the mean of the last hidden states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prompt_oirl.errors import BadLog

BATCH = 32
MOST_TOKENS = 512


class Encoder:
    """A model of transformers in a folder or on the hub, safetensors only.

    A text longer than the model reads is an error, never cut.

    Args:
        name: folder or name of the model.
        trust_remote_code: run code that comes with the model.

    Raises:
        BadLog: the model cannot be loaded.
    """

    def __init__(self, name: str, trust_remote_code: bool = False) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.source = f"encoder:{name}"
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(
                name, trust_remote_code=trust_remote_code
            )
            self._model = AutoModel.from_pretrained(
                name, trust_remote_code=trust_remote_code, use_safetensors=True
            ).eval()
        except (OSError, ValueError, KeyError, ImportError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else error
            raise BadLog(f"encoder '{name}' cannot be loaded: {first}") from error
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        most = getattr(self._model.config, "max_position_embeddings", MOST_TOKENS)
        self._most = min(int(most), int(self._tokenizer.model_max_length))

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """``[len(texts), hidden size]``.

        Raises:
            BadLog: a text is longer than the model reads.
        """
        import torch

        parts = []
        for start in range(0, len(texts), BATCH):
            batch = self._tokenizer(
                list(texts[start : start + BATCH]), padding=True, return_tensors="pt"
            )
            batch.pop("token_type_ids", None)
            longest = int(batch["attention_mask"].sum(dim=1).max())
            if longest > self._most:
                raise BadLog(f"a query has {longest} tokens and the encoder reads {self._most}")
            with torch.inference_mode():
                states = self._model(**batch).last_hidden_state.float()
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
            parts.append(mean.double().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, 0))
