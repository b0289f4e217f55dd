/* Quantising a file: which type each tensor gets, and its rows, some at a time. */
#include "decoder/quantise.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "decoder/gguf_write.h"
#include "decoder/mix.h"
#include "decoder/output.h"

#define PIECE_VALUES ((int64_t)1 << 18) /* of whole rows, or one row that is longer */

typedef struct quantiser {
    weft_runtime *runtime;
    const weft_mix *mix;
    const weft_quantise_options *options;
    weft_gguf *gguf;
    weft_mix_place model; /* what is the same for all tensors */
    bool tied;
    weft_type *types; /* of the tensors in the output */
    int64_t most_values;
    unsigned char *from, *blocks; /* a piece before and after; blocks of both are at most 4 bytes a value */
    float *values;
    weft_gguf_writer writer;
    weft_output output;
    weft_error *error;
} quantiser;

static const weft_model_tensor *tensor_at(const quantiser *q, size_t index) {
    return weft_gguf_tensor_at(q->gguf, index);
}

static int64_t rows_of(const weft_tensor *tensor) {
    return tensor->shape[1] * tensor->shape[2] * tensor->shape[3];
}

/* ---- Types ---- */

/* The first number of ARCHITECTURE.suffix, or 0. */
static int32_t hyperparameter(const quantiser *q, const char *suffix) {
    weft_text architecture;
    char key[160];
    if (weft_gguf_text(q->gguf, "general.architecture", &architecture, NULL) != WEFT_OK || architecture.size > 80) return 0;
    snprintf(key, sizeof key, "%.*s.%s", (int)architecture.size, architecture.bytes, suffix);
    const weft_gguf_value *value = weft_gguf_find(q->gguf, key);
    if (!value || value->count == 0 || !weft_gguf_holds_integers(value)) return 0;
    int64_t number = weft_gguf_integer_at(value, 0);
    return number < 0 || number > INT32_MAX ? 0 : (int32_t)number;
}

static void describe_model(quantiser *q) {
    int32_t n_heads = hyperparameter(q, "attention.head_count"), n_kv_heads = hyperparameter(q, "attention.head_count_kv");
    q->tied = weft_gguf_tensor_find(q->gguf, "output.weight") == NULL;
    q->model.n_layers = hyperparameter(q, "block_count");
    q->model.n_experts = hyperparameter(q, "expert_count");
    q->model.n_gqa = n_kv_heads > 0 ? n_heads / n_kv_heads : 1;
}

static weft_status choose_type(quantiser *q, size_t index) {
    const weft_model_tensor *tensor = tensor_at(q, index);
    const weft_tensor *shape = &tensor->tensor;
    q->types[index] = shape->type;
    if (!weft_gguf_tensor_readable(tensor))
        return weft_fail(q->error, WEFT_UNSUPPORTED, "%s: tensor %s has type %s, which weft cannot read", weft_gguf_path(q->gguf),
                         tensor->name, tensor->type_name);
    weft_mix_place place = q->model;
    place.role = rows_of(shape) > 1 ? weft_mix_role_of(tensor->name, q->tied) : WEFT_MIX_KEPT;
    if (place.role == WEFT_MIX_KEPT || shape->type == WEFT_I32) return WEFT_OK;
    place.k = shape->shape[0];
    place.of_experts = shape->shape[2] > 1;
    if (sscanf(tensor->name, "blk.%" SCNd32 ".", &place.layer) != 1) place.layer = 0;
    q->types[index] = weft_mix_type(q->mix, &place);
    if (q->types[index] == shape->type || q->options->from_quantised || weft_type_get(shape->type)->block_elements == 1)
        return WEFT_OK;
    return weft_fail(q->error, WEFT_UNSUPPORTED,
                     "%s: tensor %s is quantised already, as %s. Quantising it again loses more than quantising the original "
                     "would; it must be asked for",
                     weft_gguf_path(q->gguf), tensor->name, tensor->type_name);
}

/* Also finds the size of the largest piece. */
static weft_status choose_types(quantiser *q) {
    size_t n_tensors = weft_gguf_tensor_count(q->gguf);
    q->types = weft_allocate(q->runtime, n_tensors * sizeof *q->types);
    if (!q->types) return weft_fail(q->error, WEFT_OUT_OF_MEMORY, "%s: no memory to quantise it", weft_gguf_path(q->gguf));
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < n_tensors && status == WEFT_OK; i++) {
        int64_t k = tensor_at(q, i)->tensor.shape[0];
        status = choose_type(q, i);
        if (k > q->most_values) q->most_values = k;
    }
    if (q->most_values < PIECE_VALUES) q->most_values = PIECE_VALUES;
    return status;
}

/* ---- Header ---- */

static void write_header(quantiser *q) {
    static const char *const left_out[] = {"general.file_type", "general.quantization_version", "general.alignment", "split.no",
                                           "split.count",       "split.tensors.count"};
    weft_gguf_writer_begin(&q->writer, q->runtime);
    for (size_t i = 0; i < weft_gguf_value_count(q->gguf); i++) {
        const weft_gguf_value *value = weft_gguf_value_at(q->gguf, i);
        bool copied = true;
        for (size_t j = 0; j < sizeof left_out / sizeof *left_out; j++) copied = copied && strcmp(value->key, left_out[j]) != 0;
        if (copied) weft_gguf_write_value(&q->writer, value);
    }
    weft_gguf_write_u32(&q->writer, "general.quantization_version", 2);
    weft_gguf_write_u32(&q->writer, "general.file_type", weft_mix_file_type(q->mix));
    for (size_t i = 0; i < weft_gguf_tensor_count(q->gguf); i++) {
        weft_tensor tensor = tensor_at(q, i)->tensor;
        tensor.type = q->types[i];
        weft_gguf_write_tensor(&q->writer, tensor_at(q, i)->name, &tensor);
    }
}

/* ---- Weights ---- */

static weft_status refuse_value(const quantiser *q, size_t index, int64_t at, int64_t n) {
    const weft_model_tensor *tensor = tensor_at(q, index);
    float value = q->values[at], largest = 0;
    for (int64_t i = at; i < n && i < at + WEFT_QUANTISE_BLOCK; i++) {
        if (isfinite(q->values[i])) largest = fmaxf(largest, fabsf(q->values[i]));
        if (isfinite(value)) value = q->values[i];
    }
    if (!isfinite(value))
        return weft_fail(q->error, WEFT_BAD_FILE, "%s: tensor %s has a weight that is %s", weft_gguf_path(q->gguf), tensor->name,
                         isnan(value) ? "NaN" : "infinite");
    return weft_fail(q->error, WEFT_UNSUPPORTED, "%s: tensor %s has weights up to %g, which are too large for %s",
                     weft_gguf_path(q->gguf), tensor->name, (double)largest, weft_type_get(q->types[index])->name);
}

/* `n` values, whole rows, from value `first` on. */
static weft_status quantise_piece(quantiser *q, size_t index, int64_t first, int64_t n) {
    const weft_model_tensor *tensor = tensor_at(q, index);
    weft_type from = tensor->tensor.type, to = q->types[index];
    uint64_t offset = first > 0 ? weft_type_bytes(from, first) : 0;
    weft_status status = weft_gguf_read(q->gguf, tensor, offset, q->from, (size_t)weft_type_bytes(from, n), q->error);
    if (status != WEFT_OK) return status;
    if (from == to) return weft_output_write(&q->output, q->from, (size_t)weft_type_bytes(from, n));
    status = weft_dequantise(from, q->from, n, q->values, q->error);
    if (status != WEFT_OK) return status;
    int64_t done = weft_quantise_values(to, q->values, n, q->blocks);
    if (done < n) return refuse_value(q, index, done, n);
    return weft_output_write(&q->output, q->blocks, (size_t)weft_type_bytes(to, n));
}

static weft_status quantise_tensor(quantiser *q, size_t index) {
    weft_tensor tensor = tensor_at(q, index)->tensor;
    int64_t k = tensor.shape[0], n_rows = rows_of(&tensor), most = q->most_values / k;
    weft_status status = WEFT_OK;
    for (int64_t row = 0; row < n_rows && status == WEFT_OK; row += most)
        status = quantise_piece(q, index, row * k, (n_rows - row < most ? n_rows - row : most) * k);
    tensor.type = q->types[index];
    uint64_t rest = weft_tensor_bytes(&tensor) % WEFT_GGUF_ALIGNMENT;
    return status == WEFT_OK ? weft_output_pad(&q->output, (size_t)((WEFT_GGUF_ALIGNMENT - rest) % WEFT_GGUF_ALIGNMENT)) : status;
}

static weft_status write_all(quantiser *q, const unsigned char *header, size_t size) {
    weft_status status = weft_output_write(&q->output, header, size);
    for (size_t i = 0; i < weft_gguf_tensor_count(q->gguf) && status == WEFT_OK; i++) status = quantise_tensor(q, i);
    return status == WEFT_OK ? weft_gguf_check_unchanged(q->gguf, q->error) : status;
}

static weft_status quantise(quantiser *q) {
    size_t size = 0;
    describe_model(q);
    weft_status status = choose_types(q);
    if (status != WEFT_OK) return status;
    write_header(q);
    const unsigned char *header = weft_gguf_header(&q->writer, &size);
    q->from = weft_allocate(q->runtime, (size_t)q->most_values * 4);
    q->blocks = weft_allocate(q->runtime, (size_t)q->most_values * 4);
    q->values = weft_allocate(q->runtime, (size_t)q->most_values * sizeof *q->values);
    if (!header || !q->from || !q->blocks || !q->values)
        return weft_fail(q->error, WEFT_OUT_OF_MEMORY, "%s: no memory to quantise it", weft_gguf_path(q->gguf));
    q->output.total = size + q->writer.data_size;
    status = weft_output_open(&q->output);
    return status == WEFT_OK ? weft_output_close(&q->output, write_all(q, header, size)) : status;
}

weft_status weft_quantise(weft_runtime *runtime, const weft_quantise_options *options, const char *from, const char *to,
                          weft_error *error) {
    if (!runtime || !options || !options->mix || !from || !to)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "quantising needs a mix, and paths of input and output");
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    quantiser q = {.runtime = runtime,
                   .mix = weft_mix_find(options->mix),
                   .options = options,
                   .writer = {.runtime = runtime},
                   .output = {.runtime = runtime,
                              .path = to,
                              .progress = options->progress,
                              .progress_user = options->progress_user,
                              .error = error},
                   .error = error};
    if (!q.mix) return weft_mix_unknown(options->mix, error);
    status = weft_gguf_open(runtime, from, &q.gguf, error);
    if (status == WEFT_OK) status = quantise(&q);
    weft_gguf_writer_end(&q.writer);
    weft_release(runtime, q.values);
    weft_release(runtime, q.blocks);
    weft_release(runtime, q.from);
    weft_release(runtime, q.types);
    weft_gguf_close(q.gguf);
    return status;
}
