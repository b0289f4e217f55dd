# weft_needs(PREFIX MODULE WHAT DEBIAN): finds a library by pkg-config and makes the target PkgConfig::WEFT_PREFIX, or says in
# WEFT_MISSING which library is missing and which Debian package has it.
macro(weft_needs prefix module what debian)
  set(WEFT_MISSING "")
  find_package(PkgConfig QUIET)
  if(NOT PkgConfig_FOUND)
    set(WEFT_MISSING "pkg-config not found, which finds ${what} (Debian: pkg-config ${debian})")
  else()
    pkg_check_modules(WEFT_${prefix} IMPORTED_TARGET GLOBAL ${module}) # a project around weft links it too
    if(NOT WEFT_${prefix}_FOUND)
      set(WEFT_MISSING "${what} not found (Debian: ${debian})")
    endif()
  endif()
endmacro()
