"""The int8 graphs of four networks, as text: one quantize, and integers up to the logits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from structure import structure
from torch import nn

from fxquant import calibrate, convert_fx, explain, get_default_qconfig_mapping, prepare_fx
from fxquant.demo.networks import EfficientNetLite0, MobileNetV2
from fxquant.demo.resnet import resnet18, resnet50


@pytest.mark.slow
@pytest.mark.parametrize("network", [resnet18, resnet50, MobileNetV2, EfficientNetLite0])
def test_everything_runs_in_int8(network: Callable[[], nn.Module], golden: Callable[[str, str], None]) -> None:
    model, x = network().eval(), torch.randn(1, 3, 64, 64)
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (x,))
    quantized = convert_fx(calibrate(prepared, [x], progress=False))
    precisions = [row.precision for row in explain(quantized).rows]
    assert precisions == ["boundary", *["int8"] * (len(precisions) - 1)]
    golden(f"{network.__name__}.txt", structure(quantized))
