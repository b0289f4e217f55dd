#!/usr/bin/env bash
# Tests when tools/demo fetches NVIDIA's compiler from PyPI: only with a driver and without a compiler. ldconfig and pip are stand-ins.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/setup.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
export PATH=$work/bin:$PATH HOME=$work
unset XDG_CACHE_HOME
installed=

stand_in() { printf '#!/bin/sh\n%s\n' "$2" >"$work/bin/$1" && chmod +x "$work/bin/$1"; }
stand_in ldconfig 'cat "$(dirname "$0")/../libraries"'
stand_in g++ 'exit 0'
# pip install ... --target FOLDER PACKAGE... notes the packages.
stand_in python3 '[ "$3" = install ] || exit 0
[ ! -e "$HOME/pip-fails" ] || exit 1
while [ "$1" != --target ]; do shift; done
echo "$@" >>"$HOME/fetched"
mkdir -p "$2/nvidia/cu13/bin" && cp "$0" "$2/nvidia/cu13/bin/nvcc"'
installed_nvcc() { [ -n "$installed" ] && echo "$installed"; }

expect() {
    local got
    got=$(find_nvcc 2>/dev/null)
    [ "$got" = "$2" ] || { echo "$1: \"$got\", not \"$2\""; exit 1; }
    [ "$(cat "$work/fetched" 2>/dev/null | wc -l)" = "$3" ] || { echo "$1: fetched $(cat "$work/fetched")"; exit 1; }
}

fetched_nvcc=$work/.cache/weft/nvcc-13.0/nvidia/cu13/bin/nvcc
echo '	libc.so.6 (libc6,x86-64) => /lib/x86_64-linux-gnu/libc.so.6' >"$work/libraries"
expect "no driver, no compiler" "" 0
installed=/opt/cuda/bin/nvcc
expect "no driver, a compiler" /opt/cuda/bin/nvcc 0
echo '	libcuda.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libcuda.so.1' >>"$work/libraries"
expect "a driver, a compiler" /opt/cuda/bin/nvcc 0
installed=
touch "$work/pip-fails"
expect "a driver, no compiler, and the download fails" "" 0
rm "$work/pip-fails"
expect "a driver, no compiler" "$fetched_nvcc" 1
expect "a driver, a compiler fetched before" "$fetched_nvcc" 1
for package in nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime nvidia-cuda-cccl; do
    grep -q " $package==13" "$work/fetched" || { echo "not fetched: $package"; exit 1; }
done
echo "passed"
