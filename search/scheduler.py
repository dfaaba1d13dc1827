"""The loop over all live problems: one token of every draw of every problem at a time.

There is no barrier between levels of a tree or between problems. The machine hears of a segment in
the step in which it ends, or once it is scored; its slot is free for the next draw. A tree moves by
its own rows only, so what it grows into does not depend on who runs beside it, unless the clock
limits it.
"""

from __future__ import annotations

import contextlib
import gc
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from search import _native, errors
from search.budget import Ledger, PhaseSeconds
from search.errors import TreewardError
from search.problem import Problem, with_unique_ids
from search.result import SearchResult
from search.scoring import Scoring, Turn
from search.session import Session, Setting
from search.trace import run_record


def never() -> bool:
    """The answer of whoever lets a run come to its end."""
    return False


class Scheduler:
    """Runs many searches over one language model and one reward model.

    Args:
        setting: what the searches share.
        max_live: problems in flight at once.
        setting_of: the setting of a problem, over the same models; ``setting`` by default.
    """

    def __init__(
        self,
        setting: Setting,
        max_live: int = 32,
        setting_of: Callable[[Problem], Setting] | None = None,
    ) -> None:
        if max_live < 1:
            raise ValueError(f"max_live must be at least 1, got {max_live}")
        self.setting = setting
        self.max_live = max_live
        self.setting_of = setting_of or (lambda problem: setting)
        self.arena = _native.tree.Arena()
        self.seconds = PhaseSeconds()
        self.scoring = None if setting.reward is None else Scoring(setting.reward, self.seconds)

    def run(
        self, problems: Iterable[Problem], stop: Callable[[], bool] = never
    ) -> Iterator[SearchResult]:
        """Yields results as problems finish. Closing the iterator frees what is in flight.

        A problem is read once there is room for it, so there may be any number of them.

        Args:
            problems: what to solve.
            stop: asked between steps. Once it says so, no more problems are begun, and those in
                flight give the best that they have so far.
        """
        waiting = with_unique_ids(problems)
        more = True
        live: list[Session] = []
        # Models are a hundred thousand objects that live on. While a search makes new ones, the
        # garbage collector would look at all of them again and again.
        frozen = gc.get_freeze_count() == 0
        if frozen:
            gc.freeze()
        try:
            while (more or live) and not stop():
                room = self.max_live - len(live)
                read = list(islice(waiting, room))
                more = len(read) == room
                started = time.perf_counter()
                done: list[SearchResult] = []
                for problem in read:
                    session = self._start(problem, done)
                    if session is not None:
                        live.append(session)
                if live:
                    done.extend(self._step(live))
                    live = [session for session in live if session.result is None]
                self.seconds.total += time.perf_counter() - started
                yield from done
            yield from self._interrupted(live)
        finally:
            if frozen:
                gc.unfreeze()
            if self.scoring is not None:
                self.scoring.close()
            for session in live:
                _close(session)

    def _start(self, problem: Problem, done: list[SearchResult]) -> Session | None:
        setting = self.setting
        try:
            setting = self.setting_of(problem)
            return Session(problem, setting, self.arena)
        except (TreewardError, ValueError) as error:
            done.append(_failed(problem, setting, Ledger(), error))
            return None

    def _step(self, live: list[Session]) -> list[SearchResult]:
        """One token everywhere: ask, draw, score, tell, and see who is done."""
        scoring = self.scoring
        if scoring is None:
            turns = self._draw(live)
        else:
            turns = []
            for turn in self._draw([s for s in live if not scoring.holds(s)]):
                if turn.requests and turn.failure is None:
                    scoring.add(turn)
                else:
                    turns.append(turn)
            turns += scoring.take(len(live))
        results = [self._tell(turn) for turn in turns]
        return [result for result in results if result is not None]

    def _draw(self, ready: list[Session]) -> list[Turn]:
        """A step of the policy for these problems."""
        if not ready:
            return []
        turns = {session.tree: Turn(session) for session in ready}
        for session in ready:
            session.ask()
            session.ledger.steps += 1
        report = self.setting.model.step(list(turns), [session.row_limit() for session in ready])
        self.seconds.policy_forward += report.seconds
        for tree in report.exhausted:
            turns[tree].exhausted = True
        for tree, error in report.failed.items():
            turns[tree].failure = error
        for segment in report.segments:
            turn = turns[segment.tree]
            if turn.failure is not None:
                continue
            try:
                request = turn.session.receive(segment)
            except (TreewardError, ValueError) as error:  # the verifier's
                turn.failure = error
                continue
            if request is not None:
                turn.requests.append((segment.state, request))
        return list(turns.values())

    def _tell(self, turn: Turn) -> SearchResult | None:
        """Tells the machine what its problem's turn brought; returns the result of the search."""
        session = turn.session
        try:
            if turn.failure is not None:
                raise turn.failure
            session.tell()
            ended = self._ended(session, turn.exhausted)
            if ended is not None:
                session.result = session.finish(*ended)
        except (TreewardError, ValueError) as error:
            session.result = _given_up(session, error)
        return session.result

    def _interrupted(self, live: list[Session]) -> Iterator[SearchResult]:
        """What there is of searches that are told to stop."""
        if live and self.scoring is not None:
            self.scoring.close()  # a call under way still needs the trees that are closed here
        for session in live:
            try:
                session.result = session.finish("interrupted")
            except (TreewardError, ValueError) as error:
                session.result = _given_up(session, error)
            yield session.result

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


def _close(session: Session) -> None:
    """What it raises should cost the others nothing, nor hide why the run ends."""
    try:
        session.close()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(f"{session.problem.id}: the policy kept its tree: {reason}", stacklevel=2)


def _given_up(session: Session, error: Exception) -> SearchResult:
    """The result of a search that cannot go on."""
    with contextlib.suppress(TreewardError):  # which may be what failed
        session.refresh_ledger(ended=True)
    session.close()
    return _failed(session.problem, session.setting, session.ledger, error)


def _failed(problem: Problem, setting: Setting, ledger: Ledger, error: Exception) -> SearchResult:
    """The class of an error of somebody's own is the nearest of ours, made from a sentence."""
    kinds = [getattr(errors, name) for name in errors.__all__]
    kind = next((kind for kind in type(error).__mro__ if kind in kinds), TreewardError)
    run = run_record(setting)
    return SearchResult(problem, "failed", ledger, run=run, error=str(error), error_type=kind)
