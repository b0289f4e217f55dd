#include "core/op.h"

static weft_status infer(const weft_op_tensors *tensors, const void *params, weft_tensor *outputs, weft_error *error) {
    (void)tensors, (void)params, (void)outputs;
    return weft_fail(error, WEFT_INVALID_ARGUMENT,
                     "none: leaves are added with weft_graph_weight, weft_graph_input and weft_graph_state");
}

const weft_op_rules weft_op_rules_none = {.infer = infer};
