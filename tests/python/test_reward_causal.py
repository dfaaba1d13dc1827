"""Reward models over shared pages: cached equals full, a batch equals singles, nothing is cut."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
import transformers

from reward_bridge.causal import CausalRewardModel
from reward_bridge.format import RewardFormat, format_of
from search.errors import ModelRefused
from search.interfaces import RewardRequest
from search.problem import Problem
from search.trace import _number

TOLERANCE = 1e-5
# Another order of letters and one more: a vocabulary of its own.
OWN = "zhgfedcba\n"
PAIR = {"head": "two_tokens", "good": "+", "bad": "-"}

HEADS: dict[str, tuple[dict[str, Any], RewardFormat | None]] = {
    "labels": ({"head": "TokenClassification", "num_labels": 2}, None),
    "one_label": ({"head": "TokenClassification", "num_labels": 1}, None),
    "scalar": ({"head": "SequenceClassification", "num_labels": 1}, None),
    "raw_scalar": (
        {"head": "SequenceClassification", "num_labels": 1},
        RewardFormat(head="scalar", good=0, link="none"),
    ),
    "two_tokens": (
        {"head": "CausalLM"},
        RewardFormat(head="two_tokens", good="a", bad="b"),
    ),
}


def reward_of(folders: Path, head: str, own: bool, **settings: Any) -> CausalRewardModel:
    arguments, layout = HEADS[head]
    folder = tiny_models.made(folders, characters=OWN if own else tiny_models.LETTERS, **arguments)
    return CausalRewardModel(str(folder), tiny_models.tokenizer(), reward_format=layout, **settings)


def full_forward(reward: CausalRewardModel, head: str, tokens: list[int]) -> float:
    """The score after some tokens by an ordinary forward pass and nothing of ours."""
    kind = HEADS[head][0]["head"]
    auto = getattr(transformers, f"AutoModelFor{kind}")
    model = auto.from_pretrained(reward.name, attn_implementation="eager").eval()
    with torch.inference_mode():
        if kind == "CausalLM":
            row = model(torch.tensor([tokens])).logits[0, -1]
            good, bad = (reward.tokenizer.convert_tokens_to_ids(t) for t in "ab")
            return float(torch.softmax(row[[good, bad]], -1)[0])
        hidden = model.model(torch.tensor([tokens])).last_hidden_state[0, -1]
        row = model.score(hidden)
    if head == "labels":
        return float(torch.softmax(row, -1)[1])
    return float(row[0]) if head == "raw_scalar" else float(torch.sigmoid(row[0]))


def steps_of(seed: int, count: int) -> list[str]:
    generator = random.Random(seed)
    return [
        "".join(generator.choice("abcdefgh") for _ in range(generator.randint(1, 7))) + "\n"
        for _ in range(count)
    ]


def score_path(reward: CausalRewardModel, prompt: str, steps: list[str]) -> list[float]:
    """Scores of a path, one step at a time on the state of the step before."""
    policy = tiny_models.tokenizer()
    tree, state = reward.open(Problem(prompt), policy(prompt)["input_ids"])
    scores = []
    for text in steps:
        tokens = policy(text, add_special_tokens=False)["input_ids"]
        (result,) = reward.score([RewardRequest(tree, state, tokens, text)])
        assert result.status == "ok", result.message
        assert result.score is not None
        scores.append(result.score)
        state = result.state
    reward.close(tree)
    return scores


@pytest.mark.parametrize("own", [False, True], ids=["shared_tokens", "own_tokens"])
@pytest.mark.parametrize("head", HEADS)
def test_cached_scores_equal_full_forward(folders: Path, head: str, own: bool) -> None:
    reward = reward_of(folders, head, own)
    assert reward.shares_tokens is not own
    prompt, steps = "abc\n", steps_of(1, 5)
    scores = score_path(reward, prompt, steps)
    assert len(scores) == len(steps)
    assert len(set(scores)) > 1
    for i, score in enumerate(scores):
        tokens = reward.tokenizer(prompt + "".join(steps[: i + 1]))["input_ids"]
        assert score == pytest.approx(full_forward(reward, head, tokens), abs=TOLERANCE)


@pytest.mark.parametrize("head", HEADS)
def test_a_batch_equals_singles(folders: Path, head: str) -> None:
    reward = reward_of(folders, head, own=False)
    policy = tiny_models.tokenizer()
    opened = [reward.open(Problem(p), policy(p)["input_ids"]) for p in ("a\n", "abcdefg\n", "h\n")]
    requests = [
        RewardRequest(tree, root, policy(text, add_special_tokens=False)["input_ids"], text)
        for number, (tree, root) in enumerate(opened)
        for text in steps_of(number, 6)
    ]
    together = [result.score for result in reward.score(requests)]
    reward.runner.spans.evict_all()
    assert [reward.score([request])[0].score for request in requests] == together
    assert [result.score for result in reward.score(requests[::-1])] == together[::-1]
    narrow = reward_of(folders, head, own=False, batch_rows=8)
    again = [narrow.open(Problem(p), policy(p)["input_ids"]) for p in ("a\n", "abcdefg\n", "h\n")]
    states = {tree: state for (tree, _), (_, state) in zip(opened, again)}
    moved = [RewardRequest(r.tree, states[r.tree], r.tokens, r.text) for r in requests]
    assert [result.score for result in narrow.score(moved)] == together


def test_shared_tokens_are_taken_as_they_are(folders: Path) -> None:
    """Even a sequence that no text would be tokenised to, such as one with a token for nothing."""
    reward = reward_of(folders, "labels", own=False)
    tree, root = reward.open(Problem("not read"), [1, 3, 1, 4])
    assert reward.runner.spans.tokens(root) == [1, 3, 1, 4]
    (result,) = reward.score([RewardRequest(tree, root, [5, 2, 1, 11], "not read either")])
    assert reward.runner.spans.tokens(result.state) == [1, 3, 1, 4, 5, 2, 1, 11]
    assert result.score == pytest.approx(
        full_forward(reward, "labels", [1, 3, 1, 4, 5, 2, 1, 11]), abs=TOLERANCE
    )


@pytest.mark.parametrize("text", ["ab", "ab\n", "ab\n\n\n"])
def test_own_tokens_end_in_one_separator(folders: Path, text: str) -> None:
    reward = reward_of(folders, "labels", own=True)
    tree, root = reward.open(Problem("abc\n"), [99])
    read = reward.runner.spans.tokens(root)
    bos = reward.tokenizer.bos_token_id
    assert read == reward.tokenizer("abc\n")["input_ids"]
    assert read.count(bos) == 1
    (result,) = reward.score([RewardRequest(tree, root, [98, 97], text)])
    full = reward.runner.spans.tokens(result.state)
    assert reward.tokenizer.decode(full, skip_special_tokens=True) == "abc\nab\n"
    assert full.count(bos) == 1


def test_a_trailing_delimiter_makes_no_empty_step(folders: Path) -> None:
    reward = reward_of(folders, "labels", own=True)
    whole = score_path(reward, "abc\n", ["ab\n", "cd\n"])
    assert score_path(reward, "abc\n", ["ab\n", "cd"]) == whole
    assert len(whole) == 2


def test_a_prefix_is_computed_once(folders: Path) -> None:
    reward = reward_of(folders, "labels", own=False)
    tree, root = reward.open(Problem(""), [1, 3, 4])
    (first,) = reward.score([RewardRequest(tree, root, [5, 6, 11], "")])
    requests = [RewardRequest(tree, first.state, [token, 11], "") for token in (3, 4, 5)]
    reward.score(requests)
    assert reward.usage(tree).computed == reward.usage(tree).unique == 3 + 3 + 6
    assert reward.usage(tree).recompute_ratio == 1.0


@pytest.mark.parametrize("own", [False, True])
def test_beyond_the_context_is_a_status(folders: Path, own: bool) -> None:
    reward = reward_of(folders, "labels", own)
    tree, root = reward.open(Problem("abc\n"), [1, 3, 4, 5])
    tokens = [3] * reward.max_length
    fits = RewardRequest(tree, root, [3, 11], "a\n")
    results = reward.score([RewardRequest(tree, root, tokens, "a" * len(tokens)), fits])
    assert [result.status for result in results] == ["too_long", "ok"]
    assert results[0].score is None
    assert str(reward.max_length) in results[0].message


def test_a_pool_without_room_is_a_status(folders: Path) -> None:
    reward = reward_of(folders, "labels", own=False, pool_tokens=16)
    tree, root = reward.open(Problem(""), [1, 3])
    results = reward.score(
        [RewardRequest(tree, root, [4] * 30, ""), RewardRequest(tree, root, [4, 11], "")]
    )
    assert [result.status for result in results] == ["refused", "ok"]
    assert "cannot hold one path of 32 tokens" in results[0].message


def test_recomputed_scores_are_the_same(folders: Path) -> None:
    roomy = reward_of(folders, "labels", own=False)
    tight = reward_of(folders, "labels", own=False, pool_tokens=48, page_size=4)
    steps = steps_of(3, 4)
    assert score_path(tight, "abc\n", steps) == score_path(roomy, "abc\n", steps)
    policy = tiny_models.tokenizer()

    def siblings(reward: CausalRewardModel) -> tuple[list[float | None], Any]:
        tree, root = reward.open(Problem(""), policy("abc\n")["input_ids"])
        scores = []
        for text in steps_of(5, 12) * 2:
            tokens = policy(text, add_special_tokens=False)["input_ids"]
            scores.append(reward.score([RewardRequest(tree, root, tokens, text)])[0].score)
        return scores, reward.usage(tree)

    (expected, use), (scores, tight_use) = siblings(roomy), siblings(tight)
    assert scores == pytest.approx(expected, abs=1e-6)
    assert use.recomputed < tight_use.recomputed
    assert tight_use.unique == use.unique


def test_a_score_that_is_not_a_number_is_a_status(folders: Path) -> None:
    reward = reward_of(folders, "scalar", own=False)
    with torch.no_grad():
        reward.runner.model.score.weight.fill_(math.nan)
    tree, root = reward.open(Problem(""), [1, 3])
    (result,) = reward.score([RewardRequest(tree, root, [4, 11], "b\n")])
    assert result.status == "not_finite"
    assert result.score is None
    assert "nan" in result.message


def test_a_probability_of_exactly_zero_is_a_score(folders: Path) -> None:
    reward = reward_of(folders, "one_label", own=False)
    with torch.no_grad():
        reward.runner.model.score.weight.zero_()
        reward.runner.model.score.bias.fill_(-2000.0)
    tree, root = reward.open(Problem(""), [1, 3])
    (result,) = reward.score([RewardRequest(tree, root, [4, 11], "b\n")])
    assert (result.status, result.score) == ("ok", 0.0)
    assert _number(result.score) == 0.0


class TestFormats:
    """Reading a model's configuration."""

    @staticmethod
    def config(**fields: Any) -> Any:
        return transformers.LlamaConfig(**fields)

    def test_known_architectures(self) -> None:
        labels = format_of(self.config(architectures=["XForTokenClassification"]), "x")
        assert (labels.head, labels.link, labels.good) == ("token_classification", "softmax", 1)
        scalar = self.config(architectures=["XForSequenceClassification"], num_labels=1)
        assert (format_of(scalar, "x").head, format_of(scalar, "x").good) == ("scalar", 0)

    def test_a_stated_format_wins(self) -> None:
        stated = {"head": "two_tokens", "good": "+", "bad": "-", "scope": "step"}
        found = format_of(
            self.config(architectures=["LlamaForCausalLM"], treeward_reward=stated), ""
        )
        assert (found.head, found.good, found.bad, found.scope) == ("two_tokens", "+", "-", "step")

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"architectures": ["LlamaForCausalLM"]}, "does not say how to read a reward"),
            ({}, "no architecture"),
            ({"architectures": ["XForSequenceClassification"], "num_labels": 5}, "not 5"),
            ({"treeward_reward": {"heads": "scalar"}}, "heads"),
            ({"treeward_reward": {"head": "steerable"}}, "steerable"),
            ({"treeward_reward": {"link": "cosine"}}, "cosine"),
            ({"treeward_reward": {"scope": "sometimes"}}, "sometimes"),
            ({"treeward_reward": {"head": "two_tokens", "good": "+"}}, "bad"),
            ({"treeward_reward": {"good": "+"}}, "good"),
            ({"treeward_reward": "scalar"}, "treeward_reward"),
            ({"treeward_reward": {**PAIR, "separator": 5}}, "separator must be text, not 5"),
            ({"treeward_reward": {"separator": ["\n"]}}, "separator must be text, not ['\\n']"),
            ({"treeward_reward": {**PAIR, "between": None}}, "between must be text, not None"),
            ({"treeward_reward": {**PAIR, "between": "\n"}}, "between is put after a separator"),
            ({"treeward_reward": {"good": 2}, "num_labels": 2}, "2"),
            ({"treeward_reward": {"head": "scalar", "good": 0}, "num_labels": 1}, "always 1"),
        ],
    )
    def test_what_cannot_be_read_is_refused(self, fields: dict[str, Any], reason: str) -> None:
        fields = {"architectures": None, **fields}
        with pytest.raises(ModelRefused, match="some/model") as caught:
            format_of(self.config(**fields), "some/model")
        assert reason in str(caught.value)

    def test_a_given_format_is_checked_too(self) -> None:
        config = self.config(num_labels=1)
        with pytest.raises(
            ModelRefused, match=r"some/model: bad reward format \(good is label 1 of"
        ):
            format_of(config, "some/model", RewardFormat(head="scalar"))
        given = RewardFormat(head="scalar", good=0, link="none")
        assert format_of(config, "some/model", given) is given

    @pytest.mark.parametrize(("good", "reason"), [("ab", "2 tokens, not one"), ("Ω", "Ω")])
    def test_a_pair_that_is_not_two_tokens(self, folders: Path, good: str, reason: str) -> None:
        folder = str(tiny_models.made(folders))
        with pytest.raises(ModelRefused, match=reason):
            CausalRewardModel(folder, None, RewardFormat(head="two_tokens", good=good, bad="b"))


def test_a_language_model_is_no_reward_model(folders: Path) -> None:
    with pytest.raises(ModelRefused, match="does not say how to read a reward"):
        CausalRewardModel(str(tiny_models.made(folders)))


def test_a_head_without_weights_is_refused(tmp_path: Path) -> None:
    folder = tiny_models.make(tmp_path / "model")
    tiny_models.edit_config(folder, architectures=["LlamaForTokenClassification"])
    with pytest.raises(ModelRefused, match=r"lacks the weights .*score"):
        CausalRewardModel(str(folder))
