"""fxquant::lookup equals the plain-torch lookup, whatever the shape, the strides, the ISA and the threads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fxquant import kernels
from fxquant.errors import InputError
from fxquant.ops.integer.lookup import lookup


def codes(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


LAYOUTS = {
    "vector": lambda: codes(1001),
    "scalar": lambda: codes()[()],
    "nchw": lambda: codes(2, 3, 5, 7),
    "channels last": lambda: codes(2, 70, 9, 5).to(memory_format=torch.channels_last),
    "concat slice": lambda: codes(2, 70, 9, 5).to(memory_format=torch.channels_last)[:, 3:40],
    "every second pixel": lambda: codes(2, 70, 9, 5)[..., ::2],
    "expanded": lambda: codes(1, 70, 1, 5).expand(2, 70, 9, 5),
    "transposed": lambda: codes(40, 33).t(),
    "large": lambda: codes(300_001),
    "large channels last": lambda: codes(1, 40, 60, 60).to(memory_format=torch.channels_last),
    "empty": lambda: codes(0, 3, 5, 7),
}


def cases(*layouts: str) -> pytest.MarkDecorator:
    """Layouts, the large ones on two threads."""
    rows = [(layout, 2 if "large" in layout else 1) for layout in layouts]
    return pytest.mark.parametrize(("layout", "threads"), rows, indirect=["threads"])


@cases(*LAYOUTS)
def test_one_table(layout: str, isa: str, threads: int) -> None:
    x, table = LAYOUTS[layout](), codes(256)
    y = kernels.lookup(x, table)
    assert torch.equal(y, lookup(x, table))
    assert y.stride() == torch.empty_like(x).stride()


def test_every_code(isa: str) -> None:
    every = torch.arange(256, dtype=torch.uint8)
    for table in (every, every.flip(0), codes(256)):
        assert torch.equal(kernels.lookup(every, table), table)


@cases("nchw", "channels last", "concat slice", "every second pixel", "transposed", "large channels last")
def test_table_per_channel(layout: str, isa: str, threads: int) -> None:
    x = LAYOUTS[layout]()
    tables = codes(x.shape[1], 256)
    assert torch.equal(kernels.lookup(x, tables), lookup(x, tables))


@pytest.mark.parametrize("table", [codes(255), codes(4, 256), codes(256).int(), codes(1, 3, 256)])
def test_wrong_table_is_refused(table: Tensor) -> None:
    with pytest.raises(InputError, match="lookup takes"):
        kernels.lookup(codes(2, 3, 5, 7), table)


def test_fake_agrees() -> None:
    for x in (codes(2, 3, 5, 7), codes(2, 3, 5, 7).to(memory_format=torch.channels_last), codes(9)[::2]):
        torch.library.opcheck(kernels.lookup, (x, codes(256)), test_utils=("test_schema", "test_faketensor"))
