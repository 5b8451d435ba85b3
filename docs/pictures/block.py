"""Draws the README's picture: an inverted residual block of MobileNetV2 with its real weights, quantized.

Run from the repository: python docs/pictures/block.py
"""

from pathlib import Path

import torch

from fxquant import calibrate, convert_fx, draw, get_default_qconfig_mapping, prepare_fx
from fxquant.demo import data


def picture(path: Path) -> Path:
    model = data.load_network("mobilenetv2")
    with torch.inference_mode():
        inputs = model.features[:3](data.center_crops("mobilenetv2"))
    prepared = prepare_fx(model.features[3], get_default_qconfig_mapping(), (inputs[:1],))
    calibrate(prepared, [inputs])
    return draw(convert_fx(prepared), path)


if __name__ == "__main__":
    print(picture(Path(__file__).with_suffix(".svg")))
