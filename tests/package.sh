#!/usr/bin/env bash
# Makes the packages of a build and runs the command of each: tests/package.sh BUILD_FOLDER
set -euo pipefail
build=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "$*"; exit 1; }
unset LD_LIBRARY_PATH
command -v dpkg-shlibdeps >/dev/null || { echo "no dpkg-shlibdeps (Debian: dpkg-dev)"; exit 77; }
(cd "$build" && cpack -G "TGZ;DEB" -B "$scratch") >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }

tar -xzf "$scratch"/weft-*.tar.gz -C "$scratch"
version=$("$scratch"/weft-*/bin/weft --version)
for deb in "$scratch"/*.deb; do
    name=$(dpkg-deb -f "$deb" Package)
    dpkg-deb -x "$deb" "$scratch/debian"
    depends=$(dpkg-deb -f "$deb" Depends)
    case $name in
    libweft0*) [[ $depends =~ libc6.*libpcre2-8-0 && ! $depends =~ libcjson ]] || fail "$name depends on $depends" ;;
    libweft-dev) [[ $depends =~ ^libweft0[.0-9]*" (= "[-.0-9]*")"$ ]] || fail "$name depends on $depends" ;;
    weft) [[ $depends =~ libweft0.*libc6.*libcjson1 && ! $depends =~ pcre2 ]] || fail "$name depends on $depends" ;;
    *) fail "an unknown package $name" ;;
    esac
    for file in copyright changelog.Debian.gz; do [ -s "$scratch/debian/usr/share/doc/$name/$file" ] || fail "$name has no $file"; done
done
! objdump -p "$scratch/debian/usr/bin/weft" | grep -E 'RPATH|RUNPATH' || fail "the packaged command has a search path"
library=$(dirname "$(find "$scratch/debian" -name 'libweft.so')")
[ "$(LD_LIBRARY_PATH=$library "$scratch/debian/usr/bin/weft" --version)" = "$version" ] || fail "the packages' commands differ"
if command -v lintian >/dev/null; then # the address is the packager's to set
    lintian --fail-on error --suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog "$scratch"/*.deb || fail "lintian found errors"
fi
echo "packed, and both commands are $version"
