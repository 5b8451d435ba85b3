from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fxquant.passes.normalize_inplace import normalize_inplace
from torch import Tensor, nn

from fxquant.errors import TraceError
from fxquant.graph.capture import part
from fxquant.graph.inputs import bind_inputs
from fxquant.graph.pipeline import run_stage
from fxquant.graph.trace import trace
from fxquant.graph.tracer import Tracer

Code = Callable[[Any, Tensor], Tensor]


class Written(nn.Module):
    def __init__(self, code: Code, **parts: nn.Module) -> None:
        super().__init__()
        self.code = code
        for name, child in parts.items():
            self.add_module(name, child)
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.code(self, x)


def _statement(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.relu_()
    return y + x


def _other_name(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    z = y
    z += 1
    return y * z


def _chain(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    z = y.add_(1)
    z.mul_(3)
    return y + z


def _items(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[:, 1] = x[:, 0]
    y[0] = y[0] + 1
    return y - x


def _uses_before_keep_the_old_value(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    before = y + 0.5
    y.sub_(1)
    return before * y


def _module(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    z = m.act(y)
    return y + z


def _module_twice(m: Any, x: Tensor) -> Tensor:
    y = x - 1
    m.act(y)
    z = -y - 0.1
    m.act(z)
    return y + z


def _inplace_argument(m: Any, x: Tensor) -> Tensor:
    y = x - 0.2
    F.leaky_relu(y, 0.1, inplace=True)
    F.hardtanh_(y, -0.5, 0.5)
    return y * 2


def _out_argument(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    torch.add(x, 1, out=y)
    return y * 3


def _without_twin(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.copy_(x)
    return y * 2


def _local_constant(m: Any, x: Tensor) -> Tensor:
    y = torch.ones(2, 3)
    y += x
    return y


def _view_alone(m: Any, x: Tensor) -> Tensor:
    y = (x * 2).view(-1)
    y += 1
    return y * 2


def _pieces(m: Any, x: Tensor) -> Tensor:
    a, b, c = (x * 2).chunk(3, 1)
    a.relu_()
    return torch.cat([a, b, c], 1)


def _size_of_written(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    z = y.view(-1)
    z += 1
    return z * y.size(0)


def _row(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    before = y.sum()
    y[1].zero_()
    y[:, 1:].add_(1).mul_(3)
    y[0, :2].fill_(5)
    y[0, None, ..., 1:] -= 1
    return y + before


def _row_of_rows(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    row = y[1]
    row.relu_()
    return y + row


def _random(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.bernoulli_(1.0)
    return y + x


CODES = [
    _random,
    _statement,
    _other_name,
    _chain,
    _items,
    _row,
    _row_of_rows,
    _uses_before_keep_the_old_value,
    _module,
    _module_twice,
    _inplace_argument,
    _out_argument,
    _without_twin,
    _local_constant,
    _view_alone,
    _pieces,
    _size_of_written,
]


@pytest.mark.parametrize("code", CODES)
def test_computes_what_the_writes_did(code: Code) -> None:
    model = Written(code, act=nn.ReLU(inplace=True)).eval()
    x = torch.randn(2, 3)
    with torch.no_grad():
        expected = model(x.clone())
        gm = run_stage(trace(model, x), "normalize")
        for _ in range(2):  # nothing is left behind by a run
            given = x.clone()
            assert torch.equal(gm(given), expected)
            assert torch.equal(given, x)


def test_leaves_no_write() -> None:
    for code in CODES:
        if code in (_without_twin, _random):
            continue
        gm = normalize_inplace(trace(Written(code, act=nn.ReLU(inplace=True)).eval(), torch.randn(2, 3)))
        for node in gm.graph.nodes:
            name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
            assert not name.endswith("_")
            assert node.target not in (operator.iadd, operator.setitem)
            assert not node.kwargs.get("inplace")
            assert "out" not in node.kwargs
        assert not any(getattr(module, "inplace", False) for module in gm.modules())


def test_the_input_of_the_user_is_not_written() -> None:
    gm = run_stage(trace(Written(lambda m, x: x.add_(1)).eval(), torch.zeros(3)), "normalize")
    x = torch.zeros(3)
    assert gm(x).tolist() == [1, 1, 1]
    assert x.tolist() == [0, 0, 0]


def _view_read_later(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y.view(-1).add_(1)
    return y


def _base_written(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    v = y[0]
    y += 1
    return v


def _whole_read_after_piece(m: Any, x: Tensor) -> Tensor:
    pieces = (x * 2).chunk(3, 1)
    pieces[0].add_(1)
    return torch.cat(pieces, 1)


def _sibling_view(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    a, b = y.view(-1), y.flatten()
    a += 1
    return b


def _sibling_piece(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    a, b = y[0], y[:1]
    a += 1
    return b


def _copied_piece(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[torch.tensor([0])].zero_()
    return y


def _piece_written_by_another_name(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    a = y[0].add_(1)
    y[0].mul_(2)
    return a


def _piece_written_with_the_whole(m: Any, x: Tensor) -> Tensor:
    y = x * 2
    a = y[0].add_(1)
    y.mul_(2)
    return a


_REFUSED = [_view_read_later, _base_written, _whole_read_after_piece, _sibling_view, _sibling_piece, _copied_piece]
_REFUSED += [_piece_written_by_another_name, _piece_written_with_the_whole]


@pytest.mark.parametrize("code", _REFUSED)
def test_a_write_that_another_name_sees_is_refused(code: Code) -> None:
    model = Written(code).eval()
    gm = part(model, Tracer(bind_inputs(model, torch.randn(2, 3))).capture(model), "")
    with pytest.raises(TraceError, match=r"test_normalize_inplace\.py:\d+\) writes into memory that .* shares"):
        normalize_inplace(gm)


@pytest.mark.parametrize(
    "code",
    [
        lambda m, x: m.total.add_(x) * 1.0,
        lambda m, x: (m.total[1:].zero_(), x)[1],
        lambda m, x: (operator.setitem(m.total, 0, 1.0), x + m.total)[1],
    ],
)
def test_state_is_refused(code: Code) -> None:
    model = Written(code).eval()
    gm = part(model, Tracer(bind_inputs(model, torch.ones(3))).capture(model), "")
    with pytest.raises(TraceError, match="writes into total, which the model keeps"):
        normalize_inplace(gm)


def test_numbers_have_no_memory() -> None:
    def code(m: Any, x: Tensor) -> Tensor:
        n = x.size(0)
        old = n
        n += 1
        return x * old + n

    model = Written(code).eval()
    gm = normalize_inplace(trace(model, torch.ones(2)))
    assert torch.equal(gm(torch.ones(3)), model(torch.ones(3)))
