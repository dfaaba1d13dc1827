"""``treeward bench kv``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.in_turn import Spread, Timing, time_in_turn
from benchmarks.kv import python_radix
from benchmarks.kv.forest import FRESH, PROMPT_TOKENS, SPAN_TOKENS, VOCABULARY, Forest, grow
from benchmarks.kv.recorded_search import record
from search import _native

kv = _native.kv

SIZES = (1_000, 10_000, 100_000)
ALTERNATIVES: dict[str, Callable[[Forest], Any]] = {"python_radix": python_radix.load}
TARGETS = {"fork_ns": 1_000, "match_4k_us": 10, "evict_p99_us": 100, "pool_bytes_ratio": 1.10}


def run(pairs: int, quick: bool, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the benchmark, one a number of live spans.

    Keys of a row: ``spans``; ``fork_ns``, a copy of a state and its first own token;
    ``fork_bytes_copied``, bytes of keys and values that forks moved, counted; ``match_4k_us`` of
    a prompt of 4,096 shared tokens; ``insert_us`` of a span of 8–64 tokens; ``evict_p50_us`` and
    ``evict_p99_us`` of one eviction on a full pool, the choice of the victim included;
    ``allocate_p99_us`` of placing a path in a full pool, with all its evictions;
    ``pool_bytes_ratio`` of a recorded search (peak), ``pool_bytes_ratio_end`` and
    ``pool_bytes_ratio_evicting``. ``*_python_*`` are the same operations as seen from Python;
    ``<operation>_ratio_<alternative>`` is theirs ÷ ours, both called from Python.
    """
    pool, token_bytes = _pool_figures(quick, seed)
    for n_spans in SIZES[:1] if quick else SIZES:
        forest = grow(n_spans, seed)
        rng = np.random.default_rng(seed + 1)
        row: dict[str, Any] = {"spans": int(forest.spans.live_spans)}
        row.update(_forks(forest, rng, pairs, quick, token_bytes))
        row.update(_matches(forest, pairs))
        row.update(_inserts(forest, rng, pairs, quick))
        row.update(_in_turn(forest, rng, pairs))
        row.update(_evictions(forest, rng, pairs, quick))  # last: it empties and refills
        row.update(pool)
        yield row


def _forks(
    forest: Forest, rng: np.random.Generator, pairs: int, quick: bool, token_bytes: int
) -> dict[str, Any]:
    """Forks at random branchings and inside random spans, and what they moved."""
    places = [n.state for n in forest.nodes if n.has_children]
    places += [n.middle for n in forest.nodes if n.parent >= 0]
    count = min(100 if quick else 500, len(places) // 4)
    leaves = [forest.nodes[i].state for i in forest.leaves()[:200]]
    slots_before = slots_of(forest, leaves)
    used = forest.spans.used_slots
    medians, p99s = [], []
    for pair in range(pairs):
        chosen = [places[i] for i in rng.choice(len(places), size=count, replace=False)]
        tokens = np.full((count, 1), FRESH + pair, dtype=np.int32)
        times, _ = kv.measure_extend(forest.spans, chosen, tokens, [1] * count)
        medians.append(float(np.median(times)))
        p99s.append(float(np.percentile(times, 99)))
    # A copied key or value would show as a slot taken, or as a token that has another slot.
    moved = abs(forest.spans.used_slots - used)
    moved += int((slots_of(forest, leaves) != slots_before).sum())
    return {
        **_spread("fork_ns", medians),
        **_spread("fork_p99_ns", p99s),
        "fork_bytes_copied": moved * token_bytes,
        "forks": pairs * count,
    }


def slots_of(forest: Forest, states: list[Any]) -> np.ndarray:
    """The pool slots of all keys on the paths of some states, read from a step's plan."""
    batch = kv.StepBatch(forest.spans)
    for state in states:
        batch.add(state)
    batch.finish(1)
    found = np.asarray(batch.plan.slots).copy()
    batch.abort()
    return np.sort(found)


def _matches(forest: Forest, pairs: int) -> dict[str, Any]:
    prompts = forest.prompts
    arrays = [np.asarray(prompt, dtype=np.int32) for prompt in prompts]
    native, from_list, from_array = [], [], []
    for _ in range(pairs):
        native.append(float(np.median(kv.measure_match(forest.spans, prompts, 16))) / 1e3)
        from_list.append(_seconds(forest.spans.match, prompts * 4) * 1e6)
        from_array.append(_seconds(forest.spans.match, arrays * 4) * 1e6)
    if any(forest.spans.match(p) != PROMPT_TOKENS - 1 for p in prompts):
        raise RuntimeError("a prompt of the benchmark is not in the index")
    return {
        **_spread("match_4k_us", native),
        **_spread("match_4k_python_list_us", from_list),
        **_spread("match_4k_python_array_us", from_array),
    }


def _inserts(forest: Forest, rng: np.random.Generator, pairs: int, quick: bool) -> dict[str, Any]:
    places = [n.state for n in forest.nodes if n.has_children]
    count = min(50 if quick else 500, len(places))
    native, python = [], []
    for _ in range(pairs):
        times, _ = kv.measure_extend(forest.spans, *_new_spans(places, count, rng))
        native.append(float(np.mean(times)) / 1e3)
        states, tokens, lengths = _new_spans(places, count, rng)
        calls = [(s, row[:n]) for s, row, n in zip(states, tokens, lengths)]
        started = time.perf_counter()
        for state, row in calls:
            forest.spans.extend(state, row)
        python.append((time.perf_counter() - started) / count * 1e6)
    return {**_spread("insert_us", native), **_spread("insert_python_us", python)}


def _new_spans(
    places: list[Any], count: int, rng: np.random.Generator
) -> tuple[list[Any], np.ndarray, list[int]]:
    states = [places[i] for i in rng.choice(len(places), size=count)]
    lengths = rng.integers(SPAN_TOKENS[0], SPAN_TOKENS[1] + 1, size=count).tolist()
    tokens = rng.integers(VOCABULARY, size=(count, SPAN_TOKENS[1])).astype(np.int32)
    return states, tokens, lengths


def _evictions(forest: Forest, rng: np.random.Generator, pairs: int, quick: bool) -> dict[str, Any]:
    """Fills the pool to its last page first, so that every allocation evicts."""
    _fill(forest, rng)
    places = [n.state for n in forest.nodes if n.has_children]
    count = min(100 if quick else 1000, len(places) // 2)
    singles: dict[str, list[float]] = {"evict_p50_us": [], "evict_p99_us": []}
    allocations: dict[str, list[float]] = {"allocate_p50_us": [], "allocate_p99_us": []}
    for _ in range(pairs):
        for found, measure in ((singles, kv.measure_evict), (allocations, kv.measure_allocate)):
            new = zip(*_new_spans(places, count, rng))
            times = measure(forest.spans, [forest.spans.extend(s, t[:n]) for s, t, n in new])
            for name, share in zip(found, (50, 99)):
                found[name].append(float(np.percentile(times, share)) / 1e3)
    out: dict[str, Any] = {}
    for name, values in (singles | allocations).items():
        out.update(_spread(name, values))
    return out


def _fill(forest: Forest, rng: np.random.Generator) -> None:
    """Adds and computes spans until the pool has to evict."""
    spans = forest.spans
    places = [n.state for n in forest.nodes if n.has_children]
    before = spans.evictions
    while spans.evictions == before:
        states, tokens, lengths = _new_spans(places, 64, rng)
        batch_states = [spans.extend(s, t[:n]) for s, t, n in zip(states, tokens, lengths)]
        batch = kv.StepBatch(spans)
        for state in batch_states:
            batch.add(state)
        batch.finish(1)
        batch.commit()


def _in_turn(forest: Forest, rng: np.random.Generator, pairs: int) -> dict[str, Any]:
    """The alternatives beside ours, each operation called from Python."""
    loaded = {name: load(forest) for name, load in ALTERNATIVES.items()}
    leaves = rng.choice(forest.leaves(), size=8).tolist()
    states = [forest.nodes[i].state for i in leaves]
    fresh = iter(range(FRESH + 10_000, 1 << 30))
    out: dict[str, Any] = {}

    def others(call: Callable[[Any], Any]) -> dict[str, Any]:
        return {name: partial(call, found) if found else None for name, found in loaded.items()}

    def new_tokens() -> list[list[int]]:
        return [[next(fresh)] * 32 for _ in states]

    def ours_insert() -> float:
        new = new_tokens()
        started = time.perf_counter()
        for state, tokens in zip(states, new):
            forest.spans.extend(state, tokens)
        return (time.perf_counter() - started) / len(states)

    def ours_evict() -> float:
        started = time.perf_counter()
        for _ in range(3):
            forest.spans.evict_one()
        return (time.perf_counter() - started) / 3

    prompts = forest.prompts
    operations: dict[str, tuple[Callable[[], float], Callable[[Any], Any]]] = {
        "match": (lambda: _seconds(forest.spans.match, prompts), lambda a: a.match(prompts)),
        "insert": (ours_insert, lambda a: a.insert(leaves, new_tokens())),
        "evict": (ours_evict, lambda a: a.evict(3)),
    }
    for operation, (ours, theirs) in operations.items():
        timing = time_in_turn(ours, others(theirs), pairs)
        out.update(_ratios(operation, timing))
    return out


def _ratios(operation: str, timing: Timing) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in timing.others:
        spread = timing.others[name]
        key = f"{operation}_ratio_{name}"
        out[f"{operation}_us_{name}"] = None if spread is None else spread.median * 1e6
        out[key] = timing.ratio(name)
        out[f"{key}_spread"] = timing.ratio_spread(name)
    return out


def _pool_figures(quick: bool, seed: int) -> tuple[dict[str, Any], int]:
    """Keys of the recorded searches, and the bytes of a token of their model."""
    puzzles, budget = (4, 200) if quick else (32, 1000)
    roomy = record(puzzles, budget, 131_072, seed)
    out: dict[str, Any] = {
        "pool_bytes_ratio": roomy.peak.ratio,
        "pool_bytes_ratio_end": roomy.end.ratio,
        "pool_peak_bytes": roomy.peak.page_bytes,
        "pool_evictions": roomy.evictions,
    }
    # Half of what the search wants: pages with holes of evicted tokens show here.
    tight = record(puzzles, budget, roomy.peak.tokens // 2, seed)
    out["pool_bytes_ratio_evicting"] = tight.peak.ratio
    out["pool_evictions_evicting"] = tight.evictions
    return out, roomy.peak.token_bytes


def _seconds(call: Callable[[Any], Any], arguments: list[Any]) -> float:
    """Seconds of one call, over all arguments in turn."""
    started = time.perf_counter()
    for argument in arguments:
        call(argument)
    return (time.perf_counter() - started) / len(arguments)


def _spread(name: str, values: list[float]) -> dict[str, Any]:
    if not values:
        return {name: None, f"{name}_spread": None}
    spread = Spread.of(values)
    return {name: spread.median, f"{name}_spread": spread.as_list()}


def line(row: dict[str, Any]) -> str:
    """The row in one line."""
    return (
        f"{row['spans']:,} spans: fork {row['fork_ns']:.0f} ns, {row['fork_bytes_copied']} bytes; "
        f"match {row['match_4k_us']:.1f} µs; insert {row['insert_us']:.2f} µs; "
        f"evict {row['evict_p50_us']:.1f} / {row['evict_p99_us']:.1f} µs; "
        f"pool × {row['pool_bytes_ratio']:.3f}"
    )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Latencies over the number of live spans, with their targets."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    series = {"fork": ("fork_ns", 1e-3), "match 4,096 tokens": ("match_4k_us", 1.0)}
    series |= {"insert": ("insert_us", 1.0), "evict, median": ("evict_p50_us", 1.0)}
    series["evict, p99"] = ("evict_p99_us", 1.0)
    series["plain Python: evict"] = ("evict_us_python_radix", 1.0)
    spans = [row["spans"] for row in rows]
    for label, (key, scale) in series.items():
        axes.plot(spans, [row[key] * scale for row in rows], marker="o", label=label)
    axes.set(xscale="log", yscale="log", xlabel="live spans", ylabel="µs an operation")
    axes.set_title("Operations of the span tree")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
