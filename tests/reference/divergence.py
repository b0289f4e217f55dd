#!/usr/bin/env python3
"""Measures how much a runtime's logits differ from the float32 reference's, teacher-forced over one text of 1,152 tokens.

usage: divergence.py MODEL.gguf [--weft build/release/bin/weft] [--precision fast] [--threads 2] [--llama-cpp] [--no-weft]
                     [--reference FILE.npy] [--write-text FILE]

The text is that of tests/data/prompts.json. Prints, for prefill (many tokens in a step) and for decode (one token in a
step): mean Kullback-Leibler divergence from the reference's next-token distribution in nats, with its standard error; share of
positions whose most likely token is the reference's; and the logits' normalised mean squared error, sum (y - r)^2 / sum r^2, once
as they are, and once with each position's mean subtracted from both, since a constant changes no distribution.

--llama-cpp  measures llama.cpp's CPU backend too, with its default settings, through the package llama-cpp-python
--write-text writes the text, for `weft check MODEL --text FILE`, and does nothing else
--reference  keeps the reference's logits in that file, and reads them from it the next time

Needs: pip install gguf numpy tokenizers [llama-cpp-python]
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np

from float32_model import Model, Sequence
from tokenizer import Tokenizer

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
N_POSITIONS = 1152
N_CTX = 2048
PATHS = {"prefill": [], "decode": ["--max-rows", "1"]}


def make_text(tokenizer):
    """Ids and a text that has exactly these ids."""
    prompts = json.loads((DATA / "prompts.json").read_text())
    ids = tokenizer.encode("\n\n".join(prompt["text"] for prompt in prompts))[:N_POSITIONS]
    text = tokenizer.decode(ids)
    if len(ids) != N_POSITIONS or tokenizer.encode(text) != ids:
        raise SystemExit("this tokenizer cuts the prompts' text within a character: choose another number of positions")
    return ids, text


def reference_logits(model, ids, path):
    if path and path.exists():
        return np.load(path)
    sequence = Sequence(model, len(ids))
    logits = np.concatenate([sequence.extend(ids[i:i + 128], all_logits=True) for i in range(0, len(ids), 128)])
    if path:
        np.save(path, logits)
    return logits


def log_softmax(logits):
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def report(name, logits, reference):
    n = min(len(logits), len(reference))
    divergences, agreement, error, power, centred_error, centred_power = [], 0, 0.0, 0.0, 0.0, 0.0
    for y, r in zip(logits[:n], reference[:n]):
        p, q = log_softmax(r), log_softmax(y)
        divergences.append(float((np.exp(p) * (p - q)).sum()))
        agreement += int(np.argmax(y) == np.argmax(r))
        r = r.astype(np.float64)
        off = y - r
        error += float((off ** 2).sum())
        power += float((r ** 2).sum())
        centred_error += float(((off - off.mean()) ** 2).sum())
        centred_power += float(((r - r.mean()) ** 2).sum())
    print(f"{name}: {n} positions: mean KL divergence {np.mean(divergences):.5f} +- {np.std(divergences) / n ** 0.5:.5f}, "
          f"top-1 agreement {100 * agreement / n:.2f} %, "
          f"logit NMSE {error / power:.6f}, centred {centred_error / centred_power:.6f}", flush=True)


def weft_logits(options, text, extra):
    with tempfile.TemporaryDirectory() as folder:
        file, out = pathlib.Path(folder, "text"), pathlib.Path(folder, "logits.f32")
        file.write_bytes(text.encode())
        subprocess.run([options.weft, "perplexity", options.model, str(file), "--logits", str(out), "--ctx", str(N_CTX),
                        "--precision", options.precision, "--threads", str(options.threads)] + extra,
                       stdout=subprocess.DEVNULL, check=True)
        return np.fromfile(out, dtype="<f4")


def llama_logits(llm, ids, at_once):
    llm.reset()
    for i in range(0, len(ids), at_once):
        llm.eval(ids[i:i + at_once])
    return np.array(llm.scores[:len(ids)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--weft", default="build/release/bin/weft")
    parser.add_argument("--precision", default="fast")
    parser.add_argument("--llama-cpp", action="store_true")
    parser.add_argument("--no-weft", action="store_true")
    parser.add_argument("--reference", type=pathlib.Path)
    parser.add_argument("--write-text", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    model = Model(options.model)
    ids, text = make_text(Tokenizer(model.reader))
    if options.write_text:
        options.write_text.write_bytes(text.encode())
        return
    reference = reference_logits(model, ids, options.reference)
    if options.llama_cpp:
        import llama_cpp

        llm = llama_cpp.Llama(options.model, n_ctx=N_CTX, n_batch=512, n_threads=options.threads, n_threads_batch=options.threads,
                               logits_all=True, verbose=False)
        for path, at_once in (("prefill", len(ids)), ("decode", 1)):
            report(f"llama.cpp {path}", llama_logits(llm, ids, at_once), reference)
    for path, extra in PATHS.items() if not options.no_weft else ():
        report(f"weft {options.precision} {path}", weft_logits(options, text, extra).reshape(-1, reference.shape[1]), reference)


if __name__ == "__main__":
    main()
