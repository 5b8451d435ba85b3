"""Observers: the qparams that known data must give, what they refuse, and how they are made and kept."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fxquant.errors import CalibrationError, ConfigError
from fxquant.observer import (
    FixedQParamsObserver,
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    ObserverBase,
    PerChannelMinMaxObserver,
    PlaceholderObserver,
    QScheme,
    default_fixed_qparams_range_0to1_observer,
    default_fixed_qparams_range_neg1to1_observer,
    default_per_channel_weight_observer,
    default_weight_observer,
    per_channel_weight_observer_range_neg_127_to_127,
    weight_observer_range_neg_127_to_127,
)
from fxquant.observer.histogram import clipped_error
from fxquant.qparams import QParams, dequantize, quantize

PER_TENSOR = [MinMaxObserver, MovingAverageMinMaxObserver, HistogramObserver]
PER_CHANNEL = [PerChannelMinMaxObserver, MovingAveragePerChannelMinMaxObserver]
INF, NAN = float("inf"), float("nan")


def seen(observer: ObserverBase, *batches: Tensor) -> ObserverBase:
    for batch in batches:
        assert observer(batch) is batch
    return observer


def random_data(draw: Callable[[torch.Generator], Tensor], seed: int = 0) -> Tensor:
    return draw(torch.Generator().manual_seed(seed))


# The range rules


def test_affine_qparams_of_a_known_range():
    q = seen(MinMaxObserver(), torch.tensor([-1.0, 0.0, 1.0, 20.0])).qparams()
    scale = float(torch.tensor(21.0) / 255)
    assert q == QParams(scale, 12, 0, 255, torch.uint8, None)
    assert quantize(torch.tensor([-1.0, 0.0, 1.0, 20.0]), q).tolist() == [0, 12, 24, 255]


def test_the_range_always_contains_zero():
    assert seen(MinMaxObserver(), torch.tensor([2.0, 5.1])).qparams()[:2] == (float(torch.tensor(5.1) / 255), 0)
    assert seen(MinMaxObserver(), torch.tensor([-5.1, -2.0])).qparams()[:2] == (float(torch.tensor(5.1) / 255), 255)


def test_symmetric_signed_and_unsigned():
    x = torch.tensor([-2.0, 1.0])
    signed = seen(MinMaxObserver(dtype=torch.int8, qscheme="per_tensor_symmetric"), x).qparams()
    assert signed == QParams(float(torch.tensor(2.0) / 127.5), 0, -128, 127, torch.int8)
    unsigned = seen(MinMaxObserver(qscheme=QScheme.PER_TENSOR_SYMMETRIC), x).qparams()
    assert unsigned == QParams(float(torch.tensor(2.0) / 127.5), 128, 0, 255, torch.uint8)
    narrow = seen(weight_observer_range_neg_127_to_127(), x).qparams()
    assert narrow == QParams(float(torch.tensor(2.0) / 127), 0, -127, 127, torch.int8)


@pytest.mark.parametrize(
    ("dtype", "given", "reduced"),
    [(torch.uint8, None, (0, 127)), (torch.int8, None, (-64, 63)), (torch.uint8, (0, 100), (0, 50))],
)
def test_reduce_range_halves(dtype, given, reduced):
    low, high = given or (None, None)
    observer = MinMaxObserver(dtype=dtype, reduce_range=True, quant_min=low, quant_max=high)
    assert (observer.quant_min, observer.quant_max) == reduced


@pytest.mark.parametrize("kind", PER_TENSOR)
def test_scale_is_a_float32_value(kind):
    scale = seen(kind(), torch.tensor([0.1, 0.7])).qparams().scale
    assert scale == float(torch.tensor(scale, dtype=torch.float32))


@pytest.mark.parametrize("kind", [*PER_TENSOR, *PER_CHANNEL])
def test_calculate_qparams_dtypes_and_shapes(kind):
    scale, zero_point = seen(kind(), torch.randn(3, 5)).calculate_qparams()
    channels = 3 if kind in PER_CHANNEL else 1
    assert (scale.dtype, zero_point.dtype) == (torch.float32, torch.int32)
    assert scale.shape == zero_point.shape == (channels,)


@pytest.mark.parametrize("kind", [*PER_TENSOR, *PER_CHANNEL])
def test_all_zero_gives_a_valid_scale(kind):
    observer = seen(kind(), torch.zeros(4, 4))
    scale, zero_point = observer.calculate_qparams()
    assert observer.observed
    assert bool((scale == torch.finfo(torch.float32).eps).all())
    assert bool((zero_point == 0).all())


def test_one_all_zero_channel_leaves_the_others_alone():
    weight = torch.tensor([[0.0, 0.0], [1.0, -2.0]])
    q = seen(default_per_channel_weight_observer(), weight).qparams()
    assert torch.equal(q.scale, torch.tensor([2**-60, 2 / 127]))
    assert torch.isfinite(dequantize(quantize(weight, q), q)).all()


def test_eps_is_the_smallest_scale():
    assert seen(weight_observer_range_neg_127_to_127(), torch.tensor([1e-6])).qparams().scale == 2**-12
    assert seen(per_channel_weight_observer_range_neg_127_to_127(), torch.tensor([[1e-6]])).qparams().scale == 2**-12


@pytest.mark.parametrize("kind", [*PER_TENSOR, *PER_CHANNEL])
def test_unobserved_says_so_and_gives_one_and_zero(kind):
    observer = kind()
    scale, zero_point = observer.calculate_qparams()
    assert (observer.observed, float(scale), int(zero_point)) == (False, 1.0, 0)
    observer(torch.ones(2, 2))
    assert observer.observed
    observer.reset_min_max_vals()
    assert not observer.observed


# What each kind keeps of several batches


def test_min_max_keeps_the_widest_range():
    observer = seen(MinMaxObserver(), torch.tensor([-1.0, 2.0]), torch.tensor([0.0, 3.0]), torch.tensor([1.0]))
    assert (float(observer.min_val), float(observer.max_val)) == (-1.0, 3.0)


def test_moving_average_moves_a_part_of_the_way():
    batches = torch.tensor([-1.0, 2.0]), torch.tensor([0.0, 4.0])
    observer = seen(MovingAverageMinMaxObserver(averaging_constant=0.25), *batches)
    assert (float(observer.min_val), float(observer.max_val)) == (-0.75, 2.5)


def test_moving_average_starts_from_the_range_of_the_warm_up():
    batches = [torch.tensor([low, high]) for low, high in ((-1.0, 2.0), (0.0, 4.0), (-3.0, 1.0), (-2.0, 2.0))]
    observer = MovingAverageMinMaxObserver(averaging_constant=0.25)
    observer.warm_up = 4
    for batch, expected in zip(batches, ((-1, 2), (-1, 4), (-3, 4), (-3, 4)), strict=True):
        observer(batch)
        assert (observer.min_val, observer.max_val) == expected
    seen(observer, torch.tensor([-1.0, 8.0]))
    assert (observer.min_val, observer.max_val) == (-2.5, 5)
    resumed = MovingAverageMinMaxObserver(averaging_constant=0.25)
    resumed.warm_up = 4
    resumed.load_state_dict(observer.state_dict())
    seen(resumed, torch.tensor([-0.5, 1.0]))
    assert (resumed.min_val, resumed.max_val) == (-2, 4)
    resumed.reset_min_max_vals()
    seen(resumed, *batches[:2])
    assert (resumed.min_val, resumed.max_val) == (-1, 4)


def test_moving_average_of_values_that_share_qparams_holds_the_widest_of_each_batch():
    narrow, wide = torch.tensor([-1.0, 2.0]), torch.tensor([-4.0, 1.0])
    observer = MovingAverageMinMaxObserver(averaging_constant=0.5)
    observer.values = 2
    seen(observer, narrow, wide)
    assert (observer.min_val, observer.max_val) == (-4, 2)
    seen(observer, 2 * narrow, 2 * wide)
    assert (observer.min_val, observer.max_val) == (-6, 3)
    observer.reset_min_max_vals()
    assert not observer.observed
    seen(observer, wide)
    assert (observer.min_val, observer.max_val) == (-4, 1)


def test_moving_average_of_one_forgets():
    observer = seen(
        MovingAverageMinMaxObserver(averaging_constant=1), torch.tensor([-9.0, 9.0]), torch.tensor([0.0, 4.0])
    )
    assert (float(observer.min_val), float(observer.max_val)) == (0.0, 4.0)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_per_channel_range_along_any_axis(axis):
    x = random_data(lambda g: torch.randn(3, 4, 5, generator=g))
    observer = seen(PerChannelMinMaxObserver(ch_axis=axis), x)
    others = [dim for dim in range(3) if dim != axis % 3]
    assert torch.equal(observer.min_val, x.amin(others))
    assert torch.equal(observer.max_val, x.amax(others))
    assert observer.qparams().axis == axis


def test_per_channel_vector_has_one_value_a_channel():
    observer = seen(PerChannelMinMaxObserver(), torch.tensor([3.0, -1.0]))
    assert observer.min_val.tolist() == observer.max_val.tolist() == [3.0, -1.0]


def test_moving_average_per_channel():
    batches = torch.tensor([[0.0, 2.0], [-4.0, 0.0]]), torch.tensor([[0.0, 4.0], [0.0, 8.0]])
    observer = seen(MovingAveragePerChannelMinMaxObserver(averaging_constant=0.5), *batches)
    assert observer.min_val.tolist() == [0.0, -2.0]
    assert observer.max_val.tolist() == [3.0, 4.0]


def test_another_number_of_channels_is_refused():
    observer = seen(PerChannelMinMaxObserver(), torch.randn(3, 2))
    with pytest.raises(CalibrationError, match="3 channels before, and 4 now"):
        observer(torch.randn(4, 2))


# Bad data


@pytest.mark.parametrize("kind", [*PER_TENSOR, *PER_CHANNEL])
@pytest.mark.parametrize("values", [[NAN, 1.0], [1.0, INF], [-INF, 1.0], [-INF, INF], [INF, INF], [NAN, INF]])
def test_nan_and_infinity_name_the_place(kind, values):
    observer = kind()
    observer.where = "features.3.conv (Conv2d)"
    with pytest.raises(CalibrationError, match=r"features\.3\.conv \(Conv2d\) got NaN, infinity"):
        observer(torch.tensor([[0.5, *values], [0.0, 1.0, 2.0]]))
    assert not observer.observed


@pytest.mark.parametrize("kind", [*PER_TENSOR, *PER_CHANNEL])
def test_no_elements_is_refused(kind):
    with pytest.raises(CalibrationError, match=r"without elements, of shape \[0, 3\]"):
        kind()(torch.empty(0, 3))


@pytest.mark.parametrize("kind", [*PER_TENSOR, *PER_CHANNEL])
def test_integers_are_not_observed(kind):
    observer = seen(kind(), torch.tensor([[1, 2], [3, 4]]), torch.tensor([[True], [False]]))
    assert not observer.observed


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kind", PER_TENSOR)
def test_other_float_dtypes_and_values_that_need_gradients(kind, dtype):
    x = torch.tensor([-1.0, 3.0], dtype=dtype, requires_grad=True)
    observer = seen(kind(), x)
    assert (float(observer.min_val), float(observer.max_val)) == (-1.0, 3.0)
    assert not observer.max_val.requires_grad


# Arguments


def test_qschemes_under_all_their_names():
    for scheme in QScheme:
        for name in (scheme, scheme.value, f"torch.{scheme.value}", getattr(torch, scheme.value, scheme)):
            assert QScheme.of(name) is scheme


def test_quantized_dtypes_are_names_for_the_plain_ones():
    for name, plain in (("quint8", torch.uint8), ("qint8", torch.int8), ("qint32", torch.int32)):
        assert MinMaxObserver(dtype=getattr(torch, name, plain)).dtype is plain


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"qscheme": "per_row"}, "unknown qscheme 'per_row'; known: per_tensor_affine"),
        ({"qscheme": "per_channel_affine"}, "cannot have the qscheme per_channel_affine"),
        ({"dtype": torch.float16}, "cannot quantize to torch.float16"),
        ({"dtype": "uint8"}, "must be a torch.dtype"),
        ({"quant_min": 0}, "both quant_min and quant_max"),
        ({"quant_min": 1, "quant_max": 255}, "must enclose 0"),
        ({"quant_min": 0, "quant_max": 256}, r"within torch.uint8: 0\.\.255"),
        ({"quant_min": 0, "quant_max": 0}, "must enclose 0"),
    ],
)
@pytest.mark.parametrize("kind", PER_TENSOR)
def test_arguments_that_make_no_sense(kind, arguments, message):
    with pytest.raises(ConfigError, match=message):
        kind(**arguments)


def test_per_channel_refuses_per_tensor_schemes():
    with pytest.raises(ConfigError, match="PerChannelMinMaxObserver cannot have"):
        PerChannelMinMaxObserver(qscheme="per_tensor_affine")


def test_histogram_arguments():
    with pytest.raises(ConfigError, match="bins must be even"):
        HistogramObserver(bins=7)
    with pytest.raises(ConfigError, match="is_dynamic"):
        HistogramObserver(is_dynamic=True)


# Fixed qparams and placeholders


def test_fixed_qparams():
    for factory, scale, zero_point in (
        (default_fixed_qparams_range_0to1_observer, 1 / 256, 0),
        (default_fixed_qparams_range_neg1to1_observer, 2 / 256, 128),
    ):
        observer = seen(factory(), torch.tensor([100.0]))
        assert observer.observed
        assert observer.qparams() == QParams(scale, zero_point, 0, 255, torch.uint8)


@pytest.mark.parametrize(
    "arguments",
    [
        *({"scale": 0.0}, {"scale": math.inf}, {"zero_point": 256}, {"zero_point": 0.5}),
        {"qscheme": "per_channel_affine"},
    ],
)
def test_fixed_qparams_that_make_no_sense(arguments):
    with pytest.raises(ConfigError):
        FixedQParamsObserver(**{"scale": 0.1, "zero_point": 0, **arguments})


@pytest.mark.parametrize("eps", [-1.0, math.nan, math.inf])
def test_the_smallest_scale_must_make_sense(eps):
    with pytest.raises(ConfigError, match="eps, the smallest scale, must be finite"):
        MinMaxObserver(eps=eps)


def test_placeholder_has_no_qparams_but_those_of_float16():
    observer = seen(PlaceholderObserver(dtype=torch.float16), torch.tensor([NAN]))
    assert (observer.dtype, observer.is_dynamic) == (torch.float16, False)
    assert observer.qparams() == QParams(1.0, 0, -65504, 65504, torch.float16)
    observer = seen(PlaceholderObserver(dtype=torch.bfloat16), torch.tensor([NAN]))
    with pytest.raises(ConfigError, match="which has no qparams"):
        observer.qparams()


# Factories


def test_with_args_can_be_refined_compared_and_pickled():
    factory = MinMaxObserver.with_args(dtype=torch.int8, quant_min=-5, quant_max=5)
    assert factory == MinMaxObserver.with_args(quant_max=5, quant_min=-5).with_args(dtype=torch.int8)
    assert factory != factory.with_args(quant_max=6)
    assert pickle.loads(pickle.dumps(factory)) == factory
    assert copy.deepcopy(factory) == factory
    made = factory.with_args(quant_max=6)(quant_min=-6)
    assert (made.dtype, made.quant_min, made.quant_max) == (torch.int8, -6, 6)
    assert factory() is not factory()


def test_with_callable_args_is_called_for_each_module():
    ends = iter([10, 20])
    factory = MinMaxObserver.with_callable_args(quant_max=lambda: next(ends)).with_args(quant_min=0)
    assert [factory().quant_max, factory().quant_max] == [10, 20]
    assert factory(quant_max=30).quant_max == 30


def test_with_args_refuses_unknown_names():
    with pytest.raises(ConfigError, match="MinMaxObserver: got an unexpected keyword argument 'bits'"):
        MinMaxObserver.with_args(bits=4)


def test_constructor_arguments_have_the_known_names():
    uniform = ["dtype", "qscheme", "reduce_range", "quant_min", "quant_max", "factory_kwargs", "eps", "is_dynamic"]
    moving = [name for name in uniform if name != "factory_kwargs"]
    own = ["headroom"]  # which torch.ao has not; behind all that it has
    expected = {
        MinMaxObserver: [*uniform, *own],
        MovingAverageMinMaxObserver: ["averaging_constant", *moving, *own],
        PerChannelMinMaxObserver: ["ch_axis", *uniform],
        MovingAveragePerChannelMinMaxObserver: ["averaging_constant", "ch_axis", *moving],
        HistogramObserver: ["bins", *uniform, *own],
        FixedQParamsObserver: ["scale", "zero_point", "dtype", "qscheme", "quant_min", "quant_max", "is_dynamic"],
    }
    for kind, names in expected.items():
        assert list(inspect.signature(kind).parameters) == names


# Keeping


@pytest.mark.parametrize("kind", [*PER_TENSOR, *PER_CHANNEL])
def test_state_dict_pickle_and_deepcopy_keep_the_statistics(kind):
    observer = seen(kind(), torch.randn(3, 4), 5 * torch.randn(3, 4))
    restored = kind()
    restored.load_state_dict(observer.state_dict())
    for other in (restored, pickle.loads(pickle.dumps(observer)), copy.deepcopy(observer)):
        for mine, theirs in zip(observer.calculate_qparams(), other.calculate_qparams(), strict=True):
            assert torch.equal(mine, theirs)


@pytest.mark.parametrize("kind", [*PER_TENSOR, *PER_CHANNEL])
def test_calibrating_in_inference_mode_leaves_ordinary_buffers(kind):
    observer = kind()
    with torch.inference_mode():
        observer(torch.randn(3, 4))
    seen(observer, 9 * torch.ones(3, 4))
    assert not observer.max_val.is_inference()


# The histogram


def test_clipped_error_is_the_integral_over_evenly_filled_bins():
    counts = random_data(lambda g: torch.randint(0, 9, (12,), generator=g)).double()
    fine = torch.arange(12 * 1000, dtype=torch.float64) / 1000 + 1 / 2000
    weight = counts.repeat_interleave(1000) / 1000
    expected = [float((weight * (fine - edge).clamp(min=0).square()).sum()) for edge in range(13)]
    torch.testing.assert_close(clipped_error(counts), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_histogram_counts_every_nonzero_value_once_however_the_range_grows():
    observer = HistogramObserver(bins=16)
    batches = [random_data(lambda g, k=k: torch.randn(1000, generator=g) * 3**k, seed=k) for k in range(6)]
    batches.append(torch.tensor([0.0, 0.0, 1.0]))
    seen(observer, *batches)
    values = torch.cat(batches)
    bound = float(observer.bound)
    assert bound > float(values.abs().max()) >= bound / 2
    index = (values.abs().double() * 32 / bound).long()
    expected = [torch.bincount(index[side], minlength=32) for side in (values < 0, values > 0)]
    assert torch.equal(observer.counts, torch.stack(expected))
    assert int(observer.zeros) == int((values == 0).sum()) >= 2


def test_histogram_of_zeros_then_data():
    observer = seen(HistogramObserver(), torch.zeros(10), torch.tensor([0.0, 3.0]))
    assert observer.qparams() == seen(MinMaxObserver(), torch.tensor([3.0])).qparams()


@pytest.mark.parametrize("value", [5.0, -5.0, 1e-6, 1e30])
def test_histogram_of_a_constant_covers_it(value):
    q = seen(HistogramObserver(), torch.full((100,), value)).qparams()
    assert q == seen(MinMaxObserver(), torch.tensor([value])).qparams()


def test_histogram_cuts_a_long_tail_only():
    bulk = random_data(lambda g: torch.randn(1_000_000, generator=g))
    with_tail = torch.cat([bulk, torch.tensor([12.0])])
    q = seen(HistogramObserver(), with_tail).qparams()
    covered = (255 - q.zero_point) * q.scale
    assert 4 < covered < 6
    even = torch.linspace(0, 1, 10_000)
    assert seen(HistogramObserver(), even).qparams().scale == pytest.approx(1 / 255, rel=0.005)


def test_symmetric_histogram():
    x = random_data(lambda g: torch.randn(10_000, generator=g))
    q = seen(HistogramObserver(dtype=torch.int8, qscheme="per_tensor_symmetric"), x).qparams()
    assert q.zero_point == 0
    assert squared_error(x, q) < squared_error(
        x, seen(MinMaxObserver(dtype=torch.int8, qscheme="per_tensor_symmetric"), x).qparams()
    )


def squared_error(x: Tensor, q: QParams) -> float:
    return float((dequantize(quantize(x, q), q) - x).double().square().mean())


DISTRIBUTIONS: dict[str, Callable[[torch.Generator], Tensor]] = {
    "normal": lambda g: torch.randn(4, 10_000, generator=g),
    "shifted normal": lambda g: torch.randn(4, 10_000, generator=g) + 1.5,
    "laplace": lambda g: torch.randn(4, 10_000, generator=g).sign() * torch.empty(4, 10_000).exponential_(generator=g),
    "uniform": lambda g: torch.rand(4, 10_000, generator=g) * 3 - 1,
    "relu'd normal": lambda g: torch.randn(4, 10_000, generator=g).relu(),
    "relu6'd normal": lambda g: (4 * torch.randn(4, 10_000, generator=g)).clamp(0, 6),
    "hardswish'd normal": lambda g: torch.nn.functional.hardswish(3 * torch.randn(4, 10_000, generator=g)),
    "rare outliers": lambda g: (
        torch.randn(4, 10_000, generator=g) * (1 + 20 * (torch.rand(4, 10_000, generator=g) < 1e-4))
    ),
    "growing batches": lambda g: torch.randn(4, 10_000, generator=g) * torch.tensor([[0.1], [0.5], [1.0], [3.0]]),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_histogram_error_is_near_the_least_there_is(name):
    batches = random_data(DISTRIBUTIONS[name])
    error = squared_error(batches, seen(HistogramObserver(), *batches).qparams())
    low, high = float(batches.min()), float(batches.max())
    cut = torch.linspace(0.2, 1, 9).tolist()
    least = min(
        squared_error(batches, seen(MinMaxObserver(), torch.tensor([low * a, high * b])).qparams())
        for a in cut
        for b in cut
    )
    assert error <= least * 1.02


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_histogram_error_is_no_worse_than_that_of_torch_ao(name, seed):
    oracle_module = pytest.importorskip("torch.ao.quantization.observer")
    batches = random_data(DISTRIBUTIONS[name], seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = oracle_module.HistogramObserver(dtype=torch.uint8)
        for batch in batches:
            oracle(batch)
        scale, zero_point = oracle.calculate_qparams()
    theirs = squared_error(batches, QParams(float(scale), int(zero_point)))
    assert squared_error(batches, seen(HistogramObserver(), *batches).qparams()) <= theirs * 1.002


# torch.ao as the oracle of the range rules


@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e4])
def test_same_qparams_as_torch_ao(scheme, dtype, scale):
    oracle_module = pytest.importorskip("torch.ao.quantization.observer")
    batches = [scale * random_data(lambda g: torch.randn(6, 50, generator=g) + 0.5, seed) for seed in range(3)]
    kinds = {
        MinMaxObserver: (oracle_module.MinMaxObserver, "per_tensor"),
        MovingAverageMinMaxObserver: (oracle_module.MovingAverageMinMaxObserver, "per_tensor"),
        PerChannelMinMaxObserver: (oracle_module.PerChannelMinMaxObserver, "per_channel"),
        MovingAveragePerChannelMinMaxObserver: (oracle_module.MovingAveragePerChannelMinMaxObserver, "per_channel"),
    }
    for kind, (oracle_kind, granularity) in kinds.items():
        qscheme = getattr(torch, f"{granularity}_{scheme}")
        ours = seen(kind(dtype=dtype, qscheme=qscheme), *batches).calculate_qparams()
        theirs = oracle_kind(dtype=dtype, qscheme=qscheme)
        for batch in batches:
            theirs(batch)
        for mine, expected in zip(ours, theirs.calculate_qparams(), strict=True):
            torch.testing.assert_close(mine, expected.to(mine.dtype), rtol=1e-7, atol=0)


def test_default_weight_observer_covers_the_largest_weight():
    weight = random_data(lambda g: torch.randn(8, 3, 3, 3, generator=g))
    q = seen(default_weight_observer(), weight).qparams()
    assert q.scale == float(weight.abs().max() / 127)
    assert float((dequantize(quantize(weight, q), q) - weight).abs().max()) <= q.scale / 2 * 1.0001
