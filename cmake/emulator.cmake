# Compiles the kernels of the CUDA backend for the processor, and a driver that runs them (tests/emulator/emulator.h).
enable_language(CXX)

set(emulator ${PROJECT_SOURCE_DIR}/tests/emulator)
add_library(weft_emulator MODULE ${emulator}/driver.c ${emulator}/graphs.c ${emulator}/stream.c ${emulator}/block.c ${WEFT_OS_SOURCES})
target_include_directories(weft_emulator PRIVATE ${PROJECT_SOURCE_DIR}/include ${WEFT_GENERATED_INCLUDE} ${PROJECT_SOURCE_DIR})
target_compile_options(weft_emulator PRIVATE -Wall -Wextra -Wshadow -Wconversion $<$<BOOL:${WEFT_WERROR}>:-Werror>)
target_link_libraries(weft_emulator PRIVATE ${WEFT_OS_LIBRARIES})
set_target_properties(weft_emulator PROPERTIES OUTPUT_NAME cuda PREFIX lib SUFFIX .so.1
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/emulator)

set(compiler ${CMAKE_CXX_COMPILER} -shared -fPIC -std=c++17 -O2 -ffp-contract=off -fno-math-errno -fno-strict-aliasing
  -fvisibility=hidden -fno-extern-tls-init -Wno-unknown-pragmas -I${emulator} -I${PROJECT_SOURCE_DIR}/include
  -I${WEFT_GENERATED_INCLUDE} -I${PROJECT_SOURCE_DIR})
set(WEFT_EMULATED_IMAGE ${emulator}/image.cpp)
