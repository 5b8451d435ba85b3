"""How long a network of the zoo takes: in float, int8, int8 as placement="fastest" has it, and dynamic int8.

python tests/zoo/speed.py            all, one thread, one example; fails where int8 is slower than float or placed
python tests/zoo/speed.py swin       those with "swin" in their names

Eager torch in inference mode. The four take turns; a ratio is the median of those of the rounds.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from statistics import median

import torch
from torch import nn

from fxquant import QConfigMapping, calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx
from fxquant.bench.timing import burst, interleaved, median_ratio
from fxquant.qconfig import per_channel_dynamic_qconfig

sys.path.insert(0, str(Path(__file__).parent))
from networks import Inputs, Network, call, chosen_by

ROUNDS = 15
TURN = 0.02  # seconds
NOISE = 1.05  # what equal programs may differ by


def main() -> None:
    torch.set_num_threads(1)
    slow = []
    names = ("float", "int8", "placed", "dynamic")
    gains = ("float / int8", "int8 / placed", "float / dynamic")
    print(f"{'ms':>34} {' '.join(f'{name:>8}' for name in names)} {' '.join(f'{gain:>15}' for gain in gains)}")
    for network in chosen_by(sys.argv[1:]):
        times = in_turns(network)
        shown = " ".join(f"{median(each) * 1e3:8.2f}" for each in times)
        in_float, int8, placed, dynamic = times
        found = [median_ratio(*pair) for pair in ((in_float, int8), (int8, placed), (in_float, dynamic))]
        print(f"{network.name:>34} {shown} {' '.join(f'{gain:15.2f}' for gain in found)}", flush=True)
        slow += [
            f"{network.name}: {gain} is {ratio:.2f}"
            for gain, ratio in zip(gains, found, strict=True)
            if ratio * NOISE < 1
        ]
    if slow:
        sys.exit("\n".join(["These are slower:", *slow]))


def in_turns(network: Network) -> list[list[float]]:
    """Of float, int8, placed and dynamic int8: the median of each round, in seconds."""
    model, inputs = network.build(), network.inputs(1)
    models = (model, *converted(model, inputs))
    with torch.inference_mode():
        times = interleaved([lambda m=m: burst(lambda: call(m, inputs), TURN) for m in models], ROUNDS)
    return [[median(turn) for turn in turns] for turns in times]


def converted(model: nn.Module, inputs: Inputs) -> tuple[nn.Module, ...]:
    """`model` in int8 as configured and as placed, both made with `inputs`, and in dynamic int8."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare_fx(model, get_default_qconfig_mapping(), inputs)
        calibrate(prepared, [inputs], progress=False)
        dynamic = prepare_fx(model, QConfigMapping().set_global(per_channel_dynamic_qconfig), inputs)
        return convert_fx(prepared), convert_fx(prepared, placement="fastest"), convert_fx(dynamic)


if __name__ == "__main__":
    main()
