#!/usr/bin/env bash
# Makes weft a part of a small project, which must not change for it: no option of the project's in the cache, no tests, no command,
# nothing to install. Nothing is built.
set -euo pipefail
source=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/host"
cat >"$scratch/host/CMakeLists.txt" <<CMAKE
cmake_minimum_required(VERSION 3.25)
project(host LANGUAGES C)
enable_testing()
foreach(name BUILD_SHARED_LIBS CMAKE_INSTALL_LIBDIR)
  set(before_\${name} "\$CACHE{\${name}}")
endforeach()
get_directory_property(variables_before VARIABLES)
add_subdirectory($source weft)
get_directory_property(variables VARIABLES)
list(REMOVE_ITEM variables \${variables_before} variables_before)
foreach(variable IN LISTS variables)
  if(variable MATCHES "^(CMAKE|BUILD|CPACK)_" AND NOT variable MATCHES "^CMAKE_(HAVE|PROJECT|Threads|PREFIX)")
    message(SEND_ERROR "weft sets \${variable} for its host")
  endif()
endforeach()
foreach(target weft_command test_ops)
  if(TARGET \${target})
    message(SEND_ERROR "weft adds the target \${target}")
  endif()
endforeach()
get_property(tests DIRECTORY $source PROPERTY TESTS)
if(tests)
  message(SEND_ERROR "weft adds tests: \${tests}")
endif()
get_target_property(type weft TYPE)
if(NOT type STREQUAL expected_type)
  message(SEND_ERROR "weft is a \${type} and not a \${expected_type}")
endif()
add_executable(app app.c)
target_link_libraries(app PRIVATE weft::weft)
CMAKE
printf '#include <weft/decoder.h>\nint main(void) { return weft_version() != WEFT_VERSION_NUMBER; }\n' >"$scratch/host/app.c"

# expect TYPE OPTION...
expect() {
    rm -rf "$scratch/build"
    cmake -S "$scratch/host" -B "$scratch/build" -DWEFT_BACKENDS=null -Dexpected_type="$1" "${@:2}" >"$scratch/log" 2>&1 ||
        { cat "$scratch/log"; exit 1; }
    cmake --install "$scratch/build" --prefix "$scratch/installed" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
    [ -z "$(find "$scratch/installed" -type f 2>/dev/null)" ] || { echo "weft installs $(find "$scratch/installed" -type f)"; exit 1; }
}
expect STATIC_LIBRARY
if grep -q '^BUILD_SHARED_LIBS:' "$scratch/build/CMakeCache.txt"; then
    echo "weft puts BUILD_SHARED_LIBS into the cache"
    exit 1
fi
# The program is linked with what a static weft needs.
grep -qr 'pcre2-8' "$scratch/build/CMakeFiles/app.dir/link.txt" || { cat "$scratch/build/CMakeFiles/app.dir/link.txt"; exit 1; }
expect SHARED_LIBRARY -DBUILD_SHARED_LIBS=ON
echo "passed"
