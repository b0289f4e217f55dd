/* Weights from the model's file, and the rope table from its definition. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "decoder/model.h"

static const struct {
    const char *name;
    size_t at; /* of the options */
    bool has_temperature;
} rope_tables[WEFT_ROPE_TABLE_COUNT] = {
    [WEFT_ROPE_TABLE] = {"rope_table", offsetof(weft_hyperparameters, rope), false},
    [WEFT_ROPE_TABLE_LOCAL] = {"rope_table.local", offsetof(weft_hyperparameters, rope_local), false},
    [WEFT_ROPE_TABLE_LONG] = {"rope_table.long", offsetof(weft_hyperparameters, rope_long), false},
    [WEFT_ROPE_TABLE_QUERY] = {"rope_table.query", offsetof(weft_hyperparameters, rope), true},
};

const char *weft_rope_table_name(weft_rope_kind kind) {
    return rope_tables[kind].name;
}

/* A rotation whose sines and cosines have a factor also multiplies by the factor, since all dimensions are rotated. */
static weft_status make_rows(const weft_hyperparameters *hyper, weft_rope_kind kind, int64_t first, int64_t n, float *rows,
                             weft_error *error) {
    const weft_rope_options *rope = (const void *)((const char *)hyper + rope_tables[kind].at);
    weft_status status = weft_rope_table(rope, first, n, rows, error);
    if (status != WEFT_OK || !rope_tables[kind].has_temperature) return status;
    for (int64_t i = 0; i < n; i++) {
        double stretches = floor((double)(first + i) / rope->n_ctx_original);
        float factor = (float)(1 + (double)hyper->temperature_scale * log(1 + stretches));
        for (int32_t j = 0; j < rope->n_dims; j++) rows[i * rope->n_dims + j] *= factor;
    }
    return WEFT_OK;
}

/* The caller asks for a range of bytes. Whole positions are computed directly into the result, and a part of a position through a
 * copy. */
static weft_status read_rope_table(const weft_model *model, weft_rope_kind kind, uint64_t offset, unsigned char *into, size_t size,
                                   weft_error *error) {
    const weft_rope_options *rope = (const void *)((const char *)&model->hyper + rope_tables[kind].at);
    const size_t row = (size_t)rope->n_dims * sizeof(float);
    float *copy = NULL;
    weft_status status = WEFT_OK;
    while (size > 0 && status == WEFT_OK) {
        size_t skipped = (size_t)(offset % row);
        size_t n = size < row - skipped ? size : row - skipped;
        int64_t position = (int64_t)(offset / row);
        if (skipped == 0 && size >= row && (uintptr_t)into % sizeof(float) == 0) {
            n = size - size % row;
            status = make_rows(&model->hyper, kind, position, (int64_t)(n / row), (float *)(void *)into, error);
        } else {
            if (!copy) copy = weft_allocate(model->runtime, row);
            if (!copy) return weft_fail(error, WEFT_OUT_OF_MEMORY, "no host memory for a row of the rope table");
            status = make_rows(&model->hyper, kind, position, 1, copy, error);
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

/* Floats from elements of up to four bytes, times a factor. The caller asks for a range of their bytes. */
static weft_status read_floats(const weft_model *model, const weft_model_tensor *tensor, float factor, uint64_t offset,
                               unsigned char *into, size_t size, weft_error *error) {
    enum { N = 256 };
    const size_t element = (size_t)weft_type_bytes(tensor->tensor.type, 1);
    unsigned char elements[4 * N];
    float values[N];
    weft_status status = WEFT_OK;
    while (size > 0 && status == WEFT_OK) {
        uint64_t first = offset / sizeof *values;
        size_t skipped = (size_t)(offset % sizeof *values), n_bytes = sizeof values - skipped;
        if (n_bytes > size) n_bytes = size;
        size_t n = (skipped + n_bytes + sizeof *values - 1) / sizeof *values;
        status = weft_gguf_read(model->gguf, tensor, element * first, elements, element * n, error);
        if (status == WEFT_OK) status = weft_dequantise(tensor->tensor.type, elements, (int64_t)n, values, error);
        for (size_t i = 0; i < n; i++) values[i] *= factor;
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
    return converted ? read_floats(model, tensor, 1, offset, into, size, error)
                     : weft_gguf_read(model->gguf, tensor, offset, into, size, error);
}

/* The weights and biases of the norm before the head carry the scale of the logits. */
static bool is_last_norm(const weft_model *model, const char *name) {
    static const weft_model_part parts[] = {WEFT_PART_OUTPUT_NORM, WEFT_PART_OUTPUT_NORM_BIAS};
    weft_part_place place;
    for (size_t i = 0; model->hyper.logit_scale != 0 && i < sizeof parts / sizeof *parts; i++)
        if (weft_part_find(model->family, &model->hyper, parts[i], &place) && strcmp(name, place.stem) == 0) return true;
    return false;
}

static weft_status read_weight(void *user, const char *name, uint64_t offset, void *into, size_t size, weft_error *error) {
    weft_model *model = user;
    for (int kind = 0; kind < WEFT_ROPE_TABLE_COUNT; kind++)
        if (strcmp(name, rope_tables[kind].name) == 0)
            return read_rope_table(model, (weft_rope_kind)kind, offset, into, size, error);
    if (strcmp(name, "embedding_scale") == 0) return fill(model->hyper.embedding_scale, offset, into, size);
    const weft_model_tensor *tensor = weft_gguf_tensor_find(model->gguf, name);
    if (!tensor) return weft_fail(error, WEFT_NOT_FOUND, "%s: there is no tensor %s", model->path, name);
    if (is_last_norm(model, name)) return read_floats(model, tensor, model->hyper.logit_scale, offset, into, size, error);
    return weft_model_read_tensor(model, tensor, offset, into, size, error);
}

weft_weight_source weft_model_source(weft_model *model) {
    return (weft_weight_source){.read = read_weight, .user = model};
}
