#include "backends/vulkan/attention_fast.h"

#include "backends/vulkan/kernels.h"
#include "weft/ops/attention.h"

enum { PIECE = 64, MOST_GROUP = 16, MOST_HEAD = 256, FEW_SHARED_BYTES = 32 << 10 };
/* Of attention_matrices.comp. */
enum { PAIRS = 64, SUBGROUPS = 4, MOST_MATRIX_HEAD = 128 };
/* A row's ranges: enough workgroups for the largest devices, with the KV heads. */
enum { ENOUGH_RANGES = 128, FEWEST_RANGES = 8, MOST_RANGES = 64 };
#define MOST_PART_BYTES ((uint64_t)64 << 20) /* larger scratch means fewer ranges */
#define MOST_GROUPS 65535                    /* that every device can have at once, in each direction */
#define MOST_FEW_ROWS 32                     /* for which there are workgroups at once, beside attention_matrices */

typedef struct arguments {
    uint64_t control, q, kv, rows, sequences, y;
} arguments;

typedef struct shape {
    weft_vulkan_cache_shape cache;
    uint32_t n_rows, n_heads, window;
    float scale, soft_cap;
} shape;

static arguments arguments_of(const weft_phase *phase) {
    return (arguments){.q = phase->inputs[WEFT_ATTENTION_Q].address,
                       .kv = phase->inputs[WEFT_ATTENTION_KV].address,
                       .rows = phase->inputs[WEFT_ATTENTION_ROWS].address,
                       .sequences = phase->inputs[WEFT_ATTENTION_SEQUENCES].address,
                       .y = phase->outputs[WEFT_ATTENTION_OUT_Y].address};
}

static shape shape_of(const weft_phase *phase) {
    const weft_attention_params *params = phase->params;
    return (shape){.cache = weft_vulkan_cache_shape_of(&phase->inputs[WEFT_ATTENTION_KV], &phase->inputs[WEFT_ATTENTION_SEQUENCES]),
                   .n_rows = (uint32_t)phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1],
                   .n_heads = (uint32_t)params->n_heads,
                   .window = (uint32_t)params->window,
                   .scale = params->scale,
                   .soft_cap = params->soft_cap};
}

/* ---- Few rows ---- */

/* Of one range: its heads' sums, largest scores and sums of weights. */
static uint64_t part_bytes(const shape *s) {
    return (uint64_t)s->n_heads / s->cache.n_kv_heads * (s->cache.head_dim + 4) * sizeof(float);
}

/* The most ranges of a row. One of them is for windows, which may begin inside a range. */
static uint32_t most_ranges(const shape *s) {
    uint64_t n_pieces = (uint64_t)(s->cache.sequence_words - WEFT_SEQUENCE_PAGES) * s->cache.page_size / PIECE;
    uint64_t most = ENOUGH_RANGES / s->cache.n_kv_heads, room = MOST_PART_BYTES / (part_bytes(s) * s->cache.n_kv_heads * s->n_rows);
    if (most < FEWEST_RANGES) most = FEWEST_RANGES;
    if (most > MOST_RANGES) most = MOST_RANGES;
    if (most > n_pieces) most = n_pieces;
    if (most + 1 > room) most = room < 2 ? 1 : room - 1;
    return (uint32_t)most + 1;
}

uint64_t weft_vulkan_attention_parts_bytes(const weft_vulkan_call *call) {
    shape s = shape_of(call->phase);
    return part_bytes(&s) * s.cache.n_kv_heads * s.n_rows * most_ranges(&s);
}

static void record_few(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, bool short_runs) {
    shape s = shape_of(call->phase);
    const struct {
        arguments arguments;
        uint64_t parts, counters;
        shape shape;
    } push = {arguments_of(call->phase), call->phase->scratch.address,
              weft_vulkan_take_counters(recorder, s.n_rows * s.cache.n_kv_heads), s};
    uint32_t n_ranges = most_ranges(&s);
    weft_vulkan_record(recorder,
                       &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_attention_few,
                                               .constants = {0, s.cache.head_dim, s.n_heads / s.cache.n_kv_heads, short_runs,
                                                             s.soft_cap > 0, s.cache.page_size, s.cache.n_kv_heads, n_ranges},
                                               .push = &push,
                                               .push_size = sizeof push,
                                               .groups_x = (uint64_t)s.cache.n_kv_heads * n_ranges,
                                               .groups_y = short_runs && s.n_rows > MOST_FEW_ROWS ? MOST_FEW_ROWS : s.n_rows});
}

void weft_vulkan_attention_few(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    record_few(recorder, call, false);
}

const char *weft_vulkan_attention_few_refuses(const weft_phase *phase) {
    shape s = shape_of(phase);
    uint32_t group = s.n_heads / s.cache.n_kv_heads;
    uint32_t shared_bytes = group * s.cache.head_dim * 4 + (group > 8 ? group : 8) * PIECE * 16 + group * PIECE * 4 + 2560;
    if (phase->inputs[WEFT_ATTENTION_KV].tensor.type != WEFT_F16) return "only for an F16 cache";
    if (s.cache.head_dim % 8 != 0 || s.cache.head_dim > MOST_HEAD) return "only for heads of 8, 16, 24 ... 256 values";
    if (s.cache.page_size % PIECE != 0) return "only for pages of 64, 128, 192 ... positions";
    if (group > MOST_GROUP || shared_bytes > FEW_SHARED_BYTES) return "too many or too large heads share keys";
    if ((uint64_t)s.cache.n_kv_heads * most_ranges(&s) > MOST_GROUPS) return "too many KV heads";
    return s.n_rows > MOST_GROUPS || s.n_rows * s.cache.n_kv_heads > WEFT_VULKAN_N_COUNTERS ? "too many rows" : NULL;
}

/* ---- Many rows ---- */

/* Bytes of shared memory. */
static uint32_t matrix_shared_bytes(uint32_t head_dim, uint32_t piece) {
    return PAIRS * ((head_dim / 8 + 1) * 16 + (piece / 4 + 1) * 16 + (piece / 8 + 1) * 16 + 12) + 64;
}

void weft_vulkan_attention_matrices(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_vulkan_traits *traits = &call->device->traits;
    shape s = shape_of(call->phase);
    const struct {
        arguments arguments;
        shape shape;
    } push = {arguments_of(call->phase), s};
    uint32_t piece = PIECE, tile_rows = PAIRS / (s.n_heads / s.cache.n_kv_heads);
    while (piece > 16 && matrix_shared_bytes(s.cache.head_dim, piece) > traits->properties.limits.maxComputeSharedMemorySize)
        piece /= 2;
    weft_vulkan_record(
        recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_attention_matrices,
                                          .constants = {WEFT_F16, s.cache.head_dim, piece, traits->matrices.m, traits->matrices.n,
                                                        traits->matrices.k, SUBGROUPS * traits->subgroup_size, true},
                                          .subgroup_size = weft_vulkan_full_subgroup(traits),
                                          .push = &push,
                                          .push_size = sizeof push,
                                          .groups_x = s.cache.n_kv_heads,
                                          .groups_y = weft_vulkan_groups(s.n_rows, tile_rows)});
    record_few(recorder, call, true);
}

const char *weft_vulkan_attention_matrices_refuses(const weft_phase *phase) {
    int64_t head_dim = phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0];
    if (head_dim % 16 != 0 || head_dim > MOST_MATRIX_HEAD) return "only for heads of 16, 32, 48 ... 128 values";
    /* a score that is far above the cap has the rounding error of a half float far above the cap, too */
    if (shape_of(phase).soft_cap > 0) return "not with a soft cap";
    return weft_vulkan_attention_few_refuses(phase);
}
