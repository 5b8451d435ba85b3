"""Leaves in float what a qconfig mapping given at conversion sets to None."""

from __future__ import annotations

from torch.fx import GraphModule

from fxquant.errors import ConfigError
from fxquant.graph import surgery
from fxquant.graph.annotation import activations, leads, quant_of
from fxquant.graph.matching import matches
from fxquant.graph.watching import readers_of, value_of
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
            run_in_float(unit, f"{excluded.name} has the qconfig None at conversion, by {found[excluded].source}")
    while alone := [unit for unit in units if _is_alone(unit)]:
        for unit in alone:
            run_in_float(unit, "neither its inputs nor its users run in int8 any more")
    return surgery.clean(gm)


def _is_alone(unit: Unit) -> bool:
    """Whether the unit runs in int8, does not compute enough for that by itself, and has no neighbour in int8."""
    if not quant_of(unit[0]).int8 or any(leads(node) for node in unit):
        return False
    around = [n for node in unit for n in (*map(value_of, activations(node)), *readers_of(node)) if n not in unit]
    return not any(quant_of(node).int8 for node in around)


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
