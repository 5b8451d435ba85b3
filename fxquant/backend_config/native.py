"""What fxquant's own kernels do, under the names of the backends that torch.ao knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from fxquant.backend_config.config import BackendConfig, BackendPatternConfig
from fxquant.backend_config.dtypes import DTypeConfig

_EMBEDDINGS = (nn.Embedding, F.embedding, nn.EmbeddingBag, F.embedding_bag)


def native_backend_config(name: str = "native") -> BackendConfig:
    """What fxquant's own kernels do: every spelling of an op that has an int8 form, in static int8.

    The tables of embeddings may also be integers where activations are real.
    """
    from fxquant.ops.op import SPELLINGS

    integers = (torch.uint8, torch.int8)
    static = [DTypeConfig(i, i, torch.int8, torch.float32) for i in integers]
    rows = [DTypeConfig(torch.float32, torch.float32, i) for i in integers]
    patterns = [
        BackendPatternConfig(spelling).set_dtype_configs([*static, *(rows if spelling in _EMBEDDINGS else ())])
        for spelling in SPELLINGS
    ]
    return BackendConfig(name).set_backend_pattern_configs(patterns)


def _backend(name: str) -> Callable[[], BackendConfig]:
    def get() -> BackendConfig:
        """`native_backend_config` under this name: a backend's name chooses no kernels."""
        return native_backend_config(name)

    get.__name__ = get.__qualname__ = f"get_{name}_backend_config"
    return get


def get_native_backend_config_dict() -> dict[str, Any]:
    """`get_native_backend_config` as a dict."""
    return native_backend_config().to_dict()


def get_tensorrt_backend_config_dict() -> dict[str, Any]:
    """`get_tensorrt_backend_config` as a dict."""
    return native_backend_config("tensorrt").to_dict()


get_native_backend_config = _backend("native")
get_x86_backend_config = _backend("x86")
get_fbgemm_backend_config = _backend("fbgemm")
get_qnnpack_backend_config = _backend("qnnpack")
get_onednn_backend_config = _backend("onednn")
get_tensorrt_backend_config = _backend("tensorrt")
get_executorch_backend_config = _backend("executorch")
