"""Layers: what is saved, what is derived, and what they say when something is wrong."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from graphs import int8, uint8
from torch import Tensor

from fxquant.errors import InputError
from fxquant.qparams import FloatOutput, QParams, Requantize, Residual, quantize
from fxquant.runtime.layer import Layer
from fxquant.runtime.layers import Dequantize, Int8Add, Int8Conv2d, Int8Linear, Quantize

X = torch.arange(60, dtype=torch.uint8).reshape(5, 12) * 4


def linear(**more: Any) -> Int8Linear:
    return Int8Linear(
        {
            "weight": int8(6, 12),
            "bias": torch.randint(-999, 999, (6,), dtype=torch.int32),
            "multiplier": torch.rand(6) / 99,
            "x_zero_point": int(torch.randint(0, 256, ())),
            "output": Requantize(int(torch.randint(0, 256, ())), 3, 250),
            **more,
        }
    )


def derived(layer: Layer) -> list[str]:
    return [name for name in vars(layer) if name.startswith("derived_")]


def test_every_number_is_a_buffer() -> None:
    layer = linear(residual_params=Residual(7, 0.5), table=uint8(256))
    assert {name: tensor.dtype for name, tensor in layer.state_dict().items()} == {
        "weight": torch.int8,
        "bias": torch.int32,
        "multiplier": torch.float32,
        "x_zero_point": torch.int32,
        "output_zero_point": torch.int32,
        "output_quant_min": torch.int32,
        "output_quant_max": torch.int32,
        "residual_params_zero_point": torch.int32,
        "residual_params_multiplier": torch.float32,
        "table": torch.uint8,
    }
    assert layer.constant("residual_params") == Residual(7, 0.5)
    assert layer.constant("nothing") is None


def test_a_state_dict_carries_the_whole_layer() -> None:
    layer, other = linear(), linear()
    assert not torch.equal(layer(X), other(X))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(X), other(X))
    assert other.constant("output") == layer.constant("output")


def _pickled(layer: Layer) -> Layer:
    return pickle.loads(pickle.dumps(layer))  # type: ignore[no-any-return]


@pytest.mark.parametrize("travel", [copy.deepcopy, _pickled])
def test_a_copy_derives_again(travel: Callable[[Layer], Layer]) -> None:
    layer = linear()
    layer.where = "head (Linear)"
    copied = travel(layer)
    assert torch.equal(copied(X), layer(X))
    assert derived(copied) == derived(layer) == ["derived_packed", "derived_features"]
    assert copied.derived_packed.data_ptr() != layer.derived_packed.data_ptr()
    assert copied.where == "head (Linear)"


def test_what_is_derived_is_never_saved() -> None:
    layer = linear(weight=int8(6, 12))
    assert not [name for name in layer.__getstate__() if name.startswith("derived_")]
    assert "derived_packed" in vars(layer)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    assert b"derived" not in file.getvalue()
    assert b"derived" not in pickle.dumps(layer)


@pytest.mark.parametrize(
    "convert", [Layer.half, Layer.double, Layer.bfloat16, lambda m: m.to(torch.float16), lambda m: m.to("meta")]
)
def test_other_precisions_and_devices_leave_it_alone(convert: Callable[[Layer], Layer]) -> None:
    layer = linear()
    before, expected = copy.deepcopy(layer.state_dict()), layer(X)
    model = torch.nn.Sequential(layer)
    convert(model)  # type: ignore[arg-type]
    for name, tensor in layer.state_dict().items():
        assert tensor.dtype is before[name].dtype
        assert torch.equal(tensor, before[name])
    assert torch.equal(model(X), expected)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(torch.randn(5, 12), "float32"), (uint8(5, 11), "11"), (X.long(), "int64")],
)
def test_an_input_error_names_the_place(wrong: Tensor, message: str) -> None:
    layer = linear()
    with pytest.raises(InputError, match=f"^Int8Linear: .*{message}"):
        layer(wrong)
    layer.where = "head (Linear, model.py:7)"
    with pytest.raises(InputError, match=rf"^head \(Linear, model.py:7\): .*{message}"):
        layer(wrong)


def test_residuals_must_fit() -> None:
    layer = linear(residual_params=Residual(7, 0.5))
    with pytest.raises(InputError, match=r"residual.*\[5, 6\].*\[1, 6\]"):
        layer(X, uint8(1, 6))


def test_a_depthwise_convolution_has_a_kernel_of_its_own() -> None:
    def conv(weight: Tensor, groups: int) -> Int8Conv2d:
        settings = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": groups}
        shared = {"bias": torch.zeros(4, dtype=torch.int32), "multiplier": torch.full((4,), 0.01)}
        return Int8Conv2d({"weight": weight, **shared, "x_zero_point": 9, "output": Requantize(100), **settings})

    depthwise = int8(4, 1, 3, 3)
    dense = torch.zeros(4, 4, 3, 3, dtype=torch.int8)
    dense[range(4), range(4)] = depthwise[:, 0]
    first, second = conv(depthwise, 4), conv(dense, 1)
    assert first.derived_kernel is not second.derived_kernel
    x = uint8(2, 4, 7, 6)
    assert torch.equal(first(x), second(x))


def test_plain_layers_hold_their_arguments_in_the_kernels_order() -> None:
    layer = Int8Add(
        {"a_multiplier": 0.1, "b_multiplier": 0.5, "a_zero_point": 1, "b_zero_point": 2, "output": Requantize(3, 4, 5)}
    )
    assert layer.derived_arguments == [pytest.approx(0.1), 0.5, 1, 2, 3, 4, 5]


def test_a_layer_of_floats_keeps_its_bounds_in_its_state() -> None:
    layer = linear(bias=torch.randn(6), output=FloatOutput(0.0, 6.0))
    other = linear(bias=torch.randn(6), output=FloatOutput())
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(X), layer(X))
    assert torch.equal(pickle.loads(pickle.dumps(layer))(X), layer(X))
    with pytest.raises(InputError, match=r"bias must be a torch\.float32"):
        linear(output=FloatOutput())


def test_boundaries_round_trip() -> None:
    q = QParams(0.25, 100)
    x = torch.randn(2, 3, 4, 5) * 9
    there, back = Quantize({"q": q}), Dequantize({"q": q})
    assert (there.at_boundary, back.at_boundary, linear().at_boundary) == (True, True, False)
    assert not linear(bias=torch.randn(6), output=FloatOutput()).at_boundary
    assert torch.equal(there(x), quantize(x, q))
    assert there(x).is_contiguous(memory_format=torch.channels_last)
    assert back(there(x)).is_contiguous()
    assert torch.equal(there(back(there(x))), there(x))


def test_the_representation_shows_shapes_and_numbers() -> None:
    text = repr(linear(x_zero_point=7, output=Requantize(100)))
    assert text == (
        "Int8Linear(weight=[6, 12], bias=[6], multiplier=[6], x_zero_point=7, output_zero_point=100, "
        "output_quant_min=0, output_quant_max=255)"
    )
