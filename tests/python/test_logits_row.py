"""Agreement of the native sampling routines with numpy references, and their edges."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import reference_sampling as reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search import _native

sampling = _native.sampling
INF = float("inf")


def random_row(seed: int, size: int, scale: float, masked: float, coarse: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    row = (rng.normal(size=size) * scale).astype(np.float32)
    if coarse:  # many ties
        row = np.round(row)
    row[rng.random(size) < masked] = -INF
    row[rng.integers(size)] = 0.5  # never masked throughout
    return row


def bfloat16_bits(row: np.ndarray) -> np.ndarray:
    return (row.view(np.uint32) >> 16).astype(np.uint16)


def assert_row_agrees(result, row: np.ndarray, **options) -> None:
    """Same tokens, numbers within float accuracy.

    Where a cumulative mass sits within rounding of top_p, one candidate more or less is right
    too; the common prefix must agree then, up to the renormalisation.
    """
    tokens, logprobs, weights = result
    expected, expected_logprobs, expected_weights = reference.logits_row(row, **options)
    assert tokens.dtype == np.int32
    assert logprobs.dtype == weights.dtype == np.float32
    if len(tokens) != len(expected):
        top_p = options.get("top_p", 1.0)
        assert top_p < 1 or options.get("min_p", 0) > 0
        near = [{**options, "top_p": min(1.0, top_p * (1 + e))} for e in (-2e-6, 2e-6)]
        near += [{**options, "min_p": options.get("min_p", 0) * (1 + e)} for e in (-2e-6, 2e-6)]
        alternatives = [reference.logits_row(row, **changed) for changed in near]
        chosen = [each for each in alternatives if len(each[0]) == len(tokens)]
        assert chosen, (len(tokens), len(expected))
        expected, expected_logprobs, expected_weights = chosen[0]
    np.testing.assert_array_equal(tokens, expected)
    np.testing.assert_allclose(logprobs, expected_logprobs, rtol=2e-7, atol=1e-6)
    np.testing.assert_allclose(weights, expected_weights, rtol=1e-5, atol=1e-7)
    assert weights.astype(np.float64).sum() == pytest.approx(1.0, abs=1e-5)


options_strategy = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.1, 0.7, 1.0, 1.6]),
        "top_k": st.sampled_from([0, 1, 2, 7, 64, 500, 5000]),
        "top_p": st.sampled_from([1e-6, 0.3, 0.9, 0.999, 1.0]),
        "min_p": st.sampled_from([0.0, 0.02, 0.5, 0.99]),
    }
)
row_strategy = st.builds(
    random_row,
    seed=st.integers(0, 10**6),
    size=st.integers(1, 700) | st.sampled_from([63, 64, 65, 128, 4096, 9001]),
    scale=st.sampled_from([0.0, 0.3, 3.0, 40.0]),
    masked=st.sampled_from([0.0, 0.3, 0.99]),
    coarse=st.booleans(),
)


@settings(max_examples=400, deadline=None)
@given(row=row_strategy, options=options_strategy)
def test_row_agrees_with_the_reference(row, options):
    assert_row_agrees(sampling.logits_row(row, **options), row, **options)


@settings(max_examples=60, deadline=None)
@given(row=row_strategy, options=options_strategy)
def test_bfloat16_row_is_the_float_row_it_stands_for(row, options):
    bits = bfloat16_bits(row)
    widened = (bits.astype(np.uint32) << 16).view(np.float32)
    for ours, theirs in zip(
        sampling.logits_row_bfloat16(bits, **options),
        sampling.logits_row(widened, **options),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def each_level():
    """Calls a function at every instruction set that the host has."""
    before = _native.attention.simd_level()

    def at_all(call):
        found = {}
        for level in _native.attention.simd_levels():
            _native.attention.set_simd_level(level)
            found[level] = call()
        return found

    yield at_all
    _native.attention.set_simd_level(before)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(row=row_strategy, options=options_strategy)
def test_every_level_gives_the_same_bits(each_level, row, options):
    found = each_level(lambda: sampling.logits_row(row, **options))
    assert_row_agrees(found["scalar"], row, **options)
    for arrays in found.values():
        for ours, theirs in zip(arrays, found["scalar"], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_not_finite_entries_are_found_at_every_level(each_level):
    for place in (0, 17, 63, 64, 599):
        for bad in (float("nan"), INF):
            row = np.zeros(600, np.float32)
            row[place] = bad

            def refused(row=row):
                with pytest.raises(_native.NotFinite) as caught:
                    sampling.logits_row(row)
                return str(caught.value)

            assert all(f"entry {place} is" in text for text in each_level(refused).values())


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [1, 64, 700, 8192])
def test_many_rows_are_the_rows_one_by_one(threads, size):
    rows = np.stack([random_row(i, size, 3.0, 0.2, i % 2 == 0) for i in range(40)])
    before = _native.attention.num_threads()
    try:
        _native.attention.set_num_threads(threads)
        for options in ({}, {"temperature": 0.7, "top_k": 20}, {"top_p": 0.9, "min_p": 0.01}):
            tokens, logprobs, weights, begins = sampling.logits_rows(rows, **options)
            assert len(begins) == 41
            for i, row in enumerate(rows):
                for ours, theirs in zip(
                    (tokens, logprobs, weights), sampling.logits_row(row, **options), strict=True
                ):
                    np.testing.assert_array_equal(ours[begins[i] : begins[i + 1]], theirs)
    finally:
        _native.attention.set_num_threads(before)


def test_bad_batches_of_rows():
    rows = np.zeros((5, 70), np.float32)
    assert sampling.logits_rows(rows[:0])[3].tolist() == [0]
    rows[3, 5] = float("nan")
    with pytest.raises(_native.NotFinite, match="row 3: logits row: entry 5 is NaN"):
        sampling.logits_rows(rows)
    with pytest.raises(ValueError, match="two dimensions"):
        sampling.logits_rows(rows[0])
    with pytest.raises(ValueError, match="top_p"):
        sampling.logits_rows(rows, top_p=2.0)
    with pytest.raises(TypeError):
        sampling.logits_rows(rows.astype(np.float64))


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("top_k", [0, 64, 3000])
@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_large_vocabulary(scale, top_k, top_p):
    row = random_row(7, 151_936, scale, 0.0, coarse=False)
    options = {"top_k": top_k, "top_p": top_p, "temperature": 0.8}
    assert_row_agrees(sampling.logits_row(row, **options), row, **options)


@pytest.mark.parametrize("depth", [0.3, 5.0, 9.7, 11.5, 12.3, 14.0])
def test_log_sum_exp_of_equal_tails_is_accurate(depth):
    # All rounding errors of the tail have one sign here: the worst case for the sum.
    row = np.full(151_936, -depth, np.float32)
    row[1234] = 0
    _, logprobs, _ = sampling.logits_row(row, top_k=1)
    exact = -np.log1p((len(row) - 1) * np.exp(np.float64(row[0])))
    assert logprobs[0] == pytest.approx(exact, abs=1e-6)


def test_ties_go_to_the_lower_token():
    row = np.array([1, 3, 3, 2, 3, 2, -INF], np.float32)
    assert sampling.logits_row(row)[0].tolist() == [1, 2, 4, 3, 5, 0]
    assert sampling.logits_row(row, top_k=2)[0].tolist() == [1, 2]
    assert sampling.logits_row(row, temperature=0)[0].tolist() == [1]
    zeros = np.array([-0.0, 0.0, -0.0], np.float32)
    assert sampling.logits_row(zeros)[0].tolist() == [0, 1, 2]
    flat = np.zeros(100_000, np.float32)
    assert sampling.logits_row(flat, top_k=64)[0].tolist() == list(range(64))


def test_sorted_rows_keep_their_ends():
    row = np.arange(5000, dtype=np.float32) / 100
    assert sampling.logits_row(row, top_k=3)[0].tolist() == [4999, 4998, 4997]
    assert sampling.logits_row(row[::-1], top_k=3)[0].tolist() == [0, 1, 2]


def test_masked_tokens_are_never_kept():
    row = np.full(600, -INF, np.float32)
    row[[5, 70, 599]] = [0, 1, -3e38]
    tokens, logprobs, weights = sampling.logits_row(row, top_k=64)
    assert tokens.tolist() == [70, 5, 599]
    assert np.isfinite(logprobs).all()
    assert weights[2] == 0


def test_zero_probability_is_a_number():
    row = np.array([3.4e38, -3.4e38, 0], np.float32)
    for temperature in (1e-3, 1.0, 3e38):
        tokens, logprobs, weights = sampling.logits_row(row, temperature=temperature, top_p=1.0)
        assert tokens.tolist() == [0, 2, 1]
        assert np.isfinite(logprobs).all()
        assert np.isfinite(weights).all()
        assert weights.sum() == pytest.approx(1)
    _, _, weights = sampling.logits_row(row)
    assert weights.tolist() == [1, 0, 0]
    assert all(sampling.pick(weights, u) == 0 for u in (0.0, 0.5, np.nextafter(1, 0)))


def test_smallest_temperatures():
    row = np.array([1, 2, 2, 0], np.float32)
    tiny = float(np.finfo(np.float32).smallest_subnormal)
    for top_p in (0.5, 0.9, 1.0):
        tokens, _, weights = sampling.logits_row(row, temperature=tiny, top_p=top_p)
        assert tokens[0] == 1
        assert weights[0] == pytest.approx(1 if top_p == 0.5 else 0.5)


def test_greedy_ignores_truncation_and_keeps_the_model_logprob():
    row = random_row(3, 600, 3.0, 0.1, coarse=False)
    tokens, logprobs, weights = sampling.logits_row(row, temperature=0, top_k=9, top_p=0.5)
    everything = sampling.logits_row(row)
    assert tokens.tolist() == [int(np.argmax(row))]
    assert logprobs[0] == everything[1][0]
    assert weights.tolist() == [1.0]


@pytest.mark.parametrize(("top_p", "kept"), [(1e-6, 1), (0.1, 1), (0.3, 3), (0.31, 4), (1, 10)])
def test_top_p_over_equal_tokens(top_p, kept):
    tokens, _, weights = sampling.logits_row(np.zeros(10, np.float32), top_p=top_p)
    assert tokens.tolist() == list(range(kept))
    np.testing.assert_allclose(weights, 1 / kept, rtol=1e-6)


def test_top_p_is_counted_after_top_k():
    row = np.log(np.array([0.4, 0.3, 0.2, 0.1], np.float32))
    assert len(sampling.logits_row(row, top_p=0.5)[0]) == 2
    assert len(sampling.logits_row(row, top_p=0.5, top_k=2)[0]) == 1


@pytest.mark.parametrize("size", [1, 63, 64, 65, 600])
@pytest.mark.parametrize("bad", [float("nan"), INF])
@pytest.mark.parametrize("fill", [0.0, -INF, -3e38])
def test_not_finite_entries_are_named(size, bad, fill):
    for place in {0, size // 2, size - 1}:
        row = np.full(size, fill, np.float32)
        row[place] = bad
        for call, argument in (
            (sampling.logits_row, row),
            (sampling.logits_row_bfloat16, bfloat16_bits(row)),
        ):
            with pytest.raises(_native.NotFinite, match=f"entry {place} is"):
                call(argument, top_k=5)


def test_bad_arguments():
    row = np.zeros(8, np.float32)
    with pytest.raises(_native.NotFinite, match="-inf"):
        sampling.logits_row(np.full(100, -INF, np.float32))
    for bad in (
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": INF},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"min_p": 1.0},
        {"min_p": -0.1},
    ):
        with pytest.raises(ValueError, match=next(iter(bad))):
            sampling.logits_row(row, **bad)
    with pytest.raises(ValueError, match="vocabulary"):
        sampling.logits_row(np.zeros(0, np.float32))
    with pytest.raises(ValueError, match="dimension"):
        sampling.logits_row(np.zeros((2, 3), np.float32))
    with pytest.raises(TypeError, match="float32"):
        sampling.logits_row(np.zeros(8))
    with pytest.raises(TypeError, match="uint16"):
        sampling.logits_row_bfloat16(row)


def test_strided_rows_and_threads():
    table = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    results: list = [None] * 8

    def work(column: int) -> None:
        for _ in range(200):
            results[column] = sampling.logits_row(table[:, column], top_k=20)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for column, result in enumerate(results):
        assert_row_agrees(result, table[:, column], top_k=20)


# Random123 1.14, tests/kat_vectors: philox4x32 10.
KNOWN_ANSWERS = [
    ((0, 0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((2**64 - 1, 2**64 - 1, 2**64 - 1), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x299F31D0A4093822, 0x85A308D3243F6A88, 0x0370734413198A2E),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("arguments", "words"), KNOWN_ANSWERS)
def test_philox_known_answers(arguments, words):
    assert reference.philox(*arguments) == tuple(int(word, 16) for word in words.split())
    assert sampling.philox_uniform(*arguments) == reference.uniform(*arguments)


@settings(max_examples=50, deadline=None)
@given(*[st.integers(0, 2**64 - 1)] * 3)
def test_philox_uniform_agrees(key, low, high):
    number = sampling.philox_uniform(key, low, high)
    assert number == reference.uniform(key, low, high)
    assert 0 <= number < 1


@settings(max_examples=80, deadline=None)
@given(
    weights=st.lists(st.sampled_from([0.0, 1e-30, 0.1, 0.5, 1.0, 7.0]), max_size=40),
    k=st.integers(0, 50),
    key=st.integers(0, 2**64 - 1),
    counter=st.integers(0, 2**64 - 1),
)
def test_gumbel_top_k_agrees(weights, k, key, counter):
    indices, scores = sampling.gumbel_top_k(weights, k, key, counter)
    expected, expected_scores = reference.gumbel_top_k(np.array(weights), k, key, counter)
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-12, atol=1e-12)
    assert len(indices) == min(k, sum(weight > 0 for weight in weights))


def test_gumbel_top_k_frequencies():
    weights, k, draws = np.array([0.4, 0.3, 0.15, 0.1, 0.05]), 2, 20_000
    table = reference.sequence_probabilities(weights, k)
    assert sum(table.values()) == pytest.approx(1)
    counts = dict.fromkeys(table, 0)
    for counter in range(draws):
        indices, _ = sampling.gumbel_top_k(weights, k, 2024, counter)
        counts[tuple(indices.tolist())] += 1
    statistic = sum((counts[s] - draws * p) ** 2 / (draws * p) for s, p in table.items())
    assert statistic < 43.8  # chi-square, 19 degrees of freedom, 0.1 % level
    for index in range(len(weights)):
        share = sum(count for sequence, count in counts.items() if index in sequence) / draws
        exact = sum(p for sequence, p in table.items() if index in sequence)
        assert share == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / draws))


def test_gumbel_noise_is_not_the_callers_uniforms():
    noise = sampling.gumbel_top_k([1.0], 1, 5, 6)[1][0]
    assert noise != -np.log(-np.log(sampling.philox_uniform(5, 6, 0)))


def test_gumbel_top_k_errors():
    with pytest.raises(ValueError, match="negative"):
        sampling.gumbel_top_k([0.5, -0.5], 1, 0, 0)
    with pytest.raises(ValueError, match="k must"):
        sampling.gumbel_top_k([0.5], -1, 0, 0)
    for bad in (float("nan"), INF):
        with pytest.raises(_native.NotFinite, match="weight 1"):
            sampling.gumbel_top_k([0.5, bad], 1, 0, 0)


@settings(max_examples=200, deadline=None)
@given(
    weights=st.lists(st.sampled_from([0.0, 1e-300, 0.25, 1.0, 3.0]), min_size=1, max_size=20),
    number=st.floats(0, 1, exclude_max=True),
)
def test_pick_agrees_and_avoids_zero_weights(weights, number):
    if not any(weights):
        with pytest.raises(ValueError, match="positive"):
            sampling.pick(weights, number)
        return
    index = sampling.pick(weights, number)
    assert weights[index] > 0
    assert index == reference.pick(np.array(weights), number)


def test_pick_edges():
    assert sampling.pick([0.0, 1.0, 0.0, 1.0, 0.0], 0.0) == 1
    assert sampling.pick([0.0, 1.0, 0.0, 1.0, 0.0], 0.5) == 3
    assert sampling.pick([0.0, 1.0, 0.0, 1.0, 0.0], np.nextafter(1, 0)) == 3
    for number in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="uniform"):
            sampling.pick([1.0], number)
    for bad in ([1.0, float("nan")], [1e308] * 4):
        with pytest.raises(_native.NotFinite, match=r"weight"):
            sampling.pick(bad, 0.5)


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.integers(-8, 0), st.integers(-4, 4)), min_size=1),
    weight=st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
)
def test_blend_agrees(rows, weight):
    tokens, logprobs, rewards = (np.array(column) for column in zip(*rows, strict=True))
    index = sampling.blend(tokens, logprobs.astype(np.float32), rewards, weight)
    assert index == reference.blend(tokens, logprobs, rewards, weight)


def test_blend_edges():
    assert sampling.blend([9, 4, 6], np.float32([-1, -1, -2]), [0, 0, 1], 1.0) == 1
    assert sampling.blend([1, 2], np.float32([-INF, -90]), [1e308, 0], 1e10) == 1
    for bad in (float("nan"), INF):
        with pytest.raises(_native.NotFinite, match="reward 1"):
            sampling.blend([1, 2], np.float32([0, 0]), [0, bad], 1.0)
    with pytest.raises(_native.NotFinite, match="logprob 0"):
        sampling.blend([1], np.float32([np.nan]), [0], 1.0)
    with pytest.raises(ValueError, match="at least one"):
        sampling.blend([], np.float32([]), [], 1.0)
    with pytest.raises(ValueError, match="rewards"):
        sampling.blend([1, 2], np.float32([0, 0]), [0], 1.0)
    with pytest.raises(ValueError, match="weight"):
        sampling.blend([1], np.float32([0]), [0], INF)
