"""fxquant.save and fxquant.load: the loaded model is the saved one, on every instruction set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from models import MODELS, Islands, classifier, islands, pyramid
from random_models import INPUT, RandomModel
from regions import assert_same, quantized, regions_of
from safetensors.torch import load_file
from torch import Tensor, nn

import fxquant
from fxquant import PrepareCustomConfig, calibrate, convert_fx, explain, get_default_qconfig_mapping, prepare_fx
from fxquant.errors import ConfigError, InputError, UnsupportedError
from fxquant.runtime.layer import Layer


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_is_the_saved_one(name: str, tmp_path: Path) -> None:
    model, x = MODELS[name]()
    fxquant.save(model, tmp_path / "model.fxquant")
    loaded = fxquant.load(tmp_path / "model.fxquant")
    assert_same(loaded(x), model(x))
    assert_same(loaded(x[:1]), model(x[:1]))
    assert type(loaded).__name__ == type(model).__name__
    assert not loaded.training
    assert loaded.code == model.code
    assert regions_of(loaded).keys() == regions_of(model).keys()
    assert explain(loaded) == explain(model)
    assert loaded.meta["inputs"] == ((x.shape, x.dtype),)
    assert [n for n, _ in loaded.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert_same([loaded.state_dict()[n] for n in model.state_dict()], list(model.state_dict().values()))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_random_models_survive(seed: int, tmp_path: Path) -> None:
    x = torch.randn(INPUT)
    model = quantized(RandomModel(seed), x)
    fxquant.save(model, tmp_path / "model")
    assert_same(fxquant.load(tmp_path / "model")(x), model(x))


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_can_be_saved_again(name: str, tmp_path: Path) -> None:
    model, _ = MODELS[name]()
    first, second = tmp_path / "first", tmp_path / "second"
    fxquant.save(model, first)
    fxquant.save(fxquant.load(first), second)
    assert first.read_bytes() == second.read_bytes()


def test_a_file_is_the_same_whatever_machine_writes_it_and_runs_on_every_other(isa: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = classifier()
    path = tmp_path / "model"
    fxquant.save(model, path)
    expected = model(x)
    for other in fxquant.target.supported_isas():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FXQUANT_ISA", other)
            fxquant.target.active_isa.cache_clear()
            assert torch.equal(fxquant.load(path)(x), expected)
            fxquant.save(fxquant.load(path), tmp_path / other)
            assert (tmp_path / other).read_bytes() == path.read_bytes()


def test_packed_weights_are_not_in_the_file(tmp_path: Path) -> None:
    model, _ = classifier()
    fxquant.save(model, tmp_path / "model")
    tensors = load_file(tmp_path / "model")
    assert tensors.keys() == model.state_dict().keys()
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    assert size == sum(t.numel() * t.element_size() for t in model.state_dict().values())


def test_the_tensors_of_a_file_are_a_state_dict(tmp_path: Path) -> None:
    model, x = classifier()
    fxquant.save(model, tmp_path / "model")
    torch.manual_seed(1)
    other, _ = classifier()
    assert not torch.equal(other(x), model(x))
    other.load_state_dict(load_file(tmp_path / "model"))
    assert torch.equal(other(x), model(x))


def test_saving_over_a_file_leaves_loaded_models_alone(tmp_path: Path) -> None:
    model, x = classifier()
    fxquant.save(model, tmp_path / "model")
    loaded, expected = fxquant.load(tmp_path / "model"), model(x)
    fxquant.save(islands()[0], tmp_path / "model")
    assert torch.equal(loaded(x), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_tensors_that_two_places_share_are_saved(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(6, 6)
            self.gain = nn.Parameter(torch.rand(6))
            self.same = self.gain

        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(self.first(x)) * self.gain + torch.exp(x) * self.same

    x = torch.randn(3, 6)
    model = quantized(Tied(), x)
    fxquant.save(model, tmp_path / "model")
    assert torch.equal(fxquant.load(tmp_path / "model")(x), model(x))


def test_messages_of_a_loaded_model_name_the_place(tmp_path: Path) -> None:
    model, x = classifier()
    fxquant.save(model, tmp_path / "model")
    loaded = fxquant.load(tmp_path / "model")
    places = [layer.where for layer in model.modules() if isinstance(layer, Layer)]
    assert [layer.where for layer in loaded.modules() if isinstance(layer, Layer)] == places
    with pytest.raises(InputError, match="float32"):
        loaded(x.double())


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.cumsum(1) if x.sum() > 0 else x


def test_a_users_own_module_that_stayed_is_refused_by_name(tmp_path: Path) -> None:
    x = torch.rand(2, 4)
    custom = PrepareCustomConfig().set_non_traceable_module_classes([Own])
    float_model = nn.Sequential(nn.Linear(4, 4), Own()).eval()
    prepared = prepare_fx(float_model, get_default_qconfig_mapping(), (x,), custom)
    model = convert_fx(calibrate(prepared, [x], progress=False))
    with pytest.raises(UnsupportedError, match=r"^1 \(Own\) cannot be saved: .* files hold no code"):
        fxquant.save(model, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_function_outside_the_table_is_refused_by_name(tmp_path: Path) -> None:
    class Calls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.poisson(self.first(x).abs())

    model = quantized(Calls(), torch.rand(2, 4))
    with pytest.raises(UnsupportedError, match=r"torch.poisson.*cannot be saved: it calls 'poisson'"):
        fxquant.save(model, tmp_path / "model")


def test_a_module_that_was_changed_is_refused(tmp_path: Path) -> None:
    mapping = get_default_qconfig_mapping().set_object_type(nn.LSTM, None)
    model = quantized(Islands(), torch.randn(2, 5, 8), mapping=mapping)
    model.lstm.dropout = 0.5
    model.lstm.extra = "mine"
    with pytest.raises(UnsupportedError, match="its LSTM was changed"):
        fxquant.save(model, tmp_path / "model")


@pytest.mark.parametrize("model", [nn.Linear(2, 2), "model"])
def test_only_converted_models_are_saved(model: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes what convert_fx returned"):
        fxquant.save(model, tmp_path / "model")  # type: ignore[arg-type]


LEAVES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "gru": (nn.GRU(4, 3), (2, 5, 4)),
    "rnn": (nn.RNN(4, 3, nonlinearity="relu"), (2, 5, 4)),
    "lstm": (nn.LSTM(4, 6, bidirectional=True), (2, 5, 4)),
    "projected": (nn.LSTM(4, 6, proj_size=3), (2, 5, 4)),
    "instance norm": (nn.InstanceNorm1d(5, affine=True, track_running_stats=True), (2, 5, 4)),
    "layer norm": (nn.LayerNorm(4, elementwise_affine=False), (2, 5, 4)),
    "batch norm": (nn.BatchNorm3d(5), (2, 5, 4, 2, 2)),
    "pool": (nn.MaxPool3d(2, return_indices=False), (2, 5, 4, 4, 4)),
    "softplus": (nn.Softplus(beta=2), (2, 5, 4)),
    "glu": (nn.GLU(dim=1), (2, 6, 4)),
}


@pytest.mark.parametrize("name", LEAVES)
def test_modules_of_torch_are_saved(name: str, tmp_path: Path) -> None:
    leaf, shape = LEAVES[name]

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.Linear(shape[-1], shape[-1])
            self.leaf = leaf

        def forward(self, x: Tensor) -> Tensor:
            y = self.leaf(self.before(x))
            return y[0] if isinstance(self.leaf, nn.RNNBase) else y

    x = torch.randn(shape)
    model = quantized(Around(), x)
    fxquant.save(model, tmp_path / "model")
    assert torch.equal(fxquant.load(tmp_path / "model")(x), model(x))


def test_a_model_with_attention_is_saved(tmp_path: Path) -> None:
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.Linear(8, 8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True, add_bias_kv=True)

        def forward(self, x: Tensor) -> Tensor:
            y = self.before(x)
            return self.attention(y, y, y)[0]

    x = torch.randn(2, 5, 8)
    model = quantized(Attends(), x)
    fxquant.save(model, tmp_path / "model")
    assert torch.equal(fxquant.load(tmp_path / "model")(x), model(x))


def test_the_pyramid_gives_the_same_for_other_sizes(tmp_path: Path) -> None:
    model, _ = pyramid()
    fxquant.save(model, tmp_path / "model")
    x = torch.randn(3, 3, 18, 10)
    assert_same(fxquant.load(tmp_path / "model")(x), model(x))


def converted(model: nn.Module, example: Any) -> Any:
    prepared = prepare_fx(model.eval(), get_default_qconfig_mapping(), example)
    return convert_fx(calibrate(prepared, [example], progress=False))


X = torch.linspace(-2, 2, 40).reshape(5, 8)


class Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor, mask: Tensor | None = None, halve: bool = False) -> Tensor:
        x = self.first(x)
        _, m = x.shape
        if m > 4:
            x = x.relu()
        x = self.second(x if mask is None else x * mask)
        return x / 2 if halve else x


@pytest.mark.parametrize("example", [(X,), {"x": X, "mask": X.sign(), "halve": True}], ids=["defaults", "options"])
def test_options_and_what_a_capture_relies_on_are_saved(example: Any, tmp_path: Path) -> None:
    model = converted(Optional(), example)
    fxquant.save(model, tmp_path / "model")
    loaded = fxquant.load(tmp_path / "model")
    args, kwargs = ((), example) if isinstance(example, dict) else (example, {})
    assert_same(loaded(*args, **kwargs), model(*args, **kwargs))
    assert explain(loaded) == explain(model)
    with pytest.raises(InputError, match=r"'(mask|halve)'"):
        loaded(X, halve=not isinstance(example, dict))


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y if y.sum() > 0 else -y


@pytest.mark.parametrize("take", [fxquant.save, fxquant.export_onnx])
def test_code_that_runs_as_python_has_no_form_in_a_file(take: Any, tmp_path: Path) -> None:
    model = converted(Branching(), (X,))
    with pytest.raises(UnsupportedError, match="the code of Branching runs as Python: data-dependent"):
        take(model, tmp_path / "model")
