"""fxquant::linear equals the plain-torch integer op bit for bit, on every ISA and thread count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fxquant.errors import InputError
from fxquant.kernels import linear, pack_linear
from fxquant.ops.integer.linear import int8_linear
from fxquant.qparams import FloatOutput, Requantize, Residual
from fxquant.target import active_isa, supported_isas

# leading shape of x, in_features, out_features
SHAPES = [
    ((1,), 20, 10),
    ((5,), 1, 1),
    ((1,), 640, 1000),
    ((2, 7), 33, 47),
    ((196,), 256, 64),
    ((450,), 30, 100),
    ((), 16, 32),
    ((0,), 16, 32),
]


class Layer:
    """Random parameters of a linear layer whose outputs spread over 0..255."""

    def __init__(self, in_features: int, out_features: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.weight = torch.randint(-128, 128, (out_features, in_features), dtype=torch.int8)
        self.bias = torch.randint(-3000, 3000, (out_features,), dtype=torch.int32)
        self.multiplier = (torch.rand(out_features) + 0.5) * 60 / (74 * 74 * in_features**0.5)
        self.x_zero_point = int(torch.randint(0, 256, ()))
        self.output = Requantize(int(torch.randint(0, 256, ())), int(torch.randint(0, 9, ())), 250)


def codes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


@pytest.mark.parametrize(("leading", "in_features", "out_features"), SHAPES)
@pytest.mark.parametrize("output", [FloatOutput(), FloatOutput(0.0, 6.0)])
def test_float_outputs_equal_the_integer_op(
    leading: tuple[int, ...], in_features: int, out_features: int, output: FloatOutput, isa: str, threads: int
) -> None:
    layer = Layer(in_features, out_features, seed=in_features)
    x, bias = codes(*leading, in_features), torch.randn(out_features)
    packed = pack_linear(layer.weight, bias, layer.multiplier, x_zero_point=layer.x_zero_point, output=output)
    y = linear(x, packed, None, out_features, True)
    expected = int8_linear(x, layer.weight, bias, layer.multiplier, layer.x_zero_point, output)
    assert y.dtype is torch.float32
    assert torch.equal(y, expected)
    with pytest.raises(InputError, match="packed for another output"):
        linear(codes(3, in_features), packed, None, out_features)


def test_refuses_a_table_for_float_outputs() -> None:
    layer = Layer(8, 8, seed=0)
    weights = (layer.weight, torch.zeros(8), layer.multiplier)
    with pytest.raises(InputError, match="neither a residual nor a table"):
        pack_linear(*weights, x_zero_point=0, output=FloatOutput(), table=codes(256))
    with pytest.raises(InputError, match="low <= high"):
        pack_linear(*weights, x_zero_point=0, output=FloatOutput(1.0, 0.0))
    with pytest.raises(InputError, match=r"bias must be a torch\.int32"):
        pack_linear(*weights, x_zero_point=0, output=layer.output)


@pytest.mark.parametrize(("leading", "in_features", "out_features"), SHAPES)
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("with_table", [False, True])
def test_equals_the_integer_op(
    leading: tuple[int, ...],
    in_features: int,
    out_features: int,
    with_residual: bool,
    with_table: bool,
    isa: str,
    threads: int,
) -> None:
    layer = Layer(in_features, out_features, seed=in_features)
    x = codes(*leading, in_features)
    residual = codes(*leading, out_features) if with_residual else None
    params = Residual(90, 0.37) if with_residual else None
    table = codes(256) if with_table else None
    packed = pack_linear(
        layer.weight,
        layer.bias,
        layer.multiplier,
        x_zero_point=layer.x_zero_point,
        output=layer.output,
        residual=params,
        table=table,
    )
    y = linear(x, packed, residual, out_features)
    expected = int8_linear(
        x,
        layer.weight,
        layer.bias,
        layer.multiplier,
        layer.x_zero_point,
        layer.output,
        residual,
        params,
        table,
    )
    assert y.shape == expected.shape == (*leading, out_features)
    assert torch.equal(y, expected)


def test_outputs_of_the_random_layers_spread() -> None:
    layer = Layer(256, 64, seed=256)
    y = int8_linear(codes(196, 256), layer.weight, layer.bias, layer.multiplier, 128, Requantize(128))
    assert y.unique().numel() > 200


def test_strided_inputs_and_residuals() -> None:
    layer = Layer(24, 40, seed=1)
    x, residual, params = codes(24, 11).t(), codes(40, 11).t(), Residual(3, 0.5)
    packed = pack_linear(
        layer.weight, layer.bias, layer.multiplier, x_zero_point=7, output=layer.output, residual=params
    )
    expected = int8_linear(x, layer.weight, layer.bias, layer.multiplier, 7, layer.output, residual, params)
    assert torch.equal(linear(x, packed, residual, 40), expected)


def pack(layer: Layer, **changes: object) -> Tensor:
    arguments = {
        "weight": layer.weight,
        "bias": layer.bias,
        "multiplier": layer.multiplier,
        "x_zero_point": layer.x_zero_point,
        "output": layer.output,
    }
    return pack_linear(**{**arguments, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": torch.zeros(8, 4)}, "weight must be a torch.int8"),
        ({"weight": torch.zeros(8, dtype=torch.int8)}, "out_features, in_features"),
        ({"weight": torch.zeros(8, 0, dtype=torch.int8)}, "no elements"),
        ({"bias": torch.zeros(7, dtype=torch.int32)}, r"bias must be .* shape \[8\], not .* shape \[7\]"),
        ({"multiplier": torch.ones(8, dtype=torch.float64)}, "multiplier must be a torch.float32"),
        ({"table": torch.zeros(255, dtype=torch.uint8)}, r"table must be .* \[256\]"),
        ({"x_zero_point": 256}, "zero points"),
        ({"output": Requantize(0, 10, 5)}, "quant_min <= quant_max"),
        ({"residual": Residual(-1, 1.0)}, "zero points"),
    ],
)
def test_pack_refuses(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pack(Layer(4, 8, seed=0), **changes)


def test_pack_refuses_a_reduction_too_long_for_int32() -> None:
    weight = torch.zeros(3, 66000, dtype=torch.int8)
    weight[1] = -128
    layer = Layer(66000, 3, seed=0)
    with pytest.raises(InputError, match="output channel 1 could overflow: it sums 66000 products"):
        pack(layer, weight=weight, x_zero_point=0)
    assert pack(layer, weight=weight[:, :65000], x_zero_point=0).numel() > 0


def test_linear_refuses() -> None:
    layer = Layer(4, 8, seed=0)
    packed, x = pack(layer), codes(3, 4)
    for bad_x in (x.float(), x.char(), torch.tensor(1, dtype=torch.uint8)):
        with pytest.raises(InputError, match="takes a uint8 tensor"):
            linear(bad_x, packed, None, 8)
    with pytest.raises(InputError, match="another in_features"):
        linear(codes(3, 5), packed, None, 8)
    with pytest.raises(InputError, match="another out_features"):
        linear(x, packed, None, 9)
    with pytest.raises(InputError, match="residual must be given exactly"):
        linear(x, packed, codes(3, 8), 8)
    with pytest.raises(InputError, match=r"residual must be uint8 of shape \[3, 8\]"):
        linear(x, packed, codes(3, 7), 8)
    with pytest.raises(InputError, match="not made by a pack function"):
        linear(x, torch.zeros_like(packed), None, 8)
    with pytest.raises(InputError, match="not aligned"):
        linear(x, torch.cat([codes(1), packed])[1:], None, 8)
    for damaged in (8, 40, 64, 100):
        foreign = packed.clone()
        foreign[damaged] ^= 64
        with pytest.raises(InputError, match="not made by a pack function"):
            linear(x, foreign, None, 8)


def test_weights_run_on_the_isa_they_were_packed_for(monkeypatch: pytest.MonkeyPatch) -> None:
    if len(supported_isas()) == 1:
        pytest.skip("this CPU has one ISA only")
    packed = pack(Layer(4, 8, seed=0))
    active_isa.cache_clear()
    monkeypatch.setenv("FXQUANT_ISA", "scalar")
    try:
        with pytest.raises(InputError, match="but scalar runs here; pack again"):
            linear(codes(3, 4), packed, None, 8)
    finally:
        active_isa.cache_clear()


def test_traces_as_one_op() -> None:
    layer = Layer(4, 8, seed=0)
    packed = pack(layer)
    torch.library.opcheck(linear, (codes(2, 3, 4), packed, None, 8))
