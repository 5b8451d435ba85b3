"""A forked child has one thread, as the workers of a DataLoader have.

The threads that OpenMP made are not there in a child, and a parallel region, ours or torch's, would wait for them
forever. Processes that are spawned are not concerned.
"""

from __future__ import annotations

import os

import torch


def _one_thread() -> None:
    torch.set_num_threads(1)


os.register_at_fork(after_in_child=_one_thread)
