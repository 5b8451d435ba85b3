"""The mask of attention is made by the program of the layers that it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fxquant
from fxquant import QConfigMapping, convert_fx, prepare_fx
from fxquant.errors import InputError
from fxquant.qconfig import per_channel_dynamic_qconfig
from fxquant.runtime.region import Int8Region

MakeMask = Callable[[Tensor, Tensor], Tensor]


def as_transformers_does(kept: Tensor, x: Tensor) -> Tensor:
    """Positions of a cache, which there is none of, and a mask that is True everywhere, and of queries."""
    kept = kept.to(device=x.device, dtype=torch.bool)
    batch, queries, keys = torch.arange(x.shape[0]), torch.arange(x.shape[1]) + 0, torch.arange(kept.shape[-1]) + 0
    mask = kept[batch[:, None, None, None], keys[None, None, None, :]]
    rows = queries[None, None, :, None]
    return (rows.new_ones((), dtype=torch.bool) & (rows >= 0) & mask).expand(x.shape[0], -1, x.shape[1], kept.shape[-1])


def causal(kept: Tensor, x: Tensor) -> Tensor:
    places = torch.arange(x.shape[1])
    return kept.to(torch.bool)[:, None, None, :] & (places[None, None, :, None] >= places[None, None, None, :])


def of_positions(kept: Tensor, x: Tensor) -> Tensor:
    """True differs from example to example."""
    examples, places = torch.arange(x.shape[0])[:, None, None, None], torch.arange(x.shape[1])[None, None, None, :]
    return kept.to(torch.bool)[:, None, None, :] & ((examples < 1) | (places < 3))


class Attends(nn.Module):
    def __init__(self, mask: MakeMask) -> None:
        super().__init__()
        self.mask, self.qkv, self.out = mask, nn.Linear(24, 72), nn.Linear(24, 24)

    def forward(self, x: Tensor, kept: Tensor) -> Tensor:
        q, k, v = (each.unflatten(2, (4, 6)).transpose(1, 2) for each in self.qkv(x).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, self.mask(kept, x))
        z: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return z


def inputs(batch: int = 2, length: int = 9, dtype: torch.dtype = torch.int64) -> tuple[Tensor, Tensor]:
    kept = (torch.rand(batch, length) < 0.7).to(dtype)
    kept[:, 0] = 1
    return torch.randn(batch, length, 24), kept * (2 if dtype is torch.int64 else 1)


def converted(mask: MakeMask, x: tuple[Tensor, Tensor]) -> tuple[nn.Module, Any]:
    model = Attends(mask).eval()
    mapping = QConfigMapping().set_global(per_channel_dynamic_qconfig)
    return model, convert_fx(prepare_fx(model, mapping, x))


@pytest.mark.parametrize("mask", [as_transformers_does, causal])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool, torch.float32])
def test_the_whole_model_is_one_program(mask: MakeMask, dtype: torch.dtype) -> None:
    model, quantized = converted(mask, inputs(dtype=dtype))
    assert [node.op for node in quantized.graph.nodes] == ["placeholder", "placeholder", "call_module", "output"]
    for shape in ((2, 9), (1, 5), (3, 40), (1, 1)):
        x = inputs(*shape, dtype=dtype)
        torch.testing.assert_close(quantized(*x), model(*x), rtol=0, atol=0.1)
        assert torch.equal(quantized(*x), quantized.int8.node_by_node(*x))
        assert torch.equal(quantized(x[0], -x[1].float() * 0.5), quantized(*x))


def test_what_is_true_everywhere_takes_no_step() -> None:
    _, quantized = converted(as_transformers_does, inputs())
    kernels = [call.kernel for call in quantized.int8.plan(*inputs()).calls]
    assert "mask_nonzero" in kernels
    assert "select" not in kernels
    _, quantized = converted(causal, inputs())
    assert [call.kernel for call in quantized.int8.plan(*inputs()).calls].count("select") == 1


def test_half_a_float_makes_no_mask() -> None:
    _, quantized = converted(causal, inputs())
    x, kept = inputs()
    with pytest.raises(InputError, match="a mask is made of"):
        quantized(x, kept.half())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_mask_of_16_bits_is_widened_for_the_program(dtype: torch.dtype) -> None:
    x, kept = inputs()
    mask = torch.zeros(2, 1, 1, 9).masked_fill(~kept.bool()[:, None, None], -1e4)
    _, quantized = converted(lambda mask, x: mask.expand(-1, 4, 9, -1), (x, mask))
    y = quantized(x, mask.to(dtype))
    assert quantized.int8.programs.plans
    assert torch.equal(y, quantized(x, mask.to(dtype).float()))
    assert torch.equal(y, quantized.int8.node_by_node(x, mask.to(dtype)))
    assert quantized.int8.with_wide_masks((x.to(dtype), mask)) is None
    assert quantized.int8.with_wide_masks((x.to(dtype), mask.to(dtype))) is None


def test_a_mask_that_is_too_small_is_refused() -> None:
    model, quantized = converted(as_transformers_does, inputs())
    x, kept = inputs(4)
    with pytest.raises(IndexError):
        model(x, kept[:1])
    with pytest.raises(InputError, match="exceeds dimension size"):
        quantized(x, kept[:1])


@pytest.mark.parametrize("mask", [as_transformers_does, causal, of_positions])
def test_large_batches_give_what_their_examples_do(mask: MakeMask, monkeypatch: pytest.MonkeyPatch) -> None:
    _, quantized = converted(mask, inputs())
    x = inputs(12, 30)
    whole = quantized.int8.node_by_node(*x)
    monkeypatch.setattr("fxquant.runtime.batches.CACHES", 1 / 32)
    assert torch.equal(quantized(*x), whole)
    parts = quantized.int8.plan(*x).parts
    assert (parts > 1) is (mask is not of_positions)


def test_saved_and_loaded(tmp_path: Any) -> None:
    x = inputs()
    _, quantized = converted(as_transformers_does, x)
    fxquant.save(quantized, tmp_path / "model")
    assert torch.equal(fxquant.load(tmp_path / "model")(*x), quantized(*x))


def test_a_mask_that_is_wanted_elsewhere_stays_outside() -> None:
    class AlsoGives(Attends):
        def forward(self, x: Tensor, kept: Tensor) -> Any:
            made = torch.arange(x.shape[1])
            q = self.qkv(x)[..., :24]
            return self.out(q), made >= 2, x.shape[1] * 2

    x = inputs()
    mapping = QConfigMapping().set_global(per_channel_dynamic_qconfig)
    model = AlsoGives(causal).eval()
    quantized = convert_fx(prepare_fx(model, mapping, x))
    regions = [module for module in quantized.modules() if isinstance(module, Int8Region)]
    assert len(regions) == 1
    for x in (inputs(), inputs(1, 4)):
        found, right = quantized(*x), model(*x)
        torch.testing.assert_close(found[0], right[0], rtol=0, atol=0.1)
        assert torch.equal(found[1], right[1])
        assert found[2] == right[2]
