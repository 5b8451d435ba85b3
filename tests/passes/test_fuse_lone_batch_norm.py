from __future__ import annotations

from typing import Any

import pytest
import torch
from graphs import Written, arguments_of, calls
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from fxquant import calibrate, convert_fx, explain, get_default_qconfig_mapping, ops, prepare_fx
from fxquant.demo.metrics import sqnr_db
from fxquant.graph.origin import origin_of
from fxquant.graph.pipeline import run_stage
from fxquant.graph.trace import trace


def norm(kind: type[nn.Module], channels: int, affine: bool = True) -> nn.Module:
    made = kind(channels, affine=affine)
    for name, values in {"running_mean": torch.randn(channels), "running_var": torch.rand(channels) + 0.3}.items():
        made.register_buffer(name, values)
    if affine:
        nn.init.uniform_(made.weight, 0.5, 2)  # type: ignore[arg-type]
        nn.init.normal_(made.bias)  # type: ignore[arg-type]
    return made.eval()


def fused(model: nn.Module, x: Tensor) -> GraphModule:
    return run_stage(run_stage(trace(model, (x,)), "normalize"), "fuse")


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    ("kind", "shape", "op"),
    [
        (nn.BatchNorm1d, (2, 3, 5), ops.conv1d),
        (nn.BatchNorm2d, (2, 3, 4, 5), ops.conv2d),
    ],
)
def test_it_becomes_a_convolution_of_one_tap(
    kind: type[nn.Module], shape: tuple[int, ...], op: Any, affine: bool
) -> None:
    model, x = Written(lambda m, x: m.bn(F.relu(x)), bn=norm(kind, 3, affine)), torch.randn(shape)
    gm = fused(model, x)
    assert calls(gm) == [ops.relu, op]
    torch.testing.assert_close(gm(x), model(x))
    assert arguments_of(gm, op)["groups"] == 3
    assert sorted(t.numel() for t in gm.state_dict().values()) == [3, 3]
    (_, node) = (n for n in gm.graph.nodes if n.op == "call_function")
    assert (origin_of(node).module_path, node.meta["shape"]) == ("bn", x.shape)  # type: ignore[union-attr]


@pytest.mark.parametrize("affine", [True, False])
def test_without_spatial_dimensions_it_becomes_an_op(affine: bool) -> None:
    model, x = Written(lambda m, x: m.bn(F.relu(x)), bn=norm(nn.BatchNorm1d, 3, affine)), torch.randn(5, 3)
    gm = fused(model, x)
    assert calls(gm) == [ops.relu, ops.batch_norm]
    torch.testing.assert_close(gm(x), model(x))
    names = ["running_mean", "running_var", *(["weight", "bias"] if affine else [])]
    assert sorted(gm.state_dict()) == sorted(f"bn.{name}" for name in names)
    assert arguments_of(gm, ops.batch_norm)["eps"] == 1e-5


def test_a_batch_norm_that_is_called_twice_keeps_its_statistics() -> None:
    model, x = Written(lambda m, x: m.bn(F.relu(m.bn(F.relu(x)))), bn=norm(nn.BatchNorm2d, 3)), torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(fused(model, x)(x), model(x))


def test_the_statistics_of_a_batch_are_computed_in_float() -> None:
    model = Written(lambda m, x: m.bn(F.relu(x)), bn=nn.BatchNorm2d(3, track_running_stats=False))
    assert calls(fused(model, torch.randn(2, 3, 4, 4))) == [ops.relu, "bn"]


def test_with_the_relu_behind_it_it_is_one_layer() -> None:
    def code(m: nn.Module, x: Tensor) -> Tensor:
        y = m.first(x)
        return m.second(F.relu(m.bn(torch.cat([y, x], 1)))) + y

    layers = {"first": nn.Conv2d(4, 4, 1), "second": nn.Conv2d(8, 4, 1), "bn": norm(nn.BatchNorm2d, 8)}
    model, x = Written(code, **layers), torch.randn(4, 4, 9, 9)
    prepared = calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False)
    quantized = convert_fx(prepared)
    rows = [(row.op, row.place, row.absorbed) for row in explain(quantized).rows if row.place == "bn"]
    assert rows == [("Int8Conv2d", "bn", ("F.relu",))]
    assert explain(quantized).float_rows == ()
    assert sqnr_db(model(x), quantized(x)) > 30


def test_the_graphs_own_input_is_normalized_in_float() -> None:
    # One scale for both channels would leave nothing of the second one.
    x = torch.randn(64, 2, 3, 3) * torch.tensor([1e4, 1.0])[:, None, None]
    bn = norm(nn.BatchNorm2d, 2)
    bn.running_mean, bn.running_var = torch.zeros(2), torch.tensor([1e8, 1.0])
    model = Written(lambda m, x: m.conv(m.bn(x)), bn=bn, conv=nn.Conv2d(2, 4, 1))
    quantized = convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (x,)), [x], progress=False))
    ((row,),) = (explain(quantized).float_rows,)
    assert (row.op, row.place) == ("batch_norm", "bn")
    assert "the graph's own input" in row.reason
    assert sqnr_db(model(x), quantized(x)) > 30
