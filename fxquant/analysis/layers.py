"""The layers that can be quantized one by one: what computes in int8 in one piece, under the name to set it by.

A layer is a unit of the compiler, such as conv + bn + relu or conv + residual, with the settings of a QConfigMapping
that reach the calls in it. Calls of one module are one layer, since one setting reaches them all.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from torch import nn
from torch.fx import GraphModule, Node

from fxquant.errors import ConfigError
from fxquant.graph.annotation import leads, rounds_weight
from fxquant.graph.kept import meta_of
from fxquant.graph.matching import call_indices
from fxquant.graph.origin import Origin, origin_of
from fxquant.graph.parts import parts_of
from fxquant.ops.op import op_name, op_of
from fxquant.placement.place import run_in_float
from fxquant.placement.units import Unit, units_of
from fxquant.qconfig import QConfig
from fxquant.qconfig_mapping import OrderKey, QConfigMapping

# A module's path, or where a call of something else stands.
Setting = str | OrderKey


@dataclass(frozen=True)
class Layer:
    """`name`: the path of the module, or, of a call that is no module's, "path.spelling" and which one it is, from 0.

    `settings`: what sets its QConfig.
    """

    name: str
    op: str
    source: str
    settings: tuple[Setting, ...]


def layers_of(prepared: nn.Module, depth: int | None = None) -> list[Layer]:
    """The layers of a prepared model, in running order; with `depth`, blocks: modules at most that deep.

    What only moves data is no layer. Raises ConfigError if there is none.
    """
    found: dict[str, Layer] = {}
    for _, _, layer in _units(prepared, depth):
        old = found.get(layer.name)
        settings = dict.fromkeys((*old.settings, *layer.settings) if old else layer.settings)
        found[layer.name] = Layer(layer.name, old.op if old else layer.op, layer.source, tuple(settings))
    if not found:
        raise ConfigError("nothing runs in int8, so there is no layer to judge; explain(convert_fx(prepared)) says why")
    return list(found.values())


def with_int8_only(prepared: nn.Module, names: Collection[str], depth: int | None = None) -> nn.Module:
    """A copy of `prepared` in which only the layers called `names` run in int8."""
    copied = copy.deepcopy(prepared)
    kept = {unit for _, unit, layer in _units(copied, depth) if layer.name in names}
    for _, part in parts_of(copied):
        for unit in units_of(part):
            if unit not in kept:
                run_in_float(unit, "another layer is judged alone")
    return copied


def left_float(mapping: QConfigMapping, layers: Iterable[Layer]) -> QConfigMapping:
    """A copy of `mapping` in which `layers` stay float; for prepare_fx, or for convert_fx without calibrating anew."""
    return with_qconfig(mapping, layers, None)


def with_qconfig(mapping: QConfigMapping, layers: Iterable[Layer], qconfig: QConfig | None) -> QConfigMapping:
    """A copy of `mapping` in which `layers` have `qconfig`; for prepare_fx."""
    changed = copy.deepcopy(mapping)
    for setting in (setting for layer in layers for setting in layer.settings):
        if isinstance(setting, str):
            changed.set_module_name(setting, qconfig)
        else:
            changed.set_module_name_object_type_order(*setting, qconfig)
    return changed


def runs_in_float(prepared: nn.Module, layer: Layer) -> bool:
    """Whether no call in `layer` of a prepared model computes with integers, be it of its weights alone."""
    for _, part in parts_of(prepared):
        indices = call_indices(part)
        for node in part.graph.nodes:
            if origin_of(node) is not None and rounds_weight(node) and _is_in(_setting(node, indices), layer):
                return False
    return True


def _is_in(setting: Setting, layer: Layer) -> bool:
    path = setting if isinstance(setting, str) else setting[0]
    return setting in layer.settings or (layer.op == "block" and f"{path}.".startswith(f"{layer.name}."))


def mapping_of(prepared: nn.Module) -> QConfigMapping:
    """The mapping that a model was prepared with. Raises ConfigError for any other model."""
    if "qconfig_mapping" not in meta_of(prepared):
        raise ConfigError(f"prepared is a {type(prepared).__name__}; pass what prepare_fx returned, calibrated")
    mapping: QConfigMapping = meta_of(prepared)["qconfig_mapping"]
    return mapping


def _units(prepared: nn.Module, depth: int | None) -> Iterator[tuple[GraphModule, Unit, Layer]]:
    for _, part in reversed(list(parts_of(prepared))):
        indices = call_indices(part)
        for unit in units_of(part):
            decisive = [n for n in unit if leads(n)] or [n for n in unit if _computes(n)]
            origins = [(node, origin) for node in decisive[:1] if (origin := origin_of(node)) is not None]
            for node, origin in origins:
                settings = tuple(_setting(n, indices) for n in decisive if origin_of(n) is not None)
                yield part, unit, _layer(part, node, origin, settings, depth)


def _layer(gm: GraphModule, node: Node, origin: Origin, settings: tuple[Setting, ...], depth: int | None) -> Layer:
    op, path = op_name(gm, node), origin.module_path.split(".")
    if depth is not None and len(path) >= depth and origin.module_path:
        block = ".".join(path[:depth])
        return Layer(block, "block", "", (block,))
    order = settings[0]
    name = order if isinstance(order, str) else ".".join(filter(None, (order[0], _numbered(origin, order[2]))))
    return Layer(name, op, origin.source or "", settings)


def _numbered(origin: Origin, index: int) -> str:
    spelling = str(getattr(origin.spelling, "__name__", origin.spelling))
    return f"{spelling}_{index}" if index else spelling


def _setting(node: Node, indices: dict[Node, int]) -> Setting:
    origin = origin_of(node)
    assert origin is not None
    if origin.is_module_call and origin.module_path:
        return origin.module_path
    return origin.scope, origin.spelling, indices[node]


def _computes(node: Node) -> bool:
    row = op_of(node)
    return row is None or not row.moves
