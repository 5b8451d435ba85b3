"""OpenVINO on the model as it converts it from torch, float and quantized by NNCF."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from fxquant.bench.case import Case
from fxquant.bench.contestants.contestant import Contestant


def _convert(case: Case) -> Any:
    """The model in OpenVINO's own form, with fixed shapes."""
    ov: Any = importlib.import_module("openvino")
    return ov.convert_model(case.model, example_input=case.inputs, input=[list(x.shape) for x in case.inputs])


def _compile(case: Case, model: Any, **properties: str) -> Callable[[], object]:
    ov: Any = importlib.import_module("openvino")
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": case.threads, **properties}
    request = ov.Core().compile_model(model, "CPU", settings).create_infer_request()
    for i, x in enumerate(case.inputs):
        request.set_input_tensor(i, ov.Tensor(x.numpy(), shared_memory=True))
    return lambda: request.infer(share_outputs=True)


def _prepare_float(case: Case) -> Callable[[], object]:
    return _compile(case, _convert(case), INFERENCE_PRECISION_HINT="f32")


def _prepare_int8(case: Case) -> Callable[[], object]:
    nncf: Any = importlib.import_module("nncf")
    batches = nncf.Dataset([tuple(x.numpy() for x in batch) for batch in case.calibration])
    model = _convert(case)
    attends = any(op.get_type_name() == "ScaledDotProductAttention" for op in model.get_ops())
    quantized = nncf.quantize(
        model,
        batches,
        model_type=nncf.ModelType.TRANSFORMER if attends else None,
        preset=nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(case.calibration),
    )
    return _compile(case, quantized)


FLOAT = Contestant(
    "OpenVINO float",
    "openvino.convert_model with fixed shapes; latency hint, one stream, float32, inputs and outputs not copied",
    _prepare_float,
    peer="openvino",
    packages=("openvino",),
)
INT8 = Contestant(
    "OpenVINO int8",
    "the same conversion, nncf.quantize for the CPU with the performance preset, as a transformer where it has "
    "attention; latency hint, one stream, what stays float in the precision that OpenVINO chooses (bfloat16 where the "
    "CPU has it), inputs and outputs not copied",
    _prepare_int8,
    peer="openvino",
    packages=("openvino", "nncf"),
)
