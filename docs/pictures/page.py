"""Takes the picture of docs/drawing.md: a page of MobileNetV2 with its real weights, coloured by time.

Run from the repository, where Chromium is installed: python docs/pictures/page.py
"""

import subprocess
import tempfile
from pathlib import Path

import torch

from fxquant import calibrate, convert_fx, draw, get_default_qconfig_mapping, prepare_fx
from fxquant.demo import data

torch.set_num_threads(1)
model, images = data.load_network("mobilenetv2"), data.center_crops("mobilenetv2")
prepared = prepare_fx(model, get_default_qconfig_mapping(), (images[:1],))
calibrate(prepared, [images])
with tempfile.TemporaryDirectory() as folder:
    page = draw(convert_fx(prepared), Path(folder) / "page.html", heat="time")
    picture = Path(__file__).with_suffix(".png")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,760"]
    command += ["--virtual-time-budget=20000", f"--screenshot={picture}", f"{page.as_uri()}#features_3_conv_2"]
    subprocess.run(command, check=True, capture_output=True)
print(picture)
