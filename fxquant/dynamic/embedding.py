"""nn.Embedding and nn.EmbeddingBag with rows of 8 or 4 bits, each with a scale and a zero point of its own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fxquant import qparams
from fxquant.errors import ConfigError
from fxquant.graph.limits import made_by
from fxquant.passes.fold_rows import rows_of  # type: ignore[import-untyped]
from fxquant.qconfig import QConfig, float_qparams_weight_only_qconfig
from fxquant.runtime.layers.embedding import RowsEmbedding, RowsEmbeddingBag


def refusal(qconfig: QConfig) -> str | None:
    """Why no table has its rows in integers under `qconfig`, or None."""
    weight = made_by(qconfig.weight, "quantize_dynamic") if qconfig.weight is not None else None
    if weight is None or weight.dtype not in (torch.uint8, torch.int8) or not hasattr(weight, "qscheme"):
        return "its qconfig has no 8-bit or 4-bit weights; take float_qparams_weight_only_qconfig"
    if hasattr(weight, "group_size"):
        return "its qconfig asks for groups of weights; rows of a table have one scale each"
    if made_by(qconfig.activation, "quantize_dynamic").is_dynamic:
        return "it reads no activations, and its qconfig is dynamic; take float_qparams_weight_only_qconfig"
    return None


def limit(module: nn.Embedding | nn.EmbeddingBag, qconfig: QConfig) -> str | None:
    """Why `module` stays float whatever its qconfig, or None."""
    if module.max_norm is not None:
        return "it rescales its own weights, by max_norm"
    return "rows of integers give sums and means, not maxima" if getattr(module, "mode", "") == "max" else None


def _table(module: nn.Embedding | nn.EmbeddingBag) -> dict[str, Any]:
    """Rows, scales, zero points and width of the integers. Raises ConfigError for what has no such form."""
    qconfig: QConfig = getattr(module, "qconfig", None) or float_qparams_weight_only_qconfig
    reason = refusal(qconfig) or limit(module, qconfig)
    if reason is not None:
        raise ConfigError(f"a {type(module).__name__} cannot have integer rows: {reason}")
    weight, observer = module.weight.detach(), made_by(qconfig.weight, "quantize_dynamic")
    observer(weight)
    q = observer.qparams()
    scale, zero_point = (torch.as_tensor(each, dtype=torch.float32).reshape(-1) for each in (q.scale, q.zero_point))
    return {**rows_of(qparams.quantize(weight, q), q, scale, zero_point), "width": weight.shape[1]}


class Embedding(RowsEmbedding):
    """Integer indices [...] -> float32 [..., E]."""

    refusal, limit = staticmethod(refusal), staticmethod(limit)

    @classmethod
    def from_float(cls, module: nn.Embedding, use_precomputed_fake_quant: bool = False) -> Embedding:
        """What takes the place of `module`, under its `qconfig` or float_qparams_weight_only_qconfig."""
        return cls(_table(module))

    def _get_name(self) -> str:
        return "QuantizedEmbedding"


class EmbeddingBag(RowsEmbeddingBag):
    """Integer indices [B, N], or [N] with offsets [B], and perhaps a weight for each -> float32 [B, E]."""

    refusal, limit = staticmethod(refusal), staticmethod(limit)

    @classmethod
    def from_float(cls, module: nn.EmbeddingBag, use_precomputed_fake_quant: bool = False) -> EmbeddingBag:
        """What takes the place of `module`, under its `qconfig` or float_qparams_weight_only_qconfig."""
        options = {name: getattr(module, name) for name in ("mode", "include_last_offset", "padding_idx")}
        return cls({**_table(module), **{name: value for name, value in options.items() if value is not None}})

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """Sums or means of rows."""
        given: Tensor = super().forward(input, offsets, per_sample_weights)
        return given

    def _get_name(self) -> str:
        return "QuantizedEmbeddingBag"
