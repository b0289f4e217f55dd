/* How attention's work is divided among blocks. Host and device share this file. */
#ifndef WEFT_KERNELS_ATTENTION_H
#define WEFT_KERNELS_ATTENTION_H

#include "kernels/layout.h"
#include "weft/ops/attention.h"

#define WEFT_ATTENTION_COMBINED 128     /* threads of the combining kernel, and ranges it combines at a time */
#define WEFT_ATTENTION_LARGEST_HEAD 512 /* head_dim, for ranges in blocks of their own */

/* The number of ranges of the longest possible sequence. */
WEFT_SHARED int64_t weft_attention_ranges(int64_t max_pages, int64_t page_size) {
    return (max_pages * page_size + WEFT_ATTENTION_RANGE - 1) / WEFT_ATTENTION_RANGE;
}

#endif
