# The flags for all targets of the project.
add_library(weft_options INTERFACE)
target_include_directories(weft_options INTERFACE ${PROJECT_SOURCE_DIR}/include ${WEFT_GENERATED_INCLUDE} ${PROJECT_SOURCE_DIR})
target_compile_options(weft_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wvla
  # Numerics are defined without fused multiply-adds; kernels that want them turn them on. No code uses errno or traps, and
  # the compiler vectorises loops that choose between numbers only without traps.
  -ffp-contract=off -fno-math-errno -fno-trapping-math)
if(MINGW)
  # Windows 10. The printf of mingw-w64 knows C17's formats, which the one of msvcrt.dll does not.
  target_compile_definitions(weft_options INTERFACE _WIN32_WINNT=0x0A00 __USE_MINGW_ANSI_STDIO=1)
  target_compile_options(weft_options INTERFACE -Wno-float-conversion) # its isnan and isfinite convert
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # The compiler aligns stacks to 16 bytes only, though it keeps wider vectors in them (GCC bug 54412). So the assembler turns their
    # moves into unaligned ones.
    target_compile_options(weft_options INTERFACE -Wa,-muse-unaligned-vector-move)
  endif()
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
