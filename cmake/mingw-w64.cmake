# Builds for Windows on x86-64 with mingw-w64 (Debian: gcc-mingw-w64-x86-64-win32). tools/windows-needs builds the libraries that weft needs.
# Of the compiler's two models of threads, this is the one without winpthreads: os/ uses the threads of Windows.
set(CMAKE_SYSTEM_NAME Windows)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
find_program(CMAKE_C_COMPILER NAMES x86_64-w64-mingw32-gcc-win32 x86_64-w64-mingw32-gcc)
set(CMAKE_RC_COMPILER x86_64-w64-mingw32-windres)

# Programs need no libgcc beside them.
set(CMAKE_EXE_LINKER_FLAGS_INIT -static-libgcc)
set(CMAKE_SHARED_LINKER_FLAGS_INIT -static-libgcc)
set(CMAKE_MODULE_LINKER_FLAGS_INIT -static-libgcc)

# Libraries for Windows alone are found: the compiler's, and those of tools/windows-needs.
set(needs "$ENV{XDG_CACHE_HOME}")
if(NOT needs)
  set(needs "$ENV{HOME}/.cache")
endif()
string(APPEND needs /weft/windows)
if(NOT DEFINED ENV{PKG_CONFIG_LIBDIR})
  set(ENV{PKG_CONFIG_LIBDIR} ${needs}/lib/pkgconfig)
endif()
set(CMAKE_FIND_ROOT_PATH /usr/x86_64-w64-mingw32 ${needs})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)

# Tests run in Wine (Debian: wine64), which keeps its files in the build folder and opens no window.
find_program(WEFT_WINE NAMES wine64 wine HINTS /usr/lib/wine)
if(WEFT_WINE)
  set(CMAKE_CROSSCOMPILING_EMULATOR env -u DISPLAY WINEPREFIX=${CMAKE_BINARY_DIR}/wine WINEDEBUG=-all WINEDLLOVERRIDES=mscoree,mshtml=
    ${WEFT_WINE})
endif()
