"""Native tree attention against the reference, for every instruction set of the host."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from reference_attention import (
    append_and_attend,
    attend,
    layer_of,
    make_plan,
    make_tree,
    random_tree,
    reference,
)

from search._native import attention

SHAPES = [(14, 2, 64), (16, 8, 128), (4, 4, 32), (6, 2, 48), (8, 2, 80), (3, 3, 1), (4, 1, 7)]


@pytest.fixture(params=["scalar", "avx2", "avx512", "avx512bf16"])
def level(request):
    if request.param not in attention.simd_levels():
        pytest.skip(f"this host or this build has no {request.param}")
    before = attention.simd_level()
    attention.set_simd_level(request.param)
    yield request.param
    attention.set_simd_level(before)


@pytest.fixture(scope="module", autouse=True)
def quiet_torch():
    """The references are many small products: torch's threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def threads():
    before = attention.num_threads()
    yield attention.set_num_threads
    attention.set_num_threads(before)


def make_tensors(tree, shape, dtype=torch.float32, seed=0):
    q_heads, kv_heads, dim = shape
    generator = torch.Generator().manual_seed(seed)
    size = (tree.pages, kv_heads, tree.page_size, dim)
    keys = torch.randn(size, generator=generator).to(dtype)
    values = torch.randn(size, generator=generator).to(dtype)
    query = torch.randn((len(tree.rows()), q_heads, dim), generator=generator).to(dtype)
    return keys, values, query


def assert_near(out, expected, tolerance=1e-5):
    assert torch.isfinite(out).all()
    if expected.numel():
        error = (out.to(torch.float64) - expected).abs().max()
        assert error <= tolerance * max(1e-3, expected.abs().max()), error


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_float32_against_float64_reference(level, shape, seed):
    tree = random_tree(seed)
    keys, values, query = make_tensors(tree, shape, seed=seed)
    scale = shape[2] ** -0.5
    assert_near(
        attend(make_plan(tree, seed=seed), keys, values, query, scale),
        reference(tree, keys, values, query, scale),
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bfloat16_against_float32_of_its_inputs(level, shape):
    tree = random_tree(5)
    keys, values, query = make_tensors(tree, shape, torch.bfloat16)
    scale = shape[2] ** -0.5
    out = attend(make_plan(tree), keys, values, query, scale)
    assert out.dtype == torch.bfloat16
    expected = reference(tree, keys, values, query, scale, dtype=torch.float32)
    torch.testing.assert_close(out.float(), expected, atol=2e-2, rtol=2e-2)
    # Only the rounding of the result is lost: sums are kept in fp32.
    exact = reference(tree, keys, values, query, scale).to(torch.bfloat16).float()
    allowed = exact.abs() * 2**-7 + 1e-5
    if level == "avx512bf16":
        # Weights are rounded as well, each by 2^-9 of itself, and so is what they are divided by.
        allowed += reference(tree, keys, values.abs(), query, scale).float() * 2**-8
    assert ((out.float() - exact).abs() <= allowed).all()


@pytest.mark.parametrize("window", [1, 2, 16, 63, 64, 65, 200])
def test_window(level, window):
    tree = random_tree(7)
    keys, values, query = make_tensors(tree, (4, 2, 16))
    assert_near(
        attend(make_plan(tree), keys, values, query, 0.3, window=window),
        reference(tree, keys, values, query, 0.3, window=window),
    )


@pytest.mark.parametrize("softcap", [0.5, 5.0, 50.0])
def test_softcap(level, softcap):
    tree = random_tree(8)
    keys, values, query = make_tensors(tree, (4, 2, 24))
    for scale in (1e-3, 0.2, 30.0):
        assert_near(
            attend(make_plan(tree), keys, values, query, scale, softcap=softcap, window=70),
            reference(tree, keys, values, query, scale, softcap=softcap, window=70),
        )


def test_large_scores_neither_overflow_nor_vanish(level):
    tree = make_tree([(-1, 130, 3), (0, 5, 5)])
    keys, values, query = make_tensors(tree, (2, 1, 16))
    keys *= 1e6
    assert_near(
        attend(make_plan(tree), keys, values, query, 1.0),
        reference(tree, keys, values, query, 1.0),
    )
    keys.zero_()
    assert_near(
        attend(make_plan(tree), keys, values, query, 1.0),
        reference(tree, keys, values, query, 1.0),
    )


def test_exponentials_over_their_whole_range(level):
    """Two keys whose scores differ by x: the weight of the lower one is exp(-x) to 1e-6."""
    tree = make_tree([(-1, 2, 1)])
    first, second = tree.spans[0].slots
    keys, values, query = make_tensors(tree, (1, 1, 1))
    for x in np.linspace(0.0, 80.0, 500, dtype=np.float32):
        pages = {s: divmod(s, tree.page_size) for s in (first, second)}
        for slot, key, value in ((first, -x, 1.0), (second, 0.0, 0.0)):
            page, offset = pages[slot]
            keys[page, 0, offset, 0] = float(key)
            values[page, 0, offset, 0] = value
        query.fill_(1.0)
        out = attend(make_plan(tree), keys, values, query, 1.0).item()
        weight = math.exp(-float(x))
        assert out == pytest.approx(weight / (1 + weight), rel=1e-6)


def test_strides_of_every_tensor(level):
    """Query, new keys, new values and output as the transposed or sliced views of a model."""
    tree = random_tree(9, most_new=20)
    n, (q_heads, kv_heads, dim) = len(tree.rows()), (6, 2, 20)
    keys, values, query = make_tensors(tree, (q_heads, kv_heads, dim))
    new = torch.randn(n, kv_heads, 3, dim)
    plan = make_plan(tree)
    expected = append_and_attend(
        plan, keys, values, query, new[:, :, 0].contiguous(), new[:, :, 1].contiguous(), 0.2
    )
    contiguous = keys.clone(), values.clone()
    for tensor in (keys, values):
        tensor.normal_()
        tensor.copy_(contiguous[0] if tensor is keys else contiguous[1])
        for slot in plan.append_slots:
            page, offset = divmod(int(slot), tree.page_size)
            tensor[page, :, offset] = float("nan")
    transposed = query.transpose(0, 1).contiguous().transpose(0, 1)
    room = torch.full((q_heads, n, dim + 3), 7.0)
    out = append_and_attend(
        plan,
        keys,
        values,
        transposed,
        new[:, :, 0],
        new[:, :, 1],
        0.2,
        out=room[:, :, :dim].transpose(0, 1),
    )
    assert torch.equal(out, expected)
    assert torch.equal(keys, contiguous[0])
    assert torch.equal(values, contiguous[1])
    assert (room[:, :, dim:] == 7.0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_append_writes_its_slots_and_no_other(level, dtype):
    tree = random_tree(11, most_new=30)
    keys, values, query = make_tensors(tree, (2, 2, 5), dtype)
    k_new = torch.randn(len(query), 2, 5).to(dtype)
    v_new = torch.randn(len(query), 2, 5).to(dtype)
    expected = keys.clone(), values.clone()
    plan = make_plan(tree)
    for row, slot in enumerate(plan.append_slots):
        page, offset = divmod(int(slot), tree.page_size)
        expected[0][page, :, offset] = k_new[row]
        expected[1][page, :, offset] = v_new[row]
    attention.append(
        plan,
        layer_of(keys, values),
        k_new.data_ptr(),
        k_new.stride()[:2],
        v_new.data_ptr(),
        v_new.stride()[:2],
    )
    assert torch.equal(keys, expected[0])
    assert torch.equal(values, expected[1])


def test_padding_rows_get_zeros_and_touch_nothing(level):
    tree = random_tree(12)
    keys, values, query = make_tensors(tree, (4, 2, 16))
    before = keys.clone(), values.clone()
    n = len(query)
    padded = torch.cat([query, torch.full((3, 4, 16), float("nan"))])
    new = torch.full((n + 3, 2, 16), float("nan"))
    plan = make_plan(tree, n_padding=3)
    for row, slot in enumerate(plan.append_slots[:n]):
        page, offset = divmod(int(slot), tree.page_size)
        new[row] = keys[page, :, offset]
    out = append_and_attend(plan, keys, before[1].clone(), padded, new, new, 0.25)
    assert torch.equal(keys, before[0])
    assert (out[n:] == 0).all()
    out = attend(plan, keys, values, padded, 0.25)
    assert torch.equal(out[:n], attend(make_plan(tree), keys, values, query, 0.25))
    assert (out[n:] == 0).all()


def test_padding_rows_inside_an_item_are_ignored(level):
    """A planner may leave a padding row between the rows of an item."""
    tree = make_tree([(-1, 10, 0), (0, 1, 1), (0, 1, 1)])
    keys, values, query = make_tensors(tree, (2, 1, 8))
    slots = [*tree.spans[0].slots, *tree.spans[1].slots, *tree.spans[2].slots]
    plan = attention.Plan(
        query_position=[10, -1, 10],
        append_slots=[-1, -1, -1],
        items=[[0, 3, 0, 10, 0, 0], [0, 1, 10, 1, 10, 3], [2, 3, 11, 1, 10, 4]],
        slots=slots,
        reduce_begin=[0, 2, 3, 5],
        reduce_partials=[0, 3, 1, 2, 4],
        n_partials=5,
    )
    with_hole = torch.stack([query[0], torch.full_like(query[0], float("nan")), query[1]])
    out = attend(plan, keys, values, with_hole, 0.5)
    expected = attend(make_plan(tree), keys, values, query, 0.5)
    assert torch.equal(out[[0, 2]], expected)
    assert (out[1] == 0).all()


def test_rows_without_a_visible_key_get_zeros(level):
    """A window that excludes all of a row's chunks, and an item without tokens."""
    tree = make_tree([(-1, 70, 0)])
    keys, values, _ = make_tensors(tree, (1, 1, 8))
    plan = attention.Plan(
        query_position=[100, 69, 3],
        append_slots=[-1] * 3,
        items=[[0, 3, 0, 64, 0, 0], [0, 3, 64, 6, 64, 3], [0, 3, 70, 0, 70, 6]],
        slots=tree.spans[0].slots,
        reduce_begin=[0, 3, 6, 9],
        reduce_partials=[0, 3, 6, 1, 4, 7, 2, 5, 8],
        n_partials=9,
    )
    query = torch.randn(3, 1, 8)
    out = attend(plan, keys, values, query, 1.0, window=10)
    assert (out[0] == 0).all()
    assert (out[1:] != 0).any(-1).all()
    flat = keys.reshape(-1, 8), values.reshape(-1, 8)
    for row, (begin, end) in ((1, (60, 70)), (2, (0, 4))):
        path = torch.tensor(tree.spans[0].slots[begin:end])
        weights = torch.softmax(flat[0][path] @ query[row, 0], 0)
        assert_near(out[row, 0], (weights @ flat[1][path]).double())


def test_nan_of_one_branch_stays_there(level):
    tree = make_tree([(-1, 40, 0), (0, 5, 1), (0, 5, 1)])
    keys, values, query = make_tensors(tree, (2, 1, 16))
    clean = attend(make_plan(tree), keys, values, query, 0.25)
    page, offset = divmod(tree.spans[1].slots[2], tree.page_size)
    for tensor in (keys, values):
        saved = tensor[page, 0, offset].clone()
        tensor[page, 0, offset] = float("nan")
        out = attend(make_plan(tree), keys, values, query, 0.25)
        assert out[0].isnan().all()
        assert torch.equal(out[1], clean[1])
        tensor[page, 0, offset] = saved
    query[0] = float("nan")
    out = attend(make_plan(tree), keys, values, query, 0.25)
    assert out[0].isnan().all()
    assert torch.equal(out[1], clean[1])


def test_long_chain(level):
    tree = make_tree([(-1, 10_000, 3)])
    keys, values, query = make_tensors(tree, (4, 2, 32))
    assert_near(
        attend(make_plan(tree), keys, values, query, 0.2),
        reference(tree, keys, values, query, 0.2),
    )


def test_deep_chain_of_single_tokens(level):
    """A path of 10^4 spans merges as many states."""
    n = 10_000
    tree = make_tree([(-1, 1, 0)])
    keys = torch.randn(n // 16, 1, 16, 4)
    values = torch.randn_like(keys)
    query = torch.randn(1, 1, 4)
    plan = attention.Plan(
        query_position=[n - 1],
        append_slots=[-1],
        items=[[0, 1, i, 1, i, i] for i in range(n)],
        slots=np.arange(n, dtype=np.int32),
        reduce_begin=[0, n],
        reduce_partials=np.arange(n, dtype=np.int32),
        n_partials=n,
    )
    del tree
    out = attend(plan, keys, values, query, 1.0)
    k, v = keys.reshape(n, 4).double(), values.reshape(n, 4).double()
    expected = torch.softmax(k @ query[0, 0].double(), 0) @ v
    assert_near(out[0, 0], expected)


def test_long_prefill_needs_several_passes(level, threads):
    """States of all rows at once would exceed the scratch of a pass."""
    tree = make_tree([(-1, 1500, 1500), (0, 2, 2)])
    keys, values, query = make_tensors(tree, (8, 2, 64))
    plan = make_plan(tree)
    outs = []
    for n in (1, 3):
        threads(n)
        outs.append(attend(plan, keys, values, query, 0.125))
    assert torch.equal(outs[0], outs[1])
    q, k, v = (t.double() for t in (query, keys, values))
    path = torch.tensor(tree.path_slots(1, 1))
    k, v = (t.transpose(1, 2).reshape(-1, 2, 64)[path].transpose(0, 1) for t in (k, v))
    expected = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(0, 1)[None], k[None], v[None], is_causal=True, scale=0.125, enable_gqa=True
    )[0].transpose(0, 1)
    assert_near(outs[0], expected)


def test_empty_batch(level):
    plan = attention.Plan(
        query_position=[],
        append_slots=[],
        items=np.zeros((0, 6), np.int32),
        slots=[],
        reduce_begin=[0],
        reduce_partials=[],
        n_partials=0,
    )
    layer = attention.KvLayer(0, 0, 0, 2, 16, 8, "float32")
    attention.append_and_attend(plan, layer, 0, (16, 8), 0, (16, 8), 0, (16, 8), 0, (32, 8), 4, 1.0)
