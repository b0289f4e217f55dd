#!/usr/bin/env python3
"""Expected values for tests/test_types.c: checksums of random blocks, dequantised by the Python package gguf.

usage: dequantise.py [--check]

Writes tests/data/dequantise.inc, or with --check compares that file with the results of the installed package (exit 1 on a
difference). Needs: pip install gguf numpy
"""
import pathlib
import sys

import numpy as np
from gguf import GGMLQuantizationType, quants

OUT = pathlib.Path(__file__).resolve().parent.parent / "data" / "dequantise.inc"
N_BLOCKS = 4096
# Byte offsets of the f16 scales in a block, and the block's bytes.
TYPES = {
    "F16": ([], 2),
    "BF16": ([], 2),
    "Q4_0": ([0], 18),
    "Q4_1": ([0, 2], 20),
    "Q5_0": ([0], 22),
    "Q5_1": ([0, 2], 24),
    "Q8_0": ([0], 34),
    "Q4_K": ([0, 2], 144),
    "Q5_K": ([0, 2], 176),
    "Q6_K": ([208], 210),
    "Q2_K": ([80, 82], 84),
    "Q3_K": ([108], 110),
    "IQ4_NL": ([0], 18),
    "IQ4_XS": ([0], 136),
    "MXFP4": (None, 17),
}
# 0, -0, least and largest subnormal, least and largest normal, infinities, quiet and signalling NaN.
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x7C00, 0xFC00, 0x7E00, 0x7C01]
MASK = (1 << 64) - 1


def split_mix(state):
    """SplitMix64 (Steele, Lea and Flood 2014)."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    z = state
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return state, z ^ (z >> 31)


def make_blocks(seed, offsets, size):
    """Random bytes; the scales of every fourth block come from EXTREMES. Single values: each 16-bit pattern once. MXFP4: the blocks
    have each exponent in turn."""
    if offsets == []:
        return np.arange(65536, dtype=np.uint16).view(np.uint8)
    data, state = bytearray(), seed
    while len(data) < N_BLOCKS * size:
        state, word = split_mix(state)
        data += word.to_bytes(8, "little")
    del data[N_BLOCKS * size:]
    if offsets is None:
        for block in range(N_BLOCKS):
            data[block * size] = block & 255
        offsets = []
    for block in range(0, N_BLOCKS, 4):
        for i, offset in enumerate(offsets):
            extreme = EXTREMES[(block // 4 // (1 if i == 0 else len(EXTREMES))) % len(EXTREMES)]
            data[block * size + offset:block * size + offset + 2] = extreme.to_bytes(2, "little")
    return np.frombuffer(bytes(data), dtype=np.uint8)


def checksum(values):
    """FNV-1a over 32-bit words, every NaN as 0x7fc00000."""
    bits = values.astype(np.float32).view(np.uint32).copy()
    bits[np.isnan(values)] = 0x7FC00000
    total = 0xCBF29CE484222325
    for word in bits.ravel().tolist():
        total = ((total ^ word) * 0x100000001B3) & MASK
    return total


def main():
    lines = ["/* Made by tests/reference/dequantise.py: type, seed, blocks, checksum. */"]
    for seed, (name, (offsets, size)) in enumerate(TYPES.items(), start=1):
        blocks = make_blocks(seed, offsets, size)
        with np.errstate(all="ignore"):
            if name == "F16":
                values = blocks.view(np.float16).astype(np.float32)
            else:
                values = quants.dequantize(blocks.reshape(-1, size), GGMLQuantizationType[name])
        lines.append(f'{{"{name}", {seed}, {blocks.size // size}, 0x{checksum(values):016x}u}},')
    text = "\n".join(lines) + "\n"
    if "--check" not in sys.argv[1:]:
        OUT.write_text(text)
    elif OUT.read_text() != text:
        sys.exit(f"{OUT} differs from what the package gguf gives:\n{text}")


main()
