"""Packed layers against plain ones: the same numbers, whatever else is in the batch."""

from __future__ import annotations

import pytest
import torch

from search.backends.packed_linear import SMALLEST, pack_linear_layers

ROWS = (16, 32, 48, 64, 80, 256, 1024)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("inputs", "outputs"), [(256, 688), (688, 256), (256, 492), (896, 128)])
def test_packed_equals_plain(inputs: int, outputs: int, bias: bool) -> None:
    torch.manual_seed(0)
    plain = torch.nn.Linear(inputs, outputs, bias).bfloat16().eval()
    packed = torch.nn.Sequential(torch.nn.Linear(inputs, outputs, bias)).bfloat16().eval()
    packed[0].load_state_dict(plain.state_dict())
    if pack_linear_layers(packed) == 0:
        pytest.skip("this torch has no oneDNN")
    x = torch.randn(max(ROWS), inputs).bfloat16()
    with torch.inference_mode():
        whole = packed(x)
        assert torch.equal(whole, plain(x))
        for rows in ROWS:
            assert torch.equal(packed(x[:rows]), whole[:rows])
            assert torch.equal(packed(x[None, :rows]), whole[None, :rows])


def test_small_and_special_layers_are_left_alone() -> None:
    class Special(torch.nn.Linear):
        pass

    assert SMALLEST <= 256 * 256
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), Special(256, 256), torch.nn.ReLU())
    assert pack_linear_layers(model.bfloat16()) == 0
    assert pack_linear_layers(torch.nn.Sequential(torch.nn.Linear(256, 256))) == 0
