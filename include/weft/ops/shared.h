/* Macros for the headers of this folder: structs of 32-bit words that C, CUDA C++ and GLSL all read in the same way. */
#ifndef WEFT_OPS_SHARED_H
#define WEFT_OPS_SHARED_H

#if defined(GL_core_profile) || defined(VULKAN)
#define WEFT_PARAMS(name) struct name
#define WEFT_END_PARAMS(name)
#define WEFT_WORD int
#define WEFT_REAL float
#else
#include <stdint.h>
#define WEFT_PARAMS(name) typedef struct name
#define WEFT_END_PARAMS(name) name
#define WEFT_WORD int32_t
#define WEFT_REAL float
#endif

#endif
