#!/usr/bin/env python3
"""The error of `weft quantize` by type, beside that of the Python package gguf and of llama.cpp's quantisers.

usage: quantise.py WEFT [--ggml libggml-base.so] [--rows N]

Prints a Markdown table: root mean square of the error in percent of that of the weights, for normal weights and for weights with
heavy tails (Student's t with 4 degrees of freedom). The package gguf dequantises all of them. llama.cpp's quantisers run without an
importance matrix, from the library of e.g. the package llama-cpp-python. Needs: pip install gguf numpy
"""
import argparse
import ctypes
import pathlib
import subprocess
import tempfile
import time

import gguf
import numpy as np
from gguf import GGMLQuantizationType, quants

MIXES = {"Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q5_K": "Q5_K_S", "Q5_1": "Q5_1", "Q5_0": "Q5_0", "Q4_K": "Q4_K_S", "Q4_1": "Q4_1",
         "IQ4_NL": "IQ4_NL", "IQ4_XS": "IQ4_XS", "Q4_0": "Q4_0", "MXFP4": "MXFP4", "Q3_K": "Q3_K_S", "Q2_K": "Q2_K"}
NAME, K = "blk.0.ffn_up.weight", 4096


def error(values, weights):
    difference = values.reshape(weights.shape).astype(np.float64) - weights
    return 100 * np.sqrt((difference ** 2).mean() / (weights.astype(np.float64) ** 2).mean())


def by_weft(weft, folder, weights, type_name):
    source, target = folder / "source.gguf", folder / "target.gguf"
    if not source.exists():
        writer = gguf.GGUFWriter(source, "llama")
        writer.add_tensor(NAME, weights)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    begin = time.monotonic()
    subprocess.run([weft, "quantize", source, target, "--type", MIXES[type_name]], check=True)
    nanoseconds = 1e9 * (time.monotonic() - begin) / weights.size
    tensor = gguf.GGUFReader(target).tensors[0]
    assert tensor.tensor_type.name == type_name, tensor.tensor_type
    return quants.dequantize(tensor.data, tensor.tensor_type), nanoseconds


def by_gguf(weights, type_name):
    qtype = GGMLQuantizationType[type_name]
    return quants.dequantize(quants.quantize(weights, qtype), qtype)


def by_ggml(library, weights, type_name):
    qtype = GGMLQuantizationType[type_name]
    block, size = gguf.GGML_QUANT_SIZES[qtype]
    blocks = np.zeros(weights.size // block * size, dtype=np.uint8)
    library.ggml_quantize_chunk(int(qtype), weights.ctypes.data_as(ctypes.c_void_p), blocks.ctypes.data_as(ctypes.c_void_p),
                                ctypes.c_int64(0), ctypes.c_int64(weights.shape[0]), ctypes.c_int64(K), None)
    return quants.dequantize(blocks.reshape(weights.shape[0], -1), qtype)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("weft")
    parser.add_argument("--ggml")
    parser.add_argument("--rows", type=int, default=256)
    options = parser.parse_args()
    random = np.random.default_rng(1)
    shape = (options.rows, K)
    data = [random.standard_normal(shape).astype(np.float32) * np.float32(0.02),
            random.standard_t(4, shape).astype(np.float32) * np.float32(0.02)]
    library = ctypes.CDLL(options.ggml) if options.ggml else None
    print("| type | normal: weft | gguf | llama.cpp | heavy tails: weft | gguf | llama.cpp | weft, ns a weight |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for type_name in MIXES:
        cells = []
        for weights in data:
            with tempfile.TemporaryDirectory() as folder:
                values, nanoseconds = by_weft(options.weft, pathlib.Path(folder), weights, type_name)
            cells.append(f"{error(values, weights):.3f}")
            try:
                cells.append(f"{error(by_gguf(weights, type_name), weights):.3f}")
            except NotImplementedError:
                cells.append("")
            cells.append(f"{error(by_ggml(library, weights, type_name), weights):.3f}" if library else "")
        print(f"| {type_name} | {' | '.join(cells)} | {nanoseconds:.0f} |", flush=True)


main()
