#include "kernels/attention.h"

#include "backends/cuda/launch.h"

/* Scratch: the result of each range, if ranges are spread. */

#define MANY_BLOCKS 512
#define MAX_SHARED 49152 /* bytes that a block can have on every device */
#define FEW_RANGES 16    /* which the warps of one block compute at the same time */
#define MAX_SCRATCH ((uint64_t)64 << 20)

static int64_t shared_bytes(int64_t n_warps, int64_t head_dim) {
    return (2 * head_dim + n_warps * (head_dim + 2)) * (int64_t)sizeof(float);
}

static int64_t n_ranges(const weft_phase *phase) {
    return weft_attention_ranges(phase->inputs[WEFT_ATTENTION_SEQUENCES].tensor.shape[0] - WEFT_SEQUENCE_PAGES,
                                 phase->inputs[WEFT_ATTENTION_KV].tensor.shape[1]);
}

static uint64_t spread_bytes(const weft_phase *phase) {
    const weft_attention_params *params = phase->params;
    int64_t n_columns = phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1] * params->n_heads;
    return (uint64_t)(n_columns * n_ranges(phase) * (phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0] + 2)) * sizeof(float);
}

static const char *refuses(const weft_phase *phase) {
    return shared_bytes(1, phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0]) > MAX_SHARED
               ? "heads are too large for a block's shared memory"
               : NULL;
}

/* Whether the ranges of each row and head are spread over the device. Few rows and heads do not fill the device, and a long
 * sequence would keep each of their blocks busy for long. */
static bool is_spread(const weft_phase *phase) {
    const weft_attention_params *params = phase->params;
    return phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1] * params->n_heads < MANY_BLOCKS && n_ranges(phase) > FEW_RANGES &&
           phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0] <= WEFT_ATTENTION_LARGEST_HEAD && spread_bytes(phase) <= MAX_SCRATCH;
}

static uint64_t scratch_bytes(const weft_phase *phase) {
    return is_spread(phase) ? spread_bytes(phase) : 0;
}

static void record_spread(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_attention_params *params = phase->params;
    const int64_t n_warps = 4, n_columns = phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1] * params->n_heads;
    int64_t most = weft_cuda_ceil(n_ranges(phase), n_warps), wanted = weft_cuda_ceil(MANY_BLOCKS, n_columns);
    weft_cuda_shape shape = weft_cuda_blocks(n_columns, wanted < most ? wanted : most, (uint32_t)(n_warps * WEFT_CUDA_WARP));
    shape.shared_bytes = (uint32_t)(phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0] * (int64_t)sizeof(float));
    weft_cuda_record(recorder, "weft_attention_ranges_of", shape, phase);
    weft_cuda_record(recorder, "weft_attention_combine", weft_cuda_blocks(n_columns, 1, WEFT_ATTENTION_COMBINED), phase);
}

static void record(weft_cuda_recorder *recorder, const weft_phase *phase) {
    const weft_attention_params *params = phase->params;
    int64_t head_dim = phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0],
            n_columns = phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1];
    if (is_spread(phase)) {
        record_spread(recorder, phase);
        return;
    }
    /* Many blocks fill the device with few warps each; few blocks need many warps. Each warp's partial output is in shared
     * memory. */
    int64_t n_warps = n_columns * params->n_heads >= MANY_BLOCKS ? 4 : 16;
    while (n_warps > 1 && shared_bytes(n_warps, head_dim) > MAX_SHARED) n_warps /= 2;
    weft_cuda_shape shape = weft_cuda_blocks(n_columns, params->n_heads, (uint32_t)(n_warps * WEFT_CUDA_WARP));
    shape.shared_bytes = (uint32_t)shared_bytes(n_warps, head_dim);
    weft_cuda_record(recorder, "weft_attention", shape, phase);
}

/* ---- Half floats: kernels/fast/attention.h ---- */

#define MANY_PAIRS 3072     /* of a row and a head: they fill the device without sharing a segment's ranges among blocks */
#define SHARED_SEGMENTS 128 /* and KV heads at most, if blocks share their ranges */
#define BLOCKS_OF_SPLIT 2   /* of attention_split.cu that a multiprocessor has at a time */
#define BLOCKS_OF_64 3      /* of attention_tiles.cu that a multiprocessor has at a time, with heads of 64 values */
#define BLOCKS_OF_128 2

static int64_t head_dim_of(const weft_phase *phase) {
    return phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0];
}

static int64_t kv_heads_of(const weft_phase *phase) {
    return phase->inputs[WEFT_ATTENTION_KV].tensor.shape[2];
}

static int64_t rows_of(const weft_phase *phase) {
    return phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1];
}

static int64_t heads_of(const weft_phase *phase) {
    return ((const weft_attention_params *)phase->params)->n_heads;
}

static const char *halves_refuse(const weft_phase *phase) {
    const weft_tensor *kv = &phase->inputs[WEFT_ATTENTION_KV].tensor;
    if (((const weft_attention_params *)phase->params)->soft_cap > 0.0f) return "scores have a soft cap";
    if (kv->type != WEFT_F16) return "the KV cache is not F16";
    if (kv->shape[0] != 64 && kv->shape[0] != 128) return "heads have neither 64 nor 128 values";
    if (kv->shape[1] % WEFT_ATTENTION_PIECE != 0) return "pages do not hold whole pieces of 64 positions";
    if (kv->shape[0] * kv->shape[1] * kv->shape[2] > INT32_MAX / 2) return "pages are too large";
    return heads_of(phase) / kv->shape[2] > WEFT_ATTENTION_TILE ? "more than 16 query heads share a KV head" : NULL;
}

/* The pieces of the longest possible sequence. */
static int64_t most_pieces(const weft_phase *phase) {
    int64_t max_pages = phase->inputs[WEFT_ATTENTION_SEQUENCES].tensor.shape[0] - WEFT_SEQUENCE_PAGES;
    return max_pages * (phase->inputs[WEFT_ATTENTION_KV].tensor.shape[1] / WEFT_ATTENTION_PIECE);
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* With this many ranges one segment has two blocks for each multiprocessor. If a sequence cannot have so many pieces, each is a
 * range. */
static int64_t most_ranges(const weft_phase *phase, int multiprocessors) {
    int64_t wanted = 2 * multiprocessors / kv_heads_of(phase);
    return smaller(wanted < 16 ? 16 : smaller(wanted, WEFT_ATTENTION_MOST_RANGES), most_pieces(phase));
}

static bool has_tiles(const weft_phase *phase) {
    return rows_of(phase) * heads_of(phase) >= MANY_PAIRS;
}

static uint64_t parts_bytes(const weft_phase *phase) {
    int64_t n_ranges = smaller(WEFT_ATTENTION_MOST_RANGES, most_pieces(phase)) + 1;
    return (uint64_t)(rows_of(phase) * heads_of(phase) * n_ranges * (head_dim_of(phase) + WEFT_ATTENTION_PART_EXTRA)) *
           sizeof(float);
}

/* Whether several blocks share a segment's ranges. */
static bool is_shared(const weft_phase *phase) {
    return !has_tiles(phase) && rows_of(phase) * kv_heads_of(phase) <= SHARED_SEGMENTS &&
           most_pieces(phase) > WEFT_ATTENTION_FEW_PIECES && parts_bytes(phase) <= MAX_SCRATCH;
}

static uint64_t halves_scratch_bytes(const weft_phase *phase) {
    return is_shared(phase) ? parts_bytes(phase) : 0;
}

/* Segments of any number of rows; each block has several. */
static void record_tiles(weft_cuda_recorder *recorder, const weft_phase *phase, weft_cuda_attention *argument) {
    const weft_backend_device *device = weft_cuda_recorder_device(recorder);
    bool is_64 = head_dim_of(phase) == 64;
    int64_t stage = 2 * WEFT_ATTENTION_PIECE * head_dim_of(phase) * (int64_t)sizeof(uint16_t);
    int64_t beside = WEFT_ATTENTION_WARPS * WEFT_ATTENTION_TILE * head_dim_of(phase) * (int64_t)sizeof(uint16_t) /* queries */
                     + WEFT_ATTENTION_LIST_BYTES;
    int64_t at_a_time = weft_cuda_ceil((is_64 ? BLOCKS_OF_64 : BLOCKS_OF_128) * device->multiprocessors, kv_heads_of(phase));
    argument->n_stages = 3 * stage + beside <= device->shared_bytes ? 3 : 2;
    weft_cuda_shape shape =
        weft_cuda_blocks(kv_heads_of(phase), smaller(rows_of(phase), at_a_time), WEFT_ATTENTION_WARPS * WEFT_CUDA_WARP);
    shape.shared_bytes = (uint32_t)(argument->n_stages * stage + beside);
    weft_cuda_launch(recorder, "attention_tiles", is_64 ? "weft_attention_tiles_64" : "weft_attention_tiles_128", shape, argument);
}

/* Segments and KV heads, at most, that have a block each. With more, blocks have several: attention_tiles.cu. */
static int64_t most_split(int multiprocessors) {
    int64_t at_a_time = BLOCKS_OF_SPLIT * multiprocessors;
    return at_a_time > SHARED_SEGMENTS ? at_a_time : SHARED_SEGMENTS;
}

static void record_halves(weft_cuda_recorder *recorder, const weft_phase *phase) {
    int64_t group = heads_of(phase) / kv_heads_of(phase), split_rows = WEFT_ATTENTION_TILE / group, n_blocks = 1;
    weft_cuda_attention argument = {.phase = weft_cuda_phase_of(recorder, phase, (weft_cuda_columns){0})};
    argument.most_ranges = (int32_t)most_ranges(phase, weft_cuda_recorder_device(recorder)->multiprocessors);
    argument.few_rows = (int32_t)split_rows;
    argument.segment_rows = (int32_t)(has_tiles(phase) ? WEFT_ATTENTION_WARPS * WEFT_ATTENTION_TILE / group : split_rows);
    if (has_tiles(phase) ||
        rows_of(phase) * kv_heads_of(phase) > most_split(weft_cuda_recorder_device(recorder)->multiprocessors)) {
        record_tiles(recorder, phase, &argument);
        return;
    }
    if (is_shared(phase)) {
        argument.counters = weft_cuda_counters(recorder, (size_t)(rows_of(phase) * kv_heads_of(phase)));
        if (argument.counters != 0) n_blocks = argument.most_ranges;
    }
    weft_cuda_launch(recorder, "attention_split", head_dim_of(phase) == 64 ? "weft_attention_split_64" : "weft_attention_split_128",
                     weft_cuda_blocks(n_blocks, rows_of(phase) * kv_heads_of(phase), WEFT_ATTENTION_WARPS * WEFT_CUDA_WARP),
                     &argument);
}

static const weft_cuda_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_ATTENTION, .name = "attention exact", .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST},
     .file = "attention",
     .record = record,
     .scratch_bytes = scratch_bytes,
     .refuses = refuses},
    {.kernel = {.op = WEFT_OP_ATTENTION, .name = "attention halves", .precisions = WEFT_RUNS_FAST, .rank = 1},
     .min_capability = 80,
     .file = "attention_split",
     .record = record_halves,
     .scratch_bytes = halves_scratch_bytes,
     .refuses = halves_refuse},
};

const weft_kernel_rows weft_cuda_op_attention = WEFT_KERNEL_ROWS(kernels);
