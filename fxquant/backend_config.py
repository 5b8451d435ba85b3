"""What a backend can run, as a filter on what fxquant may put into int8.

fxquant needs none: its kernels are the backend, and the op table says what they can do. Who deploys elsewhere, or has
such a config, narrows it down: an op runs in int8 only if a pattern of the BackendConfig ends in it or holds it, and if
the qconfig fits one of the pattern's DTypeConfigs, constraints included. `explain` gives the reason where that refuses.
What speaks of torch's own fused and reference modules has no meaning for a compiler that fuses by itself; `ignored`
names it, and prepare_fx says so once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fxquant.errors import ConfigError
from fxquant.observer.scheme import plain_dtype

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

Pattern = Any  # a module class, a function, a method's name, or a tuple of such


class ObservationType(enum.Enum):
    """Which observers an op has: its own at the output, the input's there too, or none."""

    OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT = 0
    OUTPUT_SHARE_OBSERVER_WITH_INPUT = 1
    INPUT_OUTPUT_NOT_OBSERVED = 2


@dataclass(frozen=True)
class DTypeWithConstraints:
    """A dtype, and the integers and scales that an observer of it must keep to; None means any."""

    dtype: torch.dtype | None = None
    quant_min_lower_bound: float | None = None
    quant_max_upper_bound: float | None = None
    scale_min_lower_bound: float | None = None
    scale_max_upper_bound: float | None = None
    scale_exact_match: float | None = None
    zero_point_exact_match: int | None = None

    def refusal(self, observer: Any) -> str | None:
        """Why `observer` does not fit, or None if it does."""
        if self.dtype is None:
            return None
        if observer.dtype is not plain_dtype(self.dtype):
            return f"takes {plain_dtype(self.dtype)}, not {observer.dtype}"
        low, high = getattr(observer, "quant_min", None), getattr(observer, "quant_max", None)
        if self.quant_min_lower_bound is not None and (low is None or low < self.quant_min_lower_bound):
            return f"takes integers from {self.quant_min_lower_bound} on, not from {low}"
        if self.quant_max_upper_bound is not None and (high is None or high > self.quant_max_upper_bound):
            return f"takes integers up to {self.quant_max_upper_bound}, not to {high}"
        return self._scale_refusal(observer)

    def _scale_refusal(self, observer: Any) -> str | None:
        scale, zero_point = (getattr(observer, name, None) for name in ("scale", "zero_point"))
        least = getattr(observer, "eps", None)
        if self.scale_min_lower_bound is not None and scale is None and (least or 0) < self.scale_min_lower_bound:
            return f"takes scales from {self.scale_min_lower_bound} on; the observer has eps={least}"
        if self.scale_exact_match is not None and (scale is None or float(scale) != self.scale_exact_match):
            return f"takes the scale {self.scale_exact_match} only"
        if self.zero_point_exact_match is not None and (
            zero_point is None or int(zero_point) != self.zero_point_exact_match
        ):
            return f"takes the zero point {self.zero_point_exact_match} only"
        return None


class DTypeConfig:
    """The dtypes of an op's input, output, weight and bias; a dtype may come with constraints, None means float32."""

    def __init__(
        self,
        input_dtype: torch.dtype | DTypeWithConstraints | None = None,
        output_dtype: torch.dtype | DTypeWithConstraints | None = None,
        weight_dtype: torch.dtype | DTypeWithConstraints | None = None,
        bias_dtype: torch.dtype | None = None,
        is_dynamic: bool | None = None,
    ) -> None:
        self.input_dtype_with_constraints = _constrained(input_dtype)
        self.output_dtype_with_constraints = _constrained(output_dtype)
        self.weight_dtype_with_constraints = _constrained(weight_dtype)
        self.bias_dtype = bias_dtype
        self.is_dynamic = is_dynamic

    @property
    def input_dtype(self) -> torch.dtype | None:
        """The input's dtype without its constraints."""
        return self.input_dtype_with_constraints.dtype

    @property
    def output_dtype(self) -> torch.dtype | None:
        """The output's dtype without its constraints."""
        return self.output_dtype_with_constraints.dtype

    @property
    def weight_dtype(self) -> torch.dtype | None:
        """The weight's dtype without its constraints."""
        return self.weight_dtype_with_constraints.dtype

    def refusal(self, activation: Any, weight: Any | None) -> str | None:
        """Why an op whose activations and weight are so observed does not fit, or None if it does."""
        if bool(self.is_dynamic) != activation.is_dynamic:
            return f"is for {'dynamic' if self.is_dynamic else 'static'} quantization"
        if self.input_dtype in (None, torch.float32):
            return "takes float32"
        sides = [
            ("its input", self.input_dtype_with_constraints, activation),
            ("its output", self.output_dtype_with_constraints, activation),
        ]
        if weight is not None:
            sides.append(("its weight", self.weight_dtype_with_constraints, weight))
        for side, constraints, observer in sides:
            if (refusal := constraints.refusal(observer)) is not None:
                return f"{side} {refusal}"
        return None

    @classmethod
    def from_dict(cls, dtype_config_dict: dict[str, Any]) -> DTypeConfig:
        """The inverse of `to_dict`."""
        return cls(**_known(dtype_config_dict, _DTYPE_KEYS, cls.__name__))

    def to_dict(self) -> dict[str, Any]:
        """The arguments that were given."""
        values = (
            self.input_dtype_with_constraints if self.input_dtype else None,
            self.output_dtype_with_constraints if self.output_dtype else None,
            self.weight_dtype_with_constraints if self.weight_dtype else None,
            self.bias_dtype,
            self.is_dynamic,
        )
        return {key: value for key, value in zip(_DTYPE_KEYS, values, strict=True) if value is not None}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypeConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"DTypeConfig({', '.join(f'{key}={value}' for key, value in self.to_dict().items())})"


_DTYPE_KEYS = ("input_dtype", "output_dtype", "weight_dtype", "bias_dtype", "is_dynamic")


class BackendPatternConfig:
    """One op, or a sequence of ops, and the dtypes that the backend has for it. Each setter returns the config."""

    def __init__(self, pattern: Pattern | None = None) -> None:
        self.pattern = pattern
        self.observation_type = ObservationType.OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT
        self.dtype_configs: list[DTypeConfig] = []
        self._others: dict[str, Any] = {}

    def set_pattern(self, pattern: Pattern) -> BackendPatternConfig:
        """A module class, a function, a method's name, or a tuple of such, each reading the one before it."""
        self.pattern = pattern
        return self

    def set_observation_type(self, observation_type: ObservationType) -> BackendPatternConfig:
        """INPUT_OUTPUT_NOT_OBSERVED keeps the op in float; which of the other two holds, the op table knows."""
        self.observation_type = observation_type
        return self

    def add_dtype_config(self, dtype_config: DTypeConfig) -> BackendPatternConfig:
        """One more combination of dtypes."""
        self.dtype_configs.append(dtype_config)
        return self

    def set_dtype_configs(self, dtype_configs: Sequence[DTypeConfig]) -> BackendPatternConfig:
        """All combinations of dtypes, in place of those before."""
        self.dtype_configs = list(dtype_configs)
        return self

    def set_root_module(self, root_module: type[nn.Module]) -> BackendPatternConfig:
        """Kept, not used: fxquant finds the weighted op by itself."""
        return self._set("root_module", root_module)

    def set_qat_module(self, qat_module: type[nn.Module]) -> BackendPatternConfig:
        """Kept, not used: fxquant trains the float op with fake-quantizes around it."""
        return self._set("qat_module", qat_module)

    def set_reference_quantized_module(self, reference_quantized_module: type[nn.Module]) -> BackendPatternConfig:
        """Kept, not used: fxquant's reference model has quantize and dequantize around the float op."""
        return self._set("reference_quantized_module", reference_quantized_module)

    def set_fused_module(self, fused_module: type[nn.Module]) -> BackendPatternConfig:
        """Kept, not used: fxquant fuses by passes."""
        return self._set("fused_module", fused_module)

    def set_fuser_method(self, fuser_method: Callable[..., Any]) -> BackendPatternConfig:
        """Kept, not used: fxquant fuses by passes."""
        return self._set("fuser_method", fuser_method)

    def _set(self, key: str, value: Any) -> BackendPatternConfig:
        self._others[key] = value
        return self

    @property
    def spellings(self) -> frozenset[Any]:
        """Everything the pattern names."""
        return frozenset(_leaves(self.pattern))

    @property
    def ignored(self) -> dict[str, Any]:
        """What was set and is not used, but for what is torch's own."""
        return {
            key: value
            for key, value in self._others.items()
            if not str(getattr(value, "__module__", "")).startswith(("torch.", "fxquant."))
        }

    @classmethod
    def from_dict(cls, backend_pattern_config_dict: dict[str, Any]) -> BackendPatternConfig:
        """The inverse of `to_dict`."""
        given = _known(backend_pattern_config_dict, _PATTERN_KEYS, cls.__name__)
        made = cls(given.pop("pattern", None))
        made.observation_type = given.pop("observation_type", made.observation_type)
        configs = given.pop("dtype_configs", ())
        made.dtype_configs = [DTypeConfig.from_dict(c) if isinstance(c, dict) else c for c in configs]
        made._others = given
        return made

    def to_dict(self) -> dict[str, Any]:
        """Everything set."""
        return {
            "pattern": self.pattern,
            "observation_type": self.observation_type,
            "dtype_configs": [config.to_dict() for config in self.dtype_configs],
            **self._others,
        }

    def __repr__(self) -> str:
        return f"BackendPatternConfig({self.to_dict()})"


_PATTERN_KEYS = (
    "pattern",
    "observation_type",
    "dtype_configs",
    "root_module",
    "qat_module",
    "reference_quantized_module",
    "fused_module",
    "fuser_method",
)


class BackendConfig:
    """The patterns of a backend, by name. Each setter returns the config."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.configs: list[BackendPatternConfig] = []

    def set_name(self, name: str) -> BackendConfig:
        """What messages call it."""
        self.name = name
        return self

    def set_backend_pattern_config(self, config: BackendPatternConfig) -> BackendConfig:
        """One more pattern, in place of an equal one."""
        self.configs = [other for other in self.configs if other.pattern != config.pattern] + [config]
        return self

    def set_backend_pattern_configs(self, configs: Sequence[BackendPatternConfig]) -> BackendConfig:
        """More patterns, each in place of an equal one."""
        for config in configs:
            self.set_backend_pattern_config(config)
        return self

    def refusal(self, spellings: Sequence[Any], activation: Any, weight: Any | None) -> str | None:
        """Why an op that the user writes as one of `spellings` cannot run in int8 there, or None if it can.

        `activation`, `weight`: what its qconfig observes with; None if it has no weight.
        """
        named = f"the backend {self.name!r}"
        patterns = [config for config in self.configs if not config.spellings.isdisjoint(spellings)]
        observed = [c for c in patterns if c.observation_type is not ObservationType.INPUT_OUTPUT_NOT_OBSERVED]
        if not observed:
            return f"{named} does not observe it" if patterns else f"{named} has no pattern with it"
        refusals = [dtypes.refusal(activation, weight) for config in observed for dtypes in config.dtype_configs]
        if None in refusals:
            return None
        return f"{named} {'has no dtypes for it' if not refusals else f'refuses it: {refusals[0]}'}"

    @property
    def ignored(self) -> list[str]:
        """What was set and is not used."""
        return [
            f"{key} of {_shown(config.pattern)}: {getattr(value, '__name__', value)}"
            for config in self.configs
            for key, value in config.ignored.items()
        ]

    @classmethod
    def from_dict(cls, backend_config_dict: dict[str, Any]) -> BackendConfig:
        """The inverse of `to_dict`."""
        given = _known(backend_config_dict, ("name", "configs"), cls.__name__)
        configs = given.get("configs", ())
        made = [BackendPatternConfig.from_dict(c) if isinstance(c, dict) else c for c in configs]
        return cls(given.get("name", "")).set_backend_pattern_configs(made)

    def to_dict(self) -> dict[str, Any]:
        """The name, and the patterns as dicts."""
        return {"name": self.name, "configs": [config.to_dict() for config in self.configs]}

    def __repr__(self) -> str:
        return f"BackendConfig({self.name!r}, {len(self.configs)} patterns)"


def native_backend_config(name: str = "native") -> BackendConfig:
    """What fxquant's own kernels do: every spelling of an op that has an int8 form, in static int8."""
    from fxquant.ops.op import SPELLINGS

    dtypes = [DTypeConfig(i, i, torch.int8, torch.float32) for i in (torch.uint8, torch.int8)]
    patterns = [BackendPatternConfig(spelling).set_dtype_configs(dtypes) for spelling in SPELLINGS]
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


def _constrained(dtype: torch.dtype | DTypeWithConstraints | None) -> DTypeWithConstraints:
    return dtype if isinstance(dtype, DTypeWithConstraints) else DTypeWithConstraints(dtype)


def _known(given: dict[str, Any], keys: Sequence[str], what: str) -> dict[str, Any]:
    if unknown := [key for key in given if key not in keys]:
        raise ConfigError(f"unknown keys {unknown} in a dict for {what}; known: {list(keys)}")
    return dict(given)


def _leaves(pattern: Pattern) -> Iterator[Any]:
    if isinstance(pattern, (tuple, list)):
        for part in pattern:
            yield from _leaves(part)
    else:
        yield pattern


def _shown(pattern: Pattern) -> str:
    return " + ".join(str(getattr(leaf, "__name__", leaf)) for leaf in _leaves(pattern))
