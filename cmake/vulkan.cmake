# The Vulkan backend's shaders: each shaders/*.comp and shaders/parts/*.comp is compiled, checked and made an array of the library.
find_program(WEFT_GLSLC glslc)
find_program(WEFT_SPIRV_VAL spirv-val)
find_path(WEFT_VULKAN_INCLUDE vulkan/vulkan_core.h)
if(NOT WEFT_VULKAN_INCLUDE)
  set(WEFT_BACKEND_MISSING "vulkan/vulkan_core.h not found (Debian: libvulkan-dev)")
  return()
elseif(NOT WEFT_GLSLC)
  set(WEFT_BACKEND_MISSING "glslc not found (Debian: glslc)")
  return()
elseif(NOT WEFT_SPIRV_VAL)
  message(STATUS "Vulkan: spirv-val not found (Debian: spirv-tools); shaders are not checked")
endif()

# weft_vulkan_shaders(RESULT): writes generated/weft_vulkan_shaders.h, which lists the shaders, and weft_vulkan_code.h, which
# includes their code; RESULT is the files that the sources depend on.
function(weft_vulkan_shaders result)
  file(GLOB shaders CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/shaders/*.comp ${PROJECT_SOURCE_DIR}/shaders/parts/*.comp)
  set(folder ${PROJECT_BINARY_DIR}/generated/shaders)
  file(MAKE_DIRECTORY ${folder})
  set(outputs "")
  set(list "")
  set(enum "")
  set(code "#include <stdint.h>\n")
  foreach(shader IN LISTS shaders)
    get_filename_component(name ${shader} NAME_WE)
    set(output ${folder}/${name}.inc)
    add_custom_command(OUTPUT ${output}
      COMMAND ${CMAKE_COMMAND} -DGLSLC=${WEFT_GLSLC} -DSPIRV_VAL=$<$<BOOL:${WEFT_SPIRV_VAL}>:${WEFT_SPIRV_VAL}>
        -DSOURCE=${shader} -DROOT=${PROJECT_SOURCE_DIR} -DNAME=${name} -DOUTPUT=${output} -P ${PROJECT_SOURCE_DIR}/cmake/shader.cmake
      DEPENDS ${shader} ${PROJECT_SOURCE_DIR}/cmake/shader.cmake
      DEPFILE ${output}.d
      COMMENT "Compiling shader ${name}" VERBATIM)
    list(APPEND outputs ${output})
    string(APPEND list " WEFT_VULKAN_SHADER(${name})")
    string(APPEND enum "  WEFT_VULKAN_SHADER_${name},\n")
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
