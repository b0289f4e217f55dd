#!/usr/bin/env bash
# Tests that need a GPU: tests/reference/gpu.sh BUILD [BACKEND...]. BUILD is a built folder (build/release), BACKEND the
# backends to run, cuda and vulkan if none is named. Each step prints its result and seconds; its output is in BUILD/gpu. STRESS is
# the seconds of the stress test for each backend (default 120). MODELS are the model files to time (default: two from `weft synth`, 6 GB).
set -u
[ $# -ge 1 ] || { sed -n 2,4p "$0"; exit 2; }
build=$(cd "$1" && pwd) || exit 2
shift
[ $# -gt 0 ] || set -- cuda vulkan
here=$(cd "$(dirname "$0")" && pwd)
logs=$build/gpu failed=0
mkdir -p "$logs"

# step LIMIT NAME COMMAND...: at most LIMIT seconds.
step() {
    local limit=$1 name=$2 began=$SECONDS code
    shift 2
    timeout "$limit" "$@" >"$logs/$name.log" 2>&1
    code=$?
    [ $code -eq 0 ] || failed=1
    printf '%-28s exit status %3d  %4d s\n' "$name" $code $((SECONDS - began))
    [ $code -eq 0 ] || tail -n 5 "$logs/$name.log"
}

"$build/bin/weft" devices
tiny=$logs/tiny.gguf
step 60 synth "$build/bin/weft" synth tiny "$tiny"
for backend in "$@"; do
    for precision in exact fast; do
        step 120 "ops.$backend.$precision" "$build/bin/weft" check --ops --on "$backend" --precision $precision
        step 120 "model.$backend.$precision" "$build/bin/weft" check "$tiny" --on "cpu,$backend" --precision $precision --greedy 256
    done
    step 120 "fused.$backend" "$build/bin/weft" check "$tiny" --on "$backend" --fused
    for test in "$build"/bin/device_*; do
        name=$(basename "$test")
        case $name in
            device_stress) step $((${STRESS:-120} + 60)) "$name.$backend" "$test" "$backend" "${STRESS:-120}" ;;
            device_smollm2) step 300 "$name.$backend" "$test" "$backend" 0 ;;
            *) step 180 "$name.$backend" "$test" "$backend" ;;
        esac
    done
    [ "$backend" != cuda ] || step 400 sanitizer "$here/compute_sanitizer.sh" "$build/bin/weft"
done
for test in "$build"/bin/test_cuda "$build"/bin/test_cuda_weights "$build"/bin/test_vulkan; do
    [ ! -x "$test" ] || step 180 "$(basename "$test")" "$test"
done
if [ -z "${MODELS-}" ]; then
    MODELS="$logs/qwen2.5-1.5b.gguf $logs/llama-3.1-8b.gguf"
    for model in $MODELS; do
        [ -f "$model" ] || step 300 "synth.$(basename "$model")" "$build/bin/weft" synth "$(basename "$model" .gguf)" "$model"
    done
fi
for backend in "$@"; do
    for model in $MODELS; do
        name=bench.$backend.$(basename "$model" .gguf)
        step 600 "$name" "$build/bin/weft" bench "$model" --backend "$backend" --precision exact --at 100,16000 -r 3
        cat "$logs/$name.log"
    done
done
exit $failed
