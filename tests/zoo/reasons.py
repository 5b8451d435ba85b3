"""Why an int8 network is far from the float one: is a value rounded badly, or does the network magnify any rounding?

    python tests/zoo/reasons.py [name ...]      the second table of docs/capture.md: all networks below 20 dB

worst value    the least SQNR of an activation of the float network, rounded to its 8 bits on its own
1 % noise      the SQNR of the float network, nothing rounded, whose inputs have noise 40 dB below them
"""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from fxquant import calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx, qparams
from fxquant.observer import ObserverBase, PassiveObserver

sys.path.insert(0, str(Path(__file__).parent))
from figures import rounded, sqnr
from networks import NETWORKS, Inputs, Network, call

ENOUGH = 20  # dB


def worst_value(prepared: nn.Module, inputs: Inputs) -> tuple[float, str]:
    """The least SQNR of a value that `prepared`, calibrated, observes, in dB; and where in the model it is."""
    found: list[tuple[float, str]] = []

    def see(observer: Any, arguments: tuple[Tensor], _: Any) -> None:
        if isinstance(observer, PassiveObserver):
            return
        (x,) = arguments
        q = observer.qparams()
        if x.any() and q.axis is None:  # weights have an axis
            found.append((sqnr(x, qparams.dequantize(qparams.quantize(x, q), q)), observer.where))

    watched = copy.deepcopy(prepared)
    for module in watched.modules():
        if isinstance(module, ObserverBase):
            module.register_forward_hook(see)
    call(watched, inputs)
    return min(found)


def noisy(inputs: Inputs) -> Inputs:
    """`inputs`, with noise 40 dB below each tensor of real numbers."""

    def add(x: Any) -> Any:
        real = isinstance(x, Tensor) and x.is_floating_point()
        return x + 0.01 * x.square().mean().sqrt() * torch.randn_like(x) if real else x

    made: Inputs = pytree.tree_map(add, inputs)
    return made


def line(network: Network) -> tuple[float, str]:
    """The SQNR of `network` in int8, and its row of the table."""
    model = network.build()
    torch.manual_seed(1)
    batches = [network.inputs(2) for _ in range(3)]
    prepared = calibrate(prepare_fx(model, get_default_qconfig_mapping(), batches[0]), batches, progress=False)
    expected = call(model, batches[0])
    int8 = sqnr(expected, call(convert_fx(prepared), batches[0]))
    least, where = worst_value(prepared, batches[0])
    weights = sqnr(expected, call(rounded(model), batches[0]))
    noise = sqnr(expected, call(model, noisy(batches[0])))
    shown = "" if math.isinf(noise) else f"{noise:.1f} dB"
    return (
        int8,
        f"| {network.name} | {int8:.1f} dB | {weights:.1f} dB | {shown} | {least:.1f} dB at {where.split(' (')[0]} |",
    )


def main() -> None:
    torch.set_num_threads(1)
    names = sys.argv[1:]
    print("| network | SQNR | weights alone | 1 % noise | worst value |")
    print("| --- | ---: | ---: | ---: | --- |")
    for network in NETWORKS:
        if names and network.name not in names:
            continue
        with torch.no_grad():
            int8, row = line(network)
        if int8 < ENOUGH:
            print(row, flush=True)


if __name__ == "__main__":
    main()
