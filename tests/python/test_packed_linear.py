"""Packed layers against plain ones: the same numbers, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
import torch

from reward_bridge.causal import CausalRewardModel
from search import _native
from search.backends import packed_linear
from search.backends.packed_linear import SMALLEST, all_native, pack_linear_layers
from search.backends.paged_runner import ROW_MULTIPLE
from search.backends.transformers_model import TransformersLanguageModel
from search.errors import ModelRefused

ONEDNN_ROWS = (16, 32, 48, 64, 80, 256, 1024)
LEVELS = _native.attention.simd_levels()
needs_pairs = pytest.mark.skipif(
    "avx512bf16" not in LEVELS, reason="this processor has no products of bfloat16 pairs"
)


@pytest.fixture
def without_pairs() -> Iterator[None]:
    """The best level at which oneDNN does the products."""
    before = _native.attention.simd_level()
    _native.attention.set_simd_level([name for name in LEVELS if name != "avx512bf16"][-1])
    yield
    _native.attention.set_simd_level(before)


def layer(inputs: int, outputs: int, bias: bool = True) -> torch.nn.Linear:
    torch.manual_seed(inputs * outputs)
    return torch.nn.Linear(inputs, outputs, bias).bfloat16().eval()


def assert_close(found: torch.Tensor, x: torch.Tensor, linear: torch.nn.Linear) -> None:
    """As near to exact sums as bfloat16 is."""
    exact = torch.nn.functional.linear(
        x.double(),
        linear.weight.double(),
        None if linear.bias is None else linear.bias.double(),
    )
    assert torch.all((found - exact).abs() <= exact.abs() * 2**-8 + 1e-5)


@needs_pairs
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("inputs", "outputs"),
    # Shares of inputs end at 1536; panels hold 64 outputs, vectors 16.
    [(2, 1), (64, 15), (256, 688), (688, 256), (130, 100), (1536, 65), (1538, 80), (4098, 33)],
)
def test_native_products(inputs: int, outputs: int, bias: bool) -> None:
    linear = layer(inputs, outputs, bias)
    packed = torch.nn.Sequential(layer(inputs, outputs, bias))
    assert pack_linear_layers(packed) == 1
    x = torch.randn(130, inputs).bfloat16()
    with torch.inference_mode():
        whole = packed(x)
        assert_close(whole, x, linear)
        for rows in (1, 2, 5, 6, 7, 13, 63, 64, 65, 130):
            assert torch.equal(packed(x[:rows]), whole[:rows])
            assert torch.equal(packed(x[None, -rows:]), whole[None, -rows:])
        assert packed(x[:0]).shape == (0, outputs)
        turned = torch.randn(inputs, 9).bfloat16().T
        assert torch.equal(packed(turned), packed(turned.contiguous()))


@needs_pairs
def test_native_results_do_not_depend_on_threads() -> None:
    packed = torch.nn.Sequential(layer(1600, 700))
    pack_linear_layers(packed)
    x = torch.randn(70, 1600).bfloat16()
    before = _native.attention.num_threads()
    results = []
    for threads in (1, 2, 5):
        _native.attention.set_num_threads(threads)
        results.append(packed(x))
    _native.attention.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@needs_pairs
@pytest.mark.parametrize(
    ("inputs", "dtype"), [(32, torch.float32), (64, torch.bfloat16), (16, torch.bfloat16)]
)
def test_other_inputs_are_refused_and_not_misread(inputs: int, dtype: torch.dtype) -> None:
    packed = torch.nn.Sequential(layer(32, 16))
    pack_linear_layers(packed)
    with pytest.raises(ModelRefused, match=f"32 bfloat16 inputs was given {inputs} of {dtype}"):
        packed(torch.ones(4, inputs, dtype=dtype))


@needs_pairs
@pytest.mark.parametrize("compiled", [False, True])
def test_models_run_on_packed_layers_without_padding(folders: Path, compiled: bool) -> None:
    source = str(tiny_models.made(folders, kind="llama"))
    policy = TransformersLanguageModel(source, "bfloat16", pool_tokens=1024, compiled=compiled)
    assert all_native(policy.runner.model)
    tree = policy.runner.spans.open_tree([3, 4, 5])
    batch = policy.runner.new_batch()
    assert batch.add(policy.runner.spans.root(tree))
    policy.runner.run(batch)
    assert batch.plan.n_rows == 4  # three tokens, and one so that rows are even
    exact = TransformersLanguageModel(source, "float32", pool_tokens=1024)
    assert not all_native(exact.runner.model)
    assert exact.runner.row_multiple == ROW_MULTIPLE


@needs_pairs
def test_reward_models_run_on_packed_layers(folders: Path) -> None:
    source = tiny_models.made(folders, head="TokenClassification", num_labels=2)
    tokenizer = tiny_models.tokenizer()
    reward = CausalRewardModel(str(source), tokenizer, dtype="bfloat16", pool_tokens=1024)
    assert all_native(reward.runner.model)


@needs_pairs
def test_weights_are_not_kept_twice() -> None:
    embedding = torch.nn.Embedding(8, 32).bfloat16()
    head = layer(32, 8, bias=False)
    head.weight = embedding.weight
    model = torch.nn.Sequential(embedding, head)
    with torch.inference_mode():
        before = model(torch.arange(8))
        assert pack_linear_layers(model) == 1
        assert pack_linear_layers(model) == 0
        assert (model(torch.arange(8)) - before).abs().max() < 0.1
    assert head.weight.is_meta
    assert head.weight.shape == (8, 32)
    assert not embedding.weight.is_meta


@needs_pairs
def test_native_refuses_what_it_cannot_do() -> None:
    packed = _native.linear.PackedLinear
    weight = torch.zeros(4, 6, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match="even number of inputs"):
        packed(weight.data_ptr(), 6, 0, 4, 5)
    with pytest.raises(ValueError, match="weight_stride"):
        packed(weight.data_ptr(), 5, 0, 4, 6)
    good = packed(weight.data_ptr(), 6, 0, 4, 6)
    assert (good.outputs, good.inputs) == (4, 6)
    with pytest.raises(ValueError, match="stride"):
        good.multiply(weight.data_ptr(), 6, 1, weight.data_ptr(), 3)
    with pytest.raises(ValueError, match="rows"):
        good.multiply(weight.data_ptr(), 6, -1, weight.data_ptr(), 4)


@needs_pairs
@pytest.mark.parametrize("rows", [0, 1, 6, 7, 20, 64, 65, 200])
def test_several_products_of_the_same_rows_in_one_call(rows: int) -> None:
    """The same bits as one after the other; three layers, of which two are cut alike."""
    model = torch.nn.Sequential(*(layer(1600, outputs) for outputs in (300, 64, 65)))
    assert pack_linear_layers(model) == 3
    keys = sorted(packed_linear._LAYERS)[-3:]
    x = torch.randn(1, rows, 1600, generator=torch.Generator().manual_seed(rows)).bfloat16()
    together = torch.ops.treeward.packed_linears(x, keys, [300, 64, 65])
    for product, found in zip(model, together, strict=True):
        assert torch.equal(product(x), found)


@needs_pairs
def test_several_products_need_layers_of_the_same_inputs() -> None:
    weight = torch.zeros(4, 6, dtype=torch.bfloat16)
    six = _native.linear.PackedLinear(weight.data_ptr(), 6, 0, 4, 6)
    four = _native.linear.PackedLinear(weight.data_ptr(), 6, 0, 4, 4)
    at = weight.data_ptr()
    with pytest.raises(ValueError, match="differ"):
        _native.linear.multiply_all([six, four], at, 6, 1, [at, at])
    with pytest.raises(ValueError, match="out_ptrs: must be as many as the 2 layers"):
        _native.linear.multiply_all([six, six], at, 6, 1, [at])
    _native.linear.multiply_all([], at, 6, 1, [])


@needs_pairs
@pytest.mark.usefixtures("without_pairs")
def test_a_lower_level_refuses() -> None:
    weight = torch.zeros(4, 6, dtype=torch.bfloat16)
    assert not _native.linear.available()
    good = _native.linear.PackedLinear(weight.data_ptr(), 6, 0, 4, 6)
    with pytest.raises(ValueError, match="instruction set"):
        good.multiply(weight.data_ptr(), 6, 1, weight.data_ptr(), 4)


@needs_pairs
def test_whether_all_products_are_native() -> None:
    def packed(*layers: torch.nn.Module) -> torch.nn.Module:
        model = torch.nn.Sequential(*layers).bfloat16()
        pack_linear_layers(model)
        return model

    assert all_native(packed(torch.nn.Embedding(9, 32), layer(32, 2), torch.nn.LayerNorm(32)))
    assert not all_native(packed(layer(33, 2)))
    assert not all_native(packed(layer(34, 2)))  # ours, with an odd end between two layers
    assert not all_native(packed(layer(32, 2), torch.nn.Conv1d(32, 32, 1)))
    assert not all_native(torch.nn.Sequential(layer(32, 2)))


@pytest.mark.usefixtures("without_pairs")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs"), [(256, 688), (688, 256), (256, 492), (896, 128)])
def test_onednn_equals_plain(inputs: int, outputs: int, bias: bool) -> None:
    plain = layer(inputs, outputs, bias)
    packed = torch.nn.Sequential(layer(inputs, outputs, bias))
    if pack_linear_layers(packed) == 0:
        pytest.skip("this torch has no oneDNN")
    assert not all_native(packed)
    x = torch.randn(max(ONEDNN_ROWS), inputs).bfloat16()
    with torch.inference_mode():
        whole = packed(x)
        assert torch.equal(whole, plain(x))
        for rows in ONEDNN_ROWS:
            assert torch.equal(packed(x[:rows]), whole[:rows])
            assert torch.equal(packed(x[None, :rows]), whole[None, :rows])


@pytest.mark.usefixtures("without_pairs")
def test_small_and_special_layers_are_left_alone() -> None:
    class Special(torch.nn.Linear):
        pass

    assert SMALLEST <= 256 * 256
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), Special(256, 256), torch.nn.ReLU())
    assert pack_linear_layers(model.bfloat16()) == 0
    assert pack_linear_layers(torch.nn.Sequential(torch.nn.Linear(256, 256))) == 0
