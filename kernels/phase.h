/* Shared by host and device: the arguments of kernels, and the structs that tell the device which step runs and the host how it
 * ended. */
#ifndef WEFT_KERNELS_PHASE_H
#define WEFT_KERNELS_PHASE_H

#include <stdint.h>

#include "weft/ops/ports.h"

/* Addresses are device addresses. */
typedef struct weft_cuda_tensor {
    uint64_t data; /* 0: an absent optional tensor */
    int32_t type;  /* weft_type */
    uint32_t layout;
    int64_t shape[4];
} weft_cuda_tensor;

/* In device memory. A step finds its entry in the queue at `position`. The host may write `cancelled_to` at any time. */
typedef struct weft_cuda_control {
    uint64_t position;
    uint64_t ticket; /* of the running step */
    uint32_t step_slot, result_slot;
    uint64_t cancelled_to; /* a step does nothing if its ticket is not above this when it begins */
    uint64_t cancelled;    /* whether the running step does nothing: decided once, so that all its kernels agree */
} weft_cuda_control;

/* Words that follow weft_cuda_control in memory. Each belongs to one launch of a plan, for its blocks to count themselves, and is 0
 * between launches. */
#define WEFT_CUDA_COUNTERS 32768

#define WEFT_CUDA_QUEUE_STEPS 256

#define WEFT_CUDA_STEP_DONE 1
#define WEFT_CUDA_STEP_CANCELLED 2

typedef struct weft_cuda_entry {
    uint64_t ticket;
    uint32_t step_slot, result_slot;
    uint32_t ending; /* written by the device; 0: it has not ended */
} weft_cuda_entry;

/* In host memory that the device can access. Step `position` uses entry position % WEFT_CUDA_QUEUE_STEPS. */
typedef struct weft_cuda_queue {
    weft_cuda_entry entries[WEFT_CUDA_QUEUE_STEPS];
    uint64_t n_ended; /* written by the device */
} weft_cuda_queue;

#define WEFT_CUDA_INPUTS 24
#define WEFT_CUDA_OUTPUTS 4
#define WEFT_CUDA_PARAMS_WORDS 8

/* The argument of kernels that follow an op's definition. Others have an argument of their own: any struct that begins with
 * `control`. */
typedef struct weft_cuda_phase {
    uint64_t control, scratch;
    weft_cuda_tensor inputs[WEFT_CUDA_INPUTS], outputs[WEFT_CUDA_OUTPUTS];
    int32_t params[WEFT_CUDA_PARAMS_WORDS]; /* the op's block of weft/ops/STEM.h */
    int64_t first_column, n_columns;        /* for ops that process their columns in several launches */
} weft_cuda_phase;

/* rms_norm over groups of n values; `weight` may be 0. */
typedef struct weft_cuda_norm {
    uint64_t control, x, weight, y;
    int64_t n;
    float epsilon;
} weft_cuda_norm;

/* The choice of a token for each column of logits (kernels/sampler.h). */
typedef struct weft_cuda_sample {
    uint64_t control, logits, heads, chosen, top, sequences;
    uint64_t keys;           /* [n_keys, n_columns] of 64 bits: a column's largest key is its first token's (kernels/order.h) */
    uint64_t sums, tempered; /* [n_ranges, n_columns] */
    int64_t n_vocab, n_columns, n_top, n_keys, n_ranges;
    int64_t sequence_words, n_sequences;
} weft_cuda_sample;

/* Copies between a ring's slot and fixed addresses. */
#define WEFT_CUDA_COPIES 64

typedef struct weft_cuda_copy {
    uint64_t address, ring_offset, bytes;
} weft_cuda_copy;

typedef struct weft_cuda_copies {
    uint64_t control, queue, ring, stride;
    uint64_t is_first; /* whether it is the first launch of a step */
    int64_t n_copies;
    weft_cuda_copy copies[WEFT_CUDA_COPIES];
} weft_cuda_copies;

/* The argument of the kernel that measures the read bandwidth. */
typedef struct weft_cuda_reading {
    uint64_t memory, n_vectors; /* of 16 bytes */
    uint64_t sum;               /* an address that is never written */
} weft_cuda_reading;

#endif
