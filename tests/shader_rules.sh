#!/usr/bin/env bash
# Tests which shaders the build refuses: shader_rules.sh GLSLC [SPIRV_VAL]
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/fast"

# write NAME EXTENSION STATEMENTS: a shader that is both of exact and of a fast kernel.
write() {
    printf '#version 450\n#extension %s : require\nlayout(local_size_x = 32) in;\n%s\nvoid main() { uint i = gl_GlobalInvocationID.x; %s }\n' \
        "$2" 'layout(std430, binding = 0) buffer Values { float at[]; };' "$3" >"$scratch/$1.comp"
    cp "$scratch/$1.comp" "$scratch/fast/"
}
compile() {
    cmake "-DGLSLC=$glslc" "-DSPIRV_VAL=$spirv_val" "-DSOURCE=$scratch/$1.comp" "-DROOT=$source" -DNAME=shader \
        "-DOUTPUT=$scratch/shader.inc" -P "$source/cmake/shader.cmake" 2>&1 | tr -s ' \n' '  ' >"$scratch/log"
}
refused() {
    if compile "$1"; then echo "$1 is not refused"; exit 1; fi
    grep -qF "$2" "$scratch/log" || { cat "$scratch/log"; echo "not \"$2\""; exit 1; }
}
allowed() { compile "$1" || { cat "$scratch/log"; exit 1; }; }

glslc=$1 spirv_val=${2:-}
write plain GL_EXT_shader_16bit_storage 'at[i] = at[i] * 2.0;'
write subgroup GL_KHR_shader_subgroup_arithmetic 'at[i] = subgroupAdd(at[i]);'
write half GL_EXT_shader_explicit_arithmetic_types_float16 'float16_t x = float16_t(at[i]); at[i] = float(x * x);'
allowed plain
refused subgroup "uses subgroup operations"
refused half "uses 16-bit arithmetic"
for name in plain subgroup half; do allowed fast/$name; done
echo "passed"
