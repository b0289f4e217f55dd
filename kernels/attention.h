/* How attention's work is divided among blocks. Host and device share this file. */
#ifndef WEFT_KERNELS_ATTENTION_H
#define WEFT_KERNELS_ATTENTION_H

#include "kernels/layout.h"
#include "kernels/phase.h"
#include "weft/ops/attention.h"

#define WEFT_ATTENTION_COMBINED 128     /* threads of the combining kernel, and ranges it combines at a time */
#define WEFT_ATTENTION_LARGEST_HEAD 512 /* head_dim, for ranges in blocks of their own */

/* The number of ranges of the longest possible sequence. */
WEFT_SHARED int64_t weft_attention_ranges(int64_t max_pages, int64_t page_size) {
    return (max_pages * page_size + WEFT_ATTENTION_RANGE - 1) / WEFT_ATTENTION_RANGE;
}

/* ---- Attention in half floats: kernels/fast/attention.h ---- */

#define WEFT_ATTENTION_PIECE 64       /* positions; pages hold whole pieces */
#define WEFT_ATTENTION_TILE 16        /* pairs of a row and a head, the rows of one operand of the matrix unit */
#define WEFT_ATTENTION_WARPS 4        /* of a block */
#define WEFT_ATTENTION_MOST_RANGES 64 /* of a row without a window; one more with a window */
#define WEFT_ATTENTION_LIST_BYTES 640 /* of shared memory: weft_attention_lists (kernels/fast/attention_list.h) */
#define WEFT_ATTENTION_FEW_PIECES 4   /* that one block computes */
#define WEFT_ATTENTION_PART_EXTRA 4   /* values of a range's result before its head_dim sums: largest score, weight, two unused */

/* Argument of both kernels. A segment is up to `segment_rows` consecutive rows of one sequence. A run of up to `few_rows` rows is
 * one segment of few rows; so are all segments, if `segment_rows` is not more. */
typedef struct weft_cuda_attention {
    weft_cuda_phase phase;
    uint64_t counters;   /* with several blocks a segment: a counter for each segment and KV head, which is 0 between steps */
    int32_t most_ranges; /* the device's number of ranges of a row */
    int32_t segment_rows, few_rows;
    int32_t n_stages; /* pieces in shared memory: 2 or 3 */
} weft_cuda_attention;

#endif
