"""docs/ops.md is what the op table says."""

from __future__ import annotations

from pathlib import Path

from fxquant import ops
from fxquant.analysis.ops_page import page

PAGE = Path(__file__).parents[1] / "docs" / "ops.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run: python -m fxquant.analysis.ops_page > docs/ops.md"


def test_the_page_tells_kernels_tables_movement_and_float_apart() -> None:
    rows = {
        line.split("`")[1]: [cell.strip() for cell in line.split(" | ")]
        for line in page().splitlines()
        if "`" in line[:3]
    }
    assert rows["conv3d"][3:] == ["kernel", "dynamic", "kernel", "float |"]
    assert rows["add"][3:6] == ["kernel or table", "float", "kernel or table"]
    assert rows["abs"][3:6] == ["table", "float", "table"]
    assert rows["unfold"][3] == "moves"
    assert ops.int8_conv2d.__name__ not in rows
