"""The notebooks run from top to bottom as programs, and show what their text says. The site runs them in Jupyter."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from fxquant.demo import packages

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def run(name: str) -> dict[str, Any]:
    """The notebook's variables at its end."""
    return runpy.run_path(str(NOTEBOOKS / f"{name}.py"))


def test_int8_by_hand() -> None:
    shown = run("int8_by_hand")
    assert shown["plain_db"] - shown["outlier_db"] == pytest.approx(6, abs=0.5)  # a bit
    assert shown["linear_db"] > 40
    assert shown["without_k_db"] < 0
    assert shown["hand_db"] > 40
    assert shown["same_weights"]
    assert shown["same_outputs"]


def test_from_scratch() -> None:
    shown = run("from_scratch")
    assert shown["ours"] == shown["observed"]
    assert shown["steps"] == 0
    assert shown["db"] > 40
    layers = ["int8_conv2d", "max_pool2d", "int8_conv2d", "int8_conv2d", "max_pool2d", "flatten", "int8_linear"]
    assert [node.op for node in shown["integers"]] == ["input", "quantize", *layers, "dequantize"]
    assert shown["places"] == 3


@pytest.mark.usefixtures("own_passes")
def test_write_a_pass() -> None:
    shown = run("write_a_pass")
    assert sorted(shown["removed"]) == [*["Int8Mul"] * 2, *["Lookup"] * 7]
    assert shown["after_gelu_db"] > shown["before_gelu_db"]
    assert shown["after_db"] > shown["before_db"]
    assert "it reads sigmoid, which is computed after it" in shown["message"]
    assert "the pass out_of_order" in shown["message"]


@pytest.mark.slow
@pytest.mark.skipif(
    bool(packages.missing_packages()), reason=f"the demo's packages are missing: {packages.install_command()}"
)
def test_find_the_layer() -> None:
    shown = run("find_the_layer")
    assert 11 < shown["start_db"] < 13
    assert shown["per_channel_db"] > shown["start_db"] + 5
    assert "features.1" in {layer.name for layer in shown["suggestion"].left_float}
    assert shown["suggested_db"] > shown["per_channel_db"] + 1.5
    assert shown["equalized_db"] > shown["per_channel_db"]
    assert shown["end_db"] > 20
    assert not shown["floats"]


def test_no_notebook_is_left_out() -> None:
    names = {path.stem for path in NOTEBOOKS.glob("*.py")}
    assert names == {name.removeprefix("test_") for name in globals() if name.startswith("test_")} - {
        "no_notebook_is_left_out"
    }
