"""The reward model that vLLM reads at the last token is the one that the others read."""

from __future__ import annotations

import torch
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

from benchmarks.e2e.models import folder_of, prompt_of


def test_the_last_token_gets_the_score_of_the_model_that_scores_every_token() -> None:
    every = AutoModelForTokenClassification.from_pretrained(
        folder_of("bundled-reward"), dtype=torch.float32
    )
    last = AutoModelForSequenceClassification.from_pretrained(
        folder_of("bundled-reward-last-token"), dtype=torch.float32
    )
    tokens = torch.tensor([prompt_of(40, 400, 0)[0]])
    with torch.inference_mode():
        expected = every(input_ids=tokens).logits[0, -1] - every.score.bias
        torch.testing.assert_close(last(input_ids=tokens).logits[0], expected)
