# The flags for all targets of the project.
add_library(weft_options INTERFACE)
target_include_directories(weft_options INTERFACE ${PROJECT_SOURCE_DIR}/include ${WEFT_GENERATED_INCLUDE} ${PROJECT_SOURCE_DIR})
target_compile_options(weft_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wvla
  # Numerics are defined without fused multiply-adds; kernels that want them turn them on. No code uses errno or traps, and
  # the compiler vectorises loops that choose between numbers only without traps.
  -ffp-contract=off -fno-math-errno -fno-trapping-math)
if(MINGW)
  target_compile_options(weft_options INTERFACE -Wno-float-conversion) # its isnan and isfinite convert
endif()
if(WEFT_WERROR)
  target_compile_options(weft_options INTERFACE -Werror)
endif()
if(WEFT_SANITIZE)
  target_compile_options(weft_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1)
  target_link_options(weft_options INTERFACE -fsanitize=address,undefined)
endif()
if(WEFT_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "WEFT_FUZZ needs clang, which has libFuzzer: -DCMAKE_C_COMPILER=clang")
  endif()
  target_compile_options(weft_options INTERFACE
    -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1)
  target_link_options(weft_options INTERFACE -fsanitize=address,undefined)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  target_compile_options(weft_options INTERFACE -O3)
endif()
