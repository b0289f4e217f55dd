# One library. A folder's sources are the files it holds: adding an op or a family adds files and edits nothing here.
file(GLOB_RECURSE WEFT_SOURCES CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/core/*.c
  ${PROJECT_SOURCE_DIR}/os/*.c
  ${PROJECT_SOURCE_DIR}/decoder/*.c
  ${PROJECT_SOURCE_DIR}/check/*.c
  ${PROJECT_SOURCE_DIR}/backends/null/*.c
  ${PROJECT_SOURCE_DIR}/backends/cpu/*.c)
# The last part of a CPU kernel's name says which instructions it may use; the file is empty on other processors.
foreach(source IN LISTS WEFT_SOURCES)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
    if(source MATCHES "_avx2\\.c$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
    elseif(source MATCHES "_avx512vnni\\.c$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
        "-mavx2;-mfma;-mf16c;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512vnni")
    endif()
  endif()
endforeach()

find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
find_package(Threads REQUIRED)

# The objects, for the tests, which reach inside; and the library made of them.
add_library(weft_objects OBJECT ${WEFT_SOURCES})
target_link_libraries(weft_objects PRIVATE weft_options PUBLIC PkgConfig::PCRE2 Threads::Threads m ${CMAKE_DL_LIBS})

add_library(weft $<TARGET_OBJECTS:weft_objects>)
add_library(weft::weft ALIAS weft)
set_target_properties(weft PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
target_include_directories(weft PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(weft PRIVATE PkgConfig::PCRE2 Threads::Threads m ${CMAKE_DL_LIBS})
if(WEFT_SANITIZE)
  target_link_options(weft PUBLIC -fsanitize=address,undefined)
endif()
