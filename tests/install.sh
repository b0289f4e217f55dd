#!/usr/bin/env bash
# Installs a build into a scratch folder and builds the examples against it, through CMake's package and through pkg-config:
# tests/install.sh BUILD_FOLDER
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cmake --install "$build" --prefix "$scratch/usr" >/dev/null
cmake -S "$source/examples" -B "$scratch/examples" -DCMAKE_PREFIX_PATH="$scratch/usr" >/dev/null
cmake --build "$scratch/examples" >/dev/null
"$scratch/examples/graph_by_hand" cpu >"$scratch/cmake.txt"

library=$(dirname "$(find "$scratch/usr" -name 'libweft.so' | head -n 1)")
sed -i "s|^prefix=.*|prefix=$scratch/usr|" "$library/pkgconfig/weft.pc"
flags=$(PKG_CONFIG_PATH="$library/pkgconfig" pkg-config --cflags --libs weft)
# shellcheck disable=SC2086
cc -std=c17 "$source/examples/graph_by_hand.c" -o "$scratch/graph_by_hand" $flags
LD_LIBRARY_PATH=$library "$scratch/graph_by_hand" cpu >"$scratch/pkgconfig.txt"

# silu of 1, 2 - 4 and 5.
python3 - "$scratch/cmake.txt" "$scratch/pkgconfig.txt" <<'PYTHON'
import math
import sys
for path in sys.argv[1:]:
    got = [float(line) for line in open(path)]
    expected = [x / (1 + math.exp(-x)) for x in (1, -2, 5)]
    assert len(got) == 3 and all(abs(a - b) < 1e-5 for a, b in zip(got, expected)), (path, got, expected)
print("installed, and both examples agree")
PYTHON
