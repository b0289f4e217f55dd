# Sourced by tools/check: unpacks packages of another suite of Debian into a folder. The system itself does not change.

# mirrors: prints the mirrors from which this system gets its own packages.
mirrors() { (. /etc/os-release && apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' "Release: $VERSION_CODENAME") 2>/dev/null; }

# fetch_packages WORK SUITE INSTALLED PACKAGE... downloads the packages and their dependencies into WORK/cache/archives, except those that
# the dpkg status file INSTALLED lists. It has its own sources and lists; apt checks the signatures as usual.
fetch_packages() {
    local work=$1 suite=$2 installed=$3 mirror
    shift 3
    mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
    local apt=(apt-get -qq -o Dir::Etc::SourceList="$work/sources.sources" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::Etc::PreferencesParts=/dev/null -o Dir::State="$work/state" -o Dir::State::Status="$installed" -o Dir::Cache="$work/cache"
        -o Acquire::Languages=none -o Debug::NoLocking=1)
    for mirror in $(mirrors); do
        printf '%s\n' "Types: deb" "URIs: $mirror" "Suites: $suite" "Components: main" \
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg" >"$work/sources.sources"
        "${apt[@]}" update && "${apt[@]}" --no-install-recommends --download-only --yes --target-release "$suite" install "$@" && return 0
    done
    return 1
}

# unpack_packages SUITE INSTALLED PACKAGE... prints the folder with the unpacked packages, which is kept for the next time. It fails if
# they cannot be fetched. INSTALLED is a dpkg status file, as above.
unpack_packages() {
    local folder work deb
    folder=$(cache_folder)/debian-$1-$3
    if ! [ -d "$folder" ]; then
        command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
        work=$(mktemp -d) && chmod 755 "$work" # apt downloads as a user of its own
        if ! fetch_packages "$work" "$@" >"$work/log" 2>&1; then
            tail -n 3 "$work/log" >&2
            rm -rf "$work"
            return 1
        fi
        mkdir -p "$folder.new"
        for deb in "$work"/cache/archives/*.deb; do dpkg -x "$deb" "$folder.new" || { rm -rf "$work" "$folder.new"; return 1; }; done
        rm -rf "$work"
        mv "$folder.new" "$folder"
    fi
    printf '%s\n' "$folder"
}

# glslc_knows EXTENSION...: whether the system's glslc compiles shaders that require them.
glslc_knows() {
    { echo "#version 450"; printf '#extension %s : require\n' "$@"; printf 'layout(local_size_x = 1) in;\nvoid main() {}\n'; } |
        glslc -fshader-stage=compute --target-env=vulkan1.2 -o /dev/null - 2>/dev/null
}

# wrap ROOT PROGRAM: writes a script that runs PROGRAM of ROOT with the libraries and the loader of ROOT, and prints the script's path.
wrap() {
    local script=$1/run-$2 loader
    loader=$(ls "$1"/usr/lib/*/ld-linux-*.so.*) || return 1
    printf '#!/bin/sh\nexec "%s" --library-path "%s" "%s" "$@"\n' "$loader" "${loader%/*}" "$1/usr/bin/$2" >"$script"
    chmod +x "$script"
    printf '%s\n' "$script"
}
