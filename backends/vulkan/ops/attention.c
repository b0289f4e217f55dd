#include "weft/ops/attention.h"

#include "backends/vulkan/attention_fast.h"
#include "backends/vulkan/kernels.h"

/* The number of pairs (rows times heads) that fills a device with one workgroup each. With fewer pairs, each range has a workgroup
 * of its own and the ranges are combined afterwards. A processor has few cores, which few pairs keep busy. */
#define ENOUGH_PAIRS 512
#define ENOUGH_FOR_A_PROCESSOR 4
/* About the number of workgroups that run at once on the largest devices. */
#define MAX_GROUPS 4096
/* If the parts need more than this, a workgroup goes through all ranges of a pair. */
#define MAX_PART_BYTES ((uint64_t)64 << 20)

static int64_t n_pairs_of(const weft_vulkan_call *call) {
    const weft_attention_params *params = call->phase->params;
    return params->n_heads * call->phase->inputs[WEFT_ATTENTION_Q].tensor.shape[1];
}

/* The most ranges that a row can see. */
static int64_t n_ranges_of(const weft_vulkan_call *call) {
    const weft_attention_params *params = call->phase->params;
    int64_t n_positions = (call->phase->inputs[WEFT_ATTENTION_SEQUENCES].tensor.shape[0] - WEFT_SEQUENCE_PAGES) *
                          call->phase->inputs[WEFT_ATTENTION_KV].tensor.shape[1];
    int64_t n_ranges = (n_positions + WEFT_ATTENTION_RANGE - 1) / WEFT_ATTENTION_RANGE;
    /* a window may begin at the last position of a range */
    int64_t n_window = ((int64_t)params->window + WEFT_ATTENTION_RANGE - 2) / WEFT_ATTENTION_RANGE + 1;
    return params->window > 0 && n_window < n_ranges ? n_window : n_ranges;
}

/* The bytes of the parts, or 0 where a workgroup goes through all ranges of a pair. */
static uint64_t scratch_bytes(const weft_vulkan_call *call) {
    uint64_t n_pairs = (uint64_t)n_pairs_of(call), n_ranges = (uint64_t)n_ranges_of(call);
    uint64_t enough = call->device->traits.is_processor ? ENOUGH_FOR_A_PROCESSOR : ENOUGH_PAIRS;
    if (n_pairs >= enough || n_ranges < 2) return 0;
    uint64_t range_bytes = n_pairs * (uint64_t)(call->phase->inputs[WEFT_ATTENTION_KV].tensor.shape[0] + 2) * sizeof(float);
    return n_ranges <= MAX_PART_BYTES / range_bytes ? n_ranges * range_bytes : 0;
}

static void record(weft_vulkan_recorder *recorder, const weft_vulkan_call *call) {
    const weft_attention_params *params = call->phase->params;
    const weft_place *q = &call->phase->inputs[WEFT_ATTENTION_Q], *kv = &call->phase->inputs[WEFT_ATTENTION_KV];
    uint64_t n_pairs = (uint64_t)n_pairs_of(call), n_ranges = (uint64_t)n_ranges_of(call);
    bool is_split = scratch_bytes(call) > 0;
    const struct {
        uint64_t control, q, kv, rows, sequences, y, parts;
        weft_vulkan_cache_shape shape;
        uint32_t n_rows, n_heads, window;
        float scale, soft_cap;
        uint32_t n_parts;
    } push = {0,
              q->address,
              kv->address,
              call->phase->inputs[WEFT_ATTENTION_ROWS].address,
              call->phase->inputs[WEFT_ATTENTION_SEQUENCES].address,
              call->phase->outputs[WEFT_ATTENTION_OUT_Y].address,
              call->phase->scratch.address,
              weft_vulkan_cache_shape_of(kv, &call->phase->inputs[WEFT_ATTENTION_SEQUENCES]),
              (uint32_t)q->tensor.shape[1],
              (uint32_t)params->n_heads,
              (uint32_t)params->window,
              params->scale,
              params->soft_cap,
              (uint32_t)n_ranges};
    weft_vulkan_dispatch dispatch = {.shader = WEFT_VULKAN_SHADER_attention,
                                     .constants = {(uint32_t)kv->tensor.type, (push.shape.head_dim + 63) / 64},
                                     .push = &push,
                                     .push_size = sizeof push,
                                     .groups_x = (uint64_t)params->n_heads,
                                     .groups_y = (uint64_t)q->tensor.shape[1]};
    if (is_split) {
        uint64_t groups = (MAX_GROUPS + n_pairs - 1) / n_pairs;
        dispatch.shader = WEFT_VULKAN_SHADER_attention_ranges;
        dispatch.groups_x = groups < n_ranges ? groups : n_ranges;
        dispatch.groups_y = n_pairs;
        weft_vulkan_record(recorder, &dispatch);
        weft_vulkan_record_barrier(recorder);
        dispatch.shader = WEFT_VULKAN_SHADER_attention_combine;
        dispatch.groups_x = dispatch.constants[1];
    }
    weft_vulkan_record(recorder, &dispatch);
}

static const weft_vulkan_kernel kernels[] = {
    {.kernel = {.op = WEFT_OP_ATTENTION,
                .name = "attention matrices",
                .precisions = WEFT_RUNS_FAST,
                .rank = 3,
                .min_columns = WEFT_VULKAN_ATTENTION_FEW + 1},
     .needs = WEFT_VULKAN_MATRICES | WEFT_VULKAN_SUBGROUPS,
     .shader = WEFT_VULKAN_SHADER_attention_matrices,
     .shared_bytes = 32768,
     .invocations = 256, /* of attention_few */
     .for_gpus = true,
     .record = weft_vulkan_attention_matrices,
     .scratch_bytes = weft_vulkan_attention_parts_bytes,
     .refuses = weft_vulkan_attention_matrices_refuses},
    {.kernel = {.op = WEFT_OP_ATTENTION, .name = "attention few", .precisions = WEFT_RUNS_FAST, .rank = 2},
     .shared_bytes = 32768,
     .invocations = 256,
     .for_gpus = true,
     .record = weft_vulkan_attention_few,
     .scratch_bytes = weft_vulkan_attention_parts_bytes,
     .refuses = weft_vulkan_attention_few_refuses},
    {.kernel = {.op = WEFT_OP_ATTENTION,
                .name = "attention exact",
                .precisions = WEFT_RUNS_EXACT | WEFT_RUNS_FAST,
                .caveat = WEFT_VULKAN_NO_FAST_KERNEL},
     .record = record,
     .scratch_bytes = scratch_bytes},
};

const weft_kernel_rows weft_vulkan_op_attention = WEFT_KERNEL_ROWS(kernels);
