"""What the attention bindings refuse, and how they say so."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from reference_attention import append_and_attend, attend, layer_of, make_plan, make_tree

from search._native import attention

TREE = make_tree([(-1, 70, 2), (0, 3, 3)])


def tensors():
    keys = torch.zeros(TREE.pages, 2, TREE.page_size, 8)
    return keys, torch.zeros_like(keys), torch.zeros(len(TREE.rows()), 4, 8)


def fields(**changes):
    plan = make_plan(TREE)
    values = {
        name: getattr(plan, name).copy()
        for name in (
            "query_position",
            "append_slots",
            "items",
            "slots",
            "reduce_begin",
            "reduce_partials",
        )
    }
    return {**values, "n_partials": plan.n_partials, **changes}


def changed(name, index, value):
    values = fields()
    values[name][index] = value
    return attention.Plan(**values)


@pytest.mark.parametrize(
    ("name", "index", "value", "message"),
    [
        ("slots", 0, -1, r"plan\.slots\[0\]"),
        ("slots", 3, 10**6, r"plan\.slots\[3\]"),
        ("items", (0, 0), -1, r"plan\.items\[0\]: rows"),
        ("items", (0, 1), 99, r"plan\.items\[0\]: rows"),
        ("items", (0, 2), 10**6, r"plan\.items\[0\]: slots"),
        ("items", (0, 2), -1, r"plan\.items\[0\]: slots"),
        ("items", (1, 3), 65, r"plan\.items\[1\]: n_tokens"),
        ("items", (1, 3), -1, r"plan\.items\[1\]: n_tokens"),
        ("items", (1, 4), -1, r"plan\.items\[1\]: position"),
        ("items", (1, 5), 10**6, r"plan\.items\[1\]: partials"),
        ("items", (1, 5), 0, "writes a partial of another item"),
        ("reduce_begin", 0, 1, r"plan\.reduce_begin"),
        ("reduce_begin", 1, -5, r"plan\.reduce_begin"),
        ("reduce_begin", 1, 10**6, r"plan\.reduce_begin"),
        ("reduce_begin", -1, 10**6, r"plan\.reduce_begin"),
        ("reduce_partials", 0, 10**6, r"plan\.reduce_partials\[0\]"),
        ("reduce_partials", 0, 4, r"plan\.reduce_partials\[0\]"),
        ("reduce_partials", slice(0, 2), 0, r"plan\.reduce_partials\[1\].*twice"),
    ],
)
def test_malformed_plan_is_named_and_writes_nothing(name, index, value, message):
    keys, values, query = tensors()
    out = torch.full_like(query, 5.0)
    with pytest.raises(ValueError, match=message):
        attend(changed(name, index, value), keys, values, query, 1.0, out=out)
    assert (out == 5.0).all()


@pytest.mark.parametrize("slot", [-2, 10**6])
def test_append_outside_the_pool(slot):
    keys, values, _ = tensors()
    new = torch.ones(len(TREE.rows()), 2, 8)
    with pytest.raises(ValueError, match=r"plan\.append_slots\[2\]"):
        attention.append(
            changed("append_slots", 2, slot),
            layer_of(keys, values),
            new.data_ptr(),
            (16, 8),
            new.data_ptr(),
            (16, 8),
        )
    assert (keys == 0).all()


def test_wrong_sizes():
    keys, values, query = tensors()
    for name in ("query_position", "append_slots", "reduce_begin"):
        plan = attention.Plan(**fields(**{name: fields()[name][:-1]}))
        with pytest.raises(ValueError, match=r"n_rows"):
            append_and_attend(plan, keys, values, query, query, query, 1.0)
    with pytest.raises(ValueError, match="items"):
        attention.Plan(**fields(items=np.zeros((3, 5), np.int32)))
    with pytest.raises(ValueError, match="slots"):
        attention.Plan(**fields(slots=np.zeros((3, 5), np.int32)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"q_heads": 3}, "q_heads"),
        ({"q_heads": 0}, "q_heads"),
        ({"scale": float("nan")}, "scale"),
        ({"softcap": -1.0}, "softcap"),
        ({"softcap": float("inf")}, "softcap"),
        ({"q_ptr": 0}, "query: is null"),
        ({"q_ptr": 4097}, "query: must be aligned"),
        ({"out_ptr": 0}, "out: is null"),
        ({"out_strides": (8, 8)}, "out: strides"),
        ({"out_strides": (0, 8)}, "out: strides"),
        ({"out_strides": (32, 0)}, "out: strides"),
    ],
)
def test_wrong_arguments_of_attend(changes, message):
    keys, values, query = tensors()
    out = torch.empty_like(query)
    arguments = {
        "q_ptr": query.data_ptr(),
        "q_strides": (32, 8),
        "out_ptr": out.data_ptr(),
        "out_strides": (32, 8),
        "q_heads": 4,
        "scale": 1.0,
        **changes,
    }
    with pytest.raises(ValueError, match=message):
        attention.attend(make_plan(TREE), layer_of(keys, values), **arguments)


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (0, 0, "keys: is null"),
        (1, 0, "values: is null"),
        (0, 4098, "keys: must be aligned"),
        (2, -1, "pages"),
        (3, 0, "kv_heads"),
        (4, 0, "page_size"),
        (5, 0, "head_dim"),
        (2, 2**30, "pages"),
    ],
)
def test_wrong_layer(index, value, message):
    keys, values, _ = tensors()
    arguments = [keys.data_ptr(), values.data_ptr(), *keys.shape, "float32"]
    arguments[index] = value
    with pytest.raises(ValueError, match=message):
        attention.append(
            make_plan(TREE), attention.KvLayer(*arguments), 4096, (16, 8), 4096, (16, 8)
        )


def test_dtype_names():
    with pytest.raises(ValueError, match="float16"):
        attention.KvLayer(0, 0, 0, 1, 16, 8, "float16")
    layer = attention.KvLayer(0, 0, 3, 1, 16, 8, "bfloat16")
    shape = layer.pages, layer.kv_heads, layer.page_size, layer.head_dim
    assert (shape, layer.dtype) == ((3, 1, 16, 8), "bfloat16")


def test_plan_arrays_are_read_only_copies():
    plan = make_plan(TREE)
    assert plan.items.shape[1] == 6
    assert plan.n_rows == len(plan.query_position) == 5
    with pytest.raises(ValueError, match="read-only"):
        plan.slots[0] = 1
    slots = plan.slots
    del plan
    assert sorted(slots) == sorted(s for span in TREE.spans for s in span.slots)


@pytest.mark.parametrize("rows", [[-1], [5], [1, 0], [0, 0], [1 << 30]])
def test_rows_that_a_plan_does_not_have(rows):
    plan = attention.Plan(**fields())
    assert plan.n_rows == 5
    with pytest.raises(ValueError, match="rows: must be rows of the plan, ascending"):
        plan.of_rows(np.array(rows, dtype=np.int32))


def test_some_rows_of_a_malformed_plan():
    with pytest.raises(ValueError, match=r"plan\.items\[0\]: rows"):
        changed("items", (0, 1), 99).of_rows(np.array([0], dtype=np.int32))


def test_levels_and_threads():
    levels = attention.simd_levels()
    assert levels[0] == "scalar"
    assert attention.simd_level() in levels
    for wrong in ("sse9", "", "AVX2"):
        with pytest.raises(ValueError, match="level"):
            attention.set_simd_level(wrong)
    for missing in {"avx2", "avx512", "avx512bf16"} - set(levels):
        with pytest.raises(ValueError, match=missing):
            attention.set_simd_level(missing)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="n_threads"):
            attention.set_num_threads(wrong)


@pytest.mark.parametrize(("value", "expected"), [("scalar", "scalar"), ("mmx", "TREEWARD_SIMD")])
def test_environment_override(value, expected):
    code = "from search._native import attention as a\ntry: print(a.simd_level())\n"
    code += "except ValueError as e: print(e)"
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TREEWARD_SIMD": value},
        check=True,
        capture_output=True,
        text=True,
    )
    assert expected in out.stdout


def test_native_loops_use_as_many_threads_as_torch() -> None:
    code = (
        "import torch; torch.set_num_threads(3); import search.backends.attention; "
        "from search._native import attention; print(attention.num_threads())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "3\n"
