#!/usr/bin/env bash
# Runs every kernel of the Vulkan backend under Khronos' validation layer, with synchronisation validation, on the machine's card:
#     tests/reference/validate_vulkan.sh BUILD...
# BUILD is a built folder; name one for each glslc, since an older one leaves shaders out. Each row of the table of kernels is forced
# on its op's cases in `exact` and in `fast`, then come sessions of several threads. The exit status is not 0 if a test fails or the
# layer prints anything. Rows that the device cannot run are listed by name with the reason. The output is in BUILD/validation.
set -u
[ $# -ge 1 ] || { sed -n 2,6p "$0"; exit 2; }
found=0
for folder in /usr/local/share /usr/share /etc; do
    [ ! -f $folder/vulkan/explicit_layer.d/VkLayer_khronos_validation.json ] || found=1
done
[ $found -eq 1 ] || { echo "no validation layer is installed (Debian: vulkan-validationlayers)"; exit 2; }
export VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation
export VK_LAYER_ENABLES=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT
messages='VUID-|UNASSIGNED-|SYNC-HAZARD|Validation (Error|Warning|Performance Warning)'
failed=0

# step NAME COMMAND...
step() {
    local name=$1 began=$SECONDS code n
    shift
    "$@" >"$logs/$name.log" 2>&1
    code=$?
    n=$(grep -cE "$messages" "$logs/$name.log")
    [ $code -eq 0 ] && [ "$n" -eq 0 ] || failed=1
    printf '%-16s exit status %3d, %d messages, %4d s\n' "$name" $code "$n" $((SECONDS - began))
    grep -E 'not run by itself|kernels ran' "$logs/$name.log"
    grep -m 5 -E "$messages" "$logs/$name.log"
    return 0
}

for build in "$@"; do
    bin=$(cd "$build/bin" && pwd) || exit 2
    logs=$build/validation
    mkdir -p "$logs"
    echo "== $build: $("$bin/weft" devices 2>/dev/null | grep -m 1 vulkan)"
    step rows "$bin/device_kernels" vulkan
    step layouts "$bin/test_vulkan_kernels"
    step exact "$bin/weft" check --ops --on vulkan --cache-folder= --precision exact
    step fast "$bin/weft" check --ops --on vulkan --cache-folder= --precision fast
    step sessions "$bin/device_engine" vulkan
done
exit $failed
