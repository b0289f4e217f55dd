#!/usr/bin/env python3
"""Every family on a small random model with F32 weights: logits and greedy tokens of `exact` against llama.cpp's on the processor.

usage: families_llama_cpp.py build/release/bin/weft [--backend NAME] [--no-gelu-table] [--write FILE] [SHAPE ...]

llama.cpp has an F32 cache and no flash attention. Each shape runs a text that is shorter than the rope's original context, and one
that is longer than it, than the windows and than pages of the cache. Fails where a row of logits differs by more than 1e-5 (root mean
square over the row's), or where a greedy token is not llama.cpp's and its logit is not within 1e-4 (of the row's) of the best.

float32_model.py is a second reference, with the same limit. llama.cpp reads GELU from a table of half floats, and families with GELU
may therefore differ from it by 1e-3. --no-gelu-table: llama.cpp was built without the line `#define GGML_GELU_FP16` in
ggml/src/ggml-cpu/vec.h (LLAMA_CPP_LIB_PATH names the folder of its libraries), and they may not.

Needs: pip install llama-cpp-python gguf numpy
"""
import argparse
import ctypes
import json
import pathlib
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np

import float32_model

SHAPES = ["tiny", "tiny-qwen2", "tiny-qwen3", "tiny-granite", "tiny-smollm3", "tiny-olmo2", "tiny-olmo3", "tiny-phi", "tiny-mistral3", "tiny-gemma", "tiny-gemma2", "tiny-gemma3",
          "tiny-starcoder2", "tiny-mixtral", "tiny-granitemoe", "tiny-olmoe", "tiny-qwen2moe", "tiny-qwen3moe"]
SHORT = "Noise: 0123456789, naïve, 漢字.\n"
TEXTS = (SHORT, SHORT * 10)
N_TOKENS = 40
N_PROMPT, N_CHOSEN, SEED = 300, 8, 11  # as in tests/device_families.c
LIMIT = 1e-5
TABLE_LIMIT = 1e-3
TIE = 1e-4


def weft(*arguments, stdin=b""):
    return subprocess.run([str(a) for a in arguments], input=stdin, stdout=subprocess.PIPE, check=True).stdout


class Reference:
    """A model in llama.cpp, and one sequence."""

    def __init__(self, path, n_ctx):
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        context = llama_cpp.llama_context_default_params()
        context.n_ctx = context.n_batch = context.n_ubatch = n_ctx
        context.type_k = context.type_v = llama_cpp.GGML_TYPE_F32
        context.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        context.n_threads = context.n_threads_batch = 2
        self.context = llama_cpp.llama_init_from_model(self.model, context)
        self.length = 0

    def extend(self, tokens):
        """Logits after each token."""
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, self.length + i, 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        if llama_cpp.llama_decode(self.context, batch):
            raise SystemExit("llama_decode failed")
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(self.context), (len(tokens), self.n_vocab)).copy()
        llama_cpp.llama_batch_free(batch)
        self.length += len(tokens)
        return logits

    def close(self):
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)


def rms(x):
    return np.sqrt(np.mean(np.square(x, dtype=np.float64), axis=-1))


def largest(logits, expected):
    n = len(logits)
    return (rms(logits - expected[:n]) / rms(expected[:n])).max()


def compare_logits(options, path, text, ids, max_rows):
    """For each reference its name, the largest difference of a row by the row's root mean square, and the limit."""
    output = path.with_name("logits")
    path.with_name("text").write_text(text)
    weft(options.weft, "perplexity", path, path.with_name("text"), "--backend", options.backend, "--precision", "exact", "--ctx", len(ids),
         "--logits", output, "--max-rows", max_rows)
    reference = Reference(path, len(ids))
    expected = reference.extend(ids)
    reference.close()
    logits = np.fromfile(output, "<f4").reshape(-1, expected.shape[1])
    if len(logits) < len(ids) - 1:
        raise SystemExit(f"weft wrote {len(logits)} rows of logits for {len(ids)} tokens")
    expected = expected[:len(logits)]
    model = float32_model.Model(str(path))
    own = float32_model.Sequence(model, len(ids)).extend(ids, all_logits=True)
    has_table = model.family in float32_model.GELU and not options.no_gelu_table
    return (("llama.cpp", largest(logits, expected), TABLE_LIMIT if has_table else LIMIT), ("float32_model.py", largest(logits, own), LIMIT))


def compare_greedy(options, path, text, ids):
    """How many tokens agree, and a line about the first that does not."""
    n_ctx = len(ids) + N_TOKENS
    answer = json.loads(weft(options.weft, "run", path, "--raw", "--backend", options.backend, "--precision", "exact", "--temp", 0, "-n",
                             N_TOKENS, "--ctx", n_ctx, "--ignore-end", "--json", stdin=text.encode()))
    if answer["prompt_tokens"] != ids or len(answer["tokens"]) < N_TOKENS:
        return 0, "weft did not run the same prompt to its end"
    reference = Reference(path, n_ctx)
    logits = reference.extend(ids)[-1]
    for i, token in enumerate(answer["tokens"]):
        best = int(np.argmax(logits))
        if token != best and logits[best] - logits[token] > TIE * rms(logits):
            return i, f"token {i} is {token} ({logits[token]:.6f}), llama.cpp's {best} ({logits[best]:.6f})"
        logits = reference.extend([token])[-1]
    reference.close()
    return N_TOKENS, None


def check(options, name, path, text):
    ids = json.loads(weft(options.weft, "tokenize", path, "--special", "--json", stdin=text.encode()))
    failed = False
    for way, max_rows in (("prefill", 512), ("decode", 1)):
        for reference, worst, limit in compare_logits(options, path, text, ids, max_rows):
            bad = not worst <= limit
            failed |= bad
            print(f"{'FAIL' if bad else 'ok  '} {name}: {len(ids)} positions, {way}: {worst:.1e} of the row's RMS from {reference}",
                  flush=True)
    n, problem = compare_greedy(options, path, text, ids)
    print(f"{'FAIL' if problem else 'ok  '} {name}: {n} greedy tokens{': ' + problem if problem else ''}", flush=True)
    return failed or problem is not None


def numbers(shape, path):
    """A line of tests/data/families.txt: greedy tokens after a fixed prompt, each with its log-probability."""
    reference = Reference(path, N_PROMPT + N_CHOSEN)
    logits, line = reference.extend([(i * 37 + 11) % 256 for i in range(N_PROMPT)])[-1].astype(np.float64), shape
    for _ in range(N_CHOSEN):
        best = int(np.argmax(logits))
        line += f" {best} {logits[best] - logits.max() - np.log(np.sum(np.exp(logits - logits.max()))):.6f}"
        logits = reference.extend([best])[-1].astype(np.float64)
    reference.close()
    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("shapes", nargs="*", default=SHAPES)
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--no-gelu-table", action="store_true")
    parser.add_argument("--write", type=pathlib.Path, help="write llama.cpp's numbers to this file, for tests/device_families.c")
    options = parser.parse_args()
    silent = llama_cpp.llama_log_callback(lambda level, text, user: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p())
    failed, lines = False, []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.gguf"
        for shape in options.shapes:
            weft(options.weft, "synth", shape, path, "--type", "F32", "--seed", SEED)
            if options.write:
                lines.append(numbers(shape, path))
                continue
            for text in TEXTS:
                failed |= check(options, shape, path, text)
    if options.write:
        options.write.write_text("".join(line + "\n" for line in lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
