#!/usr/bin/env python3
"""Compares greedy tokens of `weft run --precision exact` with the float32 reference.

usage: greedy.py MODEL.gguf [--weft build/release/bin/weft] [--reference FILE.json] [--update] [--reference-only] [--follow]

For each text of tests/data/prompts.json: the prompt's ids must be the reference tokenizer's (of a byte-level BPE vocabulary; others have
weft's own ids), and each of 64 tokens must be the one
the reference finds most likely after the same tokens. A difference is listed, and allowed only where the reference's two best
logits are within 0.003 and weft chose the second. Exit 0: all agree; 1: they do not.

--reference FILE  keeps the reference's own tokens and two best logits in FILE, and reads them from it the next time
--reference-only  computes that file and stops
--follow          runs weft's tokens through the reference at once, in place of the reference's own one by one: much quicker, and the same
                  check, since a token is the reference's own if those before it are
--update          writes the agreed tokens to tests/data/smollm2_greedy.json

Needs: pip install gguf numpy tokenizers
"""
import argparse
import hashlib
import json
import pathlib
import subprocess
import sys

import numpy as np

from float32_model import Model, Sequence
from tokenizer import Tokenizer

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
N_TOKENS = 64
TIE = 0.003


class WeftTokenizer:
    """weft's own ids, for vocabularies that the reference tokenizer does not know."""

    def __init__(self, reader, weft, path):
        self.command = [weft, "tokenize", path, "--special", "--json"]
        names = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id")
        self.ends = {reader.fields[name].contents() for name in names if name in reader.fields}

    def encode(self, text):
        return json.loads(subprocess.run(self.command, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout)

    def decode(self, ids):
        return ids


def two_best(logits):
    best = np.argpartition(logits, -2)[-2:]
    best = best[np.argsort(-logits[best], kind="stable")]
    return [[int(i), float(logits[i])] for i in best]


def generate(model, prompt):
    """The reference's own greedy tokens, with the two best of each step."""
    sequence = Sequence(model, len(prompt) + N_TOKENS)
    logits, steps = sequence.extend(prompt)[0], []
    for _ in range(N_TOKENS):
        steps.append(two_best(logits))
        logits = sequence.extend([steps[-1][0][0]])[0]
    return steps


def follow(model, prompt, tokens):
    """The two best of each step after weft's own tokens, and of the step after the last."""
    sequence = Sequence(model, len(prompt) + len(tokens))
    steps = [two_best(sequence.extend(prompt)[0])]
    if tokens:
        steps += [two_best(logits) for logits in sequence.extend(tokens, all_logits=True)]
    return steps


def make_reference(model, tokenizer, prompts, path):
    if path and path.exists():
        return json.loads(path.read_text())
    reference = {}
    for prompt in prompts:
        ids = tokenizer.encode(prompt["text"])
        reference[prompt["name"]] = {"prompt_tokens": ids, "steps": generate(model, ids)}
        print(f"reference: {prompt['name']}: {tokenizer.decode([s[0][0] for s in reference[prompt['name']]['steps']])!r}")
        sys.stdout.flush()
    if path:
        path.write_text(json.dumps(reference))
    return reference


def run_weft(weft, model, text):
    command = [weft, "run", model, "--raw", "--precision", "exact", "--temp", "0", "-n", str(N_TOKENS), "--json"]
    done = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def compare(model, tokenizer, name, expected, answer):
    """Problems, ties; both as lines of text."""
    problems, ties = [], []
    if answer["prompt_tokens"] != expected["prompt_tokens"]:
        return [f"{name}: the prompt's ids differ"], ties
    tokens, steps = answer["tokens"], expected["steps"]
    if tokens != [step[0][0] for step in steps[:len(tokens)]] or len(tokens) < N_TOKENS:
        steps = follow(model, expected["prompt_tokens"], tokens)
    for i, token in enumerate(tokens):
        (best, first), (second, runner_up) = steps[i]
        if token == best:
            continue
        line = f"{name}: token {i}: weft {token}, reference {best} ({first:.4f}) before {second} ({runner_up:.4f})"
        (ties if token == second and first - runner_up <= TIE else problems).append(line)
    if len(tokens) < N_TOKENS:
        last = tokens[-1] if tokens and tokens[-1] in tokenizer.ends else steps[len(tokens)][0][0]
        if answer["finish_reason"] != "stop" or last not in tokenizer.ends:
            problems.append(f"{name}: {len(tokens)} tokens, {answer['finish_reason']}, where the reference goes on with {last}")
    return problems, ties


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--weft", default="build/release/bin/weft")
    parser.add_argument("--reference", type=pathlib.Path)
    parser.add_argument("--reference-only", action="store_true")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--follow", action="store_true")
    options = parser.parse_args()
    prompts = json.loads((DATA / "prompts.json").read_text())
    model = Model(options.model)
    is_bpe = model.field("tokenizer.ggml.model") == "gpt2"
    tokenizer = Tokenizer(model.reader) if is_bpe else WeftTokenizer(model.reader, options.weft, options.model)
    reference = {} if options.follow else make_reference(model, tokenizer, prompts, options.reference)
    if options.reference_only:
        return 0
    problems, ties, agreed = [], [], []
    for prompt in prompts:
        answer = run_weft(options.weft, options.model, prompt["text"])
        if options.follow:
            ids = tokenizer.encode(prompt["text"])
            reference[prompt["name"]] = {"prompt_tokens": ids, "steps": follow(model, ids, answer["tokens"])}
        found, tied = compare(model, tokenizer, prompt["name"], reference[prompt["name"]], answer)
        print(f"{prompt['name']}: {len(answer['prompt_tokens'])} + {len(answer['tokens'])} tokens, "
              f"{len(found)} differences, {len(tied)} ties", flush=True)
        problems, ties = problems + found, ties + tied
        agreed.append({"name": prompt["name"], "prompt_tokens": answer["prompt_tokens"], "tokens": answer["tokens"]})
    for line in ties:
        print("tie:", line)
    for line in problems:
        print("DIFFERENCE:", line)
    if options.update and not problems:
        digest = hashlib.sha256(pathlib.Path(options.model).read_bytes()).hexdigest()
        lines = ",\n".join(json.dumps(entry) for entry in agreed)
        head = f'{{"model_sha256": "{digest}", "ties": {json.dumps(ties)}, "prompts": ['
        (DATA / "smollm2_greedy.json").write_text(f"{head}\n{lines}\n]}}\n")
    print(f"{len(prompts)} prompts: {len(problems)} differences, {len(ties)} ties")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
