#!/bin/bash
# Runs NVIDIA's compute-sanitizer on the op cases and on a small model's answer with the cuda backend. Needs a GPU:
#     tests/reference/compute_sanitizer.sh [path of weft] [path of compute-sanitizer]
# The exit status is not 0 if it finds anything.
set -u
weft=${1:-build/release/bin/weft}
sanitizer=${2:-compute-sanitizer}
model=$(mktemp --suffix=.gguf)
trap 'rm -f "$model"' EXIT
"$weft" synth tiny-qwen2 "$model" --type Q4_K_M >/dev/null || exit 1
found=0
for tool in memcheck racecheck synccheck; do
    for command in "check --ops --quick --on cuda" "run $model --backend cuda --precision exact --prompt hello -n 8"; do
        echo "== $tool: weft ${command/$model/tiny-qwen2}"
        # shellcheck disable=SC2086
        "$sanitizer" --tool "$tool" --error-exitcode 99 "$weft" $command | tail -4
        [ "${PIPESTATUS[0]}" -eq 0 ] || found=1
    done
done
exit $found
