"""The page of names is complete: all of torch.ao's public ones are on it, and all on it exist here."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import torch

import fxquant
from fxquant.analysis import measures

PAGE = (Path(__file__).parents[1] / "docs" / "coming_from_torch_ao.md").read_text()
ROWS = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| `(fxquant[\w.]*)` \|", PAGE, re.MULTILINE)
NAMES = {name: module for names, module in ROWS for name in re.findall(r"\w+", names)}
# The modules of FX graph mode, and what else of them users import.
MODULES = {
    "quantize_fx": ("prepare_fx", "prepare_qat_fx", "convert_fx", "fuse_fx", "convert_to_reference_fx"),
    "qconfig": (),
    "qconfig_mapping": (),
    "observer": (),
    "fake_quantize": (),
    "fx.custom_config": (),
    "fx.graph_module": (),
    "fx.tracer": (),
    "backend_config": (),
    "quant_type": (),
    "stubs": (),
}


def test_the_page_has_rows() -> None:
    assert len(NAMES) > 120


@pytest.mark.parametrize("name", NAMES)
def test_a_name_on_the_page_exists(name: str) -> None:
    assert hasattr(importlib.import_module(NAMES[name]), name)
    if not name.startswith("_") and not NAMES[name].startswith("fxquant.fx.tracer"):
        assert hasattr(fxquant, name) or NAMES[name] == "fxquant.fx.graph_module"


@pytest.mark.parametrize("module", MODULES)
def test_the_page_has_every_public_name_of(module: str) -> None:
    theirs = pytest.importorskip(f"torch.ao.quantization.{module}")
    public = [*getattr(theirs, "__all__", ()), *MODULES[module]]
    assert public
    assert [name for name in public if name not in NAMES] == []


def test_sub_modules_have_the_names_they_have_there() -> None:
    for module in MODULES:
        importlib.import_module(f"fxquant.{module}")


def test_all_public_names_exist() -> None:
    assert len(set(fxquant.__all__)) == len(fxquant.__all__)
    assert [name for name in fxquant.__all__ if not hasattr(fxquant, name)] == []


# Of the numeric suite, ModelReport, equalization and eager mode: each is spoken of beside its counterpart.
NEIGHBOURS = {
    "torch.ao.ns._numeric_suite_fx": (
        *("extract_weights", "add_loggers", "extract_logger_info", "add_shadow_loggers", "extract_shadow_logger_info"),
        *("extend_logger_results_with_comparison", "prepare_n_shadows_model", "convert_n_shadows_model"),
        *("extract_results_n_shadows_model", "print_comparisons_n_shadows_model", "loggers_set_enabled"),
        *("loggers_set_save_activations", "OutputLogger", "OutputComparisonLogger"),
    ),
    "torch.ao.ns.fx.utils": ("compute_sqnr", "compute_cosine_similarity", "compute_normalized_l2_error"),
    "torch.ao.quantization.fx._model_report.model_report": ("ModelReport",),
    "torch.ao.quantization.fx._model_report.detector": (
        *("PerChannelDetector", "DynamicStaticDetector", "InputWeightEqualizationDetector", "OutlierDetector"),
    ),
    "torch.ao.quantization.fx._equalize": (
        *("EqualizationQConfig", "default_equalization_qconfig", "get_layer_sqnr_dict"),
        "get_equalization_qconfig_dict",
    ),
    "torch.ao.quantization": ("QConfigMultiMapping", "fuse_modules", "fuse_modules_qat", "quantize_dynamic"),
    "torch.ao.nn.quantized": ("QFunctional",),
    "torch.ao.nn.quantizable": ("LSTM", "LSTMCell", "MultiheadAttention"),
}


@pytest.mark.parametrize("module", NEIGHBOURS)
def test_what_stands_beside_fx_graph_mode_is_spoken_of(module: str) -> None:
    assert [name for name in NEIGHBOURS[module] if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("module", NEIGHBOURS)
def test_what_stands_beside_fx_graph_mode_is_there(module: str) -> None:
    theirs = pytest.importorskip(module)
    names = [name for name in NEIGHBOURS[module] if name != "QConfigMultiMapping"]  # of a module of its own
    assert [name for name in names if not hasattr(theirs, name)] == []


def test_the_counterparts_of_what_stands_beside_do_it() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    x = torch.randn(32, 4)
    mapping = fxquant.get_default_qconfig_mapping()
    prepared = fxquant.calibrate(fxquant.prepare_fx(model, mapping, (x,)), [x], progress=False)
    quantized = fxquant.convert_fx(prepared)
    comparison = fxquant.compare(model, quantized, [x])
    by_layer = {row.place: row.accumulated.sqnr_db for row in comparison.rows}
    assert by_layer.keys() == {"input", "0", "2"}
    assert by_layer["2"] == pytest.approx(measures.sqnr_db(model(x), quantized(x)), abs=0.01)
    first, last = (next(row for row in comparison.rows if row.place == place) for place in ("0", "2"))
    assert first.weight is not None
    assert first.weight.sqnr_db > 35
    assert last.alone is not None
    assert last.alone.sqnr_db >= last.accumulated.sqnr_db - 1
    assert last.accumulated.peak > 1
    assert measures.normalized_l2_error(model(x), quantized(x)) < 0.1
    assert measures.cosine_similarity(model(x), quantized(x)) > 0.99
