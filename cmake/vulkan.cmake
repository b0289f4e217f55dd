# The Vulkan backend's shaders: each shaders/*.comp, shaders/parts/*.comp and shaders/fast/*.comp is compiled, checked and made
# an array in the library.
find_program(WEFT_GLSLC glslc DOC "Shader compiler (Debian: glslc), or a script that runs one")
find_program(WEFT_SPIRV_VAL spirv-val)
find_path(WEFT_VULKAN_INCLUDE vulkan/vulkan_core.h)
set(version "")
if(WEFT_GLSLC)
  execute_process(COMMAND ${WEFT_GLSLC} --version OUTPUT_VARIABLE version ERROR_QUIET RESULT_VARIABLE failed)
  string(REGEX REPLACE "[ \n]+" " " version "${version}")
endif()
if(NOT WEFT_VULKAN_INCLUDE)
  set(WEFT_BACKEND_MISSING "vulkan/vulkan_core.h not found (Debian: libvulkan-dev)")
  return()
elseif(NOT WEFT_GLSLC)
  set(WEFT_BACKEND_MISSING "glslc not found (Debian: glslc)")
  return()
elseif(failed)
  set(WEFT_BACKEND_MISSING "${WEFT_GLSLC} --version: ${failed}")
  return()
elseif(NOT WEFT_SPIRV_VAL)
  message(STATUS "Vulkan: spirv-val not found (Debian: spirv-tools); shaders are not checked")
endif()

# Extensions that an old glslc may not know. A shader that requires one of these is then left out, and the backend runs another one.
set(WEFT_GLSLC_EXTENSIONS GL_EXT_integer_dot_product GL_KHR_cooperative_matrix)

# weft_glslc_knows(EXTENSION): compiles a shader that requires it; WEFT_GLSLC_KNOWS_EXTENSION keeps the result for this compiler.
function(weft_glslc_knows extension)
  set(key "${WEFT_GLSLC} ${version}")
  if("${WEFT_GLSLC_PROBED_${extension}}" STREQUAL "${key}")
    return()
  endif()
  set(probe ${PROJECT_BINARY_DIR}/generated/probes/${extension}.comp)
  file(WRITE ${probe} "#version 450\n#extension ${extension} : require\nlayout(local_size_x = 1) in;\nvoid main() {}\n")
  execute_process(COMMAND ${WEFT_GLSLC} --target-env=vulkan1.2 -o ${probe}.spv ${probe}
    RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
  if(failed)
    set(known OFF)
  else()
    set(known ON)
  endif()
  set(WEFT_GLSLC_KNOWS_${extension} ${known} CACHE INTERNAL "")
  set(WEFT_GLSLC_PROBED_${extension} "${key}" CACHE INTERNAL "")
endfunction()

# weft_glslc_lacks(SHADER RESULT): the first extension that a shader requires and the compiler lacks, or "".
function(weft_glslc_lacks shader result)
  set(${result} "" PARENT_SCOPE)
  foreach(extension IN LISTS WEFT_GLSLC_EXTENSIONS)
    file(STRINGS ${shader} requires REGEX "^#extension ${extension} : require")
    if(requires AND NOT WEFT_GLSLC_KNOWS_${extension})
      set(${result} ${extension} PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

# Prints the extensions that the compiler lacks, and the shaders that are left out for that.
function(weft_glslc_report shaders)
  foreach(extension IN LISTS WEFT_GLSLC_EXTENSIONS)
    weft_glslc_knows(${extension})
    set(left_out "")
    foreach(shader IN LISTS shaders)
      weft_glslc_lacks(${shader} lacks)
      if(lacks STREQUAL extension)
        get_filename_component(name ${shader} NAME_WE)
        list(APPEND left_out ${name})
      endif()
    endforeach()
    list(JOIN left_out " " left_out)
    if(left_out)
      message(STATUS "Vulkan: ${WEFT_GLSLC} lacks ${extension}: leaving out ${left_out}")
    elseif(NOT WEFT_GLSLC_KNOWS_${extension})
      message(STATUS "Vulkan: ${WEFT_GLSLC} lacks ${extension}, which no shader requires")
    endif()
  endforeach()
endfunction()

# weft_vulkan_shaders(RESULT): writes generated/weft_vulkan_shaders.h, which numbers all shaders and lists those that are compiled,
# and weft_vulkan_code.h, which includes their code. RESULT is the list of files that the sources depend on.
function(weft_vulkan_shaders result)
  file(GLOB shaders CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/shaders/*.comp ${PROJECT_SOURCE_DIR}/shaders/parts/*.comp
    ${PROJECT_SOURCE_DIR}/shaders/fast/*.comp)
  set(folder ${PROJECT_BINARY_DIR}/generated/shaders)
  file(MAKE_DIRECTORY ${folder})
  set(outputs "")
  set(list "")
  set(enum "")
  set(code "#include <stdint.h>\n")
  weft_glslc_report("${shaders}")
  foreach(shader IN LISTS shaders)
    get_filename_component(name ${shader} NAME_WE)
    string(APPEND enum "  WEFT_VULKAN_SHADER_${name},\n")
    set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${shader}) # its required extensions may change
    weft_glslc_lacks(${shader} lacks)
    if(lacks)
      continue()
    endif()
    set(output ${folder}/${name}.inc)
    add_custom_command(OUTPUT ${output}
      COMMAND ${CMAKE_COMMAND} -DGLSLC=${WEFT_GLSLC} -DSPIRV_VAL=$<$<BOOL:${WEFT_SPIRV_VAL}>:${WEFT_SPIRV_VAL}>
        -DSOURCE=${shader} -DROOT=${PROJECT_SOURCE_DIR} -DNAME=${name} -DOUTPUT=${output} -P ${PROJECT_SOURCE_DIR}/cmake/shader.cmake
      DEPENDS ${shader} ${PROJECT_SOURCE_DIR}/cmake/shader.cmake
      DEPFILE ${output}.d
      COMMENT "Compiling shader ${name}" VERBATIM)
    list(APPEND outputs ${output})
    string(APPEND list " WEFT_VULKAN_SHADER(${name})")
    string(APPEND code "#include \"shaders/${name}.inc\"\n")
  endforeach()
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/weft_vulkan_shaders.h @ONLY CONTENT
    "#define WEFT_VULKAN_SHADERS${list}\nenum {\n${enum}  WEFT_VULKAN_N_SHADERS\n};\n")
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/weft_vulkan_code.h @ONLY CONTENT "${code}")
  set(${result} ${outputs} PARENT_SCOPE)
endfunction()

weft_vulkan_shaders(WEFT_VULKAN_CODE)
list(APPEND WEFT_SOURCES ${WEFT_VULKAN_CODE})
weft_stems(vulkan ${PROJECT_SOURCE_DIR}/backends/vulkan/ops c)
