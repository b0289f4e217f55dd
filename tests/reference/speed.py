#!/usr/bin/env python3
"""Compares the speed of weft and llama.cpp on one machine. They run in turns; prints medians, and the ratio of each turn.

    python3 tests/reference/speed.py build/release/bin/weft MODEL [MODEL ...] [--threads 2] [--turns 5] [--prompt 512] [--predict 128]
    python3 tests/reference/speed.py build/release/bin/weft MODEL [MODEL ...] --sequences 8 --prompt 32 --predict 64
    python3 tests/reference/speed.py build/release/bin/weft MODEL [MODEL ...] --prompt 16384 --predict 16
    python3 tests/reference/speed.py build/release/bin/weft MODEL [MODEL ...] --first
    python3 tests/reference/speed.py build/release/bin/weft MODEL [MODEL ...] --backend cuda [--sequences 32]

With --sequences N, each of N sequences has a prompt of its own and gets a token in each step; the speed is that of all. With a long
prompt, the decoded tokens follow it. --first measures the time from the start of a process to the first token after a prompt of 20
tokens, by `weft run` and by a process of llama.cpp that loads the model and does the same; the file is in the page cache.

Needs llama-cpp-python (PyPI) built for this machine; with --backend cuda or vulkan, with CMAKE_ARGS="-DGGML_CUDA=on" or
"-DGGML_VULKAN=on". There llama.cpp has all layers on the GPU and its flash attention. Its logits come to the host in each step, but are
not sampled; weft chooses the tokens on the GPU. Each turn is a process of its own, which loads the model, warms up once (but for
--first) and then measures once. On shared machines only the ratios are meaningful.
"""
import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time

N_FIRST_PROMPT = 20


class Llama:
    """A context of llama.cpp, by its C interface."""

    def __init__(self, path, backend, threads, n_sequences, n_positions, n_batch):
        import llama_cpp
        self.library = llama_cpp
        self.silent = llama_cpp.llama_log_callback(lambda level, text, user: None)
        llama_cpp.llama_log_set(self.silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        model_params, params = llama_cpp.llama_model_default_params(), llama_cpp.llama_context_default_params()
        model_params.n_gpu_layers = 0 if backend == "cpu" else 999
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
        if not self.model:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        if backend != "cpu":
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.n_ctx = n_sequences * (n_positions + 256) # of each sequence it is rounded up
        params.n_seq_max = n_sequences
        params.n_batch = params.n_ubatch = n_batch
        params.n_threads = params.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.batch = llama_cpp.llama_batch_init(n_batch, 0, n_sequences)
        self.n_batch = n_batch

    def run(self, rows):
        """Rows are (token, sequence, position, whether its logits are wanted)."""
        for first in range(0, len(rows), self.n_batch):
            part = rows[first:first + self.n_batch]
            self.batch.n_tokens = len(part)
            for i, (token, sequence, position, wanted) in enumerate(part):
                self.batch.token[i], self.batch.pos[i], self.batch.logits[i] = token, position, wanted
                self.batch.n_seq_id[i], self.batch.seq_id[i][0] = 1, sequence
            if self.library.llama_decode(self.context, self.batch) != 0:
                raise RuntimeError("llama_decode failed")
        self.library.llama_synchronize(self.context)

    def forget(self):
        self.library.llama_memory_clear(self.library.llama_get_memory(self.context), True)


def random_tokens(n, vocabulary):
    state, tokens = 1, []
    for _ in range(n):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        tokens.append((state >> 8) % vocabulary)
    return tokens


def llama_turn(args):
    n_prompt, n_sequences = args.prompt, args.sequences
    llama = Llama(args.models[0], args.backend, args.threads, n_sequences, n_prompt + args.predict, max(min(n_prompt, 512), n_sequences))
    tokens = random_tokens(n_prompt * n_sequences, llama.n_vocab)
    prompts = [(tokens[s * n_prompt + i], s, i, i + 1 == n_prompt) for s in range(n_sequences) for i in range(n_prompt)]
    llama.run(prompts[:512])
    llama.forget()
    start = time.perf_counter()
    llama.run(prompts)
    prefilled = time.perf_counter()
    for i in range(args.predict):
        llama.run([(tokens[i % n_prompt], s, n_prompt + i, True) for s in range(n_sequences)])
    done = time.perf_counter()
    print(json.dumps({"prefill": len(prompts) / (prefilled - start), "decode": args.predict * n_sequences / (done - prefilled)}))


def llama_first(args):
    """From here on, since Python's start and imports are no part of llama.cpp."""
    import llama_cpp # noqa: F401
    start = time.perf_counter()
    llama = Llama(args.models[0], args.backend, args.threads, 1, N_FIRST_PROMPT, 512)
    tokens = random_tokens(N_FIRST_PROMPT, llama.n_vocab)
    llama.run([(token, 0, i, i + 1 == len(tokens)) for i, token in enumerate(tokens)])
    print(json.dumps({"first_s": time.perf_counter() - start}))


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def weft_turn(args, model):
    command = [args.weft, "bench", model, "--json", "--backend", args.backend, "--repeat", "1", "--threads", str(args.threads),
               "-n", str(args.predict)]
    if args.sequences > 1:
        result = run([*command, "-p", str(args.prompt), "--sequences", str(args.sequences)])["sequences"][-1]
    elif args.prompt > 512:
        at = run([*command, "-p", "512", "--at", str(args.prompt), "--ctx", str(args.prompt + args.predict + 64)])
        return {"decode": at["positions"][-1]["decode_tokens_per_s"]}
    else:
        result = run([*command, "-p", str(args.prompt)])
    return {"prefill": result["prefill_tokens_per_s"], "decode": result["decode_tokens_per_s"]}


def weft_first(args, model):
    """The prompt's text has as many tokens as `weft run` counts in it: one for each " a", with common vocabularies."""
    command = [args.weft, "run", model, "--raw", "--backend", args.backend, "--threads", str(args.threads), "--ctx", "512", "-n", "1",
               "--ignore-end", "--temp", "0", "-p", " a" * N_FIRST_PROMPT]
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return {"first_s": time.perf_counter() - start}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--backend", choices=["cpu", "cuda", "vulkan"], default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--predict", type=int, default=128)
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--llama-turn", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.llama_turn:
        return llama_first(args) if args.first else llama_turn(args)
    sizes = ["--backend", args.backend, "--threads", str(args.threads), "--prompt", str(args.prompt), "--predict", str(args.predict), "--sequences",
             str(args.sequences), *(["--first"] if args.first else [])]
    for model in args.models:
        rows = []
        for _ in range(args.turns):
            weft = weft_first(args, model) if args.first else weft_turn(args, model)
            rows.append((weft, run([sys.executable, __file__, args.weft, model, "--llama-turn", *sizes])))
        print(model)
        for name in rows[0][0]:
            pairs = [(weft[name], llama[name]) for weft, llama in rows]
            unit, ratios = "tokens/s", [mine / theirs for mine, theirs in pairs]
            if name == "first_s":
                unit, ratios = "s", [theirs / mine for mine, theirs in pairs]
            print(f"  {name:8} weft {statistics.median(mine for mine, _ in pairs):8.4g}  llama.cpp "
                  f"{statistics.median(theirs for _, theirs in pairs):8.4g} {unit}  ratio {statistics.median(ratios):.2f} "
                  f"({min(ratios):.2f} .. {max(ratios):.2f})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
