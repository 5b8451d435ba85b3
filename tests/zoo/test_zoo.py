"""Every network of the zoo is captured, converted and run, on a batch of another size too."""

from __future__ import annotations

import importlib.util

import pytest

from fxquant.graph.parts import Capture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("pytorchcv", "transformers")),
        reason="pip install --no-deps -r tests/packages.txt",
    ),
]

from figures import figures  # noqa: E402
from networks import NETWORKS, Network  # noqa: E402


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_a_network_of_the_zoo(network: Network) -> None:
    found = figures(network)
    assert found.same_structure
    assert found.int8_share > LEAST_SHARE.get(network.name, 0.75)
    # Rounding the weights alone costs the float network so much; int8 rounds the activations as well.
    assert found.sqnr > min(20, found.conditioning - LOSS)
    assert found.other_batch > min(20, found.conditioning - LOSS) - 8
    assert all(isinstance(each, Capture) for each in found.explanation.captures)
    assert all(row.reason for row in found.explanation.float_rows)


LOSS = 14  # dB

# Networks whose multiply-adds are in ops that have no kernel yet.
LEAST_SHARE = {
    "GPT2LMHeadModel": 0.05,
    "octresnet10_ad2": 0.35,
    "simplepose_resnet18_coco": 0.6,
}
