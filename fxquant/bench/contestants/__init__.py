"""Who is compared: a row each, in the order of the report."""

from fxquant.bench.contestants import fxquant_int8, onnx_runtime, openvino, torch_float, torch_fx_x86
from fxquant.bench.contestants.contestant import Contestant

CONTESTANTS: tuple[Contestant, ...] = (
    torch_float.FLOAT,
    fxquant_int8.INT8,
    torch_fx_x86.INT8,
    onnx_runtime.FLOAT,
    onnx_runtime.INT8,
    openvino.FLOAT,
    openvino.INT8,
)
PEERS: tuple[str, ...] = tuple(dict.fromkeys(row.peer for row in CONTESTANTS if row.peer))

__all__ = ["CONTESTANTS", "PEERS", "Contestant"]
