# Device code of the CUDA backend: each kernels/*.cu compiled by nvcc alone, for all architectures, into one image that the library
# carries. Nothing of the toolkit is needed at run time.
set(WEFT_CUDA_ARCHITECTURES "75;80;86;89;90;100;120" CACHE STRING
  "Compute capabilities to compile CUDA kernels for; the last is there as PTX too, for newer devices")
set(WEFT_CUDA_IMAGES "" CACHE PATH "A folder with the images of another build, in place of compiling the kernels again")
find_program(WEFT_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin DOC "NVIDIA's CUDA compiler")

option(WEFT_CUDA_EMULATED "Compile CUDA kernels for the processor, for a driver that emulates a GPU: for tests alone" OFF)

if(WEFT_CUDA_EMULATED)
  include(${CMAKE_CURRENT_LIST_DIR}/emulator.cmake)
elseif(NOT WEFT_NVCC AND NOT WEFT_CUDA_IMAGES)
  set(WEFT_BACKEND_MISSING "there is no nvcc; set WEFT_NVCC to its path")
else()
  set(flags "")
  foreach(architecture IN LISTS WEFT_CUDA_ARCHITECTURES)
    list(APPEND flags "--generate-code=arch=compute_${architecture},code=sm_${architecture}")
  endforeach()
  list(GET WEFT_CUDA_ARCHITECTURES -1 newest)
  list(APPEND flags "--generate-code=arch=compute_${newest},code=compute_${newest}" --std=c++17
    -I${PROJECT_SOURCE_DIR}/include -I${WEFT_GENERATED_INCLUDE} -I${PROJECT_SOURCE_DIR})
  # Code for all architectures is 4 times smaller. Any driver that can load a CUDA 13 image can decompress it; older drivers cannot.
  execute_process(COMMAND ${WEFT_NVCC} --version OUTPUT_VARIABLE nvcc_version ERROR_QUIET)
  if(nvcc_version MATCHES "release ([0-9]+)" AND CMAKE_MATCH_1 GREATER_EQUAL 13)
    list(APPEND flags --compress-mode=size)
  endif()
  if(WEFT_WERROR)
    list(APPEND flags --Werror=all-warnings)
  endif()
  set(compiler ${WEFT_NVCC} ${flags} --fatbin)
endif()

if(NOT WEFT_BACKEND_MISSING)
  set(folder ${PROJECT_BINARY_DIR}/generated/kernels)
  file(MAKE_DIRECTORY ${folder})
  set(images "")
  set(image_list "")
  set(image_source "/* Generated: the images of kernels/. */\n")
  file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cu ${PROJECT_SOURCE_DIR}/kernels/fast/*.cu)
  foreach(kernel IN LISTS kernels)
    get_filename_component(name ${kernel} NAME_WE)
    if(WEFT_CUDA_IMAGES)
      set(image ${WEFT_CUDA_IMAGES}/${name}.fatbin)
    else()
      set(image ${folder}/${name}.fatbin)
    endif()
    set(source ${kernel})
    set(contraction "")
    if(WEFT_CUDA_EMULATED)
      set(source -DWEFT_EMULATED_KERNELS="${kernel}" ${WEFT_EMULATED_IMAGE})
    elseif(NOT kernel MATCHES "/kernels/fast/[^/]*$" OR name MATCHES "^products")
      # The numerics of exact are defined without fused multiply-adds. All kernels for products have the same activations.
      set(contraction --fmad=false)
    endif()
    set(own_compiler ${compiler})
    if(name STREQUAL "products_wide") # wgmma is a feature of 9.0 alone
      list(TRANSFORM own_compiler REPLACE "arch=compute_90,code=sm_90$" "arch=compute_90a,code=sm_90a")
    endif()
    if(NOT WEFT_CUDA_IMAGES)
      add_custom_command(OUTPUT ${image}
        COMMAND ${own_compiler} ${contraction} -MD -MF ${image}.d -o ${image} ${source}
        DEPENDS ${kernel} DEPFILE ${image}.d VERBATIM COMMENT "Building CUDA image kernels/${name}")
    endif()
    list(APPEND images ${image})
    string(APPEND image_list "WEFT_CUDA_IMAGE(${name})\n")
    set(symbol weft_cuda_image_${name})
    string(APPEND image_source
      "extern const unsigned char ${symbol}[];\n"
      "__asm__(\".section .rodata\\n.balign 64\\n.globl ${symbol}\\n.hidden ${symbol}\\n${symbol}:\\n\"\n"
      "        \".incbin \\\"${image}\\\"\\n.previous\\n\");\n")
  endforeach()
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/weft_cuda_images.def CONTENT "${image_list}" @ONLY)
  file(CONFIGURE OUTPUT ${folder}/images.c CONTENT "${image_source}" @ONLY)
  set_source_files_properties(${folder}/images.c PROPERTIES OBJECT_DEPENDS "${images}")
  list(APPEND WEFT_SOURCES ${folder}/images.c)
  weft_stems(cuda ${PROJECT_SOURCE_DIR}/backends/cuda/ops c)
endif()
