"""Every code block of the notes runs with only its imports changed, but for the lines that fail in torch.ao as well."""

from __future__ import annotations

import ast
from typing import Any

import pytest
import torch
from notes_blocks import BLOCKS

from fxquant import dynamic
from fxquant.errors import ConfigError, InputError

IMPORTS = {
    "from torch.quantization import": "from fxquant import",
    "torch.quantization.": "fxquant.",
    "torch.ao.nn.quantized.dynamic.modules.linear.Linear": "fxquant.dynamic.Linear",
    "torch.ao.nn.dynamic.modules.rnn.LSTM": "fxquant.dynamic.LSTM",
    "torch.ao.quantization.observer.": "fxquant.observer.",
}
# Of the block of from_float: what torch and torch.ao refuse, too.
SLIPS = {
    "MinMaxObserver()": "MinMaxObserver(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)",
    "int(wt_zp), torch.int8)": "int(wt_zp), torch.qint8)",
    "qweight = _clamp_weights(qweight, observer, wt_scale, wt_zp)": "",
    "mod.in_feature, mod.out_feature": "mod.in_features, mod.out_features",
    "qwight": "qweight",
}
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not hasattr(torch, "quantize_per_tensor_dynamic"), reason="this torch has no quantized tensors"),
]


def ran(block: str, *changes: dict[str, str]) -> tuple[dict[str, Any], dict[str, Exception]]:
    """The names that the statements of a block leave behind, and the errors of those that fail, by what they assign."""
    text = BLOCKS[block]
    for change in changes:
        for old, new in change.items():
            text = text.replace(old, new)
    names: dict[str, Any] = {"torch": torch}
    exec("import fxquant, fxquant.dynamic, fxquant.observer", names)
    failed: dict[str, Exception] = {}
    for statement in ast.parse(text).body:
        try:
            exec(compile(ast.Module([statement], []), block, "exec"), names)
        except Exception as error:
            failed[ast.unparse(statement).partition(" = ")[0].partition("(")[0]] = error
    return names, failed


def test_what_torch_itself_computes() -> None:
    names, failed = ran("represent")
    assert not failed
    assert names["qx"].int_repr().tolist() == [0, 10, 20, 127]
    assert not ran("functional")[1]


def test_the_formula_of_integers() -> None:
    names, failed = ran("formula", IMPORTS)
    assert not failed
    torch.testing.assert_close(names["y1"], names["y2"], rtol=1e-5, atol=1e-6)
    most = 3 * float(names["qw"].dequantize().abs().max()) * names["sq"] / 2  # off by the rounding of three inputs
    assert 0 < float((names["y1"] - names["y3"]).detach().abs().max()) < most


def test_both_modes() -> None:
    """No input goes through the model: what torch.ao makes of it cannot be called, and ours says so before."""
    names, failed = ran("modes", IMPORTS)
    refusal = failed.pop("model_prepared")
    assert isinstance(refusal, InputError)
    for part in ("3 (Linear) failed", "(32x64 and 16x10)", "the model itself"):
        assert part in str(refusal)
    assert list(failed) == ["model_quantized"], "which names what the line before did not give"
    assert [type(module) for module in names["model_quantized"]][3:] == [dynamic.Linear, dynamic.LSTM]
    with pytest.raises(InputError, match=r"linear of \[32, 64\]"):
        names["model_quantized"](torch.rand(32, 2, 8, 8))  # the one of eager mode
    names, failed = ran("modes", IMPORTS, {"nn.Linear(16,10)": "nn.Linear(64,10)"})
    assert not failed
    y, _ = names["model_quantized"](torch.rand(32, 2, 8, 8))
    assert y.shape == (32, 10)


@pytest.mark.skipif(not hasattr(torch.ao, "quantization"), reason="this torch has no torch.ao.quantization")
def test_both_modes_in_torch_ao() -> None:
    names, failed = ran("modes")
    assert not failed
    with pytest.raises(RuntimeError):
        names["model_quantized"](torch.rand(32, 2, 8, 8))


def test_modules_one_by_one() -> None:
    names, failed = ran("from_float", IMPORTS)
    assert {name: type(error) for name, error in failed.items()} == {
        "qweight": NameError,  # _clamp_weights; before, int8 is no dtype of quantized tensors
        "qlinear": AttributeError,  # in_feature
        "qlinear.set_weight_bias": NameError,  # qwight
    }
    assert names["new_mod"](torch.rand(2, 4)).shape == (2, 5)


def test_modules_one_by_one_without_slips() -> None:
    names, failed = ran("from_float", IMPORTS, SLIPS)
    assert not failed
    mod, qlinear, x = names["mod"], names["qlinear"], torch.rand(3, 64)
    assert torch.equal(qlinear.weight().int_repr(), names["qweight"].int_repr())
    assert torch.equal(qlinear.bias(), mod.bias)
    torch.testing.assert_close(qlinear(x), mod(x), rtol=0, atol=0.02)
    with pytest.raises(ConfigError, match="zero points of 0"):
        qlinear.set_weight_bias(torch.quantize_per_tensor(mod.weight.detach(), 0.1, 3, torch.qint8), None)
    with pytest.raises(ConfigError, match=r"\[10, 3\] and None are not those of"):
        qlinear.set_weight_bias(torch.quantize_per_tensor(torch.rand(10, 3), 0.1, 0, torch.qint8), None)
    with pytest.raises(ConfigError, match="not a Parameter"):
        qlinear.set_weight_bias(mod.weight, None)
    with pytest.raises(ConfigError, match=r"not of torch\.float16"):
        type(qlinear)(3, 4, dtype=torch.float16)
    names["qlinear"] = type(qlinear)(64, 10)
    names["qlinear"].set_weight_bias(qlinear.weight(), qlinear.bias())
    assert torch.equal(names["qlinear"](x), qlinear(x))
