"""How good a quantized model is: a number that is larger the better, such as the SQNR of its outputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fxquant.analysis.compare import each_batch, real_tensors
from fxquant.analysis.layers import mapping_of
from fxquant.analysis.margin import crossed_agreement, decibels_on_others, expected_on_others
from fxquant.analysis.measures import Error
from fxquant.calibrate import bound_batch, calibrate, in_eval
from fxquant.errors import ConfigError, InputError
from fxquant.graph.kept import meta_of
from fxquant.qconfig_mapping import QConfigMapping, get_default_qconfig_mapping
from fxquant.quantize_fx import convert_fx, prepare_fx

# metric(model, batches): a number that is larger the better the model is, such as its accuracy on labelled batches.
Metric = Callable[[nn.Module, list[Any]], float]


@dataclass
class Judge:
    """Judges models on `batches`, which are kept, against what `model` gives there."""

    model: nn.Module
    batches: list[Any]
    metric: Metric | str
    outputs: list[list[Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not callable(self.metric) and self.metric not in BUILT_IN:
            known = ", ".join(map(repr, BUILT_IN))
            raise ConfigError(f"metric={self.metric!r} is none of {known}, nor a function of a model and batches")
        if not callable(self.metric):
            self.outputs = list(self._run(self.model))
            if not any(self.outputs):
                raise ConfigError("the model returns no floating point tensor; pass a metric, a function of a model")

    def __call__(self, model: nn.Module) -> float:
        """The metric of `model`. What a user's function returns must be a number, or ConfigError is raised."""
        if not callable(self.metric):
            return BUILT_IN[self.metric](self.outputs, self._run(model))
        with in_eval(model), torch.no_grad():
            value = self.metric(model, self.batches)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ConfigError(f"the metric returned a {type(value).__name__}; it must return a number") from None

    @property
    def answers(self) -> int:
        """How many answers are judged: the places of largest values in the first outputs, or of "sqnr" the examples."""
        if self.metric == "sqnr":
            return sum(map(_rows, self.outputs))
        return sum(each[0][..., 0].numel() for each in self.outputs if each)

    def expected_on_others(self, model: nn.Module, confidence: float) -> float | None:
        """What as many other examples have at least, with this confidence; None of a user's metric: it is not known.

        Examples are the answers of "agreement"; of "sqnr" the rows of outputs, or whole batches whose outputs differ in
        length.
        """
        if self.metric == "agreement":
            computed = list(self._run(model))
            agreement = min(_agreement(self.outputs, computed), _crossed(self.outputs, computed))
            return expected_on_others(agreement, self.answers, confidence)
        if self.metric == "sqnr":
            pairs = zip(self.outputs, self._run(model), strict=True)
            energies = [each for expected, computed in pairs for each in _energies(expected, computed)]
            return decibels_on_others([s for s, _ in energies], [e for _, e in energies], confidence)
        return None

    def first_batch(self, model: nn.Module) -> Any:
        """What `model` returns for the first batch."""
        args, kwargs = self._arguments(0)
        return model(*args, **kwargs)

    def _arguments(self, index: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return bound_batch(inspect.signature(self.model.forward), self.batches[index], f"batch {index}")

    def _run(self, model: nn.Module) -> Iterator[list[Tensor]]:
        with in_eval(model), torch.no_grad():
            for index in range(len(self.batches)):
                args, kwargs = self._arguments(index)
                yield real_tensors(model(*args, **kwargs))


def _sqnr(reference: Iterable[list[Tensor]], values: Iterable[list[Tensor]]) -> float:
    error = Error()
    for expected, computed in zip(reference, values, strict=True):
        for one, other in zip(expected, computed, strict=True):
            error.add(one, other)
    return error.sqnr_db


def _rows(outputs: list[Tensor]) -> int:
    """How many examples the outputs for a batch are of: their common length, or 1 where they have none."""
    lengths = {len(each) if each.dim() else 1 for each in outputs}
    return max(1, *lengths) if len(lengths) == 1 else 1


def _energies(expected: list[Tensor], computed: list[Tensor]) -> list[tuple[float, float]]:
    """The sums of squares of signal and noise for each example, over all outputs."""
    errors = [Error() for _ in range(_rows(expected))]
    for one, other in zip(expected, computed, strict=True):
        rows = zip(errors, one.reshape(len(errors), -1), other.reshape(len(errors), -1), strict=True)
        for error, r, v in rows:
            error.add(r, v)
    return [(each.signal, each.noise) for each in errors]


def _agreement(reference: Iterable[list[Tensor]], values: Iterable[list[Tensor]]) -> float:
    same = [
        expected[0].argmax(-1) == computed[0].argmax(-1)
        for expected, computed in zip(reference, values, strict=True)
        if expected
    ]
    return torch.cat([each.flatten() for each in same]).double().mean().item()


def _crossed(reference: list[list[Tensor]], values: list[list[Tensor]]) -> float:
    """`crossed_agreement` of the first outputs; 1 where they are of different lengths, such as one for each word."""
    pairs = [(expected[0], computed[0]) for expected, computed in zip(reference, values, strict=True) if expected]
    if len({expected.shape[-1] for expected, _ in pairs}) > 1:
        return 1.0
    rows = ((each.reshape(-1, each.shape[-1]) for each in pair) for pair in pairs)
    return crossed_agreement(*map(torch.cat, zip(*rows, strict=True)))


# Of all outputs, in dB; and how often the largest value of the first output is where it is in float.
BUILT_IN: dict[str, Callable[[Iterable[list[Tensor]], Iterable[list[Tensor]]], float]] = {
    "sqnr": _sqnr,
    "agreement": _agreement,
}


@dataclass(frozen=True)
class Trial:
    """A calibrated model, the judge, and how it is converted."""

    prepared: nn.Module
    mapping: QConfigMapping
    judge: Judge

    def converted(self, mapping: QConfigMapping | None = None) -> nn.Module:
        """The int8 model, with what `mapping` sets to None in float."""
        return convert_fx(self.prepared, qconfig_mapping=mapping)

    def prepared_with(self, mapping: Any) -> nn.Module:
        """The float model, prepared with another mapping and calibrated on the same batches."""
        return _calibrated(self.judge.model, self.judge.batches, mapping)


def trial_of(
    model: nn.Module, data: Iterable[Any], metric: Metric | str, prepared: nn.Module | None, qconfig_mapping: Any
) -> Trial:
    """`model` prepared and calibrated on `data`, unless it is given `prepared`, and a judge on `data`.

    Raises ConfigError for both `prepared` and a mapping, or a model that is no float one, and InputError without data.
    """
    batches = list(each_batch(data))
    if not batches:
        raise InputError("data holds no batches; an iterator may be used up already")
    if prepared is not None and qconfig_mapping is not None:
        raise ConfigError("prepared has its qconfig_mapping already; give one of the two")
    if not isinstance(model, nn.Module) or "qconfig_mapping" in meta_of(model):
        raise ConfigError("model must be the float nn.Module; what prepare_fx returned goes to prepared=")
    if prepared is None:
        mapping = get_default_qconfig_mapping() if qconfig_mapping is None else qconfig_mapping
        prepared = _calibrated(model, batches, mapping)
    return Trial(prepared, mapping_of(prepared), Judge(model, batches, metric))


def _calibrated(model: nn.Module, batches: list[Any], mapping: Any) -> nn.Module:
    args, kwargs = bound_batch(inspect.signature(model.forward), batches[0], "batch 0")
    return calibrate(prepare_fx(model, mapping, kwargs or args), batches, progress=False)
