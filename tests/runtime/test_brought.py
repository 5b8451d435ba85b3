"""Integer ops of plug-ins: a Python meaning is enough; a kernel takes its place; files, pickles and errors."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from copies import copies_of
from graphs import Written
from torch import Tensor, nn

from fxquant import (
    calibrate,
    convert_fx,
    explain,
    export_onnx,
    get_default_qconfig_mapping,
    load,
    ops,
    prepare_fx,
    qparams,
    save,
)
from fxquant.errors import ConfigError, UnsupportedError
from fxquant.ops.op import OPS
from fxquant.plugin import Match, Rule, apply_rules, integer_op, kernel_for, op, register_pass, rule, spelling
from fxquant.qparams import Requantize
from fxquant.runtime.layer import LAYERS

pytestmark = pytest.mark.usefixtures("own_passes")
X = torch.randn(4, 3, 8, 8)


class SquaredDistance(nn.Module):
    """To a learned centre, along the channels; looked into, it would be three ops."""

    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.randn(8))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.centre[:, None, None]) ** 2).mean(1, keepdim=True)


def declare() -> tuple[Any, Any]:
    """The op of the module, its integer op, and the pass that turns the one into the other."""

    @op(kernel=True)
    def distance(x: Tensor, centre: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, 1, H, W]."""
        return ((x - centre[:, None, None]) ** 2).mean(1, keepdim=True)

    @spelling(SquaredDistance)
    def spelled(m: Any, x: Any) -> Any:
        return distance(x, m.centre)

    @integer_op()
    def int8_distance(x: Tensor, x_zero_point: int, centre: Tensor, multiplier: float, output: Requantize) -> Tensor:
        """uint8 [N, C, H, W] -> uint8 [N, 1, H, W]; `centre` in steps of x; multiplier = s_x^2 / s_y."""
        total = ((x.float() - x_zero_point - centre[:, None, None]) ** 2).mean(1, keepdim=True)
        codes = (total * multiplier).round() + output.zero_point
        return codes.clamp(output.quant_min, output.quant_max).to(torch.uint8)

    class Fold(Rule):
        def pattern(self, x: Any, p: Any, centre: Any, q: Any) -> Any:
            return ops.quantize(distance(ops.dequantize(x, p), centre), q)

        def rewrite(self, m: Match, x: Any, p: Any, centre: Any, q: Any) -> Any:
            steps = m.constant("centre", m.fetch(centre) / p.scale)
            return int8_distance(x, p.zero_point, steps, qparams.float32(p.scale**2 / q.scale), qparams.bounds(q))

    @register_pass(stage="fold")
    def fold_distance(gm: Any) -> Any:
        return apply_rules(gm, [Fold()])

    return distance, int8_distance


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), SquaredDistance(), nn.Conv2d(1, 4, 1)).eval()


def quantized_of(model: nn.Module) -> Any:
    return convert_fx(calibrate(prepare_fx(model, get_default_qconfig_mapping(), (X,)), [X], progress=False))


def test_a_meaning_in_python_is_enough() -> None:
    declare()
    model = network()
    quantized = quantized_of(model)
    assert [(row.op, row.precision) for row in explain(quantized).rows if row.place == "1"] == [
        ("Int8Distance", "int8")
    ]
    assert (quantized(X) - model(X)).abs().max() < 0.1 * model(X).abs().max()
    assert torch.equal(torch.export.export(quantized, (X,)).module()(X), quantized(X))


def test_copies_and_files_hold_its_constants(tmp_path: Path) -> None:
    declare()
    quantized = quantized_of(network())
    for other in copies_of(quantized, tmp_path):
        assert torch.equal(other(X), quantized(X))
        assert other.state_dict().keys() == quantized.state_dict().keys()
    assert "1.centre" in quantized.state_dict()


def test_a_kernel_takes_the_place_of_the_meaning() -> None:
    _, int8_distance = declare()
    quantized, calls = quantized_of(network()), []
    expected = quantized(X)

    @kernel_for(int8_distance)
    def kernel(x: Tensor, **constants: Any) -> Tensor:
        calls.append(sorted(constants))
        return OPS[int8_distance].body(x, **constants)

    assert torch.equal(quantized(X), expected)
    assert calls == [["centre", "multiplier", "output", "x_zero_point"]]
    torch.export.export(quantized, (X,))  # asks the meaning
    assert len(calls) == 1


def around_softest() -> tuple[nn.Module, Any]:
    """A network around an op without an integer form, and the op."""

    @op(kernel=True)
    def softest(x: Tensor) -> Tensor:
        return x.logsumexp(1, keepdim=True)

    model = Written(lambda m, x: m.b(softest(m.a(x))), a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(1, 4, 1))
    return model, softest


def test_qparams_are_constants_too(tmp_path: Path) -> None:
    """The integer op may say what it means in reals."""

    model, softest = around_softest()

    @integer_op()
    def int8_softest(x, p, q):  # type: ignore[no-untyped-def]
        return ops.quantize(ops.dequantize(x, p).logsumexp(1, keepdim=True), q)

    @register_pass(stage="fold")
    def fold_softest(gm: Any) -> Any:
        real = rule(lambda x, p, q: ops.quantize(softest(ops.dequantize(x, p)), q), int8_softest)
        return apply_rules(gm, [real])

    quantized = quantized_of(model)
    assert {row.precision for row in explain(quantized).rows} == {"boundary", "int8"}
    assert (quantized(X) - model(X)).abs().max() < 0.05
    save(quantized, tmp_path / "model")
    assert torch.equal(load(tmp_path / "model")(X), quantized(X))


def test_without_a_fold_the_op_is_an_island_in_float() -> None:
    model, _ = around_softest()

    quantized = quantized_of(model)
    rows = {row.node: row.precision for row in explain(quantized).rows}
    assert rows["softest"] == "float"
    assert sum(precision == "int8" for precision in rows.values()) == 2
    assert (quantized(X) - model(X)).abs().max() < 0.05


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    _, int8_distance = declare()
    with pytest.raises(UnsupportedError, match="no ONNX form of Int8Distance"):
        export_onnx(quantized_of(network()), tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match=r"declares an op relu, but there is fxquant\.relu; choose another name"):

        @op()
        def relu(x: Tensor) -> Tensor:
            return x

    with pytest.raises(ConfigError, match="an integer op has a layer Lookup already"):

        @integer_op()
        def Lookup(x: Tensor) -> Tensor:  # noqa: N802
            return x

    with pytest.raises(ConfigError, match="lookup is not decorated with @integer_op"):
        kernel_for(ops.lookup)
    pickled = pickle.dumps(quantized_of(network()))
    del LAYERS[int8_distance]
    with pytest.raises(ConfigError, match=r"calls .*int8_distance, an op of a plug-in; import what registers it"):
        pickle.loads(pickled)
