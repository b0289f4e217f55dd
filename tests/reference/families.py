#!/usr/bin/env python3
"""Every family and quantisation mix on small synthetic models: logits of `exact` against the float32 reference, prefill and decode path.

    python3 tests/reference/families.py build/release/bin/weft [SHAPE ...]

Needs: pip install gguf numpy. The default shapes are tiny and tiny-qwen2. Fails where a logit differs by more than 1e-3 of the
logits' root mean square.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

from float32_model import Model, Sequence

MIXES = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_K_M"]
TEXT = "Synthetic models predict noise, but they must predict the same noise: 0123456789, naïve, 漢字.\n" * 3


def weft(*arguments, stdin=b""):
    return subprocess.run([str(a) for a in arguments], input=stdin, stdout=subprocess.PIPE, check=True).stdout


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    command, shapes = sys.argv[1], sys.argv[2:] or ["tiny", "tiny-qwen2"]
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "text").write_text(TEXT)
        for shape in shapes:
            for mix in MIXES:
                path = folder / "model.gguf"
                weft(command, "synth", shape, path, "--type", mix)
                ids = json.loads(weft(command, "tokenize", path, "--special", "--json", stdin=TEXT.encode()))
                reference = Sequence(Model(str(path)), len(ids)).extend(ids, all_logits=True)
                for way, extra in (("prefill", []), ("decode", ["--max-rows", "1"])):
                    weft(command, "perplexity", path, folder / "text", "--precision", "exact", "--ctx", len(ids), "--logits",
                         folder / "logits", *extra)
                    logits = np.fromfile(folder / "logits", "<f4").reshape(-1, reference.shape[1])
                    rms = np.sqrt(np.mean(np.square(reference, dtype=np.float64)))
                    worst = np.abs(logits - reference[:len(logits)]).max() / rms
                    bad = not worst <= 1e-3 or len(logits) < len(ids) - 1
                    failed |= bad
                    print(f"{'FAIL' if bad else 'ok  '} {shape} {mix} {way}: {len(logits)} positions, largest difference {worst:.1e} of the RMS")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
