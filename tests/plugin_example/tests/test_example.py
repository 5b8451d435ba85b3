"""The package's own tests, run where it is installed."""

import pytest
import torch
from fxquant_example.fold_maxout import Maxout, int8_maxout, maxout, maxout_in_c
from fxquant_example.small_layers_in_float import SmallLayersInFloat
from torch import nn

from fxquant import (
    calibrate,
    convert_fx,
    explain,
    export_onnx,
    get_default_qconfig_mapping,
    load,
    ops,
    prepare_fx,
    save,
    without,
)
from fxquant.errors import UnsupportedError

X = torch.randn(4, 3, 9, 9)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.maxout, self.head = nn.Conv2d(3, 8, 3), Maxout(2), nn.Linear(4, 5)
        self.wide = nn.Linear(4, 4)

    def forward(self, x):
        return self.head(self.wide(self.maxout(self.stem(x)).mean((2, 3))))


def prepared(model, **how):
    return calibrate(prepare_fx(model, get_default_qconfig_mapping(), (X,), **how), [X], progress=False)


def precisions(quantized):
    return {row.place: row.precision for row in explain(quantized).rows}


def test_the_rule_makes_one_layer_of_two():
    model = Net().eval()
    graph = prepared(model)
    assert sum(node.target is ops.linear for node in graph.graph.nodes) == 1
    assert "head.weight" in graph.state_dict()
    torch.testing.assert_close(graph(X), model(X))


def test_the_policy_leaves_small_layers_in_float():
    model = Net().eval()
    assert precisions(convert_fx(prepared(model)))["wide"] == "int8"  # which absorbed the head
    quantized = convert_fx(prepared(model, passes=[SmallLayersInFloat(weights=100)]))
    assert precisions(quantized) | {"stem": "int8", "wide": "float"} == precisions(quantized)
    reasons = [row.reason for row in explain(quantized).rows if row.place == "wide"]
    assert "SmallLayersInFloat: it has 20 weights" in reasons


@pytest.mark.parametrize("shape", [(2, 6), (3, 8, 5), (2, 4, 3, 7), (1, 12, 1, 2, 3)])
@pytest.mark.parametrize("pieces", [1, 2])
def test_the_kernel_computes_what_the_op_means(shape, pieces):
    x = torch.randint(0, 256, shape, dtype=torch.uint8)
    for given in (x, x.transpose(0, 1).contiguous().transpose(0, 1)):
        assert torch.equal(maxout_in_c(given, pieces), int8_maxout(x, pieces))


def test_the_op_runs_in_int8():
    model = Net().eval()
    quantized = convert_fx(prepared(model))
    assert precisions(quantized)["maxout"] == "int8"
    assert (quantized(X) - model(X)).abs().max() < 0.05


def test_files_hold_the_op(tmp_path):
    quantized = convert_fx(prepared(Net().eval()))
    save(quantized, tmp_path / "model.safetensors")
    assert torch.equal(load(tmp_path / "model.safetensors")(X), quantized(X))
    with pytest.raises(UnsupportedError, match="maxout"):
        export_onnx(quantized, tmp_path / "model.onnx")


def test_without_its_fold_the_op_runs_in_float():
    model = Net().eval()
    assert torch.equal(maxout(X[:, :2], 2), X[:, :2].amax(1, keepdim=True))
    quantized = convert_fx(prepared(model), passes=[without("fold_maxout")])
    assert precisions(quantized)["maxout"] == "float"
    assert (quantized(X) - model(X)).abs().max() < 0.05
