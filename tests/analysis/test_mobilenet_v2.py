"""What sensitivity and compare show on MobileNetV2 with its ImageNet weights, on real crops."""

from __future__ import annotations

import pytest
from torch import nn

from fxquant import calibrate, compare, convert_fx, get_default_qconfig_mapping, prepare_fx, sensitivity
from fxquant.analysis.measures import sqnr_db
from fxquant.analysis.sensitivity import Sensitivity
from fxquant.demo import data, packages
from fxquant.demo.demo import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(packages.missing_packages()), reason=f"the demo's packages are missing: {packages.install_command()}"
    ),
]
NAME = "mobilenetv2"


@pytest.fixture(scope="module")
def float_model() -> nn.Module:
    return data.load_network(NAME)


@pytest.fixture(scope="module")
def prepared(float_model: nn.Module) -> nn.Module:
    """Calibrated on the 20 center crops."""
    images = data.center_crops(NAME)
    mapping = get_default_qconfig_mapping()
    return calibrate(prepare_fx(float_model, mapping, (images[:1],)), [images], progress=False)


@pytest.fixture(scope="module")
def blocks(float_model: nn.Module, prepared: nn.Module) -> Sensitivity:
    images = data.center_crops(NAME)
    return sensitivity(float_model, [images], depth=2, prepared=prepared, progress=False)


def test_the_two_worst_blocks_in_float_are_worth_two_decibels(
    float_model: nn.Module, prepared: nn.Module, blocks: Sensitivity
) -> None:
    images = data.center_crops(NAME)
    better = convert_fx(prepared, qconfig_mapping=blocks.left_float(2))
    won = sqnr_db(run(float_model, images), run(better, images)) - blocks.int8
    assert won >= 2.0
    assert won == pytest.approx(blocks.rows[1].float - blocks.int8, abs=0.01)  # type: ignore[operator]


def test_compare_agrees_with_the_outputs_and_covers_every_layer(float_model: nn.Module, prepared: nn.Module) -> None:
    images, quantized = data.center_crops(NAME)[:4], convert_fx(prepared)
    comparison = compare(float_model, quantized, images)
    expected = sqnr_db(run(float_model, images), run(quantized, images))
    assert comparison.outputs.sqnr_db == pytest.approx(expected, abs=0.01)
    assert comparison.rows[-1].accumulated.sqnr_db == pytest.approx(expected, abs=0.01)
    assert sum(row.weight is not None for row in comparison.rows) == 53
