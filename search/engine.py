"""The public object of the engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from search import algorithms
from search.budget import Budget, PhaseSeconds
from search.errors import TreewardError
from search.interfaces import (
    Aggregator,
    LanguageModel,
    RewardModel,
    Sampling,
    StepRules,
    Verifier,
)
from search.problem import Problem
from search.ranges import INT32_MAX, check_whole
from search.result import SearchResult
from search.scheduler import Scheduler, never
from search.session import Setting
from search.value_range import value_range

# Algorithms that are defined by complete samples: a verifier sees their ends only.
WHOLE_SAMPLES = ("greedy", "best_of_n")


class Search:
    """Searches for answers under a reward, within a budget.

    Args:
        model: the policy; a folder or name loads it with :mod:`search.backends`.
        reward: scores steps; ``None`` searches by the policy's own probabilities.
        verifier: checks finished answers by the statement; also gives votes their keys.
        judge: let the verifier's verdicts steer and end the search: a right answer ends it, and a
            step that breaks the statement's rules ends its path (not for ``greedy`` and
            ``best_of_n``, which are complete samples). With ``False`` it only names answers, and
            the reward alone selects. A function says it for each problem: what the verifier has no
            opinion of is best left to the reward.
        algorithm: ``greedy``, ``best_of_n``, ``beam``, ``best_first``, ``mcts``, ``guided``
            or ``accept``.
        options: options of the algorithm; see ``search.algorithms.describe``.
        budget: limits of each problem.
        rules: when a step ends.
        sampling: how tokens are drawn; by default as the model's generation config says. Not for
            ``guided``, whose candidates are the most probable tokens however few a draw would keep.
        aggregate: from the step scores of a path to its value; the last score by default.
        seed: with a problem's id, decides every draw.
        max_live: problems in flight at once; has no influence on any result, but for the last bits
            of a mixture of experts (docs/architecture.md, Determinism).

    Raises:
        ValueError: an unknown algorithm or option, a setting out of range, an aggregator that
            does not take the reward's scores, or an option that does not take their values.
        ModelRefused: the model cannot be loaded, or cannot read a delimiter of the rules.
    """

    def __init__(
        self,
        model: LanguageModel | str | os.PathLike[str],
        reward: RewardModel | None = None,
        verifier: Verifier | None = None,
        judge: bool | Callable[[Problem], bool] = True,
        algorithm: str = "mcts",
        options: dict[str, Any] | None = None,
        budget: Budget | None = None,
        rules: StepRules | None = None,
        sampling: Sampling | None = None,
        aggregate: Aggregator | None = None,
        seed: int = 0,
        max_live: int = 32,
    ) -> None:
        if isinstance(model, str | os.PathLike):
            from search.backends.transformers_model import TransformersLanguageModel
            from search.bundled import resolve

            model = TransformersLanguageModel(resolve(os.fspath(model)))
        check_whole("max_live", max_live, 1, INT32_MAX)
        self.model: LanguageModel = model
        self.reward = reward
        self._judge = judge
        judge = callable(judge) or judge
        aggregate = aggregate or _last
        values = None if reward is None else value_range(aggregate, reward.spec)
        self._setting = Setting(
            model=model,
            reward=reward,
            verifier=verifier,
            judge=judge,
            check_steps=judge and algorithm not in WHOLE_SAMPLES,
            aggregate=aggregate,
            algorithm=algorithm,
            options=algorithms.options_for(
                algorithm,
                options,
                budget,
                values,
                judged=judge and verifier is not None,
            ),
            rules=rules or StepRules(),
            sampling=_sampling(algorithm, sampling, model),
            budget=budget or Budget(),
            seed=seed,
        )
        algorithms.check(algorithm, self._setting.options)
        model.check(self._setting.rules, self._setting.sampling)
        self.max_live = max_live
        self.seconds = PhaseSeconds()
        self._unjudged = self._setting
        if callable(self._judge):
            chosen = algorithms.options_for(algorithm, options, budget, values, judged=False)
            algorithms.check(algorithm, chosen)
            self._unjudged = replace(self._setting, judge=False, check_steps=False, options=chosen)

    def solve_many(
        self, problems: Iterable[Problem], stop: Callable[[], bool] = never
    ) -> Iterator[SearchResult]:
        """Yields a result a problem, as they finish. A failed problem is a result too.

        Problems are read as there is room for them; an iterator of them need not end.

        Args:
            problems: what to solve.
            stop: asked between steps. Once it says so, problems in flight give the best that they
                have so far, with status ``interrupted``, and the others are not begun.
        """
        scheduler = Scheduler(self._setting, self.max_live, self._setting_of)
        self.seconds = scheduler.seconds
        yield from scheduler.run(problems, stop)

    def _setting_of(self, problem: Problem) -> Setting:
        if not callable(self._judge):
            return self._setting
        try:
            return self._setting if self._judge(problem) else self._unjudged
        except Exception as error:  # any function may be given
            reason = f"{type(error).__name__}: {error}"
            raise TreewardError(f"{problem.id}: the judge failed: {reason}") from error

    def solve(self, problem: Problem | str) -> SearchResult:
        """Solves one problem.

        Raises:
            TreewardError: the search failed; its class and its message say why
                (:mod:`search.errors`).
        """
        if isinstance(problem, str):
            problem = Problem(prompt=problem)
        result = next(iter(self.solve_many([problem])))
        if result.status == "failed":
            raise result.error_type(result.error)
        return result


def _last(scores: Any) -> float | None:
    return next((s for s in reversed(scores) if s is not None), None)


def _sampling(algorithm: str, given: Sampling | None, model: LanguageModel) -> Sampling:
    if algorithm == "guided":
        return Sampling(top_k=0)
    return given or getattr(model, "sampling", None) or Sampling()
