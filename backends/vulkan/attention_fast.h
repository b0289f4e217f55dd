/* Attention in `fast`: shaders/fast/attention_few.comp and attention_matrices.comp. */
#ifndef WEFT_VULKAN_ATTENTION_FAST_H
#define WEFT_VULKAN_ATTENTION_FAST_H

#include "backends/vulkan/kernel.h"

#define WEFT_VULKAN_ATTENTION_FEW 8 /* rows of a run that attention_few computes where there are both */

/* Each row by itself, its positions in ranges. */
void weft_vulkan_attention_few(weft_vulkan_recorder *recorder, const weft_vulkan_call *call);
const char *weft_vulkan_attention_few_refuses(const weft_phase *phase);
/* Runs of many rows of a sequence with cooperative matrices, the other rows as above. */
void weft_vulkan_attention_matrices(weft_vulkan_recorder *recorder, const weft_vulkan_call *call);
const char *weft_vulkan_attention_matrices_refuses(const weft_phase *phase);
/* Of the scratch with ranges' results. */
uint64_t weft_vulkan_attention_parts_bytes(const weft_vulkan_call *call);

#endif
