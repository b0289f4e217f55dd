# Installs the library and its headers, with package files for CMake's find_package(weft) and for pkg-config.
include(CMakePackageConfigHelpers)

install(TARGETS weft EXPORT weft-targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT library)
set(decoder_headers "")
if(NOT WEFT_DECODER)
  set(decoder_headers REGEX "/(decoder|session|sampling|grammar)\\.h$" EXCLUDE)
endif()
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/weft ${WEFT_GENERATED_INCLUDE}/weft DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  COMPONENT development ${decoder_headers})

set(WEFT_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
install(EXPORT weft-targets NAMESPACE weft:: DESTINATION ${WEFT_PACKAGE_DIR} COMPONENT development)
# A shared libweft brings along what it was linked with; a static one asks for it.
set(WEFT_CONFIG_NEEDS "")
if(NOT BUILD_SHARED_LIBS)
  set(WEFT_CONFIG_NEEDS "include(CMakeFindDependencyMacro)\n")
  if(NOT WIN32)
    string(APPEND WEFT_CONFIG_NEEDS "find_dependency(Threads)\n")
  endif()
  if(WEFT_DECODER)
    string(APPEND WEFT_CONFIG_NEEDS
      "find_dependency(PkgConfig)\npkg_check_modules(WEFT_PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)\n")
  endif()
endif()
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/weft-config.cmake.in ${PROJECT_BINARY_DIR}/weft-config.cmake
  INSTALL_DESTINATION ${WEFT_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/weft-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/weft-config.cmake ${PROJECT_BINARY_DIR}/weft-config-version.cmake DESTINATION ${WEFT_PACKAGE_DIR}
  COMPONENT development)

# weft.pc finds its folders from its own place, so that an installed tree can be moved.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(WEFT_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
  set(WEFT_PC_LIBDIR ${CMAKE_INSTALL_FULL_LIBDIR})
  set(WEFT_PC_INCLUDEDIR ${CMAKE_INSTALL_FULL_INCLUDEDIR})
else()
  file(RELATIVE_PATH up /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
  string(REGEX REPLACE "/$" "" up "${up}")
  set(WEFT_PC_PREFIX "\${pcfiledir}/${up}")
  set(WEFT_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(WEFT_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
set(WEFT_PC_REQUIRES "")
set(WEFT_PC_LIBS "")
if(NOT BUILD_SHARED_LIBS)
  set(WEFT_PC_LIBS " -lm -lpthread -ldl")
  if(WIN32)
    set(WEFT_PC_LIBS " -lbcrypt -ladvapi32 -lm")
  endif()
  if(WEFT_DECODER)
    set(WEFT_PC_REQUIRES "Requires: libpcre2-8\n")
  endif()
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/weft.pc.in ${PROJECT_BINARY_DIR}/weft.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/weft.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
