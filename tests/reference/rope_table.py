#!/usr/bin/env python3
"""Expected values for tests/test_rope_table.c: ggml's rope turns pairs (1, 0) into (cos, sin).

usage: rope_table.py > tests/data/rope_table.inc

Needs: pip install llama-cpp-python numpy (the shared libraries inside it are called through ctypes; F32 arithmetic, so
that angles in the thousands are right to about 1e-3).
"""
import ctypes as c
import pathlib

import llama_cpp
import numpy as np

LIB = pathlib.Path(llama_cpp.__file__).parent / "lib"
base = c.CDLL(str(LIB / "libggml-base.so"), mode=c.RTLD_GLOBAL)
cpu = c.CDLL(str(LIB / "libggml-cpu.so"), mode=c.RTLD_GLOBAL)


class InitParams(c.Structure):
    _fields_ = [("mem_size", c.c_size_t), ("mem_buffer", c.c_void_p), ("no_alloc", c.c_bool)]


P, I, L, F = c.c_void_p, c.c_int, c.c_int64, c.c_float
base.ggml_init.argtypes, base.ggml_init.restype = [InitParams], P
base.ggml_new_tensor_1d.argtypes, base.ggml_new_tensor_1d.restype = [P, I, L], P
base.ggml_new_tensor_3d.argtypes, base.ggml_new_tensor_3d.restype = [P, I, L, L, L], P
base.ggml_get_data.argtypes, base.ggml_get_data.restype = [P], P
base.ggml_rope_ext.argtypes, base.ggml_rope_ext.restype = [P, P, P, P, I, I, I, F, F, F, F, F, F], P
base.ggml_new_graph.argtypes, base.ggml_new_graph.restype = [P], P
base.ggml_build_forward_expand.argtypes = [P, P]
cpu.ggml_graph_compute_with_ctx.argtypes = [P, P, I]

F32, I32 = 0, 26
POSITIONS = [0, 1, 2, 77, 1000, 4100]
# n_dims, base, kind, factor, original context, beta fast, beta slow, attention factor, frequency factors
CASES = [
    (16, 10000.0, "NONE", 1.0, 0, 0.0, 0.0, 0.0, None),
    (64, 500000.0, "NONE", 1.0, 0, 0.0, 0.0, 0.0, [1.0 + 0.25 * i for i in range(32)]),
    (16, 10000.0, "LINEAR", 4.0, 0, 0.0, 0.0, 0.0, None),
    (32, 10000.0, "YARN", 4.0, 2048, 0.0, 0.0, 0.0, None),
    (64, 1000000.0, "YARN", 8.0, 4096, 24.0, 2.0, 0.75, None),
    (16, 10000.0, "YARN", 2.5, 300, 0.0, 0.0, 1.0, [1.0, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0, 8.0]),
]


def tensor(context, values, kind, *shape):
    make = base.ggml_new_tensor_1d if len(shape) == 1 else base.ggml_new_tensor_3d
    t = make(context, kind, *shape)
    c.memmove(base.ggml_get_data(t), values.ctypes.data, values.nbytes)
    return t


def rope(n_dims, freq_base, kind, factor, n_ctx, fast, slow, attention, factors):
    context = base.ggml_init(InitParams(64 << 20, None, False))
    n = len(POSITIONS)
    pairs = np.tile(np.array([1, 0], dtype=np.float32), n * n_dims // 2)
    x = tensor(context, pairs, F32, n_dims, 1, n)
    positions = tensor(context, np.array(POSITIONS, dtype=np.int32), I32, n)
    divisors = tensor(context, np.array(factors, dtype=np.float32), F32, n_dims // 2) if factors else None
    y = base.ggml_rope_ext(context, x, positions, divisors, n_dims, 0, n_ctx, freq_base, 1.0 / factor,
                           1.0 if kind == "YARN" else 0.0, attention or 1.0, fast or 32.0, slow or 1.0)
    graph = base.ggml_new_graph(context)
    base.ggml_build_forward_expand(graph, y)
    assert cpu.ggml_graph_compute_with_ctx(context, graph, 1) == 0
    values = (c.c_float * (n_dims * n)).from_address(base.ggml_get_data(y))
    return np.array(values).reshape(n, n_dims)


def main():
    print("/* Made by tests/reference/rope_table.py: options, positions, and (cos, sin) pairs a position. */")
    for case in CASES:
        n_dims, freq_base, kind, factor, n_ctx, fast, slow, attention, factors = case
        listed = "".join(("\n  " if i % 16 == 0 else " ") + f"{f}f," for i, f in enumerate(factors or [0.0]))
        print(f"{{{{{n_dims}, {freq_base}f, WEFT_ROPE_{kind}, {factor}f, {n_ctx}, {fast}f, {slow}f, {attention}f, NULL, {{0}}}},")
        print(f" {str(bool(factors)).lower()}, {{{listed}\n }},\n {{")
        for position, row in zip(POSITIONS, rope(*case)):
            print(f"  {{{position}, {{")
            for i in range(0, n_dims, 8):
                print("   " + ", ".join(f"{v:.7f}f" for v in row[i:i + 8]) + ",")
            print("  }},")
        print(" }},")


main()
