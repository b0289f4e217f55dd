#!/usr/bin/env python3
"""Compares the speed of weft and llama.cpp on one machine. They run in turns; prints medians, and the ratio of each turn.

    python3 tests/reference/speed.py build/release/bin/weft MODEL [MODEL ...] [--threads 2] [--turns 5] [--prompt 512] [--predict 128]

Needs llama-cpp-python (PyPI) built for this machine. Each turn is a process of its own, which loads the model, warms up once and then
measures once. On shared machines only the ratios are meaningful.
"""
import argparse
import json
import statistics
import subprocess
import sys
import time


def llama_turn(model, threads, n_prompt, n_predict):
    from llama_cpp import Llama
    llama = Llama(model_path=model, n_ctx=n_prompt + n_predict + 8, n_batch=n_prompt, n_ubatch=n_prompt, n_threads=threads,
                  n_threads_batch=threads, verbose=False)
    vocabulary = llama.n_vocab()
    state, tokens = 1, []
    for _ in range(n_prompt):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        tokens.append((state >> 8) % vocabulary)
    llama.eval(tokens)
    llama.reset()
    llama._ctx.kv_cache_clear()
    start = time.perf_counter()
    llama.eval(tokens)
    prefilled = time.perf_counter()
    for i in range(n_predict):
        llama.eval([tokens[i % n_prompt]])
    done = time.perf_counter()
    print(json.dumps({"prefill": n_prompt / (prefilled - start), "decode": n_predict / (done - prefilled)}))


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--predict", type=int, default=128)
    parser.add_argument("--llama-turn", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.llama_turn:
        return llama_turn(args.models[0], args.threads, args.prompt, args.predict)
    sizes = ["--threads", str(args.threads)]
    for model in args.models:
        rows = []
        for _ in range(args.turns):
            weft = run([args.weft, "bench", model, "--json", "--repeat", "1", "-p", str(args.prompt), "-n", str(args.predict), *sizes])
            llama = run([sys.executable, __file__, args.weft, model, "--llama-turn", "--prompt", str(args.prompt), "--predict",
                         str(args.predict), *sizes])
            rows.append((weft["prefill_tokens_per_s"], llama["prefill"], weft["decode_tokens_per_s"], llama["decode"]))
        print(model)
        for name, mine, theirs in (("prefill", 0, 1), ("decode", 2, 3)):
            ratios = [row[mine] / row[theirs] for row in rows]
            print(f"  {name:8} weft {statistics.median(r[mine] for r in rows):8.1f}  llama.cpp "
                  f"{statistics.median(r[theirs] for r in rows):8.1f} tokens/s  ratio {statistics.median(ratios):.2f} "
                  f"({min(ratios):.2f} .. {max(ratios):.2f})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
