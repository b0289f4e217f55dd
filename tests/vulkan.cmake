# Runs a test of the Vulkan backend under Khronos' validation layer, if that is installed. The layer, with synchronisation validation,
# must print nothing.
find_file(WEFT_VULKAN_LAYER VkLayer_khronos_validation.json
  PATHS /usr/local/share/vulkan/explicit_layer.d /usr/share/vulkan/explicit_layer.d /etc/vulkan/explicit_layer.d NO_DEFAULT_PATH
  DOC "Khronos' validation layer, which the tests of the Vulkan backend run under")
if("vulkan" IN_LIST WEFT_BACKENDS_BUILT AND NOT WEFT_VULKAN_LAYER)
  message(STATUS "Tests: no Vulkan validation layer (Debian: vulkan-validationlayers); the Vulkan backend's run without")
endif()
set(WEFT_VALIDATION
  VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation
  VK_LAYER_ENABLES=VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT)
set(WEFT_SUPPRESSIONS LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/leaks.txt:print_suppressions=0)
function(weft_validate test)
  set_tests_properties(${test} PROPERTIES LABELS vulkan)
  if(WEFT_SANITIZE) # the same calls are validated in other builds, and the layer doubles the time of opening a device
    set_tests_properties(${test} PROPERTIES ENVIRONMENT "${WEFT_SUPPRESSIONS}")
  elseif(WEFT_VULKAN_LAYER)
    set_tests_properties(${test} PROPERTIES ENVIRONMENT "${WEFT_VALIDATION}"
      FAIL_REGULAR_EXPRESSION "VUID-;UNASSIGNED-;SYNC-HAZARD;Validation (Error|Warning|Performance Warning)")
  endif()
endfunction()

# Tests the layers themselves, and runs tests under the layer that reverses commands without a barrier between them. A missing barrier
# makes these fail even where the validation layer prints nothing, since it does not see memory that shaders reach by address.
function(weft_add_layer_test test layer_environment expected)
  add_test(NAME ${test} COMMAND vulkan_layer vulkan)
  set_tests_properties(${test} PROPERTIES LABELS vulkan ENVIRONMENT "${layer_environment}" PASS_REGULAR_EXPRESSION "${expected}")
  if(NOT vulkan IN_LIST WEFT_TESTS_REQUIRE)
    set_tests_properties(${test} PROPERTIES SKIP_RETURN_CODE 77)
  endif()
endfunction()

function(weft_add_layer_tests)
  if(NOT vulkan IN_LIST WEFT_BACKENDS_BUILT)
    return()
  endif()
  add_test(NAME shader_rules COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/shader_rules.sh ${WEFT_GLSLC}
    $<$<BOOL:${WEFT_SPIRV_VAL}>:${WEFT_SPIRV_VAL}>)
  add_executable(vulkan_layer vulkan_layer.c)
  target_include_directories(vulkan_layer PRIVATE ${PROJECT_BINARY_DIR}/generated)
  target_link_libraries(vulkan_layer PRIVATE weft_objects weft_options)
  if(WEFT_VULKAN_LAYER)
    weft_add_layer_test(vulkan_layer "${WEFT_VALIDATION};${WEFT_SUPPRESSIONS}" SYNC-HAZARD-WRITE-AFTER-WRITE)
  endif()

  set(folder ${PROJECT_BINARY_DIR}/layers)
  add_library(layer_reversed MODULE layer_reversed.c)
  target_link_libraries(layer_reversed PRIVATE weft_options Threads::Threads)
  set_target_properties(layer_reversed PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${folder})
  file(CONFIGURE OUTPUT ${folder}/reversed.json @ONLY CONTENT [[{
  "file_format_version": "1.1.2",
  "layer": {
    "name": "VK_LAYER_WEFT_reversed", "type": "GLOBAL", "library_path": "@folder@/layer_reversed.so", "api_version": "1.3.0",
    "implementation_version": "1", "description": "Records commands without a barrier between them in reverse order"
  }
}
]])
  set(reversed VK_LAYER_PATH=${folder} VK_INSTANCE_LAYERS=VK_LAYER_WEFT_reversed)
  weft_add_layer_test(vulkan_reversed "${reversed}" "value of fill 1")
  if(WEFT_SANITIZE)
    return()
  endif()
  add_test(NAME ops_quick.vulkan COMMAND weft_command check --ops --quick --cache-folder= --on vulkan)
  weft_validate(ops_quick.vulkan)
  add_test(NAME ops.vulkan.reversed COMMAND weft_command check --ops --cache-folder= --on vulkan)
  add_test(NAME device_session.vulkan.reversed COMMAND device_session vulkan)
  set_tests_properties(ops_quick.vulkan PROPERTIES SKIP_REGULAR_EXPRESSION "device \"vulkan\" cannot be used")
  set_tests_properties(ops.vulkan.reversed device_session.vulkan.reversed PROPERTIES
    LABELS vulkan ENVIRONMENT "${reversed}" SKIP_RETURN_CODE 77 SKIP_REGULAR_EXPRESSION "device \"vulkan\" cannot be used")
endfunction()
