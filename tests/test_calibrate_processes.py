"""calibrate in several processes: the statistics are those of one process that has seen all the data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

PROGRAM = """
import sys, torch
from torch import nn, distributed
from fxquant import QConfig, QConfigMapping, calibrate, convert_fx, prepare_fx
from fxquant.errors import CalibrationError
from fxquant.observer import *

distributed.init_process_group("gloo")
rank, case = distributed.get_rank(), sys.argv[1]
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()
data = [torch.randn(2, 3, 9, 9) * (1 + i) for i in range(7)]
weight = PerChannelMinMaxObserver.with_args(dtype=torch.int8, qscheme="per_channel_symmetric")


def prepared(kind):
    return prepare_fx(model, QConfigMapping().set_global(QConfig(kind, weight)), (data[0],))


def same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


if case == "equal":
    for kind in (MinMaxObserver, HistogramObserver, PercentileObserver, EntropyObserver, MSEObserver, PNormObserver):
        alone = prepared(kind)
        for batch in data:
            alone(batch)
        together = calibrate(prepared(kind), data[rank::2], progress=False)
        same(together.state_dict(), alone.state_dict())
        assert torch.equal(convert_fx(together)(data[3]), convert_fx(alone)(data[3]))
elif case == "in two steps":
    for kind in (MinMaxObserver, HistogramObserver):
        alone = prepared(kind)
        for batch in data:
            alone(batch)
        together = prepared(kind)
        calibrate(together, data[:4][rank::2], progress=False)
        calibrate(together, data[4:][rank::2], progress=False)
        same(together.state_dict(), alone.state_dict())
elif case == "unequal":  # one process has no data at all
    alone = prepared(HistogramObserver)
    for batch in data:
        alone(batch)
    together = calibrate(prepared(HistogramObserver), data if rank == 1 else [], progress=False)
    same(together.state_dict(), alone.state_dict())
elif case == "moving":
    together = calibrate(prepared(MovingAverageMinMaxObserver), data[rank::2], progress=False)
    parts = []
    for part in (data[0::2], data[1::2]):
        parts.append(prepared(MovingAverageMinMaxObserver))
        for batch in part:
            parts[-1](batch)
    for name, tensor in together.state_dict().items():
        if name.endswith(("min_val", "max_val")):
            torch.testing.assert_close(tensor, sum(p.state_dict()[name] for p in parts) / 2)
elif case == "per channel":
    observer = PerChannelMinMaxObserver(ch_axis=1)
    x = torch.randn(4, 5)
    if rank == 0:
        observer(x)
    observer.merge_processes()
    assert torch.equal(observer.min_val, x.amin(0)) and torch.equal(observer.max_val, x.amax(0))
elif case == "failure":
    bad = [data[0], data[0] / 0] if rank == 1 else data[:2]
    try:
        calibrate(prepared(HistogramObserver), bad, progress=False)
    except CalibrationError as error:
        assert ("another process" in str(error)) == (rank == 0), error
    else:
        raise AssertionError("no error")
elif case == "nothing":
    try:
        calibrate(prepared(HistogramObserver), [], progress=False)
    except CalibrationError as error:
        assert "no batches" in str(error)
    else:
        raise AssertionError("no error")
distributed.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
@pytest.mark.parametrize("case", ["equal", "in two steps", "unequal", "moving", "per channel", "failure", "nothing"])
def test_two_processes_are_as_one(case: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    result = subprocess.run(
        [*command, str(tmp_path / "program.py"), case],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
