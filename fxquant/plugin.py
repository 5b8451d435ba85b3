"""All that a plug-in is made with: passes, rules, ops, kernels and corrections. How: docs/add_a_pass.md."""

from fxquant.arguments import typed
from fxquant.graph.annotation import activations, leave_float, quant_of
from fxquant.graph.level import note_refusal
from fxquant.graph.origin import origin_of, where
from fxquant.graph.pattern import computed, parameter, scalar
from fxquant.graph.registry import register_pass
from fxquant.graph.rescaling import note_rescaling
from fxquant.graph.rewrite import Match, Rule, apply_rules, rule
from fxquant.graph.surgery import fetch, set_parameter
from fxquant.graph.weights import is_depthwise, mean_of_products, set_bias
from fxquant.ops.op import Output, op, op_of, spelling
from fxquant.runtime.brought import integer_op, kernel_for
from fxquant.tuning.change import allowed, changing
from fxquant.tuning.channels import by_channel
from fxquant.tuning.lockstep import Layer, Paused, layers_in_lockstep
from fxquant.tuning.prepared import arguments_of, behind, is_private, name_of, parameter_of, readers, scale, twin

__all__ = [
    "Layer",
    "Match",
    "Output",
    "Paused",
    "Rule",
    "activations",
    "allowed",
    "apply_rules",
    "arguments_of",
    "behind",
    "by_channel",
    "changing",
    "computed",
    "fetch",
    "integer_op",
    "is_depthwise",
    "is_private",
    "kernel_for",
    "layers_in_lockstep",
    "leave_float",
    "mean_of_products",
    "name_of",
    "note_refusal",
    "note_rescaling",
    "op",
    "op_of",
    "origin_of",
    "parameter",
    "parameter_of",
    "quant_of",
    "readers",
    "register_pass",
    "rule",
    "scalar",
    "scale",
    "set_bias",
    "set_parameter",
    "spelling",
    "twin",
    "typed",
    "where",
]
