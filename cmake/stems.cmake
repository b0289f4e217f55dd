# weft_stems(NAME FOLDER EXTENSION): writes generated/weft_stems_NAME.h, which has for each stem of the op table one macro
# WEFT_STEM_NAME_stem(present, absent). It expands to its first argument if FOLDER has stem.EXTENSION, and otherwise to its second. A
# table of ops is made from it without naming any op.
function(weft_stems name folder extension)
  set(table ${PROJECT_SOURCE_DIR}/include/weft/ops.def)
  set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${table})
  file(GLOB files CONFIGURE_DEPENDS ${folder}/*.${extension})
  set(present "")
  foreach(file IN LISTS files)
    get_filename_component(stem ${file} NAME_WE)
    list(APPEND present ${stem})
  endforeach()
  file(STRINGS ${table} rows REGEX "^WEFT_OP\\(")
  string(TOUPPER ${name} upper)
  set(text "")
  foreach(row IN LISTS rows)
    string(REGEX REPLACE "^WEFT_OP\\( *[0-9]+, *([a-z0-9_]+),.*" "\\1" stem "${row}")
    if(stem IN_LIST present)
      string(APPEND text "#define WEFT_STEM_${upper}_${stem}(present, absent) present\n")
      list(REMOVE_ITEM present ${stem})
    else()
      string(APPEND text "#define WEFT_STEM_${upper}_${stem}(present, absent) absent\n")
    endif()
  endforeach()
  if(present)
    message(FATAL_ERROR "${folder}: not in include/weft/ops.def: ${present}")
  endif()
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/weft_stems_${name}.h CONTENT "${text}" @ONLY)
endfunction()

# weft_ports(FILE): writes a header that numbers the inputs and outputs of each op, named by the op table: WEFT_ROPE_TABLE is the
# number of input `table` among the inputs of rope, and WEFT_ROPE_OUT_Y that of output `y` among its outputs.
function(weft_ports header)
  set(table ${PROJECT_SOURCE_DIR}/include/weft/ops.def)
  set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${table})
  file(STRINGS ${table} rows REGEX "^WEFT_OP\\(")
  set(text "/* Made from weft/ops.def: where an op's inputs and outputs stand. WEFT_ROPE_TABLE: inputs[] of rope; WEFT_ROPE_OUT_Y: outputs[]. */\n")
  string(APPEND text "#ifndef WEFT_OPS_PORTS_H\n#define WEFT_OPS_PORTS_H\n\n")
  foreach(row IN LISTS rows)
    if(NOT row MATCHES "^WEFT_OP\\( *[0-9]+, *[a-z0-9_]+, *([A-Z0-9_]+), *\"([a-z0-9_? ]*)\", *\"([a-z0-9_? ]*)\"\\)$")
      message(FATAL_ERROR "include/weft/ops.def: a row is not WEFT_OP(number, stem, NAME, \"inputs\", \"outputs\"): ${row}")
    endif()
    set(prefix WEFT_${CMAKE_MATCH_1}_)
    string(TOUPPER "${CMAKE_MATCH_2}" inputs)
    string(TOUPPER "${CMAKE_MATCH_3}" outputs)
    string(REGEX MATCHALL "[A-Z0-9_]+" inputs "${inputs}")
    string(REGEX MATCHALL "[A-Z0-9_]+" outputs "${outputs}")
    list(TRANSFORM inputs PREPEND ${prefix})
    list(TRANSFORM outputs PREPEND ${prefix}OUT_)
    foreach(names IN ITEMS "${inputs}" "${outputs}")
      if(names)
        list(JOIN names ",\n    " names)
        string(APPEND text "enum {\n    ${names}\n};\n")
      endif()
    endforeach()
  endforeach()
  file(CONFIGURE OUTPUT ${header} CONTENT "${text}\n#endif\n" @ONLY)
endfunction()

# weft_params(FILE): writes a header with all parameter blocks, and with a union of them, whose size is that of the largest. An op
# has a block if its header in weft/ops contains WEFT_PARAMS(weft_STEM_params).
function(weft_params header)
  set(folder ${PROJECT_SOURCE_DIR}/include/weft/ops)
  file(GLOB headers CONFIGURE_DEPENDS ${folder}/*.h)
  set_property(DIRECTORY ${PROJECT_SOURCE_DIR} APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${headers})
  file(STRINGS ${PROJECT_SOURCE_DIR}/include/weft/ops.def rows REGEX "^WEFT_OP\\(")
  set(includes "")
  set(members "")
  foreach(row IN LISTS rows)
    string(REGEX REPLACE "^WEFT_OP\\( *[0-9]+, *([a-z0-9_]+),.*" "\\1" stem "${row}")
    set(found "")
    if(EXISTS ${folder}/${stem}.h)
      file(STRINGS ${folder}/${stem}.h found REGEX "^WEFT_PARAMS\\(weft_${stem}_params\\)")
    endif()
    if(found)
      string(APPEND includes "#include \"weft/ops/${stem}.h\"\n")
      string(APPEND members "    weft_${stem}_params ${stem};\n")
    endif()
  endforeach()
  file(CONFIGURE OUTPUT ${header} @ONLY CONTENT
"/* Made from weft/ops.def: every op's parameter block. */
#ifndef WEFT_OPS_PARAMS_H
#define WEFT_OPS_PARAMS_H

${includes}
typedef union weft_any_params {
${members}} weft_any_params;

/* A backend that keeps blocks by value needs room for this. */
#define WEFT_MAX_PARAMS_BYTES sizeof(weft_any_params)

#endif
")
endfunction()
