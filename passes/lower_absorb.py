"""float_gelu(dynamic_linear(x, …))      -> dynamic_linear(x, …, activation="gelu")      gelu_tanh, silu likewise
float_add(dynamic_linear(x, …), r)    -> dynamic_linear(x, …, residual=r)            on either side

where nothing else reads the product. Its layer then computes them behind it, by the same kernels, row by row, so that
they are one step with what follows: with a norm, or with the quantization of the next layer's inputs.
"""

from __future__ import annotations

from typing import Any

from torch.fx import GraphModule, Node

from fxquant import ops
from fxquant.graph import surgery
from fxquant.graph.pipeline import register_pass
from fxquant.ops.integer.floats import ACTIVATIONS
from fxquant.ops.op import op_of

_NAMES = {function: name for name, function in ACTIVATIONS.items()}


@register_pass(stage="lower")
def lower_absorb(gm: GraphModule) -> GraphModule:
    for node in list(gm.graph.nodes):
        if node.target in _NAMES:
            [x] = node.all_input_nodes
            if _is_product(x) and _arguments(x)["activation"] is None:
                _absorb(x, node, activation=_NAMES[node.target])
        elif node.target is ops.float_add:
            products = [x for x in node.all_input_nodes if _is_product(x) and _fits(x, node)]
            if products:
                product = max(products)  # the later one: the other is computed by then
                _absorb(product, node, residual=next(x for x in node.all_input_nodes if x is not product))
    return surgery.clean(gm)


def _is_product(x: Node) -> bool:
    """Whether `x` is a product that one node alone reads, and nothing is added to it yet."""
    return x.target is ops.dynamic_linear and len(x.users) == 1 and _arguments(x)["residual"] is None


def _fits(product: Node, total: Node) -> bool:
    """Whether the sum `total` is of two values, and of the shape of `product`."""
    same = product.meta.get("shape") == total.meta.get("shape")
    return same and len(total.all_input_nodes) == 2


def _arguments(node: Node) -> dict[str, Any]:
    row = op_of(node)
    assert row is not None
    return row.bind(node)


def _absorb(product: Node, node: Node, **more: Any) -> None:
    """Puts in the place of `node` the product with `more` arguments."""
    arguments = {**_arguments(product), **more}
    surgery.replace(node, surgery.emit(node, ops.dynamic_linear, sources=[product, node], **arguments))
