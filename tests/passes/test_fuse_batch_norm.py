from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from fxquant.passes.fuse_batch_norm import Statistics, fold, fuse_batch_norm
from torch import Tensor, nn
from torch.fx import GraphModule

from fxquant.graph.origin import origin_of
from fxquant.graph.pipeline import run_stage
from fxquant.graph.surgery import absorbed_origins
from fxquant.graph.trace import trace
from fxquant.ops.op import op_of


def with_statistics(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                nn.init.uniform_(module.weight, -2, 2)
                nn.init.normal_(module.bias)
    return model.eval()


def fused(model: nn.Module, x: Tensor) -> GraphModule:
    return fuse_batch_norm(run_stage(trace(model, x), "normalize"))


def calls(gm: GraphModule) -> list[str]:
    rows = [(op_of(node), node) for node in gm.graph.nodes if node.op.startswith("call_")]
    return [row.name if row else str(node.target) for row, node in rows]


def check(model: nn.Module, x: Tensor, expected_calls: list[str]) -> GraphModule:
    gm = fused(with_statistics(model), x)
    assert calls(gm) == expected_calls
    torch.testing.assert_close(gm(x), model(x), rtol=1e-4, atol=1e-5)
    return gm


@pytest.mark.parametrize(
    ("layer", "norm", "shape", "name"),
    [
        (nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), (2, 3, 8), "conv1d"),
        (nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6), (2, 4, 8, 8), "conv2d"),
        (nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False, eps=1e-2), (2, 3, 8, 8), "conv2d"),
        (nn.Conv3d(2, 3, 2), nn.BatchNorm3d(3), (2, 2, 4, 4, 4), "conv3d"),
        (nn.ConvTranspose1d(3, 4, 3), nn.BatchNorm1d(4), (2, 3, 8), "conv_transpose1d"),
        (nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6), (2, 4, 5, 5), "conv_transpose2d"),
        (nn.Linear(3, 4), nn.BatchNorm1d(4), (5, 3), "linear"),
    ],
)
def test_folds(layer: nn.Module, norm: nn.Module, shape: tuple[int, ...], name: str) -> None:
    gm = check(nn.Sequential(layer, norm), torch.randn(shape), [name])
    assert list(gm.state_dict()) == ["0.weight", "0.bias"]
    assert all(isinstance(p, nn.Parameter) for p in gm.state_dict(keep_vars=True).values())
    (node,) = [n for n in gm.graph.nodes if op_of(n)]
    assert [o.module_path for o in absorbed_origins(node)] == ["0", "1"]
    assert origin_of(node).module_path == "0"
    assert node.meta["shape"] == torch.Size(layer(torch.randn(shape)).shape)


class Mixed(nn.Module):
    """Two convolutions side by side, their outputs concatenated, under one batch norm."""

    def __init__(self, dim: int = 1, channels: int = 7) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, channels - 3 if dim == 1 else 3, 3, padding=1, bias=False)
        self.norm, self.dim = nn.BatchNorm2d(channels), dim

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(torch.cat([self.a(x), self.b(x)], self.dim))


def test_folds_into_all_that_is_concatenated() -> None:
    gm = check(Mixed(), torch.randn(2, 3, 5, 5), ["conv2d", "conv2d", "cat"])
    assert list(gm.state_dict()) == ["a.weight", "a.bias", "b.weight", "b.bias"]


def test_stays_behind_what_is_concatenated_along_no_channels() -> None:
    check(Mixed(dim=0, channels=3), torch.randn(2, 3, 5, 5), ["conv2d", "conv2d", "cat", "norm"])


def test_stays_behind_what_is_concatenated_with_no_layer() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(7)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(torch.cat([self.a(x), x], 1))

    check(Net(), torch.randn(2, 3, 5, 5), ["conv2d", "cat", "norm"])


def test_folds_the_functional_form() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            bn = self.bn
            y = self.conv(x)
            return F.batch_norm(y, bn.running_mean, bn.running_var, bn.weight, bn.bias, self.training, 0.1, bn.eps)

    check(Net(), torch.randn(2, 3, 4, 4), ["conv2d"])


def test_the_formula_by_hand() -> None:
    statistics = Statistics(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([4.0]), torch.tensor([5.0]), 1.0)
    weight, bias = fold(torch.tensor([[[[3.0]]]]), torch.tensor([2.0]), statistics)
    assert weight.item() == 3.0 * 4 / 2  # gain = 4 / sqrt(3 + 1) = 2
    assert bias.item() == (2.0 - 1.0) * 2 + 5


def test_computes_in_double_and_keeps_the_dtype() -> None:
    # In float32, 1e8 + 1 - 1e8 is 0: the difference of bias and mean has to survive until it is scaled.
    statistics = Statistics(torch.tensor([1e8]), torch.tensor([1.0]), torch.tensor([1.0]), None, 0.0)
    _, bias = fold(torch.ones(1, 1), torch.tensor([1e8 + 8]), statistics)
    assert (bias.dtype, bias.item()) == (torch.float32, 8.0)
    model = with_statistics(nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)).double())
    gm = fused(model, torch.randn(1, 2, 3, 3).double())
    assert {t.dtype for t in gm.state_dict().values()} == {torch.float64}


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.bn(y) + y


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.conv(self.first(self.conv(x))))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.other, self.bn = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.other.weight = self.conv.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)) + self.other(x)


def test_stays_where_the_output_is_used_elsewhere() -> None:
    check(Branching(), torch.randn(1, 3, 4, 4), ["conv2d", "bn", "add"])


def test_a_layer_that_is_called_twice_gets_two_weights() -> None:
    gm = check(Reused(), torch.randn(1, 3, 4, 4), ["conv2d", "conv2d"])
    assert sorted(gm.state_dict()) == ["conv.bias_1", "conv.bias_2", "conv.weight_1", "conv.weight_2"]


def test_a_tied_weight_is_copied() -> None:
    model = Tied()
    gm = check(model, torch.randn(1, 3, 4, 4), ["conv2d", "conv2d", "add"])
    state = gm.state_dict()
    assert torch.equal(state["other.weight"], model.other.weight)
    assert sorted(state) == ["conv.bias", "conv.weight_1", "other.bias", "other.weight"]


@pytest.mark.parametrize(
    ("model", "shape", "left"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
            (2, 3, 4, 4),
            ["conv2d", "1"],
        ),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)), (2, 3, 4, 4), ["0", "conv2d"]),
        (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(5)), (2, 5, 3), ["linear", "1"]),
        (nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)), (2, 3, 4, 4), ["conv2d", "relu", "2"]),
    ],
)
def test_what_cannot_be_folded_stays(model: nn.Module, shape: tuple[int, ...], left: list[str]) -> None:
    check(model, torch.randn(shape), left)


def test_a_computed_weight_is_left_alone() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return self.bn(F.conv2d(x, self.conv.weight * x.mean()))

    check(Net(), torch.randn(1, 3, 4, 4), ["mean", "mul", "conv2d", "bn"])


def test_the_users_model_is_untouched() -> None:
    model: Any = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fused(model, torch.randn(1, 3, 4, 4))
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert model[0].bias is None
