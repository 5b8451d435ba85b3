"""What sensitivity and compare show on MobileNetV2 with its ImageNet weights, on real crops."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from fxquant import (
    calibrate,
    compare,
    convert_fx,
    get_default_qconfig_mapping,
    prepare_fx,
    sensitivity,
    suggest,
    without,
)
from fxquant.analysis.measures import sqnr_db
from fxquant.demo import data, packages
from fxquant.demo.demo import run
from fxquant.demo.metrics import agreement
from fxquant.errors import TargetError

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


def test_the_two_worst_layers_in_float_are_worth_two_decibels(float_model: nn.Module, prepared: nn.Module) -> None:
    images, crops = data.center_crops(NAME), data.all_crops(NAME)
    ranking = sensitivity(float_model, [images], prepared=prepared, progress=False)
    better = convert_fx(prepared, qconfig_mapping=ranking.left_float(2))
    in_float = run(float_model, images)
    assert sqnr_db(in_float, run(better, images)) == pytest.approx(ranking.rows[1].float, abs=0.01)
    in_float = run(float_model, crops)
    assert sqnr_db(in_float, run(better, crops)) - sqnr_db(in_float, run(convert_fx(prepared), crops)) >= 2.0


def test_compare_agrees_with_the_outputs_and_covers_every_layer(float_model: nn.Module, prepared: nn.Module) -> None:
    images, quantized = data.center_crops(NAME)[:4], convert_fx(prepared)
    comparison = compare(float_model, quantized, images)
    expected = sqnr_db(run(float_model, images), run(quantized, images))
    assert comparison.outputs.sqnr_db == pytest.approx(expected, abs=0.01)
    assert comparison.rows[-1].accumulated.sqnr_db == pytest.approx(expected, abs=0.01)
    assert sum(row.weight is not None for row in comparison.rows) == 53


@pytest.fixture(scope="module")
def halves() -> tuple[Tensor, Tensor]:
    """The 50 crops of every other image, and those of the others."""
    images = data.all_crops(NAME).unflatten(0, (20, 5))
    return images[0::2].flatten(0, 1), images[1::2].flatten(0, 1)


@pytest.mark.parametrize(("half", "max_drop"), [(0, 0.12), (1, 0.05)])
def test_a_drop_kept_on_half_of_the_images_is_kept_on_the_others(
    float_model: nn.Module, halves: tuple[Tensor, Tensor], half: int, max_drop: float
) -> None:
    """The default mapping, of which one half loses 6 % of the classes in int8 and the other none."""
    known, held_out = halves[half], halves[1 - half]
    prepared = prepare_fx(float_model, get_default_qconfig_mapping(), (known[:1],))
    calibrate(prepared, known.split(10), progress=False)
    ranking = sensitivity(float_model, [known[::5]], depth=2, together=1, prepared=prepared, progress=False)
    expected = run(float_model, held_out)
    suggestion = suggest(
        float_model, known.split(10), max_drop=max_drop, ranking=ranking, prepared=prepared, progress=False
    )
    better = convert_fx(prepared, qconfig_mapping=suggestion.mapping)
    assert suggestion.expected is not None
    assert suggestion.metric >= suggestion.expected >= 1 - max_drop
    assert agreement(expected, run(better, held_out)) >= 1 - max_drop
    assert len(suggestion.left_float) < suggestion.layers
    with pytest.raises(TargetError, match=r"50 examples are too few .*give .* or more"):
        suggest(float_model, known.split(10), max_drop=0.01, ranking=ranking, prepared=prepared, progress=False)


@pytest.mark.parametrize("half", [0, 1])
def test_a_target_met_on_half_of_the_images_is_met_on_the_others(
    float_model: nn.Module, halves: tuple[Tensor, Tensor], half: int
) -> None:
    """One scale for all channels, and no biases corrected: 12 dB in int8."""
    known, held_out = halves[half], halves[1 - half]
    mapping = get_default_qconfig_mapping("qnnpack")
    prepared = prepare_fx(float_model, mapping, (known[:1],), passes=[without("observe_means")])
    calibrate(prepared, known.split(10), progress=False)
    ranking = sensitivity(float_model, known.split(10), depth=2, together=1, prepared=prepared, progress=False)
    suggestion = suggest(float_model, known.split(10), target=14.5, ranking=ranking, prepared=prepared, progress=False)
    expected = run(float_model, held_out)
    assert sqnr_db(expected, run(convert_fx(prepared), held_out)) < 12.5
    better = convert_fx(prepared, qconfig_mapping=suggestion.mapping)
    assert sqnr_db(expected, run(better, held_out)) >= 14.5
    left_float = [layer.name for layer in suggestion.left_float]
    assert "features.1" in left_float
    assert len(left_float) <= 3
