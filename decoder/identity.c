#include "decoder/identity.h"

#include <string.h>

#include "decoder/gguf_reader.h"
#include "decoder/hash.h"

#define SAMPLE 64 /* bytes in the middle of a tensor: models trained from one base can differ in nothing else */

static void add_value(weft_hash *hash, const weft_gguf_value *value) {
    weft_hash_add(hash, value->key, strlen(value->key) + 1);
    weft_hash_add(hash, &(unsigned char){(unsigned char)value->type}, 1);
    if (value->type != WEFT_GGUF_STRING) weft_hash_add(hash, value->data, (size_t)value->count * weft_gguf_type_size(value->type));
    for (uint64_t i = 0; value->type == WEFT_GGUF_STRING && i < value->count; i++) {
        weft_text text = weft_gguf_text_at(value, i);
        weft_hash_add(hash, text.bytes, text.size);
    }
}

static weft_status add_tensor(const weft_model *model, const weft_model_tensor *tensor, weft_hash *hash, weft_error *error) {
    unsigned char sample[SAMPLE];
    const size_t n = tensor->bytes < SAMPLE ? (size_t)tensor->bytes : SAMPLE;
    weft_status status = weft_gguf_read(model->gguf, tensor, (tensor->bytes - n) / 2, sample, n, error);
    if (status != WEFT_OK) return status;
    weft_hash_add(hash, tensor->name, strlen(tensor->name) + 1);
    weft_hash_add(hash, tensor->type_name, strlen(tensor->type_name) + 1);
    weft_hash_add(hash, tensor->tensor.shape, sizeof tensor->tensor.shape);
    weft_hash_add(hash, sample, n);
    return WEFT_OK;
}

weft_status weft_model_identity(const weft_model *model, uint64_t *identity, weft_error *error) {
    static const char split[] = "split.";
    weft_hash hash = {0, 0, 0};
    for (size_t i = 0; i < weft_gguf_value_count(model->gguf); i++) {
        const weft_gguf_value *value = weft_gguf_value_at(model->gguf, i);
        if (strncmp(value->key, split, sizeof split - 1) != 0) add_value(&hash, value);
    }
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < weft_gguf_tensor_count(model->gguf) && status == WEFT_OK; i++)
        status = add_tensor(model, weft_gguf_tensor_at(model->gguf, i), &hash, error);
    if (status == WEFT_OK) *identity = weft_hash_value(&hash);
    return status;
}
