/* How a value between two nodes lies in memory: its elements, then, aligned, its companion. */
#include <stdio.h>

#include "core/kernels.h"
#include "core/place.h"

uint64_t weft_storage_companion_offset(const weft_tensor *tensor, const weft_storage *storage) {
    weft_tensor stored = *tensor;
    stored.type = (weft_type)storage->type;
    return (weft_tensor_bytes(&stored) + WEFT_PLACE_ALIGNMENT - 1) / WEFT_PLACE_ALIGNMENT * WEFT_PLACE_ALIGNMENT;
}

uint64_t weft_storage_bytes(const weft_tensor *tensor, const weft_storage *storage) {
    if (storage->companion.kind == WEFT_COMPANION_NONE) {
        weft_tensor stored = *tensor;
        stored.type = (weft_type)storage->type;
        return weft_tensor_bytes(&stored);
    }
    uint64_t n = (uint64_t)tensor->shape[0], group = storage->companion.group ? storage->companion.group : n;
    uint64_t n_columns = (uint64_t)(tensor->shape[1] * tensor->shape[2] * tensor->shape[3]);
    return weft_storage_companion_offset(tensor, storage) + (n + group - 1) / group * n_columns * sizeof(float);
}

void weft_storage_scale(const weft_tensor *tensor, const weft_storage *storage, const void *raw, float *values) {
    if (storage->companion.kind != WEFT_COMPANION_SCALE) return;
    const float *scales = (const float *)(const void *)((const char *)raw + weft_storage_companion_offset(tensor, storage));
    int64_t n = tensor->shape[0], n_columns = tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
    int64_t group = storage->companion.group ? storage->companion.group : n, n_groups = (n + group - 1) / group;
    for (int64_t c = 0; c < n_columns; c++)
        for (int64_t i = 0; i < n; i++) values[c * n + i] *= scales[c * n_groups + i / group];
}

const char *weft_storage_text(const weft_storage *storage, char *text, size_t size) {
    static const char *const companions[] = {
        [WEFT_COMPANION_NONE] = "", [WEFT_COMPANION_SUM_SQUARES] = " + sums of squares", [WEFT_COMPANION_SCALE] = " + scales"};
    const weft_type_info *type = weft_type_get((weft_type)storage->type);
    snprintf(text, size, "%s%s", type ? type->name : "?", companions[storage->companion.kind]);
    return text;
}
