"""The AVX512 product keeps its accumulators in registers.

A compiler that moves them to the stack inside the loop over k costs two thirds of the speed and changes no result, so
only the machine code tells. (GCC 12 does so without -fno-tree-pre.)
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from fxquant import _kernels

OBJDUMP = shutil.which("objdump")
INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(.*?)\s*$")
JUMP_BACK = re.compile(r"^j\w+\s+([0-9a-f]+)")


def innermost_loops(disassembly: str) -> Iterator[list[str]]:
    """The bodies of the shortest runs of instructions that end in a jump back to their start."""
    addresses: list[int] = []
    texts: list[str] = []
    last_jump = -1
    for match in filter(None, map(INSTRUCTION.match, disassembly.splitlines())):
        address, text = int(match[1], 16), match[2]
        addresses.append(address)
        texts.append(text)
        jump = JUMP_BACK.match(text)
        if not jump or not (start := int(jump[1], 16)) <= address:
            continue
        body = [i for i in range(max(0, len(addresses) - 400), len(addresses)) if addresses[i] >= start]
        if addresses[body[0]] == start and body[0] > last_jump:
            yield [texts[i] for i in body]
        last_jump = len(addresses) - 1


@pytest.mark.skipif(OBJDUMP is None or platform.machine() != "x86_64", reason="needs objdump and an x86-64 build")
def test_the_loop_over_k_leaves_the_stack_alone() -> None:
    command = [str(OBJDUMP), "-d", "--no-show-raw-insn", _kernels.__file__]
    disassembly = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    tiles, spread = set(), set()
    for loop in innermost_loops(disassembly):
        rows = sum(text.startswith("vpbroadcastd") and "(" in text for text in loop)
        dots = sum(text.startswith("vpdpbusd") and "zmm" in text for text in loop)
        if dots and dots == sum(text.startswith("vpermd") and "zmm" in text for text in loop):
            spread.add(dots)  # joined groups of 4 or 8 channels: one or two steps for each row
        elif rows and dots in (rows, 2 * rows):
            tiles.add((rows, dots // rows))
        else:
            continue
        assert not [text for text in loop if "zmm" in text and "(%rsp" in text]
    assert tiles == {(rows, vectors) for rows in range(1, 15) for vectors in (1, 2)}
    assert spread == {rows * steps for rows in range(1, 15) for steps in (1, 2)}
