"""What a conversion to float and back between layers would cost: MobileNetV2, one image, one thread.

    static     as converted: every layer hands its bytes to the next
    converted  every int8 value becomes float and int8 again, with the scale known
    dynamic    also the float's minimum and maximum are looked up, as dynamic quantization must

All three run the same int8 layers, one by one. Run from anywhere: python tests/bench/conversions.py
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from fxquant.bench.timing import interleaved_medians
from fxquant.demo import data
from fxquant.demo.demo import quantize_network
from fxquant.kernels import dequantize, quantize
from fxquant.qparams import QParams
from fxquant.runtime.layer import Layer


class WithConversions(Interpreter):
    """Runs an int8 graph with a dequantize and a quantize behind each layer."""

    def __init__(self, gm: GraphModule, *, convert: bool, find_range: bool) -> None:
        super().__init__(gm)
        self.convert, self.find_range = convert, find_range

    def run_node(self, node: Node) -> Any:
        value = super().run_node(node)
        module = self.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if self.convert and isinstance(module, Layer) and not module.at_boundary:
            return self.there_and_back(value, node.meta["qparams"])
        return value

    def there_and_back(self, value: Tensor, q: QParams) -> Tensor:
        real = dequantize(value, q.scale, q.zero_point)
        if self.find_range:
            real.aminmax()
        return quantize(real, q.scale, q.zero_point, q.quant_min, q.quant_max)


def main() -> None:
    _, quantized = quantize_network("mobilenetv2")
    image = data.center_crops("mobilenetv2")[:1]
    runs = {
        "static": WithConversions(quantized, convert=False, find_range=False),
        "converted": WithConversions(quantized, convert=True, find_range=False),
        "dynamic": WithConversions(quantized, convert=True, find_range=True),
    }
    results = [run.run(image) for run in runs.values()]
    assert all(torch.equal(result, results[0]) for result in results)
    calls = [lambda run=run: run.run(image) for run in runs.values()]  # type: ignore[misc]
    for name, seconds in zip(runs, interleaved_medians(calls, threads=1), strict=True):
        print(f"{name:>10} {seconds * 1e3:7.2f} ms")


if __name__ == "__main__":
    main()
