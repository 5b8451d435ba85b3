"""All that a plug-in is made with: passes, rules, ops and kernels. How: docs/add_a_pass.md."""

from fxquant.graph.annotation import activations, leave_float, quant_of
from fxquant.graph.origin import origin_of
from fxquant.graph.pattern import computed, parameter, scalar
from fxquant.graph.registry import register_pass
from fxquant.graph.rewrite import Match, Rule, apply_rules, rule
from fxquant.graph.surgery import fetch
from fxquant.ops.op import Output, op, op_of, spelling
from fxquant.runtime.brought import integer_op, kernel_for

__all__ = [
    "Match",
    "Output",
    "Rule",
    "activations",
    "apply_rules",
    "computed",
    "fetch",
    "integer_op",
    "kernel_for",
    "leave_float",
    "op",
    "op_of",
    "origin_of",
    "parameter",
    "quant_of",
    "register_pass",
    "rule",
    "scalar",
    "spelling",
]
