#include "weft/ops/scatter.h"

#include "core/expect.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)params, (void)outputs;
    weft_status status = weft_expect_type(tensors, WEFT_OP_SCATTER, WEFT_SCATTER_STATE, WEFT_EXPECT_I32_STATE, error);
    if (status == WEFT_OK)
        status = weft_expect_matrix(tensors, WEFT_OP_SCATTER, WEFT_SCATTER_UPDATES, WEFT_EXPECT_I32, 2, WEFT_ANY_EXTENT, error);
    return status;
}

static void cost(const weft_op_tensors *tensors, const void *params, const weft_tensor *outputs, uint64_t *operations,
                 uint64_t *bytes) {
    (void)params, (void)outputs, (void)operations;
    *bytes = weft_sum(*bytes, weft_product(sizeof(int32_t), (uint64_t)tensors->inputs[WEFT_SCATTER_UPDATES]->shape[1]));
}

const weft_op_rules weft_op_rules_scatter = {.infer = infer, .cost = cost};
