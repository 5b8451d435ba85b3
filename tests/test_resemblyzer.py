"""The LSTM of Resemblyzer with its real weights under quantize_dynamic; skipped where resemblyzer is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from fxquant import per_channel_dynamic_qconfig, per_channel_dynamic_qconfig_16bit, quantize_dynamic


@pytest.mark.slow
@torch.no_grad()
def test_a_first_layer_of_16_bits_is_near_to_float() -> None:
    package = find_spec("resemblyzer")  # not imported: it wants librosa and webrtcvad
    if package is None or package.origin is None:
        pytest.skip("pip install --no-deps resemblyzer==0.1.4")
    weights = torch.load(Path(package.origin).parent / "pretrained.pt", map_location="cpu", weights_only=True)
    lstm = nn.LSTM(40, 256, 3, batch_first=True).eval()
    state = {name[5:]: value for name, value in weights["model_state"].items() if name.startswith("lstm.")}
    lstm.load_state_dict(state)
    generator = torch.Generator().manual_seed(0)
    bands, frames = torch.logspace(-1, -5, 40), torch.randn(8, 160, 40, generator=generator).exp()
    spectra = bands * frames  # powers that fall by four decades, as those of speech do
    eight = quantize_dynamic(lstm, {nn.LSTM: per_channel_dynamic_qconfig})
    fine = quantize_dynamic(lstm, {nn.LSTM: per_channel_dynamic_qconfig, "l0": per_channel_dynamic_qconfig_16bit})
    cosines = [
        nn.functional.cosine_similarity(quantized(spectra)[0][:, -1], lstm(spectra)[0][:, -1]).mean()
        for quantized in (eight, fine)
    ]
    assert cosines[1] > 0.999 > 0.99 > cosines[0], cosines
    bytes_of = [sum(t.numel() * t.element_size() for t in m.state_dict().values()) for m in (lstm, fine)]
    assert bytes_of[1] <= 0.27 * bytes_of[0]
