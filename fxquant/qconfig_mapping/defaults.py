"""The mappings that a user starts from: one QConfig for all ops, and what a few types of ops need besides."""

from __future__ import annotations

import warnings
from typing import Any

from torch import nn
from torch.nn import functional as F

from fxquant.qconfig import (
    QConfig,
    QConfigAny,
    default_embedding_qat_qconfig,
    default_symmetric_qnnpack_qat_qconfig,
    default_symmetric_qnnpack_qconfig,
    float_qparams_weight_only_qconfig,
    get_default_qat_qconfig,
    get_default_qconfig,
)
from fxquant.qconfig_mapping.mapping import ObjectType, QConfigMapping

_TRANSPOSED = (
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    F.conv_transpose1d,
    F.conv_transpose2d,
    F.conv_transpose3d,
)
_BAGS = (nn.EmbeddingBag, F.embedding_bag)


def _default_mapping(qconfig: QConfig, bags: QConfig = float_qparams_weight_only_qconfig) -> QConfigMapping:
    """`qconfig` for all ops; where it has a scale a channel, on the right axis of each weight.

    The output channels of a transposed convolution's weight [in, out / groups, ...] are on axis 1. `bags`: for bags of
    embeddings, whose rows alone can be integers.
    """
    mapping = QConfigMapping().set_global(qconfig)
    mapping.object_type_qconfigs.update(dict.fromkeys(_BAGS, bags))
    weight: Any = qconfig.weight
    if getattr(weight(), "ch_axis", None) is not None:
        transposed = qconfig._replace(weight=weight.with_args(ch_axis=1))
        mapping.object_type_qconfigs.update(dict.fromkeys(_TRANSPOSED, transposed))
    return mapping


def is_default(kind: ObjectType, qconfig: QConfigAny) -> bool:
    """Whether a default mapping sets this, whatever the model has in it."""
    weight: Any = qconfig.weight if qconfig is not None else None
    if kind in _BAGS:
        return qconfig in (float_qparams_weight_only_qconfig, default_embedding_qat_qconfig)
    return kind in _TRANSPOSED and weight is not None and getattr(weight(), "ch_axis", None) == 1


def get_default_qconfig_mapping(backend: str = "x86", version: int = 0) -> QConfigMapping:
    """`get_default_qconfig(backend)` for all ops, with per-channel scales on the right axis of each weight.

    Bags of embeddings have 8-bit rows, each with a scale of its own, and give real numbers. Ops whose output range the
    maths gives (sigmoid, tanh …) need no setting. ConfigError if `backend` is not known.
    """
    return _default_mapping(get_default_qconfig(backend, version))


def get_default_qat_qconfig_mapping(backend: str = "x86", version: int | None = 1) -> QConfigMapping:
    """`get_default_qat_qconfig(backend, version)` for all ops, otherwise as `get_default_qconfig_mapping`."""
    return _default_mapping(get_default_qat_qconfig(backend, version), default_embedding_qat_qconfig)


def get_default_qconfig_dict(backend: str = "x86", version: int = 0) -> dict[str, Any]:
    """Deprecated: `get_default_qconfig_mapping` as a dict."""
    _warn_of_dict("get_default_qconfig_dict", "get_default_qconfig_mapping")
    return get_default_qconfig_mapping(backend, version).to_dict()


def get_default_qat_qconfig_dict(backend: str = "x86", version: int | None = 1) -> dict[str, Any]:
    """Deprecated: `get_default_qat_qconfig_mapping` as a dict."""
    _warn_of_dict("get_default_qat_qconfig_dict", "get_default_qat_qconfig_mapping")
    return get_default_qat_qconfig_mapping(backend, version).to_dict()


def _warn_of_dict(name: str, other: str) -> None:
    warnings.warn(f"{name} is deprecated; use {other}", FutureWarning, stacklevel=3)


def get_symmetric_qnnpack_qconfig_mapping() -> QConfigMapping:
    """int8 activations, and symmetric weights in -127..127 with one scale, for all ops."""
    return _default_mapping(default_symmetric_qnnpack_qconfig)


def get_symmetric_qnnpack_qat_qconfig_mapping() -> QConfigMapping:
    """As `get_symmetric_qnnpack_qconfig_mapping`, for training."""
    return _default_mapping(default_symmetric_qnnpack_qat_qconfig, default_embedding_qat_qconfig)
