"""A policy on any decoder model of transformers, over the paged pool."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from search import _native
from search.backends.compiled import compile_runner
from search.backends.decoder_layers import use_native_layers
from search.backends.loading import check_vocabulary, dtype_of, load_model, load_tokenizer
from search.backends.one_thread import functions_on_one_thread
from search.backends.packed_linear import pack_linear_layers
from search.backends.paged_runner import PagedRunner, language_head
from search.backends.prompt import encode_prompt
from search.backends.self_check import check_tree_attention
from search.backends.supported import longest_path
from search.backends.token_texts import token_texts
from search.budget import TokenUse
from search.errors import BadProblem, ModelRefused, NotFinite
from search.interfaces import DrawMode, Sampling, Segment, StepReport, StepRules
from search.problem import Problem

NO_LIMIT = 1 << 60


def sampling_of(generation: Any) -> Sampling:
    """How a model's ``generation_config.json`` says that it is sampled; our default where silent.

    As in transformers, its values count only where it sets ``do_sample``.
    """
    if not getattr(generation, "do_sample", False):
        return Sampling()
    names = ("temperature", "top_k", "top_p", "min_p")
    given = {name: getattr(generation, name, None) for name in names}
    return Sampling(**{name: value for name, value in given.items() if value is not None})


class TransformersLanguageModel:
    """Implements :class:`search.interfaces.LanguageModel`.

    Args:
        source: a folder or hub name of a causal language model.
        dtype: ``float32`` or ``bfloat16``.
        pool_tokens: tokens of keys and values that are kept; older leaves are evicted.
        page_size: tokens of a page.
        batch_rows: rows of one forward pass at most; a longer step takes several passes.
        trust_remote_code: run code of the model's repository.
        compiled: compile the model first (:mod:`search.backends.compiled`).

    Attributes:
        sampling: how the model's own ``generation_config.json`` wants tokens drawn.

    Raises:
        ModelRefused: the model cannot be loaded or cannot run over shared pages.
    """

    def __init__(
        self,
        source: str,
        dtype: str = "float32",
        pool_tokens: int = 131_072,
        page_size: int = 16,
        batch_rows: int = 1024,
        trust_remote_code: bool = False,
        compiled: bool = False,
    ) -> None:
        from transformers import AutoModelForCausalLM

        self.name = source
        model = load_model(source, AutoModelForCausalLM, dtype_of(dtype), trust_remote_code)
        pack_linear_layers(model, compiled)
        use_native_layers(model, language_head)
        if not compiled:
            functions_on_one_thread(model)
        check_tree_attention(model, language_head, source)
        self.tokenizer = load_tokenizer(source, trust_remote_code)
        check_vocabulary(model, self.tokenizer, source)
        self.runner = PagedRunner(model, language_head, pool_tokens, page_size)
        if compiled:
            compile_runner(self.runner, source)
        self.batch_rows = batch_rows
        self.max_length = longest_path(model.config)
        try:
            self.sampling = sampling_of(model.generation_config)
        except ValueError as error:
            raise ModelRefused(f"{source}: generation_config.json: {error}") from error
        self._draws: Any = _native.sampling.SegmentDraws(self.runner.spans)
        self._token_texts: list[str] = []
        self._patterns: dict[int, re.Pattern[str]] = {}

    # ---- text and tokens

    def encode(self, problem: Problem) -> list[int]:
        """Token ids of the prompt, with exactly one BOS where the tokenizer has one.

        Raises:
            BadProblem: the prompt is empty or longer than the model allows.
        """
        ids = encode_prompt(self.tokenizer, problem, self.name)
        if len(ids) >= self.max_length:
            raise BadProblem(
                f"{problem.id}: the prompt has {len(ids)} tokens and {self.name} takes "
                f"{self.max_length}, its answer included"
            )
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of some tokens, special tokens left out."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def end_tokens(self) -> list[int]:
        """Every token id that ends a sequence."""
        found: set[int] = set()
        for owner in (self.runner.model.generation_config, self.runner.model.config):
            value = getattr(owner, "eos_token_id", None)
            if isinstance(value, int):
                found.add(value)
            elif value is not None:
                found.update(int(v) for v in value)
        if self.tokenizer.eos_token_id is not None:
            found.add(int(self.tokenizer.eos_token_id))
        return sorted(found)

    def delimiters(self, rules: StepRules) -> tuple[list[list[int]], list[str]]:
        """The rules' delimiters: sequences of tokens, and texts.

        A text that its own tokens do not add up to is compared by them: a special token, a sign
        of several tokens that are bytes.

        Raises:
            ModelRefused: a delimiter has no tokens under this tokenizer, or unknown ones.
        """
        sequences: list[list[int]] = []
        texts: list[str] = []
        for delimiter in rules.delimiters:
            if not isinstance(delimiter, str):
                sequences.append([int(token) for token in delimiter])
                continue
            ids = list(self.tokenizer(delimiter, add_special_tokens=False)["input_ids"])
            if not ids or self.tokenizer.unk_token_id in ids:
                raise ModelRefused(f"the delimiter {delimiter!r} has no tokens under {self.name}")
            known = self._texts_of_tokens()
            if delimiter in "".join(known[token] for token in ids):
                texts.append(delimiter)
            else:
                sequences.append(ids)
        return sequences, texts

    def _texts_of_tokens(self) -> list[str]:
        if not self._token_texts:
            try:
                self._token_texts = token_texts(self.tokenizer)
            except Exception as error:  # a tokenizer may be anybody's code
                reason = f"{type(error).__name__}: {error}"
                raise ModelRefused(
                    f"the tokenizer of {self.name} cannot read its tokens one by one ({reason}); "
                    "end steps by token ids or a regular expression"
                ) from error
            self._draws.set_token_texts(self._token_texts)
        return self._token_texts

    # ---- trees

    def check(self, rules: StepRules, sampling: Sampling) -> None:
        """Opens a tree that is never used: what cannot be opened is told before the first problem.

        Raises:
            ValueError: a number that is out of range for the native core.
            ModelRefused: a delimiter has no tokens under this tokenizer.
        """
        self.close(self.open([0], 0, rules, sampling))

    def open(self, prompt: Sequence[int], seed: int, rules: StepRules, sampling: Sampling) -> int:
        """Starts a tree for a prompt; returns its number."""
        sequences, texts = self.delimiters(rules)
        tree = self._draws.open(
            list(prompt),
            seed,
            sequences,
            self.end_tokens(),
            rules.max_step_tokens,
            self.path_limit(rules),
            rules.regex is not None,
            sampling.temperature,
            sampling.top_k,
            sampling.top_p,
            sampling.min_p,
            texts,
        )
        if rules.regex is not None:
            self._patterns[tree] = re.compile(rules.regex)
        return int(tree)

    def close(self, tree: int) -> None:
        """Frees the tree and its pages."""
        self._patterns.pop(tree, None)
        self._draws.close(tree)

    def expand(
        self,
        tree: int,
        state: int,
        request: int,
        mode: DrawMode,
        count: int,
        first_draw: int,
        max_tokens: int = 0,
    ) -> None:
        """Queues draws ``first_draw … first_draw + count - 1`` after a state."""
        self._draws.expand(tree, request, state, mode, count, first_draw, max_tokens)

    def cancel(self, tree: int) -> None:
        """Drops the tree's queued draws."""
        self._draws.cancel(tree)

    def discard(self, tree: int, state: int) -> None:
        """Tells the pool that a state will hardly be needed again."""
        self._draws.discard(tree, state)

    def length(self, tree: int, state: int) -> int:
        """Tokens from the start of the prompt to a state."""
        return int(self._draws.state(tree, state).length)

    def path_limit(self, rules: StepRules) -> int:
        """Tokens that prompt and answer may have together."""
        return min(rules.max_path_tokens or self.max_length, self.max_length)

    def usage(self, tree: int) -> TokenUse:
        """What the tree has cost so far."""
        return TokenUse(**self.runner.spans.counts(tree))

    def wasted(self, tree: int) -> int:
        """Computed tokens that no finished segment goes through."""
        return int(self._draws.wasted(tree))

    # ---- one step

    def step(self, trees: Sequence[int], row_limits: Sequence[int | None]) -> StepReport:
        """Runs the next token of every queued draw, in as many passes as rows and pool need.

        Every tree gets all its rows, however many trees there are: how far a tree is after so
        many steps never depends on the others.
        """
        report = StepReport()
        before = self.runner.seconds
        for tree in trees:
            self._draws.begin_step(tree)
        left = [NO_LIMIT if limit is None else max(0, limit) for limit in row_limits]
        self._answer_questions()
        position = 0
        while position < len(trees):
            position = self._one_pass(trees, left, position, report)
        for tree in trees:
            self._draws.end_step(tree)
        self._answer_questions()
        report.seconds = self.runner.seconds - before
        for found in self._draws.take_finished():
            report.segments.append(
                Segment(
                    found.tree,
                    found.request,
                    found.draw,
                    found.prefix,
                    found.end,
                    found.tokens,
                    found.logprob,
                )
            )
        return report

    def _one_pass(
        self, trees: Sequence[int], left: list[int], position: int, report: StepReport
    ) -> int:
        """Fills one batch from ``trees[position:]``, runs it, and returns where to go on."""
        batch = self.runner.new_batch()
        try:
            return self._fill_and_run(batch, trees, left, position, report)
        except BaseException:
            # No tree can be closed while the batch is open, so its error would hide this one.
            batch.abort()
            raise

    def _fill_and_run(
        self,
        batch: Any,
        trees: Sequence[int],
        left: list[int],
        position: int,
        report: StepReport,
    ) -> int:
        wanted: list[tuple[int, int]] = []
        emptied = False
        while position < len(trees):
            tree = trees[position]
            if tree in report.failed:
                position += 1
                continue
            status, added, left[position] = self._draws.collect(
                tree, batch, left[position], self.batch_rows
            )
            wanted.extend((tree, prefix) for prefix in added)
            if status == "all":
                position += 1
            elif status == "row_limit":
                report.exhausted.add(tree)
                position += 1
            elif status == "batch_full" or wanted:
                break
            elif not emptied:
                # Nothing fits although the batch is empty: holes of evicted tokens may be why.
                self.runner.spans.evict_all()
                emptied = True
            else:
                length = self._draws.next_length(tree)
                report.failed[tree] = self.runner.pool_too_small(length)
                position += 1
        if wanted:
            logits = self.runner.run(batch)
            failures = self._draws.supply(
                wanted, logits.data_ptr(), logits.stride(0), logits.shape[1]
            )
            for tree, message in failures:
                report.failed.setdefault(tree, NotFinite(f"{self.name}: {message}"))
        else:
            batch.abort()
        return position

    def _answer_questions(self) -> None:
        """Lets the regular expressions decide where steps end."""
        while questions := self._draws.take_questions():
            for question in questions:
                text = self.decode(question.tokens)
                ends = self._patterns[question.tree].search(text) is not None
                self._draws.answer(question.tree, question.walker, ends)


def logits_of(model: TransformersLanguageModel, tokens: Sequence[int]) -> torch.Tensor:
    """Next-token logits after some tokens through the paged pool, for checks and tests."""
    spans = model.runner.spans
    tree = spans.open_tree(list(tokens))
    try:
        batch = model.runner.new_batch()
        batch.add(spans.root(tree))
        return model.runner.run(batch)[0]
    finally:
        spans.close_tree(tree)


__all__ = ["TransformersLanguageModel", "logits_of"]
