"""What a backend can run, as a filter on what fxquant may put into int8.

fxquant needs none: its kernels are the backend, and the op table says what they can do. Who deploys elsewhere, or has
such a config, narrows it down: an op runs in int8 only if a pattern of the BackendConfig ends in it or holds it, and if
the qconfig fits one of the pattern's DTypeConfigs, constraints included. `explain` gives the reason where that refuses.
What speaks of torch's own fused and reference modules has no meaning for a compiler that fuses by itself; `ignored`
names it, and prepare_fx says so once.
"""

from fxquant.backend_config.config import BackendConfig, BackendPatternConfig, ObservationType
from fxquant.backend_config.dtypes import DTypeConfig, DTypeWithConstraints
from fxquant.backend_config.native import (
    get_executorch_backend_config,
    get_fbgemm_backend_config,
    get_native_backend_config,
    get_native_backend_config_dict,
    get_onednn_backend_config,
    get_qnnpack_backend_config,
    get_tensorrt_backend_config,
    get_tensorrt_backend_config_dict,
    get_x86_backend_config,
    native_backend_config,
)

__all__ = [
    "BackendConfig",
    "BackendPatternConfig",
    "DTypeConfig",
    "DTypeWithConstraints",
    "ObservationType",
    "get_executorch_backend_config",
    "get_fbgemm_backend_config",
    "get_native_backend_config",
    "get_native_backend_config_dict",
    "get_onednn_backend_config",
    "get_qnnpack_backend_config",
    "get_tensorrt_backend_config",
    "get_tensorrt_backend_config_dict",
    "get_x86_backend_config",
    "native_backend_config",
]
