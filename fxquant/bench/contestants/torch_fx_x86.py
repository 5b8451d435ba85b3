"""torch.ao's FX graph mode quantization, on the engine that torch recommends for x86."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import torch

from fxquant.bench.case import Case
from fxquant.bench.contestants.contestant import Contestant


def _prepare(case: Case) -> Callable[[], object]:
    ao: Any = importlib.import_module("torch.ao.quantization")
    fx: Any = importlib.import_module("torch.ao.quantization.quantize_fx")
    torch.backends.quantized.engine = "x86"
    prepared = fx.prepare_fx(copy.deepcopy(case.model), ao.get_default_qconfig_mapping("x86"), case.inputs)
    with torch.inference_mode():
        for batch in case.calibration:
            prepared(*batch)
    quantized = fx.convert_fx(prepared)
    return lambda: quantized(*case.inputs)


INT8 = Contestant(
    "torch FX x86 int8",
    "torch.ao.quantization: prepare_fx and convert_fx with the default mapping of the engine x86",
    _prepare,
    peer="torch",
)
