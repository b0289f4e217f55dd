#include "core/expect.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "weft/ops/sample.h"

const char *weft_tensor_text(const weft_tensor *tensor, char *text, size_t size) {
    const weft_type_info *info = weft_type_get(tensor->type);
    int n_dims = WEFT_MAX_DIMENSIONS;
    while (n_dims > 1 && tensor->shape[n_dims - 1] == 1) n_dims--;
    size_t used = 0;
    for (int i = 0; i < n_dims && used < size; i++) {
        const char *before = i == 0 ? " [" : ", ";
        int length = snprintf(text + used, size - used, "%s%s%" PRId64 "%s", i == 0 ? (info ? info->name : "unknown type") : "",
                              before, tensor->shape[i], i + 1 == n_dims ? "]" : "");
        if (length > 0) used += (size_t)length;
    }
    return text;
}

static const struct {
    const char *text;
    bool f32, f16, other_float, i32;
    bool any_leaf;
    weft_leaf leaf;
} expectations[] = {
    [WEFT_EXPECT_F32] = {"F32", .f32 = true, .any_leaf = true},
    [WEFT_EXPECT_I32] = {"I32", .i32 = true, .any_leaf = true},
    [WEFT_EXPECT_FLOAT] = {"any float type", .f32 = true, .f16 = true, .other_float = true, .any_leaf = true},
    [WEFT_EXPECT_WEIGHT] = {"a weight of any float type", .f32 = true, .f16 = true, .other_float = true, .leaf = WEFT_LEAF_WEIGHT},
    [WEFT_EXPECT_I32_STATE] = {"an I32 state", .i32 = true, .leaf = WEFT_LEAF_STATE},
    [WEFT_EXPECT_KV_STATE] = {"an F16 or F32 state", .f32 = true, .f16 = true, .leaf = WEFT_LEAF_STATE},
};

static bool type_is(weft_type type, weft_expected expected) {
    switch (type) {
    case WEFT_F32:
        return expectations[expected].f32;
    case WEFT_F16:
        return expectations[expected].f16;
    case WEFT_I32:
        return expectations[expected].i32;
    default:
        return expectations[expected].other_float;
    }
}

/* "any" or the number. */
static const char *extent_text(int64_t extent, char *text, size_t size) {
    if (extent == WEFT_ANY_EXTENT) return "any";
    snprintf(text, size, "%" PRId64, extent);
    return text;
}

static weft_status refuse(const weft_op_tensors *tensors, weft_op op, size_t index, const char *wanted, weft_error *error) {
    static const char *const leaf_texts[] = {"a result of another node", "a weight", "a step input", "a state"};
    const weft_op_row *row = weft_op_get(op);
    char name[WEFT_NAME_SIZE] = "", shape[128];
    bool optional;
    weft_op_port(row->inputs, index, name, sizeof name, &optional);
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: input %s is %s (%s), but must be %s", row->name, name,
                     weft_tensor_text(tensors->inputs[index], shape, sizeof shape), leaf_texts[tensors->leaves[index]], wanted);
}

weft_status weft_expect_type(const weft_op_tensors *tensors, weft_op op, size_t index, weft_expected expected, weft_error *error) {
    const weft_tensor *tensor = tensors->inputs[index];
    if (!tensor) return WEFT_OK;
    bool leaf_fits = expectations[expected].any_leaf || tensors->leaves[index] == expectations[expected].leaf;
    if (leaf_fits && type_is(tensor->type, expected)) return WEFT_OK;
    return refuse(tensors, op, index, expectations[expected].text, error);
}

weft_status weft_expect_matrix(const weft_op_tensors *tensors, weft_op op, size_t index, weft_expected expected, int64_t n0,
                               int64_t n1, weft_error *error) {
    const weft_tensor *tensor = tensors->inputs[index];
    if (!tensor) return WEFT_OK;
    bool leaf_fits = expectations[expected].any_leaf || tensors->leaves[index] == expectations[expected].leaf;
    bool shape_fits = (n0 == WEFT_ANY_EXTENT || tensor->shape[0] == n0) && (n1 == WEFT_ANY_EXTENT || tensor->shape[1] == n1) &&
                      tensor->shape[2] == 1 && tensor->shape[3] == 1;
    if (leaf_fits && shape_fits && type_is(tensor->type, expected)) return WEFT_OK;
    char wanted[128], texts[2][24];
    snprintf(wanted, sizeof wanted, "%s [%s, %s]", expectations[expected].text, extent_text(n0, texts[0], sizeof texts[0]),
             extent_text(n1, texts[1], sizeof texts[1]));
    return refuse(tensors, op, index, wanted, error);
}

weft_status weft_expect_sequences(const weft_op_tensors *tensors, weft_op op, size_t index, int64_t n_pages, weft_error *error) {
    weft_status status = weft_expect_matrix(tensors, op, index, WEFT_EXPECT_I32_STATE, WEFT_ANY_EXTENT, WEFT_ANY_EXTENT, error);
    if (status != WEFT_OK || !tensors->inputs[index]) return status;
    if (tensors->inputs[index]->shape[0] >= WEFT_SEQUENCE_PAGES + n_pages) return WEFT_OK;
    return refuse(tensors, op, index, "an I32 state [1 + pages, sequences] with a page or more", error);
}

weft_status weft_expect_kv(const weft_op_tensors *tensors, weft_op op, size_t index, weft_error *error) {
    weft_status status = weft_expect_type(tensors, op, index, WEFT_EXPECT_KV_STATE, error);
    if (status != WEFT_OK || tensors->inputs[index]->shape[3] % 2 == 0) return status;
    return refuse(tensors, op, index, "a state [head_dim, page_size, n_kv_heads, 2 * n_pages]", error);
}

/* The sampler serves both ops and uses the places that `sample` has. */
_Static_assert((int)WEFT_NORM_HEAD_SAMPLE_OUT_CHOSEN == WEFT_SAMPLE_OUT_CHOSEN &&
                   (int)WEFT_NORM_HEAD_SAMPLE_OUT_TOP == WEFT_SAMPLE_OUT_TOP &&
                   (int)WEFT_NORM_HEAD_SAMPLE_OUT_SEQUENCES == WEFT_SAMPLE_OUT_SEQUENCES,
               "sample and norm_head_sample have the same outputs");
_Static_assert(WEFT_SAMPLE_SEQUENCES == WEFT_SAMPLE_HEADS + 1 && WEFT_NORM_HEAD_SAMPLE_SEQUENCES == WEFT_NORM_HEAD_SAMPLE_HEADS + 1,
               "sequences follow heads");

weft_status weft_expect_sampling(const weft_op_tensors *tensors, weft_op op, size_t heads, int64_t n_vocab, int64_t n_columns,
                                 int32_t n_top, weft_tensor *outputs, weft_error *error) {
    weft_status status = weft_expect_matrix(tensors, op, heads, WEFT_EXPECT_I32, WEFT_HEAD_WORDS, n_columns, error);
    if (status == WEFT_OK) status = weft_expect_sequences(tensors, op, heads + 1, 0, error);
    if (status == WEFT_OK) status = weft_expect_word(op, "the number of logits", n_vocab, 1, INT32_MAX, error);
    if (status == WEFT_OK) status = weft_expect_word(op, "n_top", n_top, 0, n_vocab < WEFT_MAX_TOP ? n_vocab : WEFT_MAX_TOP, error);
    if (status != WEFT_OK) return status;
    outputs[WEFT_SAMPLE_OUT_CHOSEN] = weft_tensor_of(WEFT_I32, 2, n_columns, 1);
    outputs[WEFT_SAMPLE_OUT_TOP] = n_top ? weft_tensor_of(WEFT_I32, 2, n_top, n_columns) : (weft_tensor){0};
    return WEFT_OK;
}

weft_status weft_expect_word(weft_op op, const char *name, int64_t value, int64_t min, int64_t max, weft_error *error) {
    if (value >= min && value <= max) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: %s is %" PRId64 ", but must be from %" PRId64 " to %" PRId64,
                     weft_op_name(op), name, value, min, max);
}

weft_status weft_expect_finite(weft_op op, const char *name, float value, weft_error *error) {
    if (isfinite(value)) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: %s is %g, but must be finite", weft_op_name(op), name, (double)value);
}

weft_status weft_expect_positive(weft_op op, const char *name, float value, weft_error *error) {
    if (isfinite(value) && value > 0.0f) return WEFT_OK;
    return weft_fail(error, WEFT_INVALID_ARGUMENT, "%s: %s is %g, but must be finite and more than 0", weft_op_name(op), name,
                     (double)value);
}

weft_tensor weft_tensor_of(weft_type type, int64_t n0, int64_t n1, int64_t n2) {
    return (weft_tensor){type, {n0, n1, n2, 1}};
}

uint64_t weft_product(uint64_t a, uint64_t b) {
    return b != 0 && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

uint64_t weft_sum(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

uint64_t weft_mul_mat_operations(const weft_tensor *weight, int64_t n_columns) {
    uint64_t n_weights = weft_product((uint64_t)weight->shape[0], (uint64_t)weight->shape[1]);
    return weft_product(2, weft_product(n_weights, (uint64_t)n_columns));
}

uint64_t weft_kv_position_bytes(const weft_tensor *kv) {
    return weft_product(2, weft_product(weft_type_bytes(kv->type, kv->shape[0]), (uint64_t)kv->shape[2]));
}
