#!/usr/bin/env bash
# Installs a build into a scratch folder, moves it, and uses it as programs outside of weft do: the examples in C, C++ and Python through
# CMake's package, pkg-config and ctypes, a plug-in, and the command: tests/install.sh BUILD_FOLDER
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "$*"; exit 1; }
unset LD_LIBRARY_PATH
cmake --install "$build" --prefix "$scratch/first" >/dev/null
mv "$scratch/first" "$scratch/usr"
library=$(dirname "$(find "$scratch/usr" -name 'libweft.so' | head -n 1)")
export PKG_CONFIG_PATH=$library/pkgconfig
# A shared library needs none of what it was linked with: weft.pc does not even ask for it.
flags=$(PKG_CONFIG_LIBDIR=$PKG_CONFIG_PATH pkg-config --cflags --libs weft)
case $flags in *"$scratch/first"*) fail "weft.pc has the folder of before: $flags" ;; esac
# shellcheck disable=SC2086
compile() { "${@:2}" $flags -Wl,-rpath,"$library" -o "$scratch/$1"; }

# Each header by itself, in C and in C++.
headers() {
    local header
    for header in $(cd "$1/include" && find weft -name '*.h'); do
        printf '#include <%s>\nint used;\n' "$header" | cc -std=c17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$1/include" -x c - || fail "C: $header"
        ! command -v c++ >/dev/null || printf '#include <%s>\nint used;\n' "$header" |
            c++ -std=c++17 -Wall -Wextra -Werror -fsyntax-only -I"$1/include" -x c++ - || fail "C++: $header"
    done
}
headers "$scratch/usr"

cmake -S "$source/examples" -B "$scratch/examples" -DCMAKE_PREFIX_PATH="$scratch/usr" >/dev/null
cmake --build "$scratch/examples" >/dev/null
"$scratch/examples/graph_by_hand" cpu >"$scratch/cmake.txt"
compile graph_by_hand cc -std=c17 "$source/examples/graph_by_hand.c"
"$scratch/graph_by_hand" cpu >"$scratch/pkgconfig.txt"

# One version everywhere: the header's, the library's, the package files', and the name under which programs find the library.
version=$(pkg-config --modversion weft)
if [ -x "$scratch/usr/bin/weft" ]; then
    told=$("$scratch/usr/bin/weft" --version)
    [ "$told" = "weft $version" ] || fail "the command tells \"$told\" and weft.pc \"$version\""
    # What the command prints of itself.
    grep -q '^\.SS weft run' "$scratch/usr/share/man/man1/weft.1"
    bash -n "$scratch/usr/share/bash-completion/completions/weft"
    grep -q '^#compdef weft$' "$scratch/usr/share/zsh/site-functions/_weft"
    grep -q '__weft_is run. -l prompt ' "$scratch/usr/share/fish/vendor_completions.d/weft.fish"

    # The same answer from C, C++ and Python.
    "$scratch/usr/bin/weft" synth tiny "$scratch/tiny.gguf" >/dev/null 2>&1
    for program in "$scratch/examples/answer" "$scratch/examples/answer_cpp" "env WEFT_LIBRARY=$library/libweft.so python3 $source/examples/answer.py"; do
        [ -x "$program" ] || [ "${program%% *}" = env ] || continue # there is no C++ compiler
        $program "$scratch/tiny.gguf" "What is the capital of Portugal?" cpu >"$scratch/answer" || fail "$program failed"
        [ "$(wc -c <"$scratch/answer")" -gt 20 ] || fail "$program: no answer"
        [ ! -e "$scratch/answer.first" ] || cmp "$scratch/answer" "$scratch/answer.first" || fail "$program: another answer"
        cp "$scratch/answer" "$scratch/answer.first"
    done
fi
case $version in 0.*) abi=${version%.*} ;; *) abi=${version%%.*} ;; esac
[ "$(readlink "$library/libweft.so.$abi")" = "libweft.so.$version" ] || fail "no libweft.so.$abi"
objdump -p "$scratch/graph_by_hand" | grep -q "NEEDED *libweft.so.$abi\$" || fail "the example does not need libweft.so.$abi"

# The null backend under another name, as a plug-in: it includes only what is installed, and is linked with nothing.
{
    sed 's/\.name = "null"/.name = "cloned"/' "$source/backends/null/null.c"
    echo 'WEFT_API const weft_backend *weft_backend_entry(const weft_host *host);'
    echo 'const weft_backend *weft_backend_entry(const weft_host *host) { return host->abi == WEFT_BACKEND_ABI ? &weft_null_backend : NULL; }'
} >"$scratch/cloned.c"
cc -std=c17 -Wall -Werror -shared -fPIC -Wl,-z,defs -I"$scratch/usr/include" "$scratch/cloned.c" -o "$scratch/cloned.so"
cat >"$scratch/loads.c" <<'C'
#include <stdio.h>
#include <weft/weft.h>
int main(int argc, char **argv) {
    weft_runtime *runtime = NULL;
    weft_device *device = NULL;
    weft_error error = {0};
    weft_status status = argc == 2 ? weft_runtime_create(NULL, &runtime, &error) : WEFT_INVALID_ARGUMENT;
    if (!status) status = weft_runtime_load_backend(runtime, argv[1], &error);
    if (!status) status = weft_device_open(runtime, "cloned", NULL, &device, &error);
    weft_device_close(device);
    weft_runtime_destroy(runtime);
    if (status) fprintf(stderr, "%s\n", error.message);
    return status;
}
C
compile loads cc -std=c17 "$scratch/loads.c"
"$scratch/loads" "$scratch/cloned.so"

# Without the decoder: its headers are not there, the others compile, and weft.pc does not ask for PCRE2. No library need be built.
without=$scratch/without
cmake -S "$source" -B "$without" -DWEFT_BACKENDS=null -DWEFT_DECODER=OFF -DBUILD_SHARED_LIBS=OFF >/dev/null
mkdir -p "$without/lib" && touch "$without/lib/libweft.a"
cmake --install "$without" --component development --prefix "$scratch/plain" >/dev/null
left=$(find "$scratch/plain" -name decoder.h -o -name session.h -o -name sampling.h -o -name grammar.h)
[ -z "$left" ] || fail "installed without the decoder: $left"
headers "$scratch/plain"
! grep -rq pcre2 "$scratch/plain" || fail "without the decoder: $(grep -r pcre2 "$scratch/plain")"

# silu of 1, 2 - 4 and 5.
python3 - "$scratch/cmake.txt" "$scratch/pkgconfig.txt" <<'PYTHON'
import math
import sys
for path in sys.argv[1:]:
    got = [float(line) for line in open(path)]
    expected = [x / (1 + math.exp(-x)) for x in (1, -2, 5)]
    assert len(got) == 3 and all(abs(a - b) < 1e-5 for a, b in zip(got, expected)), (path, got, expected)
print("installed, and all examples agree")
PYTHON
