"""`fxquant demo`: real networks from float to int8: calibrate, convert, compare, time, draw."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.fx import GraphModule

from fxquant import calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx
from fxquant.bench.timing import interleaved_medians
from fxquant.demo import data, metrics
from fxquant.drawing.draw import draw

BATCH = 20


@dataclass(frozen=True)
class Result:
    """Float against int8 of one network. Accuracies and agreement are fractions, sizes bytes, times seconds."""

    network: str
    sqnr_db: float
    agreement: float
    float_top1: float
    int8_top1: float
    float_bytes: int
    int8_bytes: int
    float_seconds: float
    int8_seconds: float


def demo(
    network: Annotated[str, typer.Option(help="mobilenetv2, efficientnet-lite0 or all")] = "all",
    output: Annotated[Path, typer.Option(help="where the drawings go")] = Path("fxquant-demo"),
    threads: Annotated[int, typer.Option(min=1, help="threads for the timing")] = 1,
) -> None:
    """Quantize real ImageNet networks to int8 and compare them with the float ones, on real images."""
    names = list(data.NETWORKS) if network == "all" else [network]
    console = Console()
    results = []
    for name in names:
        console.rule(name)
        model, quantized = quantize_network(name)
        results.append(compare(name, model, quantized, threads))
        console.print(f"graph: {draw(quantized, output / f'{name}.html')}")
    console.print(table(results, threads))


def quantize_network(name: str) -> tuple[nn.Module, GraphModule]:
    """The float network, and its int8 version, calibrated on the 20 center crops."""
    model = data.load_network(name)
    images = data.center_crops(name)
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (images[:1],))
    calibrate(prepared, torch.split(images, BATCH))
    quantized = convert_fx(prepared)
    assert isinstance(quantized, GraphModule)
    return model, quantized


def compare(name: str, model: nn.Module, quantized: nn.Module, threads: int) -> Result:
    """Measures both on the 100 crops, and times them on one image."""
    images, labels = data.all_crops(name), data.labels().repeat_interleave(5)
    reference, value = run(model, images), run(quantized, images)
    float_seconds, int8_seconds = interleaved_medians(
        [lambda: model(images[:1]), lambda: quantized(images[:1])], threads=threads
    )
    return Result(
        name,
        metrics.sqnr_db(reference, value),
        metrics.agreement(reference, value),
        metrics.topk_accuracy(reference, labels),
        metrics.topk_accuracy(value, labels),
        state_bytes(model),
        state_bytes(quantized),
        float_seconds,
        int8_seconds,
    )


def run(model: nn.Module, images: Tensor) -> Tensor:
    """The logits of all images, batch by batch."""
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in torch.split(images, BATCH)])


def state_bytes(model: nn.Module) -> int:
    """The size of the file that holds the model's state."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return file.tell()


def table(results: Sequence[Result], threads: int) -> Table:
    """The results, a column for each network."""
    shown = Table(title=f"float against int8: 100 crops; one image in {threads} thread{'s' * (threads > 1)}")
    shown.add_column()
    for r in results:
        shown.add_column(r.network, justify="right")
    for heading, cell in ROWS.items():
        shown.add_row(heading, *(cell(r) for r in results))
    return shown


ROWS: dict[str, Callable[[Result], str]] = {
    "logits SQNR": lambda r: f"{r.sqnr_db:.1f} dB",
    "same top-1 class": lambda r: f"{r.agreement:.0%}",
    "top-1 accuracy": lambda r: f"{r.float_top1:.0%} -> {r.int8_top1:.0%}",
    "size of the state": lambda r: f"{r.float_bytes / 1e6:.1f} -> {r.int8_bytes / 1e6:.1f} MB",
    "int8 / float size": lambda r: f"{r.int8_bytes / r.float_bytes:.3f}",
    "time": lambda r: f"{r.float_seconds * 1e3:.1f} -> {r.int8_seconds * 1e3:.1f} ms",
    "times faster": lambda r: f"{r.float_seconds / r.int8_seconds:.2f}",
}
