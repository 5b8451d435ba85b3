"""The ops that a backend has, and whether it takes an op as the user writes and configures it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn

from fxquant.arguments import typed
from fxquant.backend_config.dtypes import DTypeConfig, known_keys

Pattern = Any  # a module class, a function, a method's name, or a tuple of such


class ObservationType(enum.Enum):
    """Which observers an op has: its own at the output, the input's there too, or none."""

    OUTPUT_USE_DIFFERENT_OBSERVER_AS_INPUT = 0
    OUTPUT_SHARE_OBSERVER_WITH_INPUT = 1
    INPUT_OUTPUT_NOT_OBSERVED = 2


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

    @typed
    def add_dtype_config(self, dtype_config: DTypeConfig) -> BackendPatternConfig:
        """One more combination of dtypes."""
        self.dtype_configs.append(dtype_config)
        return self

    @typed
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
        """A pattern of this class has the dtypes for what this pattern is; fxquant fuses by passes."""
        return self._set("fused_module", fused_module)

    def set_fuser_method(self, fuser_method: Callable[..., Any]) -> BackendPatternConfig:
        """Kept, not used: fxquant fuses by passes."""
        return self._set("fuser_method", fuser_method)

    def _set(self, key: str, value: Any) -> BackendPatternConfig:
        self._others[key] = value
        return self

    @property
    def fused_module(self) -> type[nn.Module] | None:
        """What torch.ao fuses the pattern to; a pattern of that class has its dtypes."""
        fused: type[nn.Module] | None = self._others.get("fused_module")
        return fused

    @property
    def ignored(self) -> dict[str, Any]:
        """What was set and is not used, but for what is torch's own."""
        return {
            key: value
            for key, value in self._others.items()
            if key != "fused_module" and not str(getattr(value, "__module__", "")).startswith(("torch.", "fxquant."))
        }

    @classmethod
    @typed
    def from_dict(cls, backend_pattern_config_dict: dict[str, Any]) -> BackendPatternConfig:
        """The inverse of `to_dict`."""
        given = known_keys(backend_pattern_config_dict, _PATTERN_KEYS, cls.__name__)
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

    @typed
    def set_backend_pattern_config(self, config: BackendPatternConfig) -> BackendConfig:
        """One more pattern, in place of an equal one."""
        self.configs = [other for other in self.configs if other.pattern != config.pattern] + [config]
        return self

    @typed
    def set_backend_pattern_configs(self, configs: Sequence[BackendPatternConfig]) -> BackendConfig:
        """More patterns, each in place of an equal one."""
        for config in configs:
            self.set_backend_pattern_config(config)
        return self

    def refusal(self, is_written_as: Callable[[Pattern], bool], activation: Any, weight: Any | None) -> str | None:
        """Why an op cannot run in int8 there, or None if it can.

        `is_written_as`: whether the user wrote it as a pattern has it. `activation`, `weight`: what its qconfig
        observes with; None if it has no weight.
        """
        named = f"the backend {self.name!r}"
        patterns = [config for config in self.configs if any(map(is_written_as, self._forms(config)))]
        observed = [c for c in patterns if c.observation_type is not ObservationType.INPUT_OUTPUT_NOT_OBSERVED]
        if not observed:
            return f"{named} does not observe it" if patterns else f"{named} has no pattern with it"
        refusals = [dtypes.refusal(activation, weight) for config in observed for dtypes in config.dtype_configs]
        if None in refusals:
            return None
        return f"{named} {'has no dtypes for it' if not refusals else f'refuses it: {refusals[0]}'}"

    def _forms(self, config: BackendPatternConfig) -> list[Pattern]:
        """Its pattern, and those that torch.ao fuses to it."""
        fused = [each.pattern for each in self.configs if each.fused_module and each.fused_module == config.pattern]
        return [config.pattern, *fused]

    @property
    def ignored(self) -> list[str]:
        """What was set and is not used."""
        return [
            f"{key} of {_shown(config.pattern)}: {getattr(value, '__name__', value)}"
            for config in self.configs
            for key, value in config.ignored.items()
        ]

    @classmethod
    @typed
    def from_dict(cls, backend_config_dict: dict[str, Any]) -> BackendConfig:
        """The inverse of `to_dict`."""
        given = known_keys(backend_config_dict, ("name", "configs"), cls.__name__)
        configs = given.get("configs", ())
        made = [BackendPatternConfig.from_dict(c) if isinstance(c, dict) else c for c in configs]
        return cls(given.get("name", "")).set_backend_pattern_configs(made)

    def to_dict(self) -> dict[str, Any]:
        """The name, and the patterns as dicts."""
        return {"name": self.name, "configs": [config.to_dict() for config in self.configs]}

    def __repr__(self) -> str:
        return f"BackendConfig({self.name!r}, {len(self.configs)} patterns)"


def leaves_of(pattern: Pattern) -> Iterator[Any]:
    """Everything that a pattern names."""
    if isinstance(pattern, (tuple, list)):
        for part in pattern:
            yield from leaves_of(part)
    else:
        yield pattern


def _shown(pattern: Pattern) -> str:
    return " + ".join(str(getattr(leaf, "__name__", leaf)) for leaf in leaves_of(pattern))
