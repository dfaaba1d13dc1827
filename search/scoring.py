"""Steps on their way to the reward model, from many problems together.

A model takes many rows in little more time than few, so steps wait until those of several problems
are there. A problem with a step that waits sits out the policy's steps; a tree moves by its own
rows only, so it grows into the same whenever its scores come.

    policy   | a b c d e f | a b . d e f | a b c d e f |      . sits out
    waiting              c            a c
    reward                       scores a c

A reward that is computed elsewhere has a thread of its own and is asked for whatever waits as soon
as it is free, while the policy goes on with the other problems.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from search.budget import PhaseSeconds
from search.errors import ModelRefused, TreewardError
from search.interfaces import RewardModel, RewardRequest, RewardResult
from search.session import Session

# Share of the live problems that wait before they are scored. Measured on the bundled models, 32
# problems at once: from a sixth to a half the gain is the same.
SHARE = 1 / 3

Scores = list[RewardResult]


@dataclass
class Turn:
    """What a step of the policy brought a problem.

    Attributes:
        session: the search of the problem.
        requests: steps to score, with the policy's states where they end.
        exhausted: whether the row limit stopped it.
        failure: why it cannot go on.
    """

    session: Session
    requests: list[tuple[int, RewardRequest]] = field(default_factory=list)
    exhausted: bool = False
    failure: Exception | None = None


class Scoring:
    """The way of turns through a reward model.

    Args:
        reward: scores them.
        seconds: where the time that it takes is counted.
    """

    def __init__(self, reward: RewardModel, seconds: PhaseSeconds) -> None:
        self._reward = reward
        self._seconds = seconds
        self._held: set[int] = set()  # trees of those that wait
        self._waiting: list[Turn] = []
        self._asked: list[Turn] = []
        self._answer: Future[list[Scores | Exception]] | None = None
        self._thread = ThreadPoolExecutor(1) if reward.spec.elsewhere else None
        self._closed = False

    def holds(self, session: Session) -> bool:
        """Whether the session waits for scores."""
        return session.tree in self._held

    def add(self, turn: Turn) -> None:
        """Lets a turn wait for its scores."""
        self._held.add(turn.session.tree)
        self._waiting.append(turn)

    def take(self, live: int) -> list[Turn]:
        """The turns that are scored by now, in the order in which they were added.

        Args:
            live: problems under way. Where all of them wait, some are scored when this returns.
        """
        if self._thread is None:
            return self._score_waiting() if len(self._waiting) >= SHARE * live else []
        scored: list[Turn] = []
        all_wait = len(self._held) == live
        if self._answer is None and self._waiting:
            self._ask(self._thread)
        if self._answer is not None and (all_wait or self._answer.done()):
            scored = self._receive(self._answer)
            if self._waiting:
                self._ask(self._thread)
        return scored

    def close(self) -> None:
        """Asks for nothing more; what is under way elsewhere comes to its end."""
        self._closed = True
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _score_waiting(self) -> list[Turn]:
        turns, self._waiting = self._waiting, []
        if turns:
            scores = self._scores(turns)
            try:
                self._seconds.reward_forward += self._reward.take_seconds()
            except Exception as error:  # any model may stand behind the interface
                scores = [error.with_traceback(None)] * len(turns)
            self._hand_out(turns, scores)
        return turns

    def _ask(self, thread: ThreadPoolExecutor) -> None:
        self._asked, self._waiting = self._waiting, []
        self._answer = thread.submit(self._scores, self._asked)

    def _receive(self, answer: Future[list[Scores | Exception]]) -> list[Turn]:
        started = time.perf_counter()
        scores = answer.result()
        # What ran beside the policy took no time of the run.
        self._seconds.reward_forward += time.perf_counter() - started
        turns, self._asked, self._answer = self._asked, [], None
        self._hand_out(turns, scores)
        return turns

    def _scores(self, turns: Sequence[Turn]) -> list[Scores | Exception]:
        """The scores of each turn, or what the reward model raised when asked for it alone."""
        found = self._scores_together(turns)
        if not isinstance(found, Exception):
            return [*found]
        if len(turns) == 1 or self._closed:
            return [found] * len(turns)
        return [self._scores([turn])[0] for turn in turns]

    def _scores_together(self, turns: Sequence[Turn]) -> list[Scores] | Exception:
        try:
            requests = [request for turn in turns for _, request in turn.requests]
            found = self._reward.score(requests)
            if len(found) != len(requests):
                raise ValueError(f"{len(found)} results for {len(requests)} steps")
            scores = iter(found)
            return [[next(scores) for _ in turn.requests] for turn in turns]
        except Exception as error:  # any model may stand behind the interface
            return error.with_traceback(None)  # which holds what the model was about to do

    def _hand_out(self, turns: Sequence[Turn], scores: Sequence[Scores | Exception]) -> None:
        """Gives each session its scores."""
        for turn, found in zip(turns, scores):
            self._held.remove(turn.session.tree)
            try:
                if isinstance(found, Exception):
                    raise found
                for (state, _), result in zip(turn.requests, found):
                    turn.session.receive_score(state, result)
            except Exception as error:
                turn.failure = error
                if error is found or not isinstance(error, TreewardError):
                    reason = f"the reward model failed: {type(error).__name__}: {error}"
                    turn.failure = ModelRefused(f"{turn.session.problem.id}: {reason}")
