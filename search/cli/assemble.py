"""From names on the command line to the parts of a search."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

import typer

from search.budget import Budget
from search.bundled import POLICY, REWARD, available, resolve
from search.cores import usable_cores
from search.errors import BadProblem, ModelRefused, TreewardError
from search.interfaces import LanguageModel, RewardModel, Sampling, StepRules, Verifier
from search.ranges import INT32_MAX, check_whole

NONE = "none"
MOST_THREADS = 1024


def check_settings(
    searches: Iterable[tuple[str, dict[str, Any], Budget]],
    has_reward: bool,
    judged: bool,
    dtype: str,
    max_live: int,
) -> None:
    """Tells wrong settings before models load, which may take minutes.

    Args:
        searches: algorithm, its options and budget of each search.
        has_reward: whether a reward model will be loaded.
        judged: whether the verifier's verdicts count.
        dtype: of the models.
        max_live: problems in flight.

    Raises:
        ValueError: an algorithm, an option or a setting that there is not.
        ModelRefused: a dtype that there is not.
    """
    from search import algorithms
    from search.backends.loading import dtype_of
    from search.value_range import PROBABILITIES

    dtype_of(dtype)
    check_whole("--max-live", max_live, 1, INT32_MAX)
    # What else the values may be is known once the reward model is loaded.
    values = PROBABILITIES if has_reward else None
    for algorithm, given, budget in searches:
        options = algorithms.options_for(algorithm, given, budget, values, judged)
        algorithms.check(algorithm, options)


def load_policy(
    name: str, dtype: str, pool_tokens: int, trust_remote_code: bool, compiled: bool
) -> LanguageModel:
    """The policy of that name or folder."""
    from search.backends.transformers_model import TransformersLanguageModel

    _need_bundled(name, POLICY)
    return TransformersLanguageModel(
        resolve(name),
        dtype,
        pool_tokens,
        trust_remote_code=trust_remote_code,
        compiled=compiled,
    )


def load_reward(
    name: str,
    policy: Any,
    dtype: str,
    pool_tokens: int,
    trust_remote_code: bool,
    compiled: bool,
) -> RewardModel | None:
    """The reward model of that name or folder; ``None`` for ``none``."""
    if name == NONE:
        return None
    from reward_bridge.causal import CausalRewardModel

    _need_bundled(name, REWARD)
    return CausalRewardModel(
        resolve(name),
        getattr(policy, "tokenizer", None),
        dtype=dtype,
        pool_tokens=pool_tokens,
        trust_remote_code=trust_remote_code,
        compiled=compiled,
    )


def load_verifier(grader: str | None = None) -> Verifier:
    """The verifier of puzzles; it has no opinion of other problems, whose answers a grader reads.

    Raises:
        TreewardError: there is no such grader, or it needs a package that is not installed.
    """
    from reward_bridge.verifiers import ArithmeticVerifier, load_grader

    return ArithmeticVerifier(load_grader(grader) if grader is not None else None)


def _need_bundled(name: str, bundled: str) -> None:
    if name == bundled and bundled not in available():
        raise ModelRefused(f"the bundled model '{bundled}' is missing from this installation")


def given_sampling(**options: float | int | None) -> dict[str, Any]:
    """What the user gave of the sampling; told at once when out of range, before models load.

    Raises:
        ValueError: a value out of range.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    Sampling(**given)
    return given


def sampling_for(policy: Any, given: dict[str, Any]) -> Sampling:
    """The policy's own sampling with what the user gave in its place."""
    return dataclasses.replace(getattr(policy, "sampling", None) or Sampling(), **given)


def step_rules(delimiters: Sequence[str] | None, regex: str | None, most: int) -> StepRules:
    """When steps end, from options; by default at a line end."""
    typed = tuple(map(unescaped, delimiters)) if delimiters else ("\n",)
    return StepRules(delimiters=typed, regex=regex, max_step_tokens=most)


def unescaped(text: str) -> str:
    r"""A typed text whose ``\n``, ``\t`` and ``\\`` are a line end, a tab and a backslash."""
    signs = {"n": "\n", "t": "\t", "\\": "\\"}
    return re.sub(r"\\([nt\\])", lambda match: signs[match[1]], text)


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """``["width=8", "distinct=false"]`` as typed options.

    Raises:
        BadProblem: a pair without ``=``.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise BadProblem(f"an option is given as name=value, not {pair!r}")
        options[name] = _typed(text)
    return options


def _typed(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


@contextlib.contextmanager
def progress_bar(total: int, title: str, hidden: bool) -> Iterator[Any]:
    """A progress bar on stderr for people; nothing where stderr is no terminal.

    Yields:
        A function to call once a unit of work is done.
    """
    if hidden or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    console = Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)


@contextlib.contextmanager
def status_line(title: str, hidden: bool) -> Iterator[Any]:
    """A line on stderr that says what was measured last; nothing where stderr is no terminal.

    Yields:
        A function to call with a text.
    """
    if hidden or not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console

    with Console(stderr=True).status(title) as status:
        yield lambda text: status.update(f"{title}: {text}")


def break_off(stopped: Exception | KeyboardInterrupt, done: str) -> NoReturn:
    """Ends a command that stopped half-way, after what was done has been printed.

    Args:
        stopped: why it stopped.
        done: how much was done, in words.
    """
    if isinstance(stopped, KeyboardInterrupt):
        raise KeyboardInterrupt(done) from None
    if not isinstance(stopped, TreewardError | ValueError | OSError):
        raise stopped
    print(f"treeward: {' '.join(str(stopped).split())}; {done}", file=sys.stderr)
    raise typer.Exit(1)


def use_threads(threads: int | None) -> None:
    """Threads of the model and of the native kernels: what ``OMP_NUM_THREADS`` says, or all usable
    cores, unless told otherwise.

    Raises:
        ValueError: fewer than one, or more than any machine has.
    """
    if threads is not None:
        check_whole("--threads", threads, 1, MOST_THREADS)
    import torch

    from search import _native

    # Torch has read the variable already.
    told = torch.get_num_threads() if os.environ.get("OMP_NUM_THREADS") else usable_cores()
    count = threads or told
    torch.set_num_threads(count)
    _native.attention.set_num_threads(count)
