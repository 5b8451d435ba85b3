from __future__ import annotations

import copy
import operator
import re
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fxquant import convert_fx, explain, get_default_qconfig_mapping, prepare_fx
from fxquant.analysis.measures import sqnr_db
from fxquant.errors import ConfigError, InputError, TraceError
from fxquant.graph.origin import Origin, origin_of
from fxquant.graph.trace import propagate_shapes, trace


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))  # the block's line


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block())
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor, scale: float = 2.0, *, mask: Tensor | None = None) -> Tensor:
        y = self.blocks(x).mean((2, 3)) * scale
        if mask is not None:
            y += mask
        return self.fc(y)


X = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4) / 96


def line_of(text: str) -> int:
    with open(__file__) as source:
        return next(number for number, line in enumerate(source, 1) if text in line)


def placeholders(gm: torch.fx.GraphModule) -> list[str]:
    return [node.name for node in gm.graph.nodes if node.op == "placeholder"]


def test_computes_the_same_on_any_batch() -> None:
    model = Net().eval()
    gm = trace(model, (X,))
    for n in (1, 2, 5):
        x = torch.randn(n, 3, 6, 7)
        assert torch.equal(gm(x), model(x))
    assert list(gm.state_dict()) == list(model.state_dict())
    assert not gm.training
    assert type(gm).__name__ == "Net"


def test_origins_shapes_and_dtypes() -> None:
    gm = trace(Net().eval(), (X,))
    nodes = {node.name: node for node in gm.graph.nodes}
    block = f"test_trace.py:{line_of('# the block' + chr(39) + 's line')}"
    assert origin_of(nodes["blocks_0_conv"]) == Origin("blocks.0.conv", nn.Conv2d, nn.Conv2d, block)
    assert origin_of(nodes["relu"]) == Origin("blocks.0", Block, F.relu, block)
    assert origin_of(nodes["mean"]) == Origin("", Net, "mean", f"test_trace.py:{line_of('y = self.blocks(x)')}")
    assert origin_of(nodes["mul"]).spelling is operator.mul
    assert (nodes["relu"].meta["shape"], nodes["relu"].meta["dtype"]) == (torch.Size([2, 4, 4, 4]), torch.float32)
    assert nodes["fc"].meta["shape"] == torch.Size([2, 5])


def test_propagate_shapes_again() -> None:
    gm = trace(Net().eval(), (X,))
    propagate_shapes(gm, (torch.randn(7, 3, 5, 5),))
    assert next(n for n in gm.graph.nodes if n.name == "relu").meta["shape"] == torch.Size([7, 4, 5, 5])
    assert next(n for n in gm.graph.nodes if n.name == "fc").meta["shape"] == torch.Size([7, 5])


def test_shapes_of_several_tensors_and_of_numbers() -> None:
    class Pieces(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.chunk(2, 1)[0].view(x.size(0), -1)

    nodes = {n.name: n for n in trace(Pieces().eval(), (torch.zeros(2, 4),)).graph.nodes}
    assert nodes["chunk"].meta["shape"] == (torch.Size([2, 2]), torch.Size([2, 2]))
    assert nodes["size"].meta["shape"] is None
    assert nodes["getitem"].meta["shape"] == torch.Size([2, 2])


def test_kinds_of_example_inputs() -> None:
    model, mask = Net().eval(), torch.ones(5, 4)[:2]
    for inputs in (X, [X], (X,), {"x": X}):
        gm = trace(model, inputs)
        assert placeholders(gm) == ["x", "scale", "mask"]
        assert torch.equal(gm(X), model(X))
    with_mask = trace(model, {"x": X, "mask": mask})
    assert torch.equal(with_mask(X, mask=mask), model(X, mask=mask))
    scaled = trace(model, (X, 3.0))
    assert torch.equal(scaled(X), model(X, 3.0))


def test_what_the_example_fixed_is_checked_at_every_call() -> None:
    model, mask = Net().eval(), torch.ones(5, 4)[:2]
    gm = trace(model, (X,))
    assert torch.equal(gm(X, 2.0, mask=None), model(X))
    with pytest.raises(InputError, match=r"the argument 'scale' is 3\.0; with the example inputs it was 2\.0"):
        gm(X, scale=3.0)
    with pytest.raises(InputError, match="the argument 'mask' is data; with the example inputs it was None"):
        gm(X, mask=mask)
    with pytest.raises(InputError, match="the argument 'mask' is missing; the example inputs had it"):
        trace(model, {"x": X, "mask": mask})(X)


def test_variadic_forward() -> None:
    class Sum(nn.Module):
        def forward(self, *xs: Tensor, **named: Tensor) -> Tensor:
            return sum([*xs, *named.values()])

    a, b = torch.randn(2), torch.randn(2)
    gm = trace(Sum().eval(), (a, b, a))
    assert placeholders(gm) == ["xs_0", "xs_1", "xs_2"]
    assert torch.equal(gm(a, b, b), a + b + b)
    gm = trace(Sum().eval(), {"left": a, "right": b})
    assert placeholders(gm) == ["left", "right"]
    assert torch.equal(gm(b, b), b + b)


def test_the_users_model_is_untouched() -> None:
    class Stateful(Net):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.last = "traced"
            self.seen += 1
            return super().forward(x) + self.seen

    model = Stateful().eval()
    hook = model.fc.register_forward_hook(lambda *_: None)
    tensors = {name: (t, t.clone()) for name, t in model.state_dict(keep_vars=True).items()}
    attributes = copy.copy(vars(model))
    modules = dict(model.named_modules())
    x = X.clone()
    random_state = torch.random.get_rng_state()
    gm = trace(model, (x,))
    assert vars(model).keys() == attributes.keys()
    assert (model.calls, model.training, model.fc.training) == (0, False, False)
    assert dict(model.named_modules()) == modules
    assert list(model.fc._forward_hooks) == [hook.id]
    for name, tensor in model.state_dict(keep_vars=True).items():
        assert tensor is tensors[name][0]
        assert torch.equal(tensor, tensors[name][1])
    assert torch.equal(x, X)
    assert torch.equal(torch.random.get_rng_state(), random_state)
    mine = {t.data_ptr() for t in model.state_dict().values()}
    assert not mine & {t.data_ptr() for t in gm.state_dict().values()}


def test_shared_tensors_stay_shared_and_constants_stay_unsaved() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight
            self.plain = torch.ones(3)
            self.register_buffer("kept", torch.ones(3))
            self.register_buffer("passing", torch.ones(3), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x)) + self.plain + self.kept * x + self.passing * x + torch.ones(3)

    model = Tied().eval()
    gm = trace(model, (torch.randn(2, 3),))
    assert gm.a.weight is gm.b.weight
    assert set(gm.state_dict()) == set(model.state_dict())
    x = torch.randn(4, 3)
    assert torch.equal(gm(x), model(x))


def test_leaves_by_name_and_by_class() -> None:
    by_name = trace(Net().eval(), (X,), leaf_names=["blocks.0"])
    by_class = trace(Net().eval(), (X,), leaf_classes=[Block])
    for gm in (by_name, by_class):
        (leaf,) = [n for n in gm.graph.nodes if n.op == "call_module" and n.target == "blocks.0"]
        assert origin_of(leaf).module_type is Block
    with pytest.raises(
        ConfigError, match=re.escape("no module called 'blocks.1' to keep as it is; names are blocks.0")
    ):
        trace(Net().eval(), (X,), leaf_names=["blocks.1"])


def test_in_place_operators_do_not_write_any_more() -> None:
    class Adds(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x += 1
            return x

    gm, x = trace(Adds().eval(), (X,)), X.clone()
    (node,) = [n for n in gm.graph.nodes if n.op == "call_function"]
    assert node.target is operator.add
    assert torch.equal(gm(x), X + 1)
    assert torch.equal(x, X)


class Streaming(nn.Module):
    """A convolution over what came before as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 4, 3)
        self.register_buffer("before", torch.zeros(1, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.before, x], -1)
        self.before.copy_(x[..., -2:])
        return self.conv(x)


def test_what_a_model_keeps_between_calls_is_kept() -> None:
    model, pieces = nn.Sequential(nn.ReLU(), Streaming()).eval(), torch.rand(3, 1, 3, 5)
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (pieces[0],))
    assert not model[1].before.any()
    assert not prepared.get_buffer("1.before").any()
    expected = [model(piece) for piece in pieces]
    for piece, y in zip(pieces, expected, strict=True):
        torch.testing.assert_close(prepared(piece), y)
    model[1].before.zero_()
    prepared.get_buffer("1.before").zero_()
    quantized = convert_fx(prepared)
    for piece, y in zip(pieces, expected, strict=True):
        assert sqnr_db(y, quantized(piece)) > 30
    assert "writes into 1.before, which the model keeps" in str(explain(quantized).captures)


def test_weights_have_constant_shapes() -> None:
    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.weight) if self.weight.shape[0] == 3 else x

    assert [n.op for n in trace(Asks().eval(), torch.ones(1, 3)).graph.nodes if n.name != "x"][1] == "call_function"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: x, "the model is a function; pass an nn.Module instance"),
        (Net, "the model is a type; pass an nn.Module instance"),
        (Net(), "the model is in training mode; call model.eval() first"),
        (torch.jit.script(nn.ReLU().eval()), "the model is TorchScript; pass the Python module that it was made from"),
    ],
)
def test_models_that_are_refused(model: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        trace(model, (X,))


def test_a_submodule_in_training_mode_is_named() -> None:
    model = Net().eval()
    model.blocks[0].bn.train()
    with pytest.raises(ConfigError, match=re.escape("blocks.0.bn is in training mode; call model.eval() first")):
        trace(model, (X,))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (7, "example_inputs is a int; pass a tuple of the arguments of Net.forward(x, scale=2.0, *, mask=None)"),
        ((), "example_inputs do not fit Net.forward(x, scale=2.0, *, mask=None): missing a required argument: 'x'"),
        ((X, 1.0, X), "too many positional arguments; 3 positional given"),
        ({"image": X}, "missing a required argument: 'x'; the keywords image given"),
        (
            ([np.zeros(3)],),
            "the example input 'x' of Net.forward(x, scale=2.0, *, mask=None) is a numpy.ndarray, not a tensor",
        ),
        ((1, 2), "example_inputs hold no tensor; pass what Net.forward(x, scale=2.0, *, mask=None) is called with"),
    ],
)
def test_example_inputs_that_are_refused(inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        trace(Net().eval(), inputs)


def test_an_input_that_contains_itself_is_refused() -> None:
    inputs: list[Any] = [X]
    inputs.append(inputs)
    with pytest.raises(InputError, match=r"the example input 'x' of .* contains itself"):
        trace(Net().eval(), (inputs,))


def test_inputs_that_do_not_go_through_name_the_node_and_the_line() -> None:
    with pytest.raises(InputError) as caught:
        trace(Net().eval(), (torch.zeros(1, 5, 4, 4),))
    message = str(caught.value)
    number = line_of("# the block's line")
    assert f"blocks.0.conv (Conv2d, test_trace.py:{number}) failed: Given groups=1" in message
    assert "its inputs: x (1, 5, 4, 4)" in message
    assert f'File "{__file__}", line {number}, in forward' in message
    assert "return F.relu(self.bn(self.conv(x)))  # the block's line" in message


def test_a_model_that_cannot_be_copied() -> None:
    model = Net().eval()
    model.derived = model.fc.weight * 2
    with pytest.raises(TraceError, match="the model cannot be copied, so it cannot be left untouched"):
        trace(model, (X,))


def test_a_graph_module_can_be_traced_copied_and_pickled(tmp_path: Any) -> None:
    model = Net().eval()
    gm = trace(trace(model, (X,)), (X,))
    assert torch.equal(copy.deepcopy(gm)(X), model(X))
    torch.save(gm, tmp_path / "model.pt")
    assert torch.equal(torch.load(tmp_path / "model.pt", weights_only=False)(X), model(X))
