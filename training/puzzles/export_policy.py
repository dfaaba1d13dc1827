"""Writes the policy as a folder of standard transformers files, with its model card."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from training.puzzles.build_tokenizer import (
    BOS,
    EOS,
    MAX_LENGTH,
    PAD,
    build_tokenizer,
    token_ids,
)


def new_model(seed: int) -> LlamaForCausalLM:
    """A randomly initialised policy of about 3 million parameters; the seed decides the weights."""
    ids = token_ids()
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(ids),
            hidden_size=256,
            intermediate_size=688,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=MAX_LENGTH,
            tie_word_embeddings=True,
            pad_token_id=ids[PAD],
            bos_token_id=ids[BOS],
            eos_token_id=ids[EOS],
        )
    )


def save_policy(state: dict[str, torch.Tensor], folder: Path) -> None:
    """Writes weights, configuration and tokenizer; the weights are rounded to bfloat16.

    state: the state dictionary of a model made by :func:`new_model`.
    """
    model = new_model(0)
    model.load_state_dict(state)
    ids = token_ids()
    model.generation_config = GenerationConfig(
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
        pad_token_id=ids[PAD],
        do_sample=True,
        min_p=MIN_P,
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    build_tokenizer().save_pretrained(folder)
    # The class name that every release of transformers can load.
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


# Next tokens below this share of the most probable one are never drawn: they are mostly slips of
# arithmetic. Chosen on held-out Countdown puzzles.
MIN_P = 0.02

_CARD = """\
---
license: {license}
library_name: transformers
---

# Countdown policy

A {parameters:,}-parameter Llama that writes step-by-step solutions of four-number arithmetic
puzzles. It is a small search policy, made to be guided by a reward model: it often proposes wrong
steps, and its value is in the variety of right ones.

```
4 5 6 10 -> 24
10 - 4 = 6 left 5 6 6
5 * 6 = 30 left 6 30
30 - 6 = 24 left 24
```

The first line is the prompt: the numbers in ascending order, the target, a line end. One token is
one word, a number or a line end; `<s>` stands in front of the prompt and `</s>` closes the last
line. Intermediate values are the integers 0 to 256 and the fractions in lowest terms with a
numerator to 30 and a denominator from 2 to 13.

## Training data

{rows:,} generated rows: puzzles with targets from 1 to 100, 70 % with numbers from 1 to 13 and
30 % with numbers from 1 to 25, each with a random solution in which every next step is
uniform over the steps that keep the target reachable. The training loss uses the exact
distribution of these next steps instead of the one drawn.

Never in the training data: any puzzle with target 24 and four numbers from 1 to 13 (the Game of
24), and the 2 % of Countdown puzzles that a hash of numbers and target holds out.

## Training

{steps:,} steps of {batch} rows (about {tokens:.0f} million tokens) in {minutes:.0f} minutes on
{threads} shared processor cores. Muon for the layers and AdamW for the rest, peak learning rate
{rate}, seed {seed}; {warm_up} steps of warm-up, constant to 60 % of the steps, then linear to zero;
the weights are the moving average, rounded to bfloat16. To make it again:

```
python -m training.puzzles.make_data --rows {rows_asked} --seed {data_seed}
python -m training.puzzles.train_policy --out {out} --steps {steps} --seed {seed} \\
    --batch {batch} --rate {rate}
```

## Scores

Plain sampling without search, weights as stored here, computed in float32, no token left out.
(`generation_config.json` asks for `min_p` 0.02: searches that go wide then meet fewer slips of
arithmetic.)

{scores}
"""


def scores_table(scores: dict[str, dict[str, float]]) -> str:
    """The scores as a Markdown table."""
    lines = [
        "| puzzles | number | greedy | samples right at temperature 1 | solved by any sample |",
        "|---|---|---|---|---|",
    ]
    for name, score in scores.items():
        (key,) = (key for key in score if key.startswith("pass@"))
        lines.append(
            f"| {name} | {score['puzzles']} | {score['greedy']:.1%} | {score['sample']:.1%} "
            f"| {score[key]:.1%} ({key}) |"
        )
    return "\n".join(lines) if scores else "Not measured."


def write_card(folder: Path, scores: dict[str, dict[str, float]], facts: dict[str, object]) -> None:
    """Writes README.md; `facts` has the numbers of the training run that the card names."""
    text = _CARD.format(scores=scores_table(scores), **facts)
    (folder / "README.md").write_text(text, encoding="utf-8")
