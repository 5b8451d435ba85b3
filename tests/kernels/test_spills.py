"""The products keep their accumulators in registers; sums of rows from all over a table ask for these early.

A compiler that moves them to the stack inside the loop over k costs two thirds of the speed and changes no result, so
only the machine code tells. (GCC 12 does so without -fno-tree-pre on x86, without -fno-schedule-insns on ARM.)

FXQUANT_ARM_PROGRAM names a program of the kernels that was compiled for ARM elsewhere: one of the C++ tests.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from fxquant import _kernels

INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(.*?)\s*$")
JUMP_BACK = re.compile(r"^(?:j\w+|b|b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+, #\d+,)\s+([0-9a-f]+)\b")
MACHINE = platform.machine()
ARM_PROGRAM = _kernels.__file__ if MACHINE == "aarch64" else os.environ.get("FXQUANT_ARM_PROGRAM")
ARM_OBJDUMP = shutil.which("objdump" if MACHINE == "aarch64" else "aarch64-linux-gnu-objdump")
X86_OBJDUMP = shutil.which("objdump") if MACHINE == "x86_64" else None


def innermost_loops(objdump: str | None, program: str | None) -> Iterator[list[str]]:
    """The bodies of the shortest runs of instructions that end in a jump back to their start."""
    command = [str(objdump), "-d", "--no-show-raw-insn", str(program)]
    disassembly = subprocess.run(command, capture_output=True, text=True, check=True).stdout
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


def count(loop: list[str], pattern: str) -> int:
    """How many instructions of the loop match."""
    return sum(re.match(pattern, text) is not None for text in loop)


@pytest.mark.slow
@pytest.mark.skipif(X86_OBJDUMP is None, reason="needs objdump and an x86-64 build")
def test_avx512_tiles_leave_the_stack_alone() -> None:
    tiles, spread = set(), set()
    for loop in innermost_loops(X86_OBJDUMP, _kernels.__file__):
        rows, dots = count(loop, r"vpbroadcastd.*\("), count(loop, r"vpdpbusd.*zmm")
        if dots and dots == count(loop, r"vpermd.*zmm"):
            spread.add(dots)  # joined groups of 4 or 8 channels: one or two steps for each row
        elif rows and dots in (rows, 2 * rows):
            tiles.add((rows, dots // rows))
        else:
            continue
        assert not count(loop, r".*zmm.*\(%rsp|.*\(%rsp.*zmm")
    assert tiles == {(rows, vectors) for rows in range(1, 15) for vectors in (1, 2)}
    assert spread == {rows * steps for rows in range(1, 15) for steps in (1, 2)}


@pytest.mark.slow
@pytest.mark.skipif(X86_OBJDUMP is None, reason="needs objdump and an x86-64 build")
def test_rows_of_a_table_are_asked_for_early() -> None:
    assert any(count(loop, "prefetcht0") for loop in innermost_loops(X86_OBJDUMP, _kernels.__file__))


@pytest.mark.skipif(ARM_PROGRAM is None or ARM_OBJDUMP is None, reason="needs FXQUANT_ARM_PROGRAM and objdump for ARM")
def test_neon_tiles_leave_the_stack_alone() -> None:
    dotprod, i8mm = set(), set()
    for loop in innermost_loops(ARM_OBJDUMP, ARM_PROGRAM):
        by_element, blocks = count(loop, r"sdot.*\.4b\[\d\]"), count(loop, r"usmmla")
        if by_element:
            dotprod.add((count(loop, r"eor\s+v"), by_element))
        if blocks:
            i8mm.add(blocks)
        assert not (by_element or blocks) or not count(loop, r"(st|ld)[rp]\s+q.*\[sp")
    assert dotprod == {(rows, 2 * v * rows * steps) for rows in range(1, 7) for v in (1, 2) for steps in (1, 4)}
    assert i8mm == {4 * vectors * pairs for pairs in (1, 2, 3) for vectors in (1, 2)}
