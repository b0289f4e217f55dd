#!/usr/bin/env python3
"""Checks `weft inspect`: compares the private memory of a run with a full context with the bytes that were stated before.

    python3 tests/reference/memory.py build/release/bin/weft MODEL [--ctx 1024]

Linux only. The memory that every process needs (code, vocabulary, buffers of the C library) is measured with `weft tokenize` on the file.
"""
import argparse
import json
import subprocess
import sys
import time


def private_bytes(pid):
    total = 0
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
        for line in lines:
            if line.startswith(("Private_Dirty:", "Private_Clean:")):
                total += int(line.split()[1]) * 1024
    return total


def peak(command, text):
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.stdin.write(text)
    process.stdin.close()
    most = 0
    while process.poll() is None:
        try:
            most = max(most, private_bytes(process.pid))
        except (OSError, ProcessLookupError):
            break
        time.sleep(0.001)
    if process.wait() != 0:
        sys.exit(f"{command[1]} failed")
    return most


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weft")
    parser.add_argument("model")
    parser.add_argument("--ctx", type=int, default=1024)
    args = parser.parse_args()
    inspect = [args.weft, "inspect", args.model, "--json", "--backend", "cpu", "--ctx", str(args.ctx)]
    stated = json.loads(subprocess.run(inspect, stdout=subprocess.PIPE, check=True).stdout)["devices"][0]
    own = peak([args.weft, "tokenize", args.model], b"a b c")
    # One byte a token at the least: cut to what fits.
    text = b" the" * (args.ctx - 2)
    used = peak([args.weft, "run", args.model, "--raw", "--ignore-end", "--ctx", str(args.ctx), "--backend", "cpu"], text) - own
    print(f"stated {stated['total'] / 1e6:.1f} MB (weights {stated['weights'] / 1e6:.1f}, KV cache {stated['states'] / 1e6:.1f}, arena "
          f"{stated['arena'] / 1e6:.1f}, rings {stated['rings'] / 1e6:.2f}); used {used / 1e6:.1f} MB: {100 * (used / stated['total'] - 1):+.1f} %")
    return 0 if abs(used / stated["total"] - 1) <= 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())
