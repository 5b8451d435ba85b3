"""conv_b(f(conv_a(x)))   ->   conv_b'(f(conv_a'(x)))      a' = s * a, b' = b / s per channel, f(s * y) = s * f(y)

Channels that use little of their tensor's range share its scale with those that need all of it; each is stretched
towards the largest. Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"
(arXiv:1906.04721), section 4.1, with ranges of measured activations instead of weights, which have a scale each.
Values that are added share their s, so a residual stream is stretched as one. A depthwise layer's weights take any s
without loss: s = max / range; others take s = sqrt(max / range).

clamp(y, 0, 6) stays as it is: a channel that reaches 6 keeps s = 1, another is stretched up to 6 at most. So on `data`
the float model computes the same; on other data such a channel may be cut at the largest value that `data` showed,
or beyond it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from networkx.utils import UnionFind
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from fxquant.calibrate import bound_batch, in_eval, in_order
from fxquant.errors import CalibrationError, ConfigError
from fxquant.graph import surgery
from fxquant.graph.kept import meta_of
from fxquant.graph.parts import is_part
from fxquant.graph.weights import is_depthwise, readers_of
from fxquant.observer import ObserverBase, QScheme
from fxquant.ops.op import op_of

Prepared = TypeVar("Prepared", bound=nn.Module)


def equalize_channels(prepared: Prepared, data: Iterable[Any]) -> Prepared:
    """Equalizes the channels between the 2-d convolutions of a model of prepare_fx, in place, and returns it.

    `data`: batches as for calibrate. Observers forget what they saw: calibrate afterwards. A value that anything but
    convolutions, additions, relu and clamps from 0 reads or computes is left as it is, and so are shared weights.

    Raises ConfigError if `prepared` is not one graph of prepare_fx, or if a convolution has one scale for its whole
    weight, CalibrationError if `data` holds no batches, and InputError if a batch does not fit.
    """
    if "qconfig_mapping" not in meta_of(prepared) or not is_part(prepared):
        raise ConfigError("equalize_channels takes what prepare_fx returned, of a model that was captured as one graph")
    gm: GraphModule = prepared
    groups = _groups(gm)
    for layer in (n for members in groups for n in members if _name(n) == "conv2d"):
        _refuse_one_scale(gm, layer)
    with torch.no_grad(), in_eval(gm):
        ranges = _ranges(gm, data)
        for members in groups:
            _stretch(gm, members, ranges)
    for module in gm.modules():
        if isinstance(module, ObserverBase):
            module.reset_min_max_vals()
    return prepared  # type: ignore[return-value]


class _Ranges(Interpreter):
    """Runs without observing, and keeps the largest magnitude of each channel of each image."""

    def __init__(self, gm: GraphModule) -> None:
        super().__init__(gm)
        self.found: dict[Node, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor) and value.dim() == 4 and op_of(n) is not None:
            largest = value.abs().amax((0, 2, 3))
            self.found[n] = torch.maximum(largest, self.found.get(n, largest))
        return value

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        observing = isinstance(self.fetch_attr(target), ObserverBase)
        return args[0] if observing else super().call_module(target, args, kwargs)


def _ranges(gm: GraphModule, data: Iterable[Any]) -> dict[Node, Tensor]:
    signature, runner = inspect.signature(gm.forward), _Ranges(gm)
    for index, batch in enumerate(data):
        args, kwargs = bound_batch(signature, batch, f"batch {index}")
        runner.run(*in_order(signature, args, kwargs))
    if not runner.found:
        raise CalibrationError("data holds no batches, or the model computes no images")
    return runner.found


def _name(node: Node) -> str:
    row = op_of(node)
    return row.name if row else ""


def _behind(gm: GraphModule, node: Node) -> Node:
    """What an observer watches; any other node itself."""
    observed = node.op == "call_module" and isinstance(gm.get_submodule(str(node.target)), ObserverBase)
    return node.all_input_nodes[0] if observed else node


def _groups(gm: GraphModule) -> list[list[Node]]:
    """The values that must be stretched alike: what is added, and what a saturation reads and gives."""
    alike: UnionFind[Node] = UnionFind()
    for node in gm.graph.nodes:
        if _name(node) == "conv2d":
            alike[node]
        elif _name(node) in ("add", "relu", "clamp"):
            alike.union(node, *(_behind(gm, x) for x in node.all_input_nodes))
    return [list(group) for group in alike.to_sets()]


def _refuse_one_scale(gm: GraphModule, layer: Node) -> None:
    weight = op_of(layer).bind(layer)["weight"]  # type: ignore[union-attr]
    if _behind(gm, weight) is weight:
        return
    qscheme = getattr(gm.get_submodule(str(weight.target)), "qscheme", None)
    if qscheme is not None and not QScheme.of(qscheme).per_channel:
        raise ConfigError(
            f"{_behind(gm, weight).target} has one scale, of which its stretched channels would leave little to the "
            "others; prepare the model with a weight observer per channel, such as default_per_channel_weight_observer"
        )


def _readers(gm: GraphModule, node: Node) -> list[Node]:
    """Who reads a value, its observers seen through."""
    return [r for user in node.users for r in (_readers(gm, user) if _behind(gm, user) is not user else [user])]


def _stretch(gm: GraphModule, members: list[Node], ranges: dict[Node, Tensor]) -> None:
    layers = [n for n in members if _name(n) == "conv2d"]
    readers = list({r: None for n in members for r in _readers(gm, n) if r not in members or _name(r) == "conv2d"})
    if not readers or any(_name(n) != "conv2d" for n in readers):
        return
    if any(n not in ranges or not _is_homogeneous(n) for n in members):
        return
    channels = {ranges[n].numel() for n in members}
    if len(channels) != 1 or any(_weight(gm, n) is None for n in layers + readers):
        return
    if any(not (_depthwise(n, gm) or _groups_of(n) == 1) for n in readers):
        return
    bounds = [op_of(n).bind(n) for n in members if _name(n) == "clamp"]  # type: ignore[union-attr]
    if any(b["min"] != 0 for b in bounds):
        return
    kept = [n for n in members if not any(_name(r) in ("relu", "clamp") for r in _readers(gm, n))]
    r = torch.stack([ranges[n] for n in kept]).amax(0).clamp(min=1e-6)
    s = (r.max() / r) ** (1.0 if all(_depthwise(n, gm) for n in readers) else 0.5)
    for bound in (b["max"] for b in bounds if b["max"] is not None):
        s = torch.where(r >= bound, 1.0, s.minimum(bound / r))
    for n in layers:
        _scale(gm, n, "weight", s[:, None, None, None])
        _scale(gm, n, "bias", s)
    for n in readers:
        _scale(gm, n, "weight", 1 / (s[:, None, None, None] if _depthwise(n, gm) else s[None, :, None, None]))


def _is_homogeneous(node: Node) -> bool:
    """Whether a stretched value comes of stretched ones; a number that is added would have to be stretched, too."""
    return _name(node) in ("conv2d", "relu", "clamp") or (_name(node) == "add" and len(node.all_input_nodes) == 2)


def _weight(gm: GraphModule, layer: Node) -> Node | None:
    """The parameter that is the weight, if this layer alone reads it and its bias is no computed one."""
    arguments = op_of(layer).bind(layer)  # type: ignore[union-attr]
    weight, bias = _behind(gm, arguments["weight"]), arguments["bias"]
    private = all(n.op == "get_attr" and readers_of(gm, n) == 1 for n in (weight, bias) if n is not None)
    return weight if private else None


def _groups_of(layer: Node) -> int:
    return int(op_of(layer).bind(layer)["groups"])  # type: ignore[union-attr]


def _depthwise(layer: Node, gm: GraphModule) -> bool:
    arguments = op_of(layer).bind(layer)  # type: ignore[union-attr]
    return is_depthwise(surgery.fetch(gm, _behind(gm, arguments["weight"])), arguments)


def _scale(gm: GraphModule, layer: Node, role: str, factor: Tensor) -> None:
    node = op_of(layer).bind(layer)[role]  # type: ignore[union-attr]
    if node is not None:
        parameter = _behind(gm, node)
        surgery.set_parameter(gm, str(parameter.target), surgery.fetch(gm, parameter) * factor)
