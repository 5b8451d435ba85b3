"""Networks of every kind and every way of capture are captured, converted and run, on a batch of another size too.

All of the zoo: python tests/zoo/figures.py
"""

from __future__ import annotations

import importlib.util

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("pytorchcv", "transformers")),
        reason="pip install --no-deps -r tests/packages.txt",
    ),
]

from figures import complaints, figures  # noqa: E402
from networks import NETWORKS, Network  # noqa: E402

REPRESENTATIVE = {
    "resnet18": "symbolic trace",
    "mobilenetv3_small_w1": "symbolic trace",
    "unet_cityscapes": "symbolic trace",
    "simplepose_resnet18_coco": "Python",
    "BertModel": "symbolic trace",
    "DebertaV2Model": "symbolic trace",
    "SwinModel": "symbolic trace",
    "LlamaForCausalLM": "symbolic trace",
    "BloomForCausalLM": "torch.export",
    "T5ForConditionalGeneration": "symbolic trace",
    "WhisperModel": "symbolic trace",
    "CLIPModel": "symbolic trace",
}


@pytest.mark.parametrize(
    "network", [each for each in NETWORKS if each.name in REPRESENTATIVE], ids=lambda network: network.name
)
def test_a_network_of_the_zoo(network: Network) -> None:
    found = figures(network)
    assert complaints(found) == []
    assert REPRESENTATIVE[network.name] in {each.how for each in found.explanation.captures}


def test_networks_are_called_by_their_own_names() -> None:
    names = [network.name for network in NETWORKS]
    assert len(set(names)) == len(names) >= 60
    assert set(REPRESENTATIVE) <= set(names)
