"""The dtypes that a backend has for an op, and whether a qconfig fits them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fxquant.arguments import typed
from fxquant.errors import ConfigError
from fxquant.observer.scheme import plain_dtype


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
        sides = [("its input", self.input_dtype_with_constraints, activation)]
        if not self.is_dynamic:  # then the output is float
            sides.append(("its output", self.output_dtype_with_constraints, activation))
        if weight is not None:
            sides.append(("its weight", self.weight_dtype_with_constraints, weight))
        for side, constraints, observer in sides:
            if (refusal := constraints.refusal(observer)) is not None:
                return f"{side} {refusal}"
        return None

    @classmethod
    @typed
    def from_dict(cls, dtype_config_dict: dict[str, Any]) -> DTypeConfig:
        """The inverse of `to_dict`."""
        return cls(**known_keys(dtype_config_dict, _DTYPE_KEYS, cls.__name__))

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


def _constrained(dtype: torch.dtype | DTypeWithConstraints | None) -> DTypeWithConstraints:
    return dtype if isinstance(dtype, DTypeWithConstraints) else DTypeWithConstraints(dtype)


def known_keys(given: dict[str, Any], keys: Sequence[str], what: str) -> dict[str, Any]:
    """A copy of a dict form of `what`. ConfigError for a key that is not in `keys`."""
    if unknown := [key for key in given if key not in keys]:
        raise ConfigError(f"unknown keys {unknown} in a dict for {what}; known: {list(keys)}")
    return dict(given)
