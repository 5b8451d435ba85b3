"""nn.LSTM, nn.GRU, nn.RNN and their cells with int8 weights; inputs and states are quantized at run time, by row.

Those with float16 weights, and layers that stay float among others, compute as torch does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from fxquant import ops
from fxquant.dynamic.packed import run_packed
from fxquant.dynamic.stacked import region_of
from fxquant.dynamic.weight import (
    checked_qconfig,
    integers_of,
    is_16bit,
    is_float16,
    levels_of,
    recurrent_refusal,
    scales_of,
)
from fxquant.errors import ConfigError, InputError
from fxquant.ops.integer.recurrent import gate_biases
from fxquant.passes.annotate_sequences import projected_limit  # type: ignore[import-untyped]
from fxquant.passes.fold_two_bytes import two_bytes  # type: ignore[import-untyped]
from fxquant.qconfig import QConfig, default_dynamic_qconfig
from fxquant.qconfig_mapping import Match
from fxquant.qparams import FLOAT16, quantize
from fxquant.runtime.layers.projected import DynamicProjectedStates
from fxquant.runtime.layers.recurrent import DynamicRecurrentStates, DynamicTwoByteRecurrentStates
from fxquant.runtime.region import Int8Region
from fxquant.runtime.watched import plain

LAYER_QCONFIGS = "layer_qconfigs"  # what a module to be converted has besides its qconfig, if its layers differ


class Options:
    """What an nn.LSTM, GRU or RNN is told beside its weights."""

    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int


OPTIONS = get_type_hints(Options)


class FloatLayer(nn.Module):
    """A layer in one direction that computes in float: x [T, B, I], h0, c0 -> all h and the last cell state.

    `dtype`: float16, if that is what its matrices are rounded to and kept in.
    """

    def __init__(self, kind: str, weights: list[Any], reverse: bool, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.kind, self.reverse = kind, reverse
        for name, tensor in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights, strict=True):
            kept: Any = None if tensor is None else tensor.detach().clone()
            if dtype is torch.float16 and name.startswith("weight"):
                kept = quantize(kept.float(), FLOAT16)
            self.register_buffer(name, kept)

    def forward(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As ops.recurrent; of a GRU or RNN the last hidden state in place of the cell state."""
        w: Any = self
        y, *cell = ops.recurrent(x, w.weight_ih, w.weight_hh, w.bias_ih, w.bias_hh, self.kind, self.reverse, h0, c0)
        return y, cell[0] if cell else y[0 if self.reverse else -1]

    def extra_repr(self) -> str:
        return f"{self.kind}, dtype={self.weight_ih.dtype}"


def _layer(kind: str, weights: list[Any], reverse: bool, qconfig: QConfig | None) -> nn.Module:
    """Of one layer and direction, with weights, biases (or None) and perhaps a projection as torch orders them."""
    weight_ih, weight_hh, bias_ih, bias_hh, *projection = weights
    if qconfig is None and projection:
        raise ConfigError("a layer with projections cannot stay float in a module whose other layers do not")
    if qconfig is None:
        return FloatLayer(kind, weights, reverse)
    reason = _projected_limit(qconfig) if projection else None
    if reason is not None:
        raise ConfigError(reason)
    if is_float16(qconfig):
        return FloatLayer(kind, weights, reverse, torch.float16)
    constants: dict[str, Any] = {"reverse": reverse, "dynamic": levels_of(qconfig)}
    if is_16bit(qconfig):
        layer = two_bytes(kind, (weight_ih, weight_hh), (bias_ih, bias_hh), qconfig.weight)
        return DynamicTwoByteRecurrentStates({"kind": kind, **constants, **layer})
    constants["bias_ih"], constants["bias_hh"] = gate_biases(kind, bias_ih, bias_hh, len(weight_ih))
    for suffix, weight in zip(("ih", "hh", "hr"), (weight_ih, weight_hh, *projection), strict=False):
        integers = integers_of(weight, qconfig)
        constants[f"weight_{suffix}"] = integers.codes
        constants[f"multiplier_{suffix}"] = scales_of(integers)
    if projection:
        return DynamicProjectedStates(constants)
    return DynamicRecurrentStates({"kind": kind, **constants})


def limit(module: Any, qconfig: QConfig) -> str | None:
    """Why `module` stays float whatever the qconfigs of its layers, or None."""
    return _projected_limit(qconfig) if getattr(module, "proj_size", 0) else None


def _projected_limit(qconfig: QConfig) -> str | None:
    reason: str | None = projected_limit(Match(qconfig, "quantize_dynamic"))
    return reason


class Recurrent(nn.Module, Options):
    """Base: layers and directions of one kind, called as torch's modules are, PackedSequence included.

    `qconfigs` holds those of layers that have others than the module's, by their names: "l0", "l0_reverse" …
    """

    kind: ClassVar[str] = ""
    refusal, limit = staticmethod(recurrent_refusal), staticmethod(limit)

    def __init__(self, module: Any, qconfig: QConfig, qconfigs: Mapping[str, QConfig | None]) -> None:
        super().__init__()
        for name, kind in OPTIONS.items():
            setattr(self, name, kind(getattr(module, name)))
        self.recurrence = self.kind or f"rnn_{module.nonlinearity}"
        names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", *(["weight_hr"] if module.proj_size else [])]
        for suffix in suffixes_of(self):
            weights, name = [getattr(module, name + suffix, None) for name in names], suffix[1:]
            own = qconfigs.get(name, qconfig)
            reason = None if own is None else recurrent_refusal(own)
            if reason is not None:
                raise ConfigError(f"the layer {name} of a {type(self).__name__} cannot be dynamic: {reason}")
            self.add_module(name, _layer(self.recurrence, weights, name.endswith("reverse"), own))
        self.train(module.training)

    @classmethod
    def from_float(cls, module: nn.Module, use_precomputed_fake_quant: bool = False) -> Recurrent:
        """What takes the place of `module`, under its `qconfig` or the default; ConfigError if it cannot."""
        return cls(
            module,
            checked_qconfig(module, default_dynamic_qconfig, recurrent_refusal),
            getattr(module, LAYER_QCONFIGS, {}),
        )

    @classmethod
    def of_layers(cls, options: Mapping[str, Any], layers: Mapping[str, nn.Module]) -> Recurrent:
        """One with these OPTIONS and layers, in eval mode. Raises ConfigError if they do not belong together."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        if {name: type(value) for name, value in options.items()} != OPTIONS:
            raise ConfigError(f"the options of a {cls.__name__} are {', '.join(OPTIONS)}, not {options}")
        vars(made).update(options)
        if len(layers) != made.num_layers * (1 + made.bidirectional):
            raise ConfigError(f"a {cls.__name__} of {made.num_layers} layers has not {len(layers)} of them")
        for suffix in suffixes_of(made):
            if suffix[1:] not in layers:
                raise ConfigError(f"a {cls.__name__} has no layer {suffix[1:]}")
            made.add_module(suffix[1:], layers[suffix[1:]])
        return made.eval()

    def flatten_parameters(self) -> None:
        """Nothing: the weights are packed already."""

    def _run(self, x: Any, h0: Tensor | None, c0: Tensor | None) -> tuple[Any, Tensor, Tensor]:
        """The last layer's output, laid out as `x`, and the states of all layers after the last step."""
        if isinstance(x, PackedSequence):
            order, back = x.sorted_indices, x.unsorted_indices
            h0, c0 = (state if state is None or order is None else state[:, order] for state in (h0, c0))
            data, h, c = self._layers(x.data, h0, c0, x.batch_sizes.tolist())
            h, c = (state if back is None else state[:, back] for state in (h, c))
            return PackedSequence(data, x.batch_sizes, order, back), h, c
        if not isinstance(x, Tensor) or x.dim() not in (2, 3):
            raise InputError(
                f"a {type(self).__name__} takes [steps, batch, {self.input_size}], batched or not, not {x}"
            )
        batched, first = x.dim() == 3, self.batch_first and x.dim() == 3
        h0, c0 = (state if state is None or batched else state.unsqueeze(1) for state in (h0, c0))
        y, h, c = self._layers(x.transpose(0, 1) if first else x if batched else x.unsqueeze(1), h0, c0, None)
        if not batched:
            return y.squeeze(1), h.squeeze(1), c.squeeze(1)
        return (y.transpose(0, 1) if first else y), h, c

    def _layers(
        self, x: Tensor, h0: Tensor | None, c0: Tensor | None, sizes: list[int] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x [T, B, I] or, with the batch sizes of steps, [sum of them, I]."""
        suffixes, directions = suffixes_of(self), 1 + self.bidirectional
        for state in (h0, c0):
            if state is not None and (state.dim() != 3 or len(state) != len(suffixes)):
                raise InputError(f"there are {len(suffixes)} initial states [batch, units], not {list(state.shape)}")
        if sizes is None and plain(x, h0, c0):
            region = self._region(h0 is not None, c0 is not None)
            if region is not None:
                return region(x, *(state for state in (h0, c0) if state is not None))  # type: ignore[no-any-return]
        hidden: list[Tensor] = []
        cells: list[Tensor] = []
        for first in range(0, len(suffixes), directions):
            outputs: list[Tensor] = []
            for index in range(first, first + directions):
                layer, reverse = self._modules[suffixes[index][1:]], index > first
                states = [None if s is None else s[index] for s in (h0, c0)]
                y, h, c = (
                    _all_steps(layer, x, states, reverse)
                    if sizes is None
                    else run_packed(layer, x, sizes, states, reverse)
                )
                outputs.append(y)
                hidden.append(h)
                cells.append(c)
            x = torch.cat(outputs, -1) if directions == 2 else outputs[0]
            if self.dropout and first + directions < len(suffixes):
                x = F.dropout(x, self.dropout, self.training)
        return x, torch.stack(hidden), torch.stack(cells)

    def _region(self, *states: bool) -> Int8Region | None:
        """All layers as one program, if nothing has to happen between them; `states`: whether h0 and c0 are given."""
        layers = tuple(self._modules.values())
        if (self.dropout and self.training) or any(m._forward_hooks or m._forward_pre_hooks for m in layers if m):
            return None
        regions: dict[Any, Int8Region | None] = vars(self).setdefault("made_regions", {})
        key = (states, layers)
        if key not in regions:
            names = [suffix[1:] for suffix in suffixes_of(self)]
            regions[key] = region_of(self, names, 1 + self.bidirectional, states)
        return regions[key]

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the programs' graphs: a copy has layers of its own."""
        return {name: value for name, value in vars(self).items() if name != "made_regions"}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in OPTIONS)

    def _get_name(self) -> str:
        return f"DynamicQuantized{type(self).__name__}"


def suffixes_of(module: Any) -> list[str]:
    """Of the names of an nn.LSTM's, GRU's or RNN's parameters, for each layer and direction."""
    ends = ("", "_reverse")[: 1 + module.bidirectional]
    return [f"_l{i}{end}" for i in range(module.num_layers) for end in ends]


def _all_steps(layer: Any, x: Tensor, states: list[Any], reverse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """All outputs, the last hidden and the last cell state."""
    y, c = layer(x, *states)
    return y, y[0 if reverse else -1], c


class LSTM(Recurrent):
    """x, (h0, c0) -> y, (h, c), as nn.LSTM."""

    kind = "lstm"

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> Any:
        """As nn.LSTM."""
        h0, c0 = hx or (None, None)
        y, h, c = self._run(input, h0, c0)
        return y, (h, c)


class GRU(Recurrent):
    """x, h0 -> y, h, as nn.GRU."""

    kind = "gru"

    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        """As nn.GRU."""
        return self._run(input, hx, None)[:2]


class RNN(GRU):
    """x, h0 -> y, h, as nn.RNN."""

    kind = ""


class Cell(nn.Module):
    """Base: one step."""

    kind: ClassVar[str] = ""
    refusal, limit = staticmethod(recurrent_refusal), staticmethod(limit)

    def __init__(self, module: Any, qconfig: QConfig) -> None:
        super().__init__()
        self.input_size, self.hidden_size = module.input_size, module.hidden_size
        weights = [getattr(module, name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        self.step = _layer(self.kind or f"rnn_{module.nonlinearity}", weights, False, qconfig)
        self.train(module.training)

    @classmethod
    def from_float(cls, module: nn.Module, use_precomputed_fake_quant: bool = False) -> Cell:
        """What takes the place of `module`, under its `qconfig` or the default; ConfigError if it cannot."""
        return cls(module, checked_qconfig(module, default_dynamic_qconfig, recurrent_refusal))

    def _run(self, x: Tensor, h: Tensor | None, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The hidden and the cell state after the step, [B, H] or [H]."""
        batched = x.dim() == 2
        given = [t if t is None or batched else t.unsqueeze(0) for t in (h, c)]
        y, state = self.step((x if batched else x.unsqueeze(0)).unsqueeze(0), *given)
        return (y[0], state) if batched else (y[0, 0], state[0])

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"

    def _get_name(self) -> str:
        return f"DynamicQuantized{type(self).__name__}"


class LSTMCell(Cell):
    """x, (h, c) -> (h, c), as nn.LSTMCell."""

    kind = "lstm"

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """As nn.LSTMCell."""
        return self._run(input, *(hx or (None, None)))


class GRUCell(Cell):
    """x, h -> h, as nn.GRUCell."""

    kind = "gru"

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """As nn.GRUCell."""
        return self._run(input, hx)[0]


class RNNCell(GRUCell):
    """x, h -> h, as nn.RNNCell."""

    kind = ""
