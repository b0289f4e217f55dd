#include "check/parts.h"

#include <stdio.h>

#include "weft/ops/mul_mat.h"
#include "weft/ops/rms_norm.h"

weft_value weft_check_part(weft_check_parts *parts, weft_op op, const weft_value *inputs, const void *params, size_t size,
                           weft_value outputs[WEFT_MAX_OUTPUTS]) {
    char name[WEFT_NAME_SIZE];
    snprintf(name, sizeof name, "part%d", parts->n_nodes++);
    if (parts->status == WEFT_OK)
        parts->status = weft_graph_add(parts->graph, op, name, inputs, params, size, outputs, parts->error);
    return parts->status == WEFT_OK ? outputs[0] : WEFT_NONE;
}

weft_value weft_check_part_binary(weft_check_parts *parts, weft_op op, weft_value a, weft_value b) {
    weft_value outputs[WEFT_MAX_OUTPUTS];
    return weft_check_part(parts, op, (weft_value[]){a, b}, NULL, 0, outputs);
}

weft_value weft_check_part_mul_mat(weft_check_parts *parts, weft_value weight, weft_value x, int32_t extra_precision) {
    const weft_mul_mat_params params = {.extra_precision = extra_precision};
    const weft_value inputs[] = {[WEFT_MUL_MAT_WEIGHT] = weight, [WEFT_MUL_MAT_X] = x};
    weft_value outputs[WEFT_MAX_OUTPUTS];
    return weft_check_part(parts, WEFT_OP_MUL_MAT, inputs, &params, sizeof params, outputs);
}

weft_value weft_check_part_rms_norm(weft_check_parts *parts, weft_value x, weft_value weight, float epsilon, int32_t n_groups) {
    const weft_rms_norm_params params = {.epsilon = epsilon, .n_groups = n_groups};
    const weft_value inputs[] = {[WEFT_RMS_NORM_X] = x, [WEFT_RMS_NORM_WEIGHT] = weight};
    weft_value outputs[WEFT_MAX_OUTPUTS];
    return weft_check_part(parts, WEFT_OP_RMS_NORM, inputs, &params, sizeof params, outputs);
}

weft_value weft_check_part_add(weft_check_parts *parts, weft_value a, weft_value b) {
    return b == WEFT_NONE ? a : weft_check_part_binary(parts, WEFT_OP_ADD, a, b);
}

bool weft_check_is_fused(weft_op op) {
    const weft_check_op *row = weft_check_op_get(op);
    return row && row->parts;
}

weft_status weft_check_add_parts(const weft_check_case *c, weft_graph *graph, const weft_value *inputs, weft_value *outputs,
                                 weft_error *error) {
    weft_check_parts parts = {.c = c, .graph = graph, .inputs = inputs, .outputs = outputs, .error = error};
    if (!weft_check_is_fused(c->op)) return weft_fail(error, WEFT_UNSUPPORTED, "%s is no fused op", weft_op_name(c->op));
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) outputs[i] = WEFT_NONE;
    weft_check_op_get(c->op)->parts(&parts);
    return parts.status;
}
