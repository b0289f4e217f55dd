/* Weights from the model's file, and the rope table from its definition. */
#include <string.h>

#include "decoder/model.h"

/* The caller asks for a range of bytes. Whole positions are computed directly into the result, and a part of a position through a
 * copy. */
static weft_status read_rope_table(const weft_model *model, const weft_rope_options *rope, uint64_t offset, unsigned char *into,
                                   size_t size, weft_error *error) {
    const size_t row = (size_t)rope->n_dims * sizeof(float);
    float *copy = NULL;
    weft_status status = WEFT_OK;
    while (size > 0 && status == WEFT_OK) {
        size_t skipped = (size_t)(offset % row);
        size_t n = size < row - skipped ? size : row - skipped;
        int64_t position = (int64_t)(offset / row);
        if (skipped == 0 && size >= row && (uintptr_t)into % sizeof(float) == 0) {
            n = size - size % row;
            status = weft_rope_table(rope, position, (int64_t)(n / row), (float *)(void *)into, error);
        } else {
            if (!copy) copy = weft_allocate(model->runtime, row);
            if (!copy) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for a row of the rope table");
            status = weft_rope_table(rope, position, 1, copy, error);
            if (status == WEFT_OK) memcpy(into, (const unsigned char *)copy + skipped, n);
        }
        offset += n;
        into += n;
        size -= n;
    }
    weft_release(model->runtime, copy);
    return status;
}

/* A vector of one number. */
static weft_status fill(float value, uint64_t offset, unsigned char *into, size_t size) {
    unsigned char bytes[sizeof value];
    memcpy(bytes, &value, sizeof value);
    for (size_t i = 0; i < size; i++) into[i] = bytes[(offset + i) % sizeof bytes];
    return WEFT_OK;
}

/* Elements of two bytes become floats, of which the caller asks for a range of bytes. */
static weft_status read_halves(const weft_model *model, const weft_model_tensor *tensor, uint64_t offset, unsigned char *into,
                               size_t size, weft_error *error) {
    enum { N = 256 };
    unsigned char halves[2 * N];
    float values[N];
    weft_status status = WEFT_OK;
    while (size > 0 && status == WEFT_OK) {
        uint64_t first = offset / sizeof *values;
        size_t skipped = (size_t)(offset % sizeof *values), n_bytes = sizeof values - skipped;
        if (n_bytes > size) n_bytes = size;
        size_t n = (skipped + n_bytes + sizeof *values - 1) / sizeof *values;
        status = weft_gguf_read(model->gguf, tensor, 2 * first, halves, 2 * n, error);
        if (status == WEFT_OK) status = weft_dequantise(tensor->tensor.type, halves, (int64_t)n, values, error);
        if (status == WEFT_OK) memcpy(into, (const unsigned char *)values + skipped, n_bytes);
        offset += n_bytes;
        into += n_bytes;
        size -= n_bytes;
    }
    return status;
}

weft_status weft_model_read_tensor(const weft_model *model, const weft_model_tensor *tensor, uint64_t offset, void *into,
                                   size_t size, weft_error *error) {
    bool converted = weft_model_graph_tensor(tensor).type != tensor->tensor.type;
    return converted ? read_halves(model, tensor, offset, into, size, error)
                     : weft_gguf_read(model->gguf, tensor, offset, into, size, error);
}

static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    weft_model *model = user;
    if (strcmp(name, "rope_table") == 0) return read_rope_table(model, &model->hyper.rope, offset, into, size, error);
    if (strcmp(name, "rope_table.local") == 0) return read_rope_table(model, &model->hyper.rope_local, offset, into, size, error);
    if (strcmp(name, "embedding_scale") == 0) return fill(model->hyper.embedding_scale, offset, into, size);
    const weft_model_tensor *tensor = weft_gguf_tensor_find(model->gguf, name);
    if (!tensor) return weft_fail(error, WEFT_NOT_FOUND, "%s: there is no tensor %s", model->path, name);
    return weft_model_read_tensor(model, tensor, offset, into, size, error);
}

weft_weight_source weft_model_source(weft_model *model) {
    return (weft_weight_source){.read = read_weight, .user = model};
}
