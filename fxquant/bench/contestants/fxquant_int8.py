"""fxquant, as its README says."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from fxquant import calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx
from fxquant.bench.case import Case
from fxquant.bench.contestants.contestant import Contestant


def quantize(case: Case) -> nn.Module:
    """The case's model in int8."""
    prepared = prepare_fx(case.model, get_default_qconfig_mapping(), case.inputs)
    return convert_fx(calibrate(prepared, case.calibration, progress=False))


def _prepare(case: Case) -> Callable[[], object]:
    quantized = quantize(case)
    return lambda: quantized(*case.inputs)


INT8 = Contestant("fxquant int8", "prepare_fx with the default mapping, calibrate, convert_fx", _prepare)
