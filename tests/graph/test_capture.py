"""Capture never just fails: what the ladder makes of code that cannot be recorded."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

import fxquant
from fxquant import PrepareCustomConfig, calibrate, convert_fx, explain, get_default_qconfig_mapping, prepare_fx
from fxquant.errors import CalibrationWarning, ConfigError, InputError
from fxquant.graph.parts import captures_of, parts_of
from fxquant.graph.trace import trace

X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)


class Coded(nn.Module):
    """Two convolutions, with `code` between them."""

    def __init__(self, code: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 4, 3)
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.code(self.first(x)))
        return y


def _branch(x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


def _loop(x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for row in x:
        total = total + row
    return total


def _length(x: Tensor) -> Tensor:
    return x * len(x)


def _number(x: Tensor) -> Tensor:
    return x * int(x.shape[0])


def _steps(x: Tensor) -> Tensor:
    return x * sum(range(x.size(0)))


def _item(x: Tensor) -> Tensor:
    return x * x.mean().item()


def _unregistered(x: Tensor) -> Tensor:
    return nn.ReLU()(x)


def _writes_into_a_view(x: Tensor) -> Tensor:
    y = x.view(x.shape)
    y += 1
    return x * y


CODES = [_branch, _loop, _length, _number, _steps, _item, _unregistered, _writes_into_a_view]


def int8(model: nn.Module, *inputs: Any) -> nn.Module:
    prepared = prepare_fx(model, get_default_qconfig_mapping(), inputs[0])
    return convert_fx(calibrate(prepared, inputs, progress=False))


def sqnr(expected: Tensor, result: Tensor) -> float:
    return float(20 * torch.log10(expected.norm() / (expected - result).norm()))


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "wrap", [lambda m: m, lambda m: nn.Sequential(nn.ReLU(), nn.Sequential(m))], ids=["root", "sub"]
)
def test_code_that_cannot_be_recorded(code: Callable[[Tensor], Tensor], wrap: Callable[[nn.Module], nn.Module]) -> None:
    torch.manual_seed(0)
    model = wrap(Coded(code)).eval()
    before = copy.deepcopy(model.state_dict())
    captured = trace(model, (X,))
    for x in (X, torch.cat([X, -X, X])):
        torch.testing.assert_close(captured(x), model(x))
    assert set(captured.state_dict()) == set(before)
    quantized = int8(model, (X,), (torch.cat([X, -X, X]),))
    for x in (X, torch.cat([X, -X, X])):
        assert sqnr(model(x), quantized(x)) > 15
    rows = explain(quantized).rows
    assert sum(row.op == "Int8Conv2d" for row in rows) == 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_explain_says_what_was_done_and_what_it_costs() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), Coded(_branch)).eval()
    quantized = int8(model, (X,))
    root, python, *children = explain(quantized).captures
    assert (root.path, root.how) == ("", "symbolic trace")
    assert (python.path, python.how) == ("1", "Python")
    assert "data-dependent control flow" in python.reason
    assert "return x if x.sum() > 0 else -x" in python.reason
    assert python.cost == "its own code computes in float; 2 of the modules that it calls are compiled"
    assert [child.path for child in children] == ["1.first", "1.second"]
    assert "1.first" in str(explain(quantized))


def test_torch_export_takes_what_a_trace_cannot() -> None:
    torch.manual_seed(0)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), act=Function()))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.body(x)
            return y

    model = Net().eval()
    captured = trace(model, (X,))
    how = {each.path: each.how for each in captures_of(captured)}
    assert how == {"": "symbolic trace", "body.act": "torch.export"}
    assert [path for path, _ in parts_of(captured)] == [""]  # its nodes stand in the graph around
    x = torch.randn(5, 3, 9, 7)
    torch.testing.assert_close(captured(x), model(x))
    quantized = int8(model, (X,))
    assert sqnr(model(X), quantized(X)) > 25
    assert not explain(quantized).float_rows


class Halved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return F.relu(x) * 0.5

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Function(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = Halved.apply(x)
        return y


def test_an_exported_program_is_captured_in_the_users_spellings() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten()).eval()
    program = torch.export.export(model, (X,), dynamic_shapes=({0: torch.export.Dim("n", min=1, max=64)},))
    quantized = int8(program, (X,))
    assert {row.op for row in explain(quantized).float_rows} == set()
    x = torch.cat([X, -X])
    assert sqnr(model(x), quantized(x)) > 25
    assert set(trace(program, (X,)).state_dict()) == set(model.state_dict())


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor, *, gain: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x))) * gain + x


class Residuals(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks, self.head = nn.ModuleList([Residual(), Residual()]), nn.Linear(3, 4)

    def forward(self, x: Tensor, *, gain: Tensor, bias: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, gain=gain)
        return self.head(x.mean((2, 3))) - bias  # type: ignore[no-any-return]


def test_an_exported_program_knows_the_modules_that_it_was_made_of() -> None:
    model, gain, bias = Residuals().eval(), torch.full((1,), 2.0), torch.full((1,), 0.5)
    program = torch.export.export(model, (X,), {"gain": gain, "bias": bias})
    mapping = get_default_qconfig_mapping().set_module_name("head", None)
    prepared = prepare_fx(program, mapping, {"bias": bias, "x": X, "gain": gain})
    prepared(X, bias=bias, gain=gain)
    quantized = convert_fx(prepared)
    torch.testing.assert_close(quantized(X, bias=bias, gain=gain), model(X, gain=gain, bias=bias), atol=0.1, rtol=0)
    rows = {row.place: row for row in explain(quantized).rows}
    assert rows["blocks.1.conv"].absorbed == ("BatchNorm2d", "F.relu")
    assert rows["blocks.1"].op == "Int8Add"
    assert rows["head"].reason == "its qconfig is None, by set_module_name('head', None)"


def test_an_exported_program_of_windows_is_saved(tmp_path: Path) -> None:
    """torch.export calls nn.Unfold and nn.Fold by other names."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Unfold((3, 2), 1, (1, 0), 2), nn.Fold((6, 6), (3, 2), 1, (1, 0), 2))
    program = torch.export.export(model.eval(), (X,))
    loaded = saved_and_loaded(int8(program, (X,)), tmp_path)
    assert sqnr(model(X), loaded(X)) > 35


class Joined(nn.Module):
    """As decoders do for a skip connection that is missing: it joins an image of no channels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        nothing = torch.empty([x.shape[0], 0, *x.shape[2:]], dtype=x.dtype)
        return torch.cat([nothing, x.new_empty(x.shape[0], 0, 8, 8)], 1), self.body(x)


def test_empty_tensors_are_saved(tmp_path: Path) -> None:
    quantized = int8(Joined().eval(), (X,))
    for before, after in zip(quantized(X), saved_and_loaded(quantized, tmp_path)(X), strict=True):
        assert torch.equal(before, after)


def saved_and_loaded(quantized: nn.Module, folder: Path) -> nn.Module:
    fxquant.save(quantized, folder / "model")
    return fxquant.load(folder / "model")


@dataclass
class Found:
    logits: Tensor
    features: tuple[Tensor, Tensor]
    note: str = ""


class Finder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 2)

    def forward(self, image: Tensor, mask: Tensor | None = None, *, detail: bool = False) -> Any:
        y = self.body(image)
        if mask is not None:
            y = y * mask
        logits = self.head(y.mean((2, 3)))
        return Found(logits, (y, y.relu()), note="ok") if detail else {"logits": logits, "features": y}


def test_results_keep_their_structure_and_arguments_their_names() -> None:
    model, mask = Finder().eval(), torch.ones(1, 1, 6, 6)
    quantized = int8(model, {"image": X, "mask": mask, "detail": True})
    result = quantized(X, mask, detail=True)
    assert type(result) is Found
    assert result.note == "ok"
    assert sqnr(model(X, mask, detail=True).features[1], result.features[1]) > 25
    plain = int8(model, {"image": X})
    assert list(plain(image=X)) == ["logits", "features"]
    assert list(plain(X, None, detail=False)) == ["logits", "features"]
    with pytest.raises(InputError, match="the argument 'detail' is True; with the example inputs it was False"):
        plain(X, detail=True)


class Detector(nn.Module):
    """Takes a list of images, and loops over what it finds in each."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.score = nn.Conv2d(8, 1, 1)
        self.box = nn.Linear(8, 4)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        found = []
        for image in images:
            features = self.backbone(image[None])
            scores = self.score(features).flatten()
            keep = scores > scores.median()
            found.append({"scores": scores[keep], "boxes": self.box(features[0].flatten(1).T[keep])})
        return found


def test_a_detector_that_loops_over_a_list_of_images() -> None:
    torch.manual_seed(0)
    model = Detector().eval()
    images = [torch.randn(3, 8, 8), torch.randn(3, 6, 10)]
    quantized = int8(model, (images,))
    assert type(quantized) is Detector
    assert [path for path, _ in parts_of(quantized)] == ["box", "score", "backbone"]
    last = torch.randn(3, 12, 12)
    result = quantized([*images, last])
    for found, expected in zip(result, model([*images, last]), strict=True):
        assert abs(len(found["scores"]) - len(expected["scores"])) <= 2
    assert set(quantized.state_dict()) > {"backbone.0.bias"}


class Sized(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        assert c == 3
        if h > 4:
            x = F.max_pool2d(x, 2)
        rows = torch.arange(h // 2, device=x.device).view(1, 1, -1, 1)
        y = x * rows
        y[:, 0] = 0
        return F.interpolate(y, size=(h, w)).reshape(b, c, -1)[:, :, : h * w - 1]


def test_sizes_stay_dynamic_and_branches_are_checked() -> None:
    model = Sized().eval()
    captured = trace(model, (X,))
    assert [each.how for each in captures_of(captured)] == ["symbolic trace"]
    for shape in ((2, 3, 8, 8), (3, 3, 6, 10), (1, 3, 12, 4)):
        x = torch.randn(shape)
        assert torch.equal(captured(x), model(x))
        assert torch.equal(prepare_fx(model, get_default_qconfig_mapping(), (X,))(x), model(x))
    with pytest.raises(InputError, match=r"`if h > 4:` \(test_capture.py:\d+\) is True; here it is False"):
        captured(torch.randn(2, 3, 4, 4))


class Named(nn.Module):
    """A layer called as the caller likes, among others."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.body = nn.Sequential(OrderedDict({"first": nn.Conv2d(3, 4, 3), name: nn.Conv2d(4, 4, 3)}))
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["class", 'a "b"', "a\\b", "a\nb"])
def test_names_that_are_no_code(name: str) -> None:
    """The module that has such a name runs as Python, and says why; the layer itself runs in int8."""
    model = Named(name).eval()
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (X,))
    quantized = convert_fx(calibrate(prepared, [X], progress=False))
    torch.testing.assert_close(quantized(X), model(X), atol=0.05, rtol=0)
    how = {each.path: each for each in captures_of(prepared)}
    assert {path: each.how for path, each in how.items()} == {
        "": "symbolic trace",
        "body": "Python",
        "body.first": "symbolic trace",
        f"body.{name}": "symbolic trace",
    }
    assert f"torch.fx cannot write the name {name!r} as code" in how["body"].reason
    assert {row.precision for row in explain(quantized).rows if row.op == "Int8Conv2d"} == {"int8"}
    assert sum(row.op == "Int8Conv2d" for row in explain(quantized).rows) == 3


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_parameter("lambda", nn.Parameter(torch.full((4, 1, 1), 2.0)))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * getattr(self, "lambda")  # type: ignore[no-any-return]


def test_a_parameter_whose_name_is_no_code() -> None:
    model = Scaled().eval()
    quantized = int8(model, (X,))
    assert sqnr(model(X), quantized(X)) > 25
    assert "'lambda'" in next(each.reason for each in captures_of(quantized) if each.path == "")


def test_a_program_with_a_name_that_is_no_code() -> None:
    program = torch.export.export(Scaled().eval(), (X,))
    with pytest.raises(ConfigError, match=r"the ExportedProgram cannot be run: .*rename that module or parameter"):
        prepare_fx(program, get_default_qconfig_mapping(), (X,))


def test_wrapped_models_are_unwrapped() -> None:
    model = Coded(F.relu).eval()
    inner = nn.Sequential(torch.compile(model), nn.ReLU()).eval()
    whole = nn.Sequential(model, nn.ReLU()).eval()
    for wrapped, inside in ((nn.DataParallel(model), model), (torch.compile(model), model), (inner, whole)):
        captured = trace(wrapped.eval(), (X,))
        assert isinstance(captured, GraphModule)
        assert torch.equal(captured(X), inside(X))
    assert set(trace(inner, (X,)).state_dict()) == set(inner.state_dict())


def test_a_model_that_fails_on_its_example_says_where() -> None:
    def broken(x: Tensor) -> Tensor:
        return x + {}["key"]

    with pytest.raises(InputError, match="example_inputs do not go through the model"):
        trace(Coded(broken).eval(), (X,))


def test_a_called_module_keeps_what_the_code_around_asks_of_it() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            if x.sum() > 0:
                x = -x
            return self.fc(x).view(-1, self.fc.out_features)

    model, x = Root().eval(), torch.randn(4, 6)
    assert sqnr(model(x), int8(model, (x,))(x)) > 25


def test_code_without_a_module_that_can_be_compiled_stays_as_it_is() -> None:
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if x.sum() > 0 else x

    model = Doubled().eval()
    with pytest.warns(CalibrationWarning, match="no observers"):
        quantized = int8(model, (X,))
    assert torch.equal(quantized(X), model(X))
    assert [each.how for each in explain(quantized).captures] == ["Python"]
    with pytest.raises(ConfigError, match="int8 already"):
        prepare_fx(quantized, get_default_qconfig_mapping(), (X,))
    with pytest.raises(ConfigError, match="prepared already"):
        prepare_fx(prepare_fx(model, get_default_qconfig_mapping(), (X,)), get_default_qconfig_mapping(), (X,))


def test_integers_go_in_and_out_of_one_graph_only() -> None:
    custom = PrepareCustomConfig().set_input_quantized_indexes([0])
    with pytest.raises(ConfigError, match="its own code runs as Python: data-dependent control flow"):
        prepare_fx(Coded(_branch).eval(), get_default_qconfig_mapping(), (X,), custom)


def test_a_module_whose_weights_the_code_around_reads_stays_as_it_is() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.second(self.first(x) if x.sum() < 1e9 else x)
            return y + self.first.weight.mean() * self.second.out_channels

    model = Reads().eval()
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (X,))
    quantized = convert_fx(calibrate(prepared, [X], progress=False))
    assert {row.place for row in explain(quantized).rows if row.precision == "int8"} == {"second"}
    (stays,) = (each for each in captures_of(quantized) if each.path == "first")
    assert stays.reason == "the code around asks more of it than to be called, such as its weights"
    torch.testing.assert_close(quantized(X), model(X), atol=0.05, rtol=0)
