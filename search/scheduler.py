"""The loop over all live problems: one token of every draw of every problem at a time.

There is no barrier between levels of a tree or between problems. A segment that ends is scored in
the same step, and the machine hears of it in the same step; its slot is free for the next draw. A
tree moves by its own rows only, so what it grows into does not depend on who runs beside it.
"""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from search import _native
from search.budget import Ledger, PhaseSeconds
from search.errors import ModelRefused, TreewardError
from search.interfaces import RewardRequest, StepReport
from search.problem import Problem, with_unique_ids
from search.result import SearchResult
from search.session import Session, Setting


class Scheduler:
    """Runs many searches over one language model and one reward model.

    Args:
        setting: what the searches share.
        max_live: problems in flight at once.
    """

    def __init__(self, setting: Setting, max_live: int = 32) -> None:
        if max_live < 1:
            raise ValueError(f"max_live must be at least 1, got {max_live}")
        self.setting = setting
        self.max_live = max_live
        self.arena = _native.tree.Arena()
        self.seconds = PhaseSeconds()

    def run(self, problems: Iterable[Problem]) -> Iterator[SearchResult]:
        """Yields results as problems finish. Closing the iterator frees what is in flight."""
        waiting = deque(with_unique_ids(problems))
        live: list[Session] = []
        # Models are a hundred thousand objects that live on. While a search makes new ones, the
        # garbage collector would look at all of them again and again.
        frozen = gc.get_freeze_count() == 0
        if frozen:
            gc.freeze()
        try:
            while waiting or live:
                started = time.perf_counter()
                done: list[SearchResult] = []
                while waiting and len(live) < self.max_live:
                    session = self._start(waiting.popleft(), done)
                    if session is not None:
                        live.append(session)
                if live:
                    done.extend(self._step(live))
                    live = [session for session in live if session.result is None]
                self.seconds.total += time.perf_counter() - started
                yield from done
        finally:
            if frozen:
                gc.unfreeze()
            for session in live:
                session.close()

    def _start(self, problem: Problem, done: list[SearchResult]) -> Session | None:
        try:
            return Session(problem, self.setting, self.arena)
        except (TreewardError, ValueError) as error:
            done.append(SearchResult(problem, "failed", Ledger(), error=str(error)))
            return None

    def _step(self, live: list[Session]) -> list[SearchResult]:
        """One token everywhere: ask, draw, score, tell, and see who is done."""
        by_tree: dict[int, Session] = {}
        failed: dict[int, Exception] = {}
        for session in live:
            session.ask()
            session.ledger.steps += 1
            by_tree[session.tree] = session
        report = self.setting.model.step(list(by_tree), [session.row_limit() for session in live])
        self.seconds.policy_forward += report.seconds
        failed.update(report.failed)
        self._score(by_tree, report, failed)
        results = []
        for tree, session in by_tree.items():
            try:
                if tree in failed:
                    raise failed[tree]
                session.tell()
                ended = self._ended(session, tree in report.exhausted)
                if ended is not None:
                    session.result = session.finish(*ended)
            except (TreewardError, ValueError) as error:
                session.refresh_ledger()
                session.close()
                session.result = SearchResult(
                    session.problem, "failed", session.ledger, error=str(error)
                )
            if session.result is not None:
                results.append(session.result)
        return results

    def _score(
        self, by_tree: dict[int, Session], report: StepReport, failed: dict[int, Exception]
    ) -> None:
        """Sends every segment that ended in this step to the reward model, in one batch."""
        requests: list[RewardRequest] = []
        owners: list[tuple[int, int]] = []
        for segment in report.segments:
            if segment.tree in failed:
                continue
            try:
                request = by_tree[segment.tree].receive(segment)
            except (TreewardError, ValueError) as error:  # the verifier's
                failed[segment.tree] = error
                continue
            if request is not None:
                requests.append(request)
                owners.append((segment.tree, segment.state))
        if not requests or self.setting.reward is None:
            return
        try:
            results = self.setting.reward.score(requests)
        except Exception as error:  # any model may stand behind the interface
            reason = f"the reward model failed: {type(error).__name__}: {error}"
            for tree, _ in owners:
                failed.setdefault(tree, ModelRefused(f"{by_tree[tree].problem.id}: {reason}"))
            return
        self.seconds.reward_forward += self.setting.reward.take_seconds()
        for (tree, state), result in zip(owners, results):
            try:
                by_tree[tree].receive_score(state, result)
            except TreewardError as error:
                failed.setdefault(tree, error)

    def _ended(self, session: Session, out_of_rows: bool) -> tuple[Any, ...] | None:
        if session.machine.done() or not session.worked:
            return ("finished",)
        if out_of_rows:
            return ("budget", "policy_tokens")
        session.refresh_ledger()
        limit = session.ledger.exceeds(session.setting.budget)
        if limit is not None:
            return ("budget", limit)
        return None
