#include "backends/vulkan/kernels.h"

#include "weft/ops/sample.h"

void weft_vulkan_rms_norm(weft_vulkan_recorder *recorder, uint64_t x, uint64_t weight, uint64_t y, int64_t n, int64_t n_groups,
                          float epsilon) {
    const struct {
        uint64_t control, x, weight, y;
        uint32_t n, n_groups;
        float epsilon;
    } push = {0, x, weight, y, (uint32_t)n, (uint32_t)n_groups, epsilon};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_rms_norm,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = (uint64_t)n_groups});
}

_Static_assert((int)WEFT_NORM_QKV_X == WEFT_NORM_GATED_MLP_X, "both ops that begin with a norm have its input in one place");

weft_vulkan_normed weft_vulkan_normed_take(const weft_vulkan_call *call, weft_vulkan_scratch *scratch, int64_t n,
                                           bool extra_precision) {
    const weft_place *x = &call->phase->inputs[WEFT_NORM_QKV_X];
    weft_vulkan_normed normed = {
        .columns = weft_vulkan_columns_take(call, scratch, x->tensor.shape[0], x->tensor.shape[1], extra_precision)};
    normed.columns.x = weft_vulkan_take(scratch, (uint64_t)weft_vulkan_elements(x) * sizeof(float));
    for (size_t i = 0; i < 2; i++)
        normed.results[i] = weft_vulkan_take(scratch, (uint64_t)(n * x->tensor.shape[1]) * sizeof(float));
    return normed;
}

uint64_t weft_vulkan_normed_bytes(const weft_vulkan_call *call, int64_t n, bool extra_precision) {
    weft_vulkan_scratch scratch = {0};
    weft_vulkan_normed_take(call, &scratch, n, extra_precision);
    return scratch.used;
}

void weft_vulkan_elementwise(weft_vulkan_recorder *recorder, uint32_t shader, uint32_t constant, uint64_t a, uint64_t b, uint64_t y,
                             int64_t n, int64_t n_b) {
    const struct {
        uint64_t control, a, b, y;
        uint32_t n, n_b;
    } push = {0, a, b, y, (uint32_t)n, (uint32_t)n_b};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = shader,
                                                         .constants = {constant},
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups(n, 128)});
}

void weft_vulkan_elementwise_node(weft_vulkan_recorder *recorder, uint32_t shader, const weft_vulkan_call *call) {
    weft_vulkan_elementwise(recorder, shader, 0, call->phase->inputs[0].address, call->phase->inputs[1].address,
                            call->phase->outputs[0].address, weft_vulkan_elements(&call->phase->inputs[0]),
                            weft_vulkan_elements(&call->phase->inputs[1]));
}

weft_vulkan_cache_shape weft_vulkan_cache_shape_of(const weft_place *kv, const weft_place *sequences) {
    return (weft_vulkan_cache_shape){
        .head_dim = (uint32_t)kv->tensor.shape[0],
        .page_size = (uint32_t)kv->tensor.shape[1],
        .n_kv_heads = (uint32_t)kv->tensor.shape[2],
        .n_pages = (uint32_t)(kv->tensor.shape[3] / 2),
        .sequence_words = (uint32_t)sequences->tensor.shape[0],
        .n_sequences = (uint32_t)sequences->tensor.shape[1],
    };
}

void weft_vulkan_kv_write(weft_vulkan_recorder *recorder, uint64_t k, uint64_t v, int64_t n_rows, const weft_place *kv,
                          const weft_place *rows, const weft_place *sequences) {
    const struct {
        uint64_t control, k, v, kv, rows, sequences;
        weft_vulkan_cache_shape shape;
        uint32_t n_rows;
    } push = {0, k, v, kv->address, rows->address, sequences->address, weft_vulkan_cache_shape_of(kv, sequences), (uint32_t)n_rows};
    weft_vulkan_record(recorder,
                       &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_kv_write,
                                               .constants = {(uint32_t)kv->tensor.type},
                                               .push = &push,
                                               .push_size = sizeof push,
                                               .groups_x = weft_vulkan_groups(2 * kv->tensor.shape[0] * kv->tensor.shape[2], 64)});
}

/* ---- Sampling ---- */

void weft_vulkan_sampler_init(weft_vulkan_sampler *sampler, const weft_vulkan_call *call, uint32_t heads, int64_t n_vocab,
                              int64_t n_top, weft_vulkan_scratch *scratch) {
    int64_t n_columns = call->phase->inputs[heads].tensor.shape[1];
    if (n_columns > WEFT_VULKAN_SAMPLE_COLUMNS) n_columns = WEFT_VULKAN_SAMPLE_COLUMNS;
    *sampler = (weft_vulkan_sampler){
        .heads = &call->phase->inputs[heads],
        .sequences = &call->phase->inputs[heads + 1],
        .chosen = call->phase->outputs[WEFT_SAMPLE_OUT_CHOSEN].address,
        .top = call->phase->outputs[WEFT_SAMPLE_OUT_TOP].address,
        .n_vocab = n_vocab,
        .n_top = n_top,
        .ranges =
            weft_vulkan_take(scratch, (uint64_t)n_columns * weft_vulkan_groups(n_vocab, WEFT_SAMPLE_RANGE) * 3 * sizeof(float)),
        .order = weft_vulkan_take(scratch, (uint64_t)(n_columns * n_vocab) * 4 * sizeof(uint32_t)),
    };
}

void weft_vulkan_sample(weft_vulkan_recorder *recorder, const weft_vulkan_sampler *sampler, uint64_t logits, int64_t first_column,
                        int64_t n_columns) {
    uint64_t n_ranges = weft_vulkan_groups(sampler->n_vocab, WEFT_SAMPLE_RANGE);
    const struct {
        uint64_t control, logits, heads, sequences, chosen, top, ranges, order;
        uint32_t n_vocab, first_column, n_columns, n_ranges, n_top, sequence_words, n_sequences, n_heads;
    } push = {
        .logits = logits,
        .heads = sampler->heads->address,
        .sequences = sampler->sequences->address,
        .chosen = sampler->chosen,
        .top = sampler->top,
        .ranges = sampler->ranges,
        .order = sampler->order,
        .n_vocab = (uint32_t)sampler->n_vocab,
        .first_column = (uint32_t)first_column,
        .n_columns = (uint32_t)n_columns,
        .n_ranges = (uint32_t)n_ranges,
        .n_top = (uint32_t)sampler->n_top,
        .sequence_words = (uint32_t)sampler->sequences->tensor.shape[0],
        .n_sequences = (uint32_t)sampler->sequences->tensor.shape[1],
        .n_heads = (uint32_t)sampler->heads->tensor.shape[1],
    };
    weft_vulkan_dispatch ranges = {.shader = WEFT_VULKAN_SHADER_sample_largest,
                                   .push = &push,
                                   .push_size = sizeof push,
                                   .groups_x = n_ranges,
                                   .groups_y = (uint64_t)n_columns};
    weft_vulkan_dispatch columns = {
        .shader = WEFT_VULKAN_SHADER_sample_order, .push = &push, .push_size = sizeof push, .groups_x = (uint64_t)n_columns};
    weft_vulkan_record(recorder, &ranges);
    weft_vulkan_record(recorder, &columns);
    weft_vulkan_record_barrier(recorder);
    ranges.shader = WEFT_VULKAN_SHADER_sample_sums;
    weft_vulkan_record(recorder, &ranges);
    weft_vulkan_record_barrier(recorder);
    columns.shader = WEFT_VULKAN_SHADER_sample;
    weft_vulkan_record(recorder, &columns);
}
