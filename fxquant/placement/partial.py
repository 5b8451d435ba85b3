"""Leaves in float what a qconfig mapping given at conversion sets to None."""

from __future__ import annotations

import networkx as nx
from torch.fx import GraphModule, Node

from fxquant.errors import ConfigError
from fxquant.graph import surgery
from fxquant.graph.annotation import activations, leads, quant_of
from fxquant.graph.matching import matches
from fxquant.graph.origin import path_of
from fxquant.graph.watching import readers_of, value_of
from fxquant.ops.op import op_of
from fxquant.placement.place import run_in_float
from fxquant.placement.units import Unit, units_of
from fxquant.qconfig_mapping import QConfigMapping


def leave_float(gm: GraphModule, mapping: QConfigMapping) -> GraphModule:
    """Annotates as float the units of a prepared graph in which an op has the qconfig None by `mapping`.

    What only followed its neighbours into int8 follows them out of it. Modifies and returns `gm`. Raises ConfigError
    if `mapping` sets another qconfig than None or the one that was prepared.
    """
    _check(gm.meta["qconfig_mapping"], mapping)
    units = units_of(gm)
    found = matches(gm, mapping)
    for unit in units:
        excluded = next((node for node in unit if node in found and found[node].qconfig is None), None)
        if excluded is not None:
            run_in_float(unit, f"{path_of(excluded)} has the qconfig None at conversion, by {found[excluded].source}")
    for unit in _cut_off(units):
        run_in_float(unit, "no int8 op is left beside it")
    return surgery.clean(gm)


def _cut_off(units: list[Unit]) -> list[Unit]:
    """The units that run in int8 only because of neighbours that no longer do."""
    near: nx.Graph[Node] = nx.Graph()
    for unit in units:
        nx.add_path(near, unit)
        for node in unit:
            around = (*map(value_of, activations(node)), *readers_of(node))
            near.add_edges_from((node, other) for other in around if quant_of(node).int8 and quant_of(other).int8)
    rooted: set[Node] = set()
    for part in nx.connected_components(near):
        if any(quant_of(node).int8 and _stands_alone(node) for node in part):
            rooted |= part
    return [unit for unit in units if quant_of(unit[0]).int8 and rooted.isdisjoint(unit)]


def _stands_alone(node: Node) -> bool:
    """Whether the op runs in int8 whatever its neighbours do."""
    row = op_of(node)
    inputs = [value_of(x) for x in activations(node)]
    return leads(node) or (row is not None and not row.moves and all(x.op == "placeholder" for x in inputs))


def _check(prepared: QConfigMapping, given: QConfigMapping) -> None:
    before, now = _settings(prepared), _settings(given)
    for setting, qconfig in now.items():
        if qconfig is not None and before.get(setting, qconfig) != qconfig:
            raise ConfigError(f"{setting} has another qconfig than it was prepared with; give the same one, or None")
    if missing := [str(setting) for setting in before if setting not in now]:
        raise ConfigError(
            f"the qconfig_mapping of convert_fx lacks {', '.join(missing[:5])}, which the model was prepared with; "
            "copy the mapping of prepare_fx and set to None what shall stay float"
        )


def _settings(mapping: QConfigMapping) -> dict[tuple[object, ...], object]:
    return {
        (name or "global", *key): qconfig
        for name, entries in mapping.to_dict().items()
        for *key, qconfig in (entries if name else [(entries,)])
    }
