"""How long a network of the zoo takes: in float, in int8, and in int8 as placement="fastest" has it.

python tests/zoo/speed.py            all, one thread, one example; fails where int8 is slower than float or placed
python tests/zoo/speed.py swin       those with "swin" in their names

Eager torch in inference mode. The three take turns; a ratio is the median of those of the rounds.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from statistics import median

import torch
from torch import nn

from fxquant import calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx
from fxquant.bench.timing import burst, interleaved, median_ratio

sys.path.insert(0, str(Path(__file__).parent))
from networks import Inputs, Network, call, chosen_by

ROUNDS = 15
TURN = 0.02  # seconds
NOISE = 1.05  # what equal programs may differ by


def main() -> None:
    torch.set_num_threads(1)
    slow = []
    print(f"{'ms':>34} {'float':>8} {'int8':>8} {'placed':>8} {'float / int8':>13} {'int8 / placed':>14}")
    for network in chosen_by(sys.argv[1:]):
        times = in_turns(network)
        gain, placed_gain = (median_ratio(times[i], times[i + 1]) for i in (0, 1))
        shown = " ".join(f"{median(each) * 1e3:8.2f}" for each in times)
        print(f"{network.name:>34} {shown} {gain:13.2f} {placed_gain:14.2f}", flush=True)
        if gain * NOISE < 1:
            slow.append(f"{network.name}: int8 takes {1 / gain:.2f} times as long as float")
        if placed_gain * NOISE < 1:
            slow.append(f"{network.name}: placed, it takes {1 / placed_gain:.2f} times as long as unplaced")
    if slow:
        sys.exit("\n".join(["These are slower:", *slow]))


def in_turns(network: Network) -> list[list[float]]:
    """Of float, int8 and placed int8: the median of each round, in seconds."""
    model, inputs = network.build(), network.inputs(1)
    models = (model, *converted(model, inputs))
    with torch.inference_mode():
        times = interleaved([lambda m=m: burst(lambda: call(m, inputs), TURN) for m in models], ROUNDS)
    return [[median(turn) for turn in turns] for turns in times]


def converted(model: nn.Module, inputs: Inputs) -> tuple[nn.Module, nn.Module]:
    """`model` in int8 as configured, and as placed; both made with `inputs`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare_fx(model, get_default_qconfig_mapping(), inputs)
        calibrate(prepared, [inputs], progress=False)
        return convert_fx(prepared), convert_fx(prepared, placement="fastest")


if __name__ == "__main__":
    main()
