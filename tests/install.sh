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
# What a plug-in includes.
# shellcheck disable=SC2086
cc -std=c17 -fsyntax-only $flags -x c - <<'C'
#include "weft/backend.h"
int place[] = {WEFT_ROPE_TABLE, WEFT_ROPE_OUT_Y};
C

# One version everywhere: the header's, the library's, the package files', and the name under which programs find the library.
version=$(PKG_CONFIG_PATH="$library/pkgconfig" pkg-config --modversion weft)
if [ -x "$scratch/usr/bin/weft" ]; then
    told=$(LD_LIBRARY_PATH=$library "$scratch/usr/bin/weft" --version)
    [ "$told" = "weft $version" ] || { echo "the command tells \"$told\" and weft.pc \"$version\""; exit 1; }
    # What the command prints of itself.
    grep -q '^\.SS weft run' "$scratch/usr/share/man/man1/weft.1"
    bash -n "$scratch/usr/share/bash-completion/completions/weft"
    grep -q '^#compdef weft$' "$scratch/usr/share/zsh/site-functions/_weft"
    grep -q '__weft_is run. -l prompt ' "$scratch/usr/share/fish/vendor_completions.d/weft.fish"
fi
case $version in 0.*) abi=${version%.*} ;; *) abi=${version%%.*} ;; esac
[ "$(readlink "$library/libweft.so.$abi")" = "libweft.so.$version" ] || { echo "no libweft.so.$abi"; exit 1; }
objdump -p "$scratch/graph_by_hand" | grep -q "NEEDED *libweft.so.$abi\$" || { echo "the example does not need libweft.so.$abi"; exit 1; }

# The headers are C++ too.
if command -v c++ >/dev/null; then
    cat >"$scratch/headers.cpp" <<'CPP'
#include <weft/backend.h>
#include <weft/check.h>
#include <weft/rope_table.h>
static_assert(WEFT_VERSION_NUMBER == (WEFT_VERSION_MAJOR << 16 | WEFT_VERSION_MINOR << 8 | WEFT_VERSION_PATCH), "version");
int main() {
    weft_engine_options engine = {}, same{.device = "auto"};
    engine.device = same.device;
    return engine.reserved[0] == 0 && weft_version() == WEFT_VERSION_NUMBER ? 0 : 1;
}
CPP
    # shellcheck disable=SC2086
    c++ -std=c++20 -Wall -Werror "$scratch/headers.cpp" -o "$scratch/headers" $flags
    LD_LIBRARY_PATH=$library "$scratch/headers"
fi

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
