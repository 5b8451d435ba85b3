"""What fxquant makes of a network: how it was captured, how much of it computes in int8, and how near it stays.

python tests/zoo/figures.py            the table of docs/capture.md; fails if a network falls short
python tests/zoo/figures.py swin -v    the networks with "swin" in their names, with every float node and its reason
"""

from __future__ import annotations

import copy
import math
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from fxquant import calibrate, convert_fx, explain, get_default_qconfig_mapping, prepare_fx
from fxquant.analysis.explain import Explanation

sys.path.insert(0, str(Path(__file__).parent))
from networks import Inputs, Network, call, chosen_by


@dataclass(frozen=True)
class Figures:
    """`int8_share`: of the multiply-adds of the float network. `sqnr`: in dB, of all float outputs together.

    `conditioning`: the SQNR of the float network itself, if nothing but its weights is rounded to 8 bits: no int8
    network is much better. `same_structure`: whether the results are of the same classes and keys. `other_batch`: the
    SQNR on a batch of another size.
    """

    network: Network
    explanation: Explanation
    int8_share: float
    sqnr: float
    conditioning: float
    same_structure: bool
    other_batch: float
    seconds: float


def figures(network: Network) -> Figures:
    """Prepares, calibrates, converts and runs `network`, and compares it with what it was."""
    model = network.build()
    torch.manual_seed(1)
    batches = [network.inputs(2) for _ in range(3)]
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = prepare_fx(model, get_default_qconfig_mapping(), batches[0])
        calibrate(prepared, batches, progress=False)
        quantized = convert_fx(prepared)
    seconds = time.perf_counter() - start
    with torch.no_grad():
        float_flops, expected = _flops(model, batches[0])
        int8_flops, result = _flops(quantized, batches[0])
        return Figures(
            network=network,
            explanation=explain(quantized),
            int8_share=1 - int8_flops / float_flops,
            sqnr=sqnr(expected, result),
            conditioning=sqnr(expected, call(rounded(model), batches[0])),
            same_structure=pytree.tree_structure(expected) == pytree.tree_structure(result),
            other_batch=_on(model, quantized, network.inputs(3)),
            seconds=seconds,
        )


def _flops(model: nn.Module, inputs: Inputs) -> tuple[int, Any]:
    """How often torch's own operators multiply or add, and the result; int8 layers are none of these."""
    with _Counter() as counter:
        result = call(model, inputs)
    return counter.flops, result


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        count = _FORMULAS.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        return result


def _attention_flops(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    batch, heads, length, width = query.shape
    return 2 * batch * heads * length * key.shape[2] * (width + value.shape[3])


_FORMULAS = {**flop_registry, torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}


def _on(model: nn.Module, quantized: nn.Module, inputs: Inputs) -> float:
    return sqnr(call(model, inputs), call(quantized, inputs))


def rounded(model: nn.Module) -> nn.Module:
    """`model` with its weights rounded to 8 bits, a scale for each output channel."""
    rounded = copy.deepcopy(model)
    for weight in rounded.parameters():
        if weight.dim() > 1:
            scale = weight.abs().amax(tuple(range(1, weight.dim())), keepdim=True).clamp_min(1e-12) / 127
            weight.copy_(torch.round(weight / scale) * scale)
    return rounded


def sqnr(expected: Any, result: Any) -> float:
    """10 log10(signal / noise) over the float tensors in two results of one structure."""
    pairs = [
        (a.double(), b.double())
        for a, b in zip(pytree.tree_leaves(expected), pytree.tree_leaves(result), strict=True)
        if isinstance(a, Tensor) and a.is_floating_point()
    ]
    signal = sum(float(a[a.isfinite()].square().sum()) for a, _ in pairs)
    noise = sum(float((a - b)[a.isfinite()].square().sum()) for a, b in pairs)
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


LOSS = 14  # dB
# Its convolutions take slices of their weights, which are computed.
LEAST_SHARE = {"octresnet10_ad2": 0.35}
# Rows of padding, which is zero behind the embedding, hold next to nothing until a LayerNorm magnifies it; and
# the place of a heatmap's maximum moves by more than any noise.
LEAST_SQNR = {"DebertaV2Model": 9.0, "simplepose_resnet18_coco": 8.0}


def complaints(found: Figures) -> list[str]:
    """What falls short of what a network of the zoo must reach."""
    name = found.network.name
    # Rounding the weights alone costs the float network so much; int8 rounds the activations as well.
    least = LEAST_SQNR.get(name, min(20, found.conditioning - LOSS))
    checks = {
        "the results are of another structure": found.same_structure,
        f"{found.int8_share:.1%} in int8": found.int8_share > LEAST_SHARE.get(name, 0.85),
        f"{found.sqnr:.1f} dB": found.sqnr > least,
        f"{found.other_batch:.1f} dB on another batch": found.other_batch > least - 8,
        "nothing says how it was captured": bool(found.explanation.captures),
        "a node is in float without a reason": all(row.reason for row in found.explanation.float_rows),
    }
    return [complaint for complaint, holds in checks.items() if not holds]


def islands(explanation: Explanation) -> Counter[str]:
    """How many float nodes of each op there are, by reason."""
    return Counter(f"{row.op}: {row.reason}" for row in explanation.float_rows)


def main() -> None:
    torch.set_num_threads(1)
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    shares, short = [], []
    print("| network | kind | captured by | int8 | SQNR | weights alone | float, and why |")
    print("| --- | --- | --- | ---: | ---: | ---: | --- |")
    for network in chosen_by(words):
        found = figures(network)
        shares.append(found.int8_share)
        short += [f"{network.name}: {complaint}" for complaint in complaints(found)]
        print(_line(found), flush=True)
        if "-v" in sys.argv:
            _print_reasons(found)
    print(f"\n{len(shares)} networks; the median share of multiply-adds in int8 is {median(shares):.1%}.")
    if short:
        sys.exit("\n".join(["These fall short:", *short]))


def _line(found: Figures) -> str:
    ways = Counter(each.how for each in found.explanation.captures)
    shown = ", ".join(way if count == 1 else f"{way} ({count})" for way, count in ways.items())
    ops = ", ".join(dict.fromkeys(f"{row.op}" for row in found.explanation.float_rows if _computes(row.reason)))
    cells = (
        found.network.name,
        found.network.kind,
        shown,
        f"{found.int8_share:.1%}",
        f"{found.sqnr:.1f} dB",
        f"{found.conditioning:.1f} dB",
        ops,
    )
    return f"| {' | '.join(cells)} |"


def _computes(reason: str) -> bool:
    """Whether the reason to stay float is the node's own, not its neighbours', its inputs' or its dtype."""
    others = ("neither its inputs", "a part of what", "no activation is in it", "torch.int64", "torch.bool")
    return not any(words in reason for words in others)


def _print_reasons(found: Figures) -> None:
    for each in found.explanation.captures:
        print("    ", each)
    for reason, count in islands(found.explanation).most_common():
        print(f"    {count:4} {reason}")


if __name__ == "__main__":
    main()
