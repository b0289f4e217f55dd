# Compiles one shader: cmake -DGLSLC= -DSPIRV_VAL= -DSOURCE= -DROOT= -DNAME= -DOUTPUT= -P shader.cmake. OUTPUT is a C file with
# the words of weft_vulkan_code_NAME; OUTPUT.d lists the files it was made from. SPIRV_VAL may be empty.
#
# Shaders of `exact` may use neither subgroup operations nor 16-bit arithmetic, so that any subgroup size gives the same bits. Those in
# a folder named `fast` may use both.
execute_process(
  COMMAND ${GLSLC} -w --target-env=vulkan1.2 -O -I${ROOT}/include -I${ROOT} -MD -MF ${OUTPUT}.d -MT ${OUTPUT} -o ${OUTPUT}.spv
    ${SOURCE}
  COMMAND_ERROR_IS_FATAL ANY)
if(SPIRV_VAL)
  execute_process(COMMAND ${SPIRV_VAL} --target-env vulkan1.2 ${OUTPUT}.spv COMMAND_ERROR_IS_FATAL ANY)
endif()
file(READ ${OUTPUT}.spv hex HEX)
string(REGEX REPLACE "(..)(..)(..)(..)" "0x\\4\\3\\2\\1," words "${hex}")
if(NOT SOURCE MATCHES "/fast/[^/]*$")
  set(refused "")
  if(words MATCHES "0x00020011,0x000000(3d|3e|3f|40|41|42|43|44),") # OpCapability GroupNonUniform ... GroupNonUniformQuad
    set(refused "subgroup operations")
  elseif(words MATCHES "0x00020011,0x000000(09|16),") # OpCapability Float16, Int16
    set(refused "16-bit arithmetic")
  endif()
  if(refused)
    file(REMOVE ${OUTPUT}.spv)
    message(FATAL_ERROR "${SOURCE} uses ${refused}, which only shaders of fast kernels may (shaders/fast)")
  endif()
endif()
string(REGEX REPLACE "(0x[0-9a-f]+,0x[0-9a-f]+,0x[0-9a-f]+,0x[0-9a-f]+,0x[0-9a-f]+,0x[0-9a-f]+,0x[0-9a-f]+,0x[0-9a-f]+,)" "\\1\n" words "${words}")
file(WRITE ${OUTPUT} "static const uint32_t weft_vulkan_code_${NAME}[] = {\n${words}\n};\n")
