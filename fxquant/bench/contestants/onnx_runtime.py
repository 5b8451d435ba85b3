"""ONNX Runtime on the ONNX export of the model, float and statically quantized."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from fxquant.bench.case import Case
from fxquant.bench.contestants.contestant import Contestant

OPSET = 18


def _export(case: Case, path: Path) -> list[str]:
    """Writes the model with fixed shapes; returns the names of its inputs."""
    names = [f"x{i}" for i in range(len(case.inputs))]
    torch.onnx.export(
        case.model,
        case.inputs,
        str(path),
        dynamo=True,
        input_names=names,
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    return names


def _session(case: Case, path: Path) -> Callable[[], object]:
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = case.threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {row.name: x.numpy() for row, x in zip(session.get_inputs(), case.inputs, strict=True)}
    return lambda: session.run(None, feed)


def _prepare_float(case: Case) -> Callable[[], object]:
    with TemporaryDirectory() as folder:
        path = Path(folder, "float.onnx")
        _export(case, path)
        return _session(case, path)


def _prepare_int8(case: Case) -> Callable[[], object]:
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    with TemporaryDirectory() as folder:
        exported, inferred, quantized = (Path(folder, f"{step}.onnx") for step in ("float", "inferred", "int8"))
        names = _export(case, exported)
        quantization.quant_pre_process(str(exported), str(inferred))
        batches = iter([dict(zip(names, (x.numpy() for x in batch), strict=True)) for batch in case.calibration])

        class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
            def get_next(self) -> dict[str, Any] | None:
                return next(batches, None)

        quantization.quantize_static(
            str(inferred),
            str(quantized),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
        )
        return _session(case, quantized)


PACKAGES = ("onnxruntime", "onnx", "onnxscript")
FLOAT = Contestant(
    "ONNX Runtime float",
    f"torch.onnx.export, opset {OPSET}, fixed shapes; all graph optimizations",
    _prepare_float,
    peer="ort",
    packages=PACKAGES,
)
INT8 = Contestant(
    "ONNX Runtime int8",
    "the same export, quant_pre_process, quantize_static: QDQ, uint8 activations, int8 weights per channel",
    _prepare_int8,
    peer="ort",
    packages=PACKAGES,
)
