# Builds one library. The sources of a folder are all its files, so that adding an op or a family changes nothing here.
file(GLOB_RECURSE WEFT_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/core/*.c)
list(APPEND WEFT_SOURCES ${WEFT_OS_SOURCES})
file(GLOB WEFT_BACKEND_SHARED CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/backends/*.c) # shared by several backends
list(APPEND WEFT_SOURCES ${WEFT_BACKEND_SHARED})
if(WEFT_DECODER)
  file(GLOB_RECURSE WEFT_DECODER_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/decoder/*.c)
  list(APPEND WEFT_SOURCES ${WEFT_DECODER_SOURCES})
endif()
if(NOT WEFT_FUZZ) # no fuzzer reaches it
  file(GLOB WEFT_CHECK_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/check/*.c ${PROJECT_SOURCE_DIR}/check/ops/*.c)
  list(APPEND WEFT_SOURCES ${WEFT_CHECK_SOURCES})
  if(WEFT_DECODER)
    file(GLOB_RECURSE WEFT_CHECK_MODEL_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/check/model/*.c)
    list(APPEND WEFT_SOURCES ${WEFT_CHECK_MODEL_SOURCES})
  endif()
endif()
# The built-in backends: for each name of WEFT_BACKENDS the sources of backends/NAME, which define weft_NAME_backend, and a line
# of the list that core/registry.c includes. cmake/NAME.cmake, if it exists, adds other parts of a backend, or says in
# WEFT_BACKEND_MISSING why it cannot be built here.
set(WEFT_BACKENDS "cpu;cuda;vulkan;null" CACHE STRING "Backends to compile in: folders of backends/")
set(WEFT_BACKEND_LIST "")
set(WEFT_BACKENDS_BUILT "")
include(${PROJECT_SOURCE_DIR}/cmake/stems.cmake)
weft_ports(${WEFT_GENERATED_INCLUDE}/weft/ops/ports.h)
weft_params(${WEFT_GENERATED_INCLUDE}/weft/ops/params.h)
foreach(backend IN LISTS WEFT_BACKENDS)
  set(WEFT_BACKEND_MISSING "")
  include(${PROJECT_SOURCE_DIR}/cmake/${backend}.cmake OPTIONAL)
  if(WEFT_BACKEND_MISSING)
    message(STATUS "Built without the ${backend} backend: ${WEFT_BACKEND_MISSING}")
    continue()
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/backends/${backend}/*.c)
  list(APPEND WEFT_SOURCES ${sources})
  set(defined "")
  foreach(source IN LISTS sources)
    file(STRINGS ${source} found REGEX "^const weft_backend weft_${backend}_backend ")
    list(APPEND defined ${found})
  endforeach()
  if(defined)
    string(APPEND WEFT_BACKEND_LIST "WEFT_BACKEND(${backend})\n")
    list(APPEND WEFT_BACKENDS_BUILT ${backend})
  else()
    message(WARNING "WEFT_BACKENDS: no file in backends/${backend} defines `const weft_backend weft_${backend}_backend`; built without it")
  endif()
endforeach()
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/generated/weft_backends.def CONTENT "${WEFT_BACKEND_LIST}")
include(CheckCCompilerFlag)
check_c_compiler_flag(-mavxvnni WEFT_HAS_AVXVNNI) # GCC 11, clang 12
# The last part of the file name of a CPU kernel names its instruction set. The file is empty on other processors.
foreach(source IN LISTS WEFT_SOURCES)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    if(source MATCHES "_avx2\\.c$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
    elseif(source MATCHES "_avxvnni\\.c$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c;$<$<BOOL:${WEFT_HAS_AVXVNNI}>:-mavxvnni>")
    elseif(source MATCHES "_avx512vnni\\.c$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
        "-mavx2;-mfma;-mf16c;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni")
    endif()
  endif()
  # GCC would compute the products of several columns first and add them up later, with all of them on the stack: docs/benchmarks.md.
  if(source MATCHES "/simd/groups_avx[a-z0-9]*\\.c$" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -fno-tree-ter -fno-tree-reassoc)
  endif()
  # Most time of the sanitizers' tests goes into these loops.
  if(WEFT_SANITIZE AND source MATCHES "/backends/cpu/exact_[a-z0-9]+\\.c$|/check/ops/mul_mat\\.c$")
    set_property(SOURCE ${source} APPEND PROPERTY COMPILE_OPTIONS -O3)
  endif()
endforeach()

# The model families: each decoder/families/STEM.c defines weft_family_STEM.
file(GLOB families CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/decoder/families/*.c)
set(WEFT_FAMILY_LIST "")
foreach(family IN LISTS families)
  get_filename_component(stem ${family} NAME_WE)
  string(APPEND WEFT_FAMILY_LIST "WEFT_FAMILY(${stem})\n")
endforeach()
file(GENERATE OUTPUT ${PROJECT_BINARY_DIR}/generated/weft_families.def CONTENT "${WEFT_FAMILY_LIST}")

# Which ops each folder implements.
weft_stems(cpu ${PROJECT_SOURCE_DIR}/backends/cpu/ops c)

set(WEFT_LIBRARIES ${WEFT_OS_LIBRARIES})
if(WEFT_DECODER)
  weft_needs(PCRE2 libpcre2-8 PCRE2 libpcre2-dev)
  if(WEFT_MISSING)
    message(FATAL_ERROR "${WEFT_MISSING}; -DWEFT_DECODER=OFF builds the core and the backends alone, without it")
  endif()
  list(APPEND WEFT_LIBRARIES PkgConfig::WEFT_PCRE2)
endif()

# The objects, for the tests, which call internal functions; and the library made of them.
add_library(weft_objects OBJECT ${WEFT_SOURCES})
target_include_directories(weft_objects PRIVATE ${PROJECT_BINARY_DIR}/generated)
if(WIN32 AND BUILD_SHARED_LIBS)
  target_compile_definitions(weft_objects PRIVATE WEFT_BUILDS_DLL)
endif()
target_link_libraries(weft_objects PRIVATE weft_options PUBLIC ${WEFT_LIBRARIES})

add_library(weft $<TARGET_OBJECTS:weft_objects>)
add_library(weft::weft ALIAS weft)
# While the major version is 0, each minor version may change the ABI.
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(soversion ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
else()
  set(soversion ${PROJECT_VERSION_MAJOR})
endif()
set_target_properties(weft PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${soversion})
target_include_directories(weft PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<BUILD_INTERFACE:${WEFT_GENERATED_INCLUDE}>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(weft PRIVATE ${WEFT_LIBRARIES})
if(WEFT_SANITIZE)
  target_link_options(weft PUBLIC -fsanitize=address,undefined)
endif()
