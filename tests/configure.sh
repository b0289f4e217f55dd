#!/usr/bin/env bash
# Tests CMake's messages about missing libraries, and that it goes on without optional ones. The libraries that it finds are
# stand-ins. Nothing is built.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/has"
export PKG_CONFIG_LIBDIR=$scratch/has PKG_CONFIG_PATH=

has() { printf 'Name: %s\nDescription: none\nVersion: 10.40\nLibs: -lm\n' "$1" >"$scratch/has/$1.pc"; }

# expect STATUS TEXT OPTION...: configures from nothing; TEXT "" is no matter.
expect() {
    local status=0
    rm -rf "$scratch/build"
    cmake -S "$source" -B "$scratch/build" -DWEFT_BACKENDS=null "${@:3}" >"$scratch/log" 2>&1 || status=1
    tr -s ' \n' '  ' <"$scratch/log" >"$scratch/line" # CMake breaks lines
    if [ "$status" != "$1" ] || ! grep -qF "$2" "$scratch/line"; then
        cat "$scratch/log"
        echo "not \"$2\" with status $1, but $status: ${*:3}"
        exit 1
    fi
}
also() { grep -qF "$1" "$scratch/line" || { cat "$scratch/log"; echo "not \"$1\""; exit 1; }; }

expect 1 "pkg-config not found, which finds PCRE2 (Debian: pkg-config libpcre2-dev)" -DCMAKE_DISABLE_FIND_PACKAGE_PkgConfig=ON
expect 1 "PCRE2 not found (Debian: libpcre2-dev); -DWEFT_DECODER=OFF builds"
expect 0 "" -DWEFT_DECODER=OFF
has libpcre2-8
expect 0 "Built without the weft command: cJSON not found (Debian: libcjson-dev)"
also "Built without the tests: CMocka not found (Debian: libcmocka-dev)"
has libcjson
expect 0 "Built without the editing of lines in weft chat: libedit not found (Debian: libedit-dev)"
has cmocka
expect 0 "Built without the tests: Python not found (Debian: python3)" -DCMAKE_DISABLE_FIND_PACKAGE_Python3=ON
expect 1 "weft supports only Linux and Windows so far; os/ has no file for Haiku" -DCMAKE_SYSTEM_NAME=Haiku
echo "passed"
