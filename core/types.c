#include "weft/weft.h"

#include <string.h>

/* Block sizes of the GGUF format (its GGMLQuantizationType). */
static const weft_type_info types[WEFT_TYPE_COUNT] = {
    [WEFT_F32] = {"F32", 1, 4},         [WEFT_F16] = {"F16", 1, 2},           [WEFT_Q4_0] = {"Q4_0", 32, 18},
    [WEFT_Q4_1] = {"Q4_1", 32, 20},     [WEFT_Q5_0] = {"Q5_0", 32, 22},       [WEFT_Q5_1] = {"Q5_1", 32, 24},
    [WEFT_Q8_0] = {"Q8_0", 32, 34},     [WEFT_Q2_K] = {"Q2_K", 256, 84},      [WEFT_Q3_K] = {"Q3_K", 256, 110},
    [WEFT_Q4_K] = {"Q4_K", 256, 144},   [WEFT_Q5_K] = {"Q5_K", 256, 176},     [WEFT_Q6_K] = {"Q6_K", 256, 210},
    [WEFT_IQ4_NL] = {"IQ4_NL", 32, 18}, [WEFT_IQ4_XS] = {"IQ4_XS", 256, 136}, [WEFT_I32] = {"I32", 1, 4},
    [WEFT_BF16] = {"BF16", 1, 2},       [WEFT_MXFP4] = {"MXFP4", 32, 17},
};

const weft_type_info *weft_type_get(weft_type type) {
    size_t index = (size_t)type;
    return index < WEFT_TYPE_COUNT && types[index].name ? &types[index] : NULL;
}

bool weft_type_from_name(const char *name, weft_type *type) {
    for (size_t i = 0; name && i < WEFT_TYPE_COUNT; i++) {
        if (types[i].name && strcmp(types[i].name, name) == 0) {
            if (type) *type = (weft_type)i;
            return true;
        }
    }
    return false;
}

uint64_t weft_type_bytes(weft_type type, int64_t n_elements) {
    const weft_type_info *info = weft_type_get(type);
    if (!info || n_elements < 1 || n_elements % info->block_elements != 0) return 0;
    uint64_t n_blocks = (uint64_t)n_elements / info->block_elements;
    return n_blocks > INT64_MAX / info->block_bytes ? 0 : n_blocks * info->block_bytes;
}

uint64_t weft_tensor_bytes(const weft_tensor *tensor) {
    uint64_t bytes = tensor ? weft_type_bytes(tensor->type, tensor->shape[0]) : 0;
    for (int i = 1; tensor && i < WEFT_MAX_DIMENSIONS; i++) {
        if (tensor->shape[i] < 1 || bytes > INT64_MAX / (uint64_t)tensor->shape[i]) return 0;
        bytes *= (uint64_t)tensor->shape[i];
    }
    return bytes;
}
