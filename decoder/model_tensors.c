/* The tensors that a family knows, and their shapes. */
#include "decoder/model.h"

#include <stdio.h>

static weft_status wrong_shape(const weft_model *model, const weft_model_tensor *found, int64_t k, int64_t n, int64_t n_matrices,
                               weft_error *error) {
    const int64_t *shape = found->tensor.shape;
    return weft_fail(error, WEFT_BAD_FILE, "%s: tensor %s is [%lld, %lld, %lld, %lld]; the metadata ask for [%lld, %lld, %lld, 1]",
                     model->path, found->name, (long long)shape[0], (long long)shape[1], (long long)shape[2], (long long)shape[3],
                     (long long)k, (long long)n, (long long)n_matrices);
}

weft_tensor weft_model_graph_tensor(const weft_model_tensor *tensor) {
    weft_tensor in_graph = tensor->tensor;
    bool is_vector = in_graph.shape[1] == 1 && in_graph.shape[2] == 1 && in_graph.shape[3] == 1;
    if (is_vector && (in_graph.type == WEFT_F16 || in_graph.type == WEFT_BF16)) in_graph.type = WEFT_F32;
    return in_graph;
}

static weft_status expect(weft_model *model, const char *name, int64_t k, int64_t n, int64_t n_matrices, bool optional,
                          const weft_model_tensor **tensor, weft_error *error) {
    const weft_model_tensor *found = weft_gguf_tensor_find(model->gguf, name);
    if (tensor) *tensor = found && weft_gguf_tensor_readable(found) ? found : NULL;
    if (!found) {
        return optional ? WEFT_OK : weft_fail(error, WEFT_BAD_FILE, "%s: there is no tensor %s", model->path, name);
    }
    const int64_t *shape = found->tensor.shape;
    if (shape[0] != k || shape[1] != n || shape[2] != n_matrices || shape[3] != 1)
        return wrong_shape(model, found, k, n, n_matrices, error);
    bool is_vector = n == 1 && n_matrices == 1;
    bool wrong_type = is_vector ? weft_model_graph_tensor(found).type != WEFT_F32 : found->tensor.type == WEFT_I32;
    if (wrong_type && weft_gguf_tensor_readable(found)) {
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: tensor %s has type %s, which weft cannot read as %s", model->path, name,
                         found->type_name, is_vector ? "a norm or a bias" : "a weight matrix");
    }
    model->expected[weft_gguf_tensor_index(model->gguf, found)] = true;
    return WEFT_OK;
}

weft_status weft_model_expect(weft_model *model, const char *name, int64_t k, int64_t n, bool optional,
                              const weft_model_tensor **tensor, weft_error *error) {
    return expect(model, name, k, n, 1, optional, tensor, error);
}

/* `layer`: -1 for a part of no layer. */
static weft_status expect_part(weft_model *model, weft_model_part part, int32_t layer, weft_error *error) {
    char name[WEFT_NAME_SIZE];
    weft_part_place place;
    if (!weft_part_find(model->family, &model->hyper, part, &place)) return WEFT_OK;
    if (layer < 0)
        snprintf(name, sizeof name, "%s", place.stem);
    else
        snprintf(name, sizeof name, "blk.%d.%s", (int)layer, place.stem);
    return expect(model, name, place.whole_k, place.whole_n, place.n_matrices, place.optional, NULL, error);
}

weft_status weft_model_expect_parts(weft_model *model, weft_error *error) {
    weft_status status = WEFT_OK;
    for (int32_t layer = 0; layer < model->hyper.n_layers; layer++)
        for (int part = 0; part < WEFT_PART_EMBEDDING && status == WEFT_OK; part++)
            status = expect_part(model, (weft_model_part)part, layer, error);
    for (int part = WEFT_PART_EMBEDDING; part < WEFT_PART_COUNT && status == WEFT_OK; part++)
        status = expect_part(model, (weft_model_part)part, -1, error);
    return status;
}

weft_status weft_model_check_expected(const weft_model *model, weft_error *error) {
    for (size_t i = 0; i < weft_gguf_tensor_count(model->gguf); i++) {
        if (model->expected[i]) continue;
        return weft_fail(error, WEFT_UNSUPPORTED, "%s: tensor %s is not one that weft knows in a model of this family", model->path,
                         weft_gguf_tensor_at(model->gguf, i)->name);
    }
    return WEFT_OK;
}
