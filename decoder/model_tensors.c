/* Which tensors a family knows, and what shapes they must have. */
#include "decoder/hyperparameters.h"

static weft_status wrong_shape(const weft_model *model, const weft_model_tensor *found, int64_t k, int64_t n, weft_error *error) {
    const int64_t *shape = found->tensor.shape;
    return weft_fail(error, WEFT_BAD_FILE, "%s: tensor %s is [%lld, %lld, %lld, %lld]; the metadata ask for [%lld, %lld, 1, 1]",
                     model->path, found->name, (long long)shape[0], (long long)shape[1], (long long)shape[2], (long long)shape[3],
                     (long long)k, (long long)n);
}

weft_status weft_model_expect(weft_model *model, const char *name, int64_t k, int64_t n, bool optional,
                              const weft_model_tensor **tensor, weft_error *error) {
    const weft_model_tensor *found = weft_gguf_tensor_find(model->gguf, name);
    if (tensor) *tensor = found;
    if (!found) {
        return optional ? WEFT_OK : weft_fail(error, WEFT_BAD_FILE, "%s: there is no tensor %s", model->path, name);
    }
    const int64_t *shape = found->tensor.shape;
    if (shape[0] != k || shape[1] != n || shape[2] != 1 || shape[3] != 1) return wrong_shape(model, found, k, n, error);
    bool is_vector = n == 1;
    if (is_vector ? found->tensor.type != WEFT_F32 : found->tensor.type == WEFT_I32) {
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: tensor %s has type %s, which weft cannot read as %s", model->path, name,
                         weft_type_get(found->tensor.type)->name, is_vector ? "a norm or a bias" : "a weight matrix");
    }
    model->expected[weft_gguf_tensor_index(model->gguf, found)] = true;
    return WEFT_OK;
}

weft_status weft_model_check_expected(const weft_model *model, weft_error *error) {
    for (size_t i = 0; i < weft_gguf_tensor_count(model->gguf); i++) {
        if (model->expected[i]) continue;
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: tensor %s is not one that weft knows in a model of this family", model->path,
                         weft_gguf_tensor_at(model->gguf, i)->name);
    }
    return WEFT_OK;
}
