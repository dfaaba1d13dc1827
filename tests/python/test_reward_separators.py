"""What is put after a step for a reward model, and at which token its score is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_models
import transformers
from tokenizers import Tokenizer, models, normalizers, processors

from reward_bridge.causal import CausalRewardModel
from reward_bridge.format import RewardFormat
from search.errors import ModelRefused
from search.interfaces import RewardRequest
from search.problem import Problem

PIECES = [*"▁abки\n+-", "▁▁", "ки", "▁ки", "▁a", "▁+", "▁-"]
MERGES = [("▁", "▁"), ("к", "и"), ("▁", "ки"), ("▁", "a"), ("▁", "+"), ("▁", "-")]
MATH_SHEPHERD = RewardFormat(
    head="two_tokens", good="▁+", bad="▁-", separator="▁ки", between="\n", scope="step"
)


def sentence_pieces() -> Any:
    """A tokenizer that writes a space as "▁" and puts one before any text, as that of Mistral."""
    words = ["<unk>", "<bos>", "<eos>", *PIECES]
    inner = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, MERGES, unk_token="<unk>"))
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    inner.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<bos>", eos_token="<eos>"
    )


def reward_with(
    folder: Path, tokenizer: Any, layout: RewardFormat, policy: Any = None
) -> CausalRewardModel:
    """A random reward model with a tokenizer of its own."""
    head = "CausalLM" if layout.head == "two_tokens" else "TokenClassification"
    tiny_models.make(folder, head=head, vocab_size=len(tokenizer))
    tokenizer.save_pretrained(folder)
    return CausalRewardModel(str(folder), policy, reward_format=layout)


def tokens_read(reward: CausalRewardModel, prompt: str, steps: list[str]) -> list[list[int]]:
    """All tokens up to where the score of each step is read."""
    tree, state = reward.open(Problem(prompt), [1, 3])
    found = []
    for text in steps:
        (result,) = reward.score([RewardRequest(tree, state, [3], text)])
        assert result.status == "ok", result.message
        state = result.state
        found.append(list(reward.runner.spans.tokens(state)))
    reward.close(tree)
    return found


def test_math_shepherd_is_read_at_its_tag(tmp_path: Path) -> None:
    """The tokens are those of the whole text as the model was trained on it."""
    reward = reward_with(tmp_path, sentence_pieces(), MATH_SHEPHERD)
    tag = reward.tokenizer.get_vocab()["▁ки"]
    first, second = tokens_read(reward, "ab", ["ab a\n", "ba"])
    assert first[-1] == second[-1] == tag
    assert first == reward.tokenizer("ab ab a ки")["input_ids"]
    assert second == reward.tokenizer("ab ab a ки\nba ки")["input_ids"]


def test_a_text_between_that_begins_with_a_space_keeps_it(tmp_path: Path) -> None:
    layout = RewardFormat(separator="▁ки", between=" ")
    reward = reward_with(tmp_path, sentence_pieces(), layout)
    _, second = tokens_read(reward, "ab", ["ab", "ba"])
    assert reward.tokenizer.convert_ids_to_tokens(second)[-4:] == ["▁▁", "b", "a", "▁ки"]


@pytest.mark.parametrize("field", ["separator", "good"])
def test_a_token_that_is_not_in_the_vocabulary_is_refused(tmp_path: Path, field: str) -> None:
    layout = RewardFormat(**{**vars(MATH_SHEPHERD), field: "▁на"})
    with pytest.raises(ModelRefused, match="its tokenizer does not know '▁на'"):
        reward_with(tmp_path, sentence_pieces(), layout)


def test_a_tag_that_is_a_special_token(tmp_path: Path) -> None:
    tokenizer = tiny_models.byte_level()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<extra_0>"]})
    reward = reward_with(tmp_path, tokenizer, RewardFormat(separator="<extra_0>"))
    tag = reward.tokenizer.convert_tokens_to_ids("<extra_0>")
    first, second = tokens_read(reward, "a b", ["it is so.\n\n", "c"])
    assert first[-1] == second[-1] == tag
    assert second == reward.tokenizer("a bit is so.<extra_0>c<extra_0>")["input_ids"]


@pytest.mark.parametrize("separator", ["\n", "\n\n"])
def test_step_and_separator_are_tokenised_apart(tmp_path: Path, separator: str) -> None:
    """As TRL does in training; in one piece they would share a token."""
    tokenizer = tiny_models.byte_level()
    reward = reward_with(tmp_path, tokenizer, RewardFormat(separator=separator))
    apart = tokenizer("it is so.")["input_ids"] + tokenizer(separator)["input_ids"]
    assert tokenizer(f"it is so.{separator}")["input_ids"] != apart
    (read,) = tokens_read(reward, "a b", ["it is so.\n\n"])
    assert read == tokenizer("a b")["input_ids"] + apart


@pytest.mark.parametrize(
    ("separator", "shared"), [(None, True), ("", True), ("\n", False), ("c", False)]
)
def test_a_stated_separator_is_put_in_with_equal_vocabularies(
    tmp_path: Path, separator: str | None, shared: bool
) -> None:
    policy = tiny_models.tokenizer()
    reward = reward_with(tmp_path, policy, RewardFormat(separator=separator), policy)
    assert reward.shares_tokens is shared
    (read,) = tokens_read(reward, "ab", ["de\n"])
    end = [3] if shared else policy(f"de{separator}", add_special_tokens=False)["input_ids"]
    assert read[-len(end) :] == end
    assert len(read) == (3 if shared else 6)


def test_no_separator_is_a_line_end_for_another_vocabulary(tmp_path: Path) -> None:
    reward = reward_with(tmp_path, tiny_models.tokenizer("\nhgfedcba"), RewardFormat())
    (read,) = tokens_read(reward, "ab", ["de"])
    assert reward.tokenizer.decode(read, skip_special_tokens=True) == "abde\n"
