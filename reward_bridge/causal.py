"""Causal reward models over the paged pool: a step costs its own tokens and nothing more.

The model's state before a step is kept with the node, so scoring a step computes that step only.
Models that read the policy's own tokens get them as they are; others get text, tokenised a step
at a time so that a prefix never changes under a later step. What is put after a step is tokenised
apart from it: ".\\n" may be one token, and the model was trained to be read at "\\n".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from reward_bridge.format import RewardFormat, format_of
from search.backends.compiled import compile_runner
from search.backends.decoder_layers import use_native_layers
from search.backends.loading import (
    check_vocabulary,
    dtype_of,
    load_config,
    load_model,
    load_tokenizer,
)
from search.backends.one_thread import functions_on_one_thread
from search.backends.packed_linear import pack_linear_layers
from search.backends.paged_runner import PagedRunner, language_head, score_head
from search.backends.prompt import encode_prompt
from search.backends.self_check import check_tree_attention
from search.backends.supported import longest_path
from search.budget import TokenUse
from search.errors import BadProblem, ModelRefused
from search.interfaces import RewardRequest, RewardResult, RewardSpec
from search.problem import Problem

DEFAULT_SEPARATOR = "\n"
WORD_START = "▁"  # how vocabularies of SentencePiece write a space


class CausalRewardModel:
    """Implements :class:`search.interfaces.RewardModel` for decoder models of transformers.

    Args:
        source: a folder or hub name; a token-classification, scalar or language-model head.
        policy_tokenizer: tokenizer of the policy; when the vocabularies are equal and the format
            states no separator, the policy's token ids are used as they are.
        reward_format: how to read the model; found in its configuration by default.
        dtype: ``float32`` or ``bfloat16``.
        pool_tokens: tokens of keys and values that are kept.
        page_size: tokens of a page.
        batch_rows: rows of one forward pass at most.
        trust_remote_code: run code of the model's repository.
        compiled: compile the model first (:mod:`search.backends.compiled`).

    Raises:
        ModelRefused: the model cannot be loaded, its head is missing, or cannot run over pages.
    """

    def __init__(
        self,
        source: str,
        policy_tokenizer: Any = None,
        reward_format: RewardFormat | None = None,
        dtype: str = "float32",
        pool_tokens: int = 131_072,
        page_size: int = 16,
        batch_rows: int = 1024,
        trust_remote_code: bool = False,
        compiled: bool = False,
    ) -> None:
        config = load_config(source, trust_remote_code)
        self.format = format_of(config, source, reward_format)
        model = load_model(source, _auto_class(self.format), dtype_of(dtype), trust_remote_code)
        head = language_head if self.format.head == "two_tokens" else score_head
        pack_linear_layers(model, compiled)
        use_native_layers(model, head)
        if not compiled:
            functions_on_one_thread(model)
        check_tree_attention(model, head, source)
        self.name = source
        self.tokenizer = load_tokenizer(source, trust_remote_code)
        check_vocabulary(model, self.tokenizer, source)
        self.shares_tokens = (
            policy_tokenizer is not None
            and not self.format.separator
            and policy_tokenizer.get_vocab() == self.tokenizer.get_vocab()
        )
        self.runner = PagedRunner(model, head, pool_tokens, page_size)
        if compiled:
            compile_runner(self.runner, source)
        self.batch_rows = batch_rows
        self.max_length = longest_path(config)
        separator = DEFAULT_SEPARATOR if self.format.separator is None else self.format.separator
        self._separator = self._known_tokens(separator)
        self._pair = self._token_pair() if self.format.head == "two_tokens" else None
        unbounded = self.format.link == "none" and self._pair is None
        self.spec = RewardSpec(
            name=source,
            scope=self.format.scope,
            range=(-math.inf, math.inf) if unbounded else (0.0, 1.0),
            reads="tokens" if self.shares_tokens else "text",
        )

    def _token_pair(self) -> tuple[int, int]:
        ids = []
        for text in (self.format.good, self.format.bad):
            tokens = self._known_tokens(str(text))
            if len(tokens) != 1:
                raise ModelRefused(f"{self.name}: {text!r} is {len(tokens)} tokens, not one")
            if tokens[0] == self.tokenizer.unk_token_id:
                raise ModelRefused(f"{self.name}: its tokenizer does not know {text!r}")
            ids.append(int(tokens[0]))
        return ids[0], ids[1]

    def _known_tokens(self, text: str) -> list[int]:
        """Tokens of a text of the format, or the one token that it names (``▁ки``).

        A tokenizer that puts a "▁" before any text reads " ки" as "▁▁" and "ки", another token.
        """
        if not text.startswith(WORD_START):
            return self._tokens(text)
        vocabulary = self.tokenizer.get_vocab()
        if text not in vocabulary:
            raise ModelRefused(f"{self.name}: its tokenizer does not know {text!r}")
        return [int(vocabulary[text])]

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    # ---- trees

    def open(self, problem: Problem, prompt_tokens: Sequence[int]) -> tuple[int, Any]:
        """Starts a tree for a problem.

        Args:
            problem: the problem; its text is read by models with a tokenizer of their own.
            prompt_tokens: the policy's ids of the prompt, for models that share them.

        Returns:
            (number of the tree, state before the first step).

        Raises:
            BadProblem: the model's own tokenizer cannot read the problem, or its prompt leaves no
                room for a step.
        """
        if self.shares_tokens:
            tokens = list(prompt_tokens)
        else:
            tokens = encode_prompt(self.tokenizer, problem, self.name)
        if len(tokens) >= self.max_length:
            raise BadProblem(
                f"{problem.id}: the prompt has {len(tokens)} tokens and {self.name} takes "
                f"{self.max_length}, its steps included"
            )
        tree = self.runner.spans.open_tree(tokens)
        return tree, self.runner.spans.root(tree)

    def close(self, tree: int) -> None:
        """Frees the tree and its pages."""
        self.runner.spans.close_tree(tree)

    def usage(self, tree: int) -> TokenUse:
        """What the tree has cost so far."""
        return TokenUse(**self.runner.spans.counts(tree))

    def take_seconds(self) -> float:
        """Seconds in the forward pass since the last call."""
        seconds, self.runner.seconds = self.runner.seconds, 0.0
        return seconds

    # ---- scores

    def step_tokens(self, request: RewardRequest) -> list[int]:
        """The reward model's own tokens of a step."""
        if self.shares_tokens:
            return list(request.tokens)
        text = request.text.rstrip("\n")
        if self.format.between and not self._is_first(request):
            return self._tokens_between(self.format.between + text) + self._separator
        return self._tokens(text) + self._separator

    def _is_first(self, request: RewardRequest) -> bool:
        """Whether a step stands right after the prompt."""
        prompt = self.runner.spans.root(request.tree)
        return bool(request.parent.length == prompt.length)

    def _tokens_between(self, text: str) -> list[int]:
        """Tokens of a text that other text stands before.

        Some tokenizers put a "▁" before any text; within a text there is none.
        """
        tokens = self._tokens(text)
        first = self.tokenizer.convert_ids_to_tokens(tokens[:1])
        return tokens[1:] if first == [WORD_START] and not text.startswith(" ") else tokens

    def score(self, requests: Sequence[RewardRequest]) -> list[RewardResult]:
        """Scores steps of any problems in one batch; one result a request, in order."""
        results: list[RewardResult | None] = [None] * len(requests)
        states: list[Any] = []
        places: list[int] = []
        for place, request in enumerate(requests):
            tokens = self.step_tokens(request)
            length = request.parent.length + len(tokens)
            if not tokens or length > self.max_length:
                reason = "has no tokens" if not tokens else f"reaches {length} tokens"
                results[place] = RewardResult(
                    request.parent,
                    None,
                    "too_long",
                    f"a step {reason}; {self.name} scores 1 to {self.max_length}",
                )
                continue
            states.append(self.runner.spans.extend(request.parent, tokens))
            places.append(place)
        for place, state, output in zip(
            places, states, self.runner.run_states(states, self.batch_rows)
        ):
            if isinstance(output, ModelRefused):
                results[place] = RewardResult(state, None, "refused", str(output))
            else:
                results[place] = self._result(state, output)
        return [result for result in results if result is not None]

    def _result(self, state: Any, output: torch.Tensor) -> RewardResult:
        score = self._read(output)
        if not math.isfinite(score):
            return RewardResult(state, None, "not_finite", f"{self.name} gave a score of {score}")
        return RewardResult(state, score)

    def _read(self, output: torch.Tensor) -> float:
        if self._pair is not None:
            good, bad = (float(output[index]) for index in self._pair)
            return _sigmoid(good - bad)
        if self.format.link == "softmax":
            return float(torch.softmax(output, -1)[int(self.format.good)])
        value = float(output[int(self.format.good)])
        return _sigmoid(value) if self.format.link == "sigmoid" else value


def _sigmoid(x: float) -> float:
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    e = math.exp(x)
    return e / (1.0 + e)


def _auto_class(reward_format: RewardFormat) -> Any:
    import transformers

    return {
        "token_classification": transformers.AutoModelForTokenClassification,
        "scalar": transformers.AutoModelForSequenceClassification,
        "two_tokens": transformers.AutoModelForCausalLM,
    }[reward_format.head]
