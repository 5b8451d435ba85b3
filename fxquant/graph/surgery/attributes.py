"""Modules, parameters and buffers, and the nodes that call and fetch them."""

from __future__ import annotations

from torch import Tensor, nn
from torch.fx import GraphModule, Node

from fxquant.graph.origin import origin_of
from fxquant.graph.tree import free_path, owner_at, value_at


def add_module(gm: GraphModule, path: str, module: nn.Module) -> str:
    """Registers `module` under the dotted `path`, or under path_1, path_2 … if that is taken. Returns its path."""
    path = free_path(gm, path)
    gm.add_submodule(path, module)
    return path


def place(root: nn.Module, path: str, module: nn.Module) -> None:
    """Registers `module` under the dotted `path`, which must be free."""
    owner, _, name = path.rpartition(".")
    owner_at(root, owner).add_module(name, module)


def constant(gm: GraphModule, name: str, tensor: Tensor, near: Node) -> Node:
    """Registers `tensor` as a buffer called `name` (dotted; made unique) and returns a node in front of `near`."""
    name = free_path(gm, name)
    set_constant(gm, name, tensor)
    return get_attr(gm, name, near)


def own_constant(gm: GraphModule, node: Node, name: str, tensor: Tensor) -> Node:
    """The same, called `name` within the module of the user's model that `node` comes from."""
    origin = origin_of(node)
    return constant(gm, f"{origin.local_path}.{name}" if origin and origin.local_path else name, tensor, node)


def get_attr(gm: GraphModule, name: str, near: Node) -> Node:
    """A node in front of `near` that fetches the attribute `name`."""
    with gm.graph.inserting_before(near):
        node = gm.graph.get_attr(name)
    tensor = fetch(gm, node)
    node.meta.update(shape=tensor.shape, dtype=tensor.dtype)
    return node


def parameter(gm: GraphModule, name: str, tensor: Tensor, near: Node, replacing: bool) -> Node:
    """Registers `tensor` as a parameter called `name` (dotted) and returns a node in front of `near` that fetches it.

    If the name is taken, the parameter takes over if `replacing`; else another name is found.
    """
    name = name if replacing else free_path(gm, name)
    set_parameter(gm, name, tensor)
    return get_attr(gm, name, near)


def set_parameter(gm: nn.Module, target: str, tensor: Tensor) -> None:
    """Makes the tensor at the dotted path `target` a new parameter; what others hold of the old one stays as it is."""
    path, _, name = target.rpartition(".")
    owner = owner_at(gm, path)
    owner._buffers.pop(name, None)
    owner.register_parameter(name, nn.Parameter(tensor, requires_grad=tensor.is_floating_point()))


def hand_over(gm: GraphModule, root: nn.Module, path: str) -> None:
    """Registers the module or tensor at the dotted `path` of `gm` under that path of `root`; a module leaves `gm`."""
    owner, _, name = path.rpartition(".")
    value = getattr(gm.get_submodule(owner), name)
    if isinstance(value, nn.Module):
        gm.delete_submodule(path)
        place(root, path, value)
    else:
        set_constant(root, path, value)


def set_constant(gm: nn.Module, target: str, tensor: Tensor) -> None:
    """Makes the attribute at the dotted path `target` a buffer that holds `tensor`, whatever it was before."""
    path, _, name = target.rpartition(".")
    owner = owner_at(gm, path)
    if name in owner._parameters:
        del owner._parameters[name]
    elif hasattr(owner, name) and name not in owner._buffers:
        delattr(owner, name)
    owner.register_buffer(name, tensor)


def fetch(gm: GraphModule, node: Node) -> Tensor:
    """The tensor that a get_attr node stands for."""
    value = value_at(gm, str(node.target))
    if not isinstance(value, Tensor):
        raise TypeError(f"{node.target} is not a tensor")
    return value.detach()


def rename_module(gm: GraphModule, node: Node, path: str) -> None:
    """Moves the module that `node` calls to `path`, or to path_1, path_2 … if that is taken."""
    module = gm.get_submodule(str(node.target))
    gm.delete_submodule(str(node.target))
    node.target = add_module(gm, path, module)
    node._rename(node.target.replace(".", "_"))
