"""One problem's search while it runs: the machine's tasks on one side, segments on the other.

The machine knows handles of nodes; the language model and the reward model know states. A session
is the table between them, and nothing here depends on any other problem.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from types import TracebackType
from typing import Any

from search import _native
from search.budget import Budget, Ledger
from search.errors import BudgetTooSmall, ModelRefused, NotFinite, TreewardError
from search.interfaces import (
    Aggregator,
    LanguageModel,
    RewardModel,
    RewardRequest,
    RewardResult,
    Sampling,
    Segment,
    StepRules,
    Verifier,
)
from search.places import Place, Reached, Work
from search.problem import Problem
from search.result import SearchResult, StepOfPath
from search.trace import run_record


@dataclass(frozen=True)
class Setting:
    """What all problems of a run share."""

    model: LanguageModel
    reward: RewardModel | None
    verifier: Verifier | None
    judge: bool
    check_steps: bool
    aggregate: Aggregator
    algorithm: str
    options: dict[str, Any]
    rules: StepRules
    sampling: Sampling
    budget: Budget
    seed: int


class _Named:
    """Says which part failed, which anybody may have written; ``clear`` errors say it alone.

    No generator: a StopIteration of theirs would be taken for its end.
    """

    def __init__(self, problem: Problem, part: str, *clear: type[Exception]) -> None:
        self._start = f"{problem.id}: the {part} failed"
        self._clear = clear

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, self._clear):
            reason = f"{type(error).__name__}: {error}"
            raise TreewardError(f"{self._start}: {reason}") from error


def seed_of(seed: int, problem: Problem) -> int:
    """64-bit seed of a problem: a function of the run's seed and the problem's id alone."""
    text = f"{seed}\x00{problem.id}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


class Session:
    """The search of one problem.

    Args:
        problem: what to solve.
        setting: what the run shares.
        arena: the arena that holds all trees of the run.
    """

    def __init__(self, problem: Problem, setting: Setting, arena: Any) -> None:
        self.problem = problem
        self.setting = setting
        self.ledger = Ledger()
        self.started = time.perf_counter()
        self.result: SearchResult | None = None
        self.tree = self.reward_tree = -1
        seed = seed_of(setting.seed, problem)
        prompt = self.prompt = setting.model.encode(problem)
        limit = setting.budget.policy_tokens
        if limit is not None and limit < len(prompt) + 1:
            raise BudgetTooSmall(
                f"{problem.id}: a budget of {limit} policy tokens is too small for one step after "
                f"a prompt of {len(prompt)} tokens"
            )
        self.arena = arena
        self.machine: Any = _native.search.Machine(arena, setting.algorithm, setting.options, seed)
        self.tree = setting.model.open(prompt, seed, setting.rules, setting.sampling)
        reward_state = None
        if setting.reward is not None:
            try:
                with _Named(problem, "reward model", TreewardError):
                    self.reward_tree, reward_state = setting.reward.open(problem, prompt)
            except BaseException:
                self.close()  # nobody else knows of the policy's tree yet
                raise
        self.places: dict[int, Place] = {self.machine.root: Place(0, reward_state=reward_state)}
        self._reached: dict[int, Reached] = {}  # by policy state
        self._work: dict[int, Work] = {}
        self.worked = True  # whether the last ask left tasks under way
        self._answers: dict[str, int] = {}
        self._answer_texts: list[str] = []

    # ---- tasks out

    def ask(self) -> None:
        """Hands the machine's next tasks to the language model."""
        for task in self.machine.ask(1 << 20):
            place = self.places[task.node]
            self._work[task.id] = Work(task)
            self.setting.model.expand(
                self.tree,
                place.state,
                task.id,
                task.mode,
                task.count,
                task.first_draw,
                1 if task.unit == "token" else 0,
            )
        self.worked = bool(self._work)

    # ---- segments in

    def receive(self, segment: Segment) -> RewardRequest | None:
        """Takes a drawn segment; returns what the reward model should score, if anything."""
        work = self._work[segment.request]
        work.returned += 1
        if segment.state < 0:
            work.exhausted = True
            return None
        self.ledger.segments += 1
        work.drawn.append(segment)
        if segment.state in self._reached:
            return None  # the same segment again: same state, same score, same verdict
        before = self.places[work.task.node]
        tokens = (*before.open_tokens, *segment.tokens)
        text = self._text(before.open_tokens[-1:] or before.before_open, segment.tokens)
        step = self._text(before.before_open, tokens) if before.open_tokens else text
        place = Place(
            segment.state,
            text,
            before.steps,
            scores=before.scores,
            reward_state=before.reward_state,
        )
        if segment.end == "length":
            place.open_tokens, place.before_open = tokens, before.before_open
        else:
            place.steps, place.before_open = (*before.steps, step), tokens[-1:]
        reached = self._reached[segment.state] = Reached(segment, place)
        with _Named(self.problem, "verifier", TreewardError):
            self._judge(reached)
        if self.setting.reward is None:
            return None
        if self.setting.reward.spec.reads == "text" and not step.strip():
            # An end of sequence alone, or a blank line, says nothing new.
            place.score, place.value = before.score, before.value
            return None
        reached.waits = True
        return RewardRequest(self.reward_tree, before.reward_state, tokens, step)

    def _judge(self, reached: Reached) -> None:
        """Ends of sequence get an answer and a verdict; broken rules end a path early."""
        verifier, segment = self.setting.verifier, reached.segment
        steps = reached.place.steps
        if segment.end == "eos":
            reached.terminal = True
            if verifier is None:
                key: str | None = "".join(steps).strip() or None
                # The last step may be an end of sequence alone, or nothing but spaces.
                text = next((step.strip() for step in reversed(steps) if step.strip()), "")
            elif self.setting.judge:
                verdict = verifier.check(self.problem, steps)
                key, text = verdict.key, verdict.answer or ""
                reached.verdict = -1 if verdict.right is None else int(verdict.right)
            else:
                key, found = verifier.canonical_key(self.problem, steps)
                text = found or ""
            if key is not None:
                reached.answer = self._answers.setdefault(key, len(self._answers))
                if reached.answer == len(self._answer_texts):
                    self._answer_texts.append(text)
        elif segment.end == "length" and self._path_is_full(reached):
            reached.terminal = True
        elif (
            segment.end == "stop"
            and verifier is not None
            and self.setting.check_steps
            and not verifier.allows(self.problem, steps)
        ):
            reached.terminal, reached.verdict = True, 0

    def _text(self, before: tuple[int, ...], tokens: Sequence[int]) -> str:
        """What tokens add to a text that the token ``before`` ends, if there is one: some
        tokenizers leave a space out where a text begins."""
        decode = self.setting.model.decode
        if before:
            start, whole = decode(before), decode((*before, *tokens))
            if start and whole.startswith(start):
                return whole[len(start) :]
        return decode(tokens)

    def _number(self, part: str, value: Any) -> float:
        """A number that somebody's part gave.

        Raises:
            NotFinite: it is NaN or infinite.
            TreewardError: it is none.
        """
        try:
            number = float("" if isinstance(value, str | bytes) else value)
        except Exception:
            kind = type(value).__name__
            raise TreewardError(
                f"{self.problem.id}: the {part} gave a {kind} where a number is due"
            ) from None
        if not isfinite(number):
            raise NotFinite(f"{self.problem.id}: the {part} gave {number}")
        return number

    def _path_is_full(self, reached: Reached) -> bool:
        limit = self.setting.model.path_limit(self.setting.rules)
        return self.setting.model.length(self.tree, reached.segment.state) >= limit

    def receive_score(self, state: int, result: RewardResult) -> None:
        """Takes the reward model's score of the segment that ends at a policy state.

        A path that outgrows the reward model ends there and has no score; what it ended in keeps
        its answer and its verdict.

        Raises:
            NotFinite: the score is NaN or infinite.
            ModelRefused: the step could not be scored.
            TreewardError: the aggregator failed, or either of them gave no number.
        """
        if result.status == "not_finite":
            raise NotFinite(f"{self.problem.id}: {result.message}")
        reached = self._reached[state]
        reached.waits = False
        if result.status == "too_long":
            reached.terminal = True
            return
        if result.status != "ok":
            raise ModelRefused(f"{self.problem.id}: {result.message}")
        place = reached.place
        place.score = self._number("reward model", result.score)
        scores = (*place.scores, place.score)
        with _Named(self.problem, "aggregator"):
            value = self.setting.aggregate(scores)
        place.value = None if value is None else self._number("aggregator", value)
        if reached.segment.end != "length":
            place.scores, place.reward_state = scores, result.state

    def tell(self) -> None:
        """Gives the machine every task whose draws are all back, in the order of asking."""
        done = [n for n, work in self._work.items() if work.returned == work.task.count]
        for number in done:
            work = self._work.pop(number)
            self._tell(number, work.drawn, work.exhausted)

    def _tell(self, number: int, drawn: list[Segment], exhausted: bool) -> None:
        # By number of the draw: the order of arrival says nothing about the search.
        drawn = sorted(drawn, key=lambda segment: segment.draw)
        children = [self._child(segment) for segment in drawn]
        for handle, segment in zip(self.machine.tell(number, children, exhausted), drawn):
            self.places.setdefault(handle, self._reached[segment.state].place)

    def _ready(self, work: Work) -> list[Segment]:
        """What of a task is drawn, and scored where it must be."""
        return [segment for segment in work.drawn if not self._reached[segment.state].waits]

    def _child(self, segment: Segment) -> Any:
        reached = self._reached[segment.state]
        value = reached.place.value
        if reached.verdict >= 0 and reached.terminal:
            value = float(reached.verdict)
        return _native.tree.Child(
            tokens=segment.tokens,
            logprob=segment.logprob,
            finish=segment.end,
            terminal=reached.terminal,
            value=value,
            verdict=reached.verdict,
            answer=reached.answer,
        )

    # ---- costs and the end

    def row_limit(self) -> int | None:
        """Policy rows that the budget still allows."""
        limit = self.setting.budget.policy_tokens
        return None if limit is None else limit - self.setting.model.usage(self.tree).charged

    def refresh_ledger(self, ended: bool = False) -> None:
        """Reads the costs from the models; at the end, also what was computed in vain."""
        self.ledger.policy = self.setting.model.usage(self.tree)
        if ended:
            self.ledger.policy.wasted = self.setting.model.wasted(self.tree)
        if self.setting.reward is not None:
            with _Named(self.problem, "reward model", TreewardError):
                self.ledger.reward = self.setting.reward.usage(self.reward_tree)
        self.ledger.nodes = len(self.places) - 1
        self.ledger.seconds = time.perf_counter() - self.started

    def finish(self, status: str, limit: str | None = None) -> SearchResult:
        """Takes the best of the tree, frees everything, and makes the result."""
        self.setting.model.cancel(self.tree)
        # What came of tasks that are not done may hold the answer, or all that there is.
        for number, work in self._work.items():
            ready = self._ready(work)
            if ready:
                self._tell(number, ready, work.exhausted)
            else:
                self.machine.cancel(number)
        self._work.clear()
        self.refresh_ledger(ended=True)
        best = self.machine.best()
        if best is None and status != "interrupted":
            raise BudgetTooSmall(
                f"{self.problem.id}: the budget ended ({limit}) before the first step did"
            )
        result = SearchResult(self.problem, status, self.ledger, limit)  # type: ignore[arg-type]
        if best is not None:
            self._give_path(result, best)
        result.votes = [(self._answer_texts[a], w) for a, w in self.machine.selection()]
        result.tree = self._export()
        result.run = run_record(self.setting)
        self.close()
        return result

    def _give_path(self, result: SearchResult, best: int) -> None:
        """Makes the path to a node the result's answer."""
        path = self.arena.path(best)
        for handle in path[1:]:
            node, place = self.arena.node(handle), self.places[handle]
            result.steps.append(
                StepOfPath(
                    place.text,
                    node["logprob"],
                    place.score,
                    place.value,
                    node["visits"],
                )
            )
        node = self.arena.node(best)
        result.text = self.setting.model.decode(self.arena.path_tokens(best))
        result.finished = node["finish"] == "eos"
        result.score = self.places[best].value
        if node["answer"] >= 0:
            result.answer = self._answer_texts[node["answer"]]
        if node["verdict"] >= 0 and result.finished:
            result.right = bool(node["verdict"])

    def _export(self) -> dict[str, Any]:
        tree: dict[str, Any] = self.machine.export()
        tree["prompt_tokens"] = self.prompt
        places = [self.places.get(int(handle)) for handle in tree["handle"]]
        tree["text"] = [place.text if place is not None else "" for place in places]
        tree["score"] = [place.score if place is not None else None for place in places]
        tree["answers"] = list(self._answer_texts)
        return tree

    def close(self) -> None:
        """Frees the pages and the nodes; safe to repeat."""
        tree, reward_tree = self.tree, self.reward_tree
        self.tree = self.reward_tree = -1
        self.machine = None  # frees its nodes
        try:
            if tree >= 0:
                self.setting.model.close(tree)
        finally:
            if reward_tree >= 0:
                self._close_reward(reward_tree)

    def _close_reward(self, tree: int) -> None:
        try:
            if self.setting.reward is not None:
                self.setting.reward.close(tree)
        except Exception as error:  # the result stands all the same
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"{self.problem.id}: the reward model kept its tree: {reason}", stacklevel=3
            )
