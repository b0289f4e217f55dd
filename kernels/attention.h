/* How attention is shared out; for host and device. */
#ifndef WEFT_KERNELS_ATTENTION_H
#define WEFT_KERNELS_ATTENTION_H

#include "kernels/layout.h"
#include "weft/ops/attention.h"

#define WEFT_ATTENTION_COMBINED 128     /* threads that combine a column's ranges, and ranges that they take at once */
#define WEFT_ATTENTION_LARGEST_HEAD 512 /* of those whose ranges are spread over the device */

/* Ranges of the longest sequence. */
WEFT_SHARED int64_t weft_attention_ranges(int64_t max_pages, int64_t page_size) {
    return (max_pages * page_size + WEFT_ATTENTION_RANGE - 1) / WEFT_ATTENTION_RANGE;
}

#endif
