#include "core/slice.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static weft_tensor whole_of(const weft_slice *slice, const weft_tensor *tensor) {
    weft_tensor whole = {.type = tensor->type};
    memcpy(whole.shape, slice->shape, sizeof whole.shape);
    return whole;
}

weft_status weft_slice_check(const weft_slice *slice, const char *name, const weft_tensor *tensor, weft_error *error) {
    weft_status status = weft_require_zero("slice.reserved", slice->reserved, sizeof slice->reserved, error);
    if (status != WEFT_OK) return status;
    if (!slice->source || !*slice->source || strlen(slice->source) >= WEFT_NAME_SIZE)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "weight %s: a slice names a tensor of the source, in up to %d bytes", name,
                         WEFT_NAME_SIZE - 1);
    weft_tensor whole = whole_of(slice, tensor);
    const weft_type_info *type = weft_type_get(tensor->type);
    if (weft_tensor_bytes(&whole) == 0)
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "weight %s: %s [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "] is no valid shape of %s", name,
                         slice->source, slice->shape[0], slice->shape[1], slice->shape[2], slice->shape[3], type->name);
    for (size_t i = 0; i < WEFT_MAX_DIMENSIONS; i++) {
        if (slice->first[i] >= 0 && slice->first[i] <= slice->shape[i] - tensor->shape[i]) continue;
        return weft_fail(error, WEFT_INVALID_ARGUMENT,
                         "weight %s: %" PRId64 " from %" PRId64 " on in dimension %zu are outside %s, which has %" PRId64, name,
                         tensor->shape[i], slice->first[i], i, slice->source, slice->shape[i]);
    }
    if (slice->first[0] % type->block_elements == 0) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "weight %s: column %" PRId64 " of %s is inside a block of %u of %s", name,
                     slice->first[0], slice->source, (unsigned)type->block_elements, type->name);
}

weft_slice *weft_slice_copy(weft_runtime *runtime, const weft_slice *slice) {
    size_t name_bytes = strlen(slice->source) + 1;
    weft_slice *copy = weft_allocate(runtime, sizeof *copy + name_bytes);
    if (!copy) return NULL;
    *copy = *slice;
    copy->source = memcpy(copy + 1, slice->source, name_bytes);
    return copy;
}

bool weft_slice_same(const weft_slice *a, const weft_slice *b) {
    if (!a || !b) return a == b;
    return strcmp(a->source, b->source) == 0 && memcmp(a->shape, b->shape, sizeof a->shape) == 0 &&
           memcmp(a->first, b->first, sizeof a->first) == 0;
}

const char *weft_slice_text(const weft_slice *slice, char *text, size_t size) {
    const int64_t *first = slice->first;
    snprintf(text, size, "from [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64 "] of %s", first[0], first[1], first[2], first[3],
             slice->source);
    return text;
}

int64_t weft_tensor_rows(const weft_tensor *tensor) {
    return tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
}

uint64_t weft_tensor_row_bytes(const weft_tensor *tensor) {
    return weft_type_bytes(tensor->type, tensor->shape[0]);
}

/* How many of the `n_rows` rows from `row` on are contiguous in the source, and their offset there in bytes. */
static int64_t run_of(const weft_tensor *tensor, const weft_slice *slice, int64_t row, int64_t n_rows, uint64_t *offset) {
    const int64_t *n = tensor->shape, *whole = slice->shape, *first = slice->first;
    int64_t in_matrix = row % n[1], matrix = row / n[1] % n[2], outermost = row / n[1] / n[2];
    int64_t source_row = ((first[3] + outermost) * whole[2] + first[2] + matrix) * whole[1] + first[1] + in_matrix;
    *offset = (uint64_t)source_row * weft_type_bytes(tensor->type, whole[0]) + weft_type_bytes(tensor->type, first[0]);
    if (n[0] != whole[0]) return 1;
    int64_t run = n[1] - in_matrix;
    if (n[1] == whole[1]) run += (n[2] - 1 - matrix) * n[1];
    if (n[1] == whole[1] && n[2] == whole[2]) run += (n[3] - 1 - outermost) * n[1] * n[2];
    return run < n_rows ? run : n_rows;
}

weft_status weft_slice_read(const weft_weight_source *source, const char *name, const weft_tensor *tensor, const weft_slice *slice,
                            int64_t first_row, int64_t n_rows, void *into, weft_error *error) {
    const uint64_t row_bytes = weft_tensor_row_bytes(tensor);
    weft_status status = WEFT_OK;
    char *to = into;
    if (!slice)
        return source->read(source->user, name, (uint64_t)first_row * row_bytes, into, (size_t)((uint64_t)n_rows * row_bytes),
                            error);
    for (int64_t row = first_row, end = first_row + n_rows, run; row < end && status == WEFT_OK; row += run) {
        uint64_t offset;
        run = run_of(tensor, slice, row, end - row, &offset);
        size_t bytes = (size_t)((uint64_t)run * row_bytes);
        status = source->read(source->user, slice->source, offset, to, bytes, error);
        to += bytes;
    }
    return status;
}
