"""What int8 keeps of two trained ImageNet networks: calibrated on 20 center crops, measured on 100 crops."""

from __future__ import annotations

import pytest

from fxquant.demo import data, metrics, packages
from fxquant.demo.demo import quantize_network, run, state_bytes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(packages.missing_packages()), reason=f"the demo's packages are missing: {packages.install_command()}"
    ),
]


@pytest.mark.parametrize(
    ("name", "sqnr_db", "agreement"), [("mobilenetv2", 14.5, 0.92), ("efficientnet-lite0", 17.0, 0.97)]
)
def test_int8_is_close_to_float_and_small(name: str, sqnr_db: float, agreement: float) -> None:
    model, quantized = quantize_network(name)
    images = data.all_crops(name)
    reference, value = run(model, images), run(quantized, images)
    assert metrics.sqnr_db(reference, value) >= sqnr_db
    assert metrics.agreement(reference, value) >= agreement
    assert state_bytes(quantized) <= 0.27 * state_bytes(model)
