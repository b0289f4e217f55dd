/* Fused ops as graphs of ordinary ops, from the definitions in their headers. The patterns of core/ops/ are not used here, so that
 * a mistake in them is found.
 */
#include <stdio.h>
#include <string.h>

#include "check/parts.h"
#include "weft/ops/mul_mat.h"
#include "weft/ops/mul_mat_add.h"
#include "weft/ops/norm_gated_mlp.h"
#include "weft/ops/norm_head_sample.h"
#include "weft/ops/norm_qkv.h"
#include "weft/ops/rms_norm.h"
#include "weft/ops/rope.h"
#include "weft/ops/sample.h"

typedef struct parts {
    const weft_check_case *c;
    weft_graph *graph;
    const weft_value *inputs;
    weft_value *outputs;
    weft_error *error;
    weft_status status; /* the first failure sticks */
    int n_nodes;
} parts;

static weft_value add_node(parts *p, weft_op op, const weft_value *inputs, const void *params, size_t size,
                           weft_value outputs[WEFT_MAX_OUTPUTS]) {
    char name[WEFT_NAME_SIZE];
    snprintf(name, sizeof name, "part%d", p->n_nodes++);
    if (p->status == WEFT_OK) p->status = weft_graph_add(p->graph, op, name, inputs, params, size, outputs, p->error);
    return p->status == WEFT_OK ? outputs[0] : WEFT_NONE;
}

static weft_value binary(parts *p, weft_op op, weft_value a, weft_value b) {
    weft_value outputs[WEFT_MAX_OUTPUTS];
    return add_node(p, op, (weft_value[]){a, b}, NULL, 0, outputs);
}

static weft_value product(parts *p, weft_value weight, weft_value x, int32_t extra_precision) {
    const weft_mul_mat_params params = {.extra_precision = extra_precision};
    weft_value outputs[WEFT_MAX_OUTPUTS];
    return add_node(p, WEFT_OP_MUL_MAT, (weft_value[]){weight, x}, &params, sizeof params, outputs);
}

static weft_value add_if_there(parts *p, weft_value a, weft_value b) {
    return b == WEFT_NONE ? a : binary(p, WEFT_OP_ADD, a, b);
}

static weft_value norm(parts *p, weft_value x, weft_value weight, float epsilon, int32_t n_groups) {
    const weft_rms_norm_params params = {.epsilon = epsilon, .n_groups = n_groups};
    weft_value outputs[WEFT_MAX_OUTPUTS];
    return add_node(p, WEFT_OP_RMS_NORM, (weft_value[]){x, weight}, &params, sizeof params, outputs);
}

static void mul_mat_add(parts *p) {
    weft_mul_mat_add_params params;
    memcpy(&params, p->c->params, sizeof params);
    weft_value y = product(p, p->inputs[WEFT_MUL_MAT_ADD_WEIGHT], p->inputs[WEFT_MUL_MAT_ADD_X], params.extra_precision);
    y = add_if_there(p, y, p->inputs[WEFT_MUL_MAT_ADD_BIAS]);
    p->outputs[WEFT_MUL_MAT_ADD_OUT_Y] = add_if_there(p, y, p->inputs[WEFT_MUL_MAT_ADD_RESIDUAL]);
}

static void norm_gated_mlp(parts *p) {
    weft_norm_gated_mlp_params params;
    memcpy(&params, p->c->params, sizeof params);
    weft_op activation = params.activation == WEFT_ACTIVATION_SILU ? WEFT_OP_SILU : WEFT_OP_GELU;
    weft_value z = norm(p, p->inputs[WEFT_NORM_GATED_MLP_X], p->inputs[WEFT_NORM_GATED_MLP_NORM], params.epsilon, 0);
    weft_value gate = product(p, p->inputs[WEFT_NORM_GATED_MLP_GATE], z, params.extra_precision & 1);
    weft_value up = product(p, p->inputs[WEFT_NORM_GATED_MLP_UP], z, params.extra_precision >> 1);
    p->outputs[WEFT_NORM_GATED_MLP_OUT_Y] = binary(p, WEFT_OP_MUL, binary(p, activation, gate, WEFT_NONE), up);
}

static void norm_head_sample(parts *p) {
    weft_norm_head_sample_params params;
    memcpy(&params, p->c->params, sizeof params);
    const weft_sample_params sample = {.n_top = params.n_top};
    weft_value z = norm(p, p->inputs[WEFT_NORM_HEAD_SAMPLE_X], p->inputs[WEFT_NORM_HEAD_SAMPLE_NORM], params.epsilon, 0);
    const weft_value inputs[] = {
        [WEFT_SAMPLE_LOGITS] = product(p, p->inputs[WEFT_NORM_HEAD_SAMPLE_WEIGHT], z, params.extra_precision),
        [WEFT_SAMPLE_HEADS] = p->inputs[WEFT_NORM_HEAD_SAMPLE_HEADS],
        [WEFT_SAMPLE_SEQUENCES] = p->inputs[WEFT_NORM_HEAD_SAMPLE_SEQUENCES],
    };
    add_node(p, WEFT_OP_SAMPLE, inputs, &sample, sizeof sample, p->outputs);
}

static void norm_qkv(parts *p) {
    weft_norm_qkv_params params;
    memcpy(&params, p->c->params, sizeof params);
    const weft_rope_params rope = {.head_dim = params.head_dim, .order = params.order};
    const weft_value *inputs = p->inputs;
    weft_value z = norm(p, inputs[WEFT_NORM_QKV_X], inputs[WEFT_NORM_QKV_NORM], params.epsilon, 0), y[3], outputs[WEFT_MAX_OUTPUTS];
    for (size_t i = 0; i < 3; i++) {
        y[i] = product(p, inputs[WEFT_NORM_QKV_Q + i], z, params.extra_precision >> i & 1);
        y[i] = add_if_there(p, y[i], inputs[WEFT_NORM_QKV_Q_BIAS + i]);
        if (WEFT_NORM_QKV_Q + i == WEFT_NORM_QKV_V) continue;
        int32_t n_heads = (int32_t)(p->c->inputs[WEFT_NORM_QKV_Q + i].tensor.shape[1] / params.head_dim);
        if (inputs[WEFT_NORM_QKV_Q_NORM + i] != WEFT_NONE)
            y[i] = norm(p, y[i], inputs[WEFT_NORM_QKV_Q_NORM + i], params.head_epsilon, n_heads);
        const weft_value rope_inputs[] = {
            [WEFT_ROPE_X] = y[i],
            [WEFT_ROPE_ROWS] = inputs[WEFT_NORM_QKV_ROWS],
            [WEFT_ROPE_TABLE] = inputs[WEFT_NORM_QKV_TABLE],
        };
        y[i] = add_node(p, WEFT_OP_ROPE, rope_inputs, &rope, sizeof rope, outputs);
    }
    const weft_value written[] = {
        [WEFT_KV_WRITE_K] = y[1],
        [WEFT_KV_WRITE_V] = y[2],
        [WEFT_KV_WRITE_KV] = inputs[WEFT_NORM_QKV_KV],
        [WEFT_KV_WRITE_ROWS] = inputs[WEFT_NORM_QKV_ROWS],
        [WEFT_KV_WRITE_SEQUENCES] = inputs[WEFT_NORM_QKV_SEQUENCES],
    };
    p->outputs[WEFT_NORM_QKV_OUT_Y] = y[0];
    p->outputs[WEFT_NORM_QKV_OUT_KV] = add_node(p, WEFT_OP_KV_WRITE, written, NULL, 0, outputs);
}

static const struct fused_op {
    weft_op op;
    void (*build)(parts *p);
} fused_ops[] = {
    {WEFT_OP_MUL_MAT_ADD, mul_mat_add},
    {WEFT_OP_NORM_GATED_MLP, norm_gated_mlp},
    {WEFT_OP_NORM_HEAD_SAMPLE, norm_head_sample},
    {WEFT_OP_NORM_QKV, norm_qkv},
};

bool weft_check_is_fused(weft_op op) {
    for (size_t i = 0; i < sizeof fused_ops / sizeof fused_ops[0]; i++)
        if (fused_ops[i].op == op) return true;
    return false;
}

weft_status weft_check_add_parts(const weft_check_case *c, weft_graph *graph, const weft_value *inputs, weft_value *outputs,
                                 weft_error *error) {
    parts p = {.c = c, .graph = graph, .inputs = inputs, .outputs = outputs, .error = error};
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) outputs[i] = WEFT_NONE;
    for (size_t i = 0; i < sizeof fused_ops / sizeof fused_ops[0]; i++)
        if (fused_ops[i].op == c->op) fused_ops[i].build(&p);
    return p.n_nodes > 0 ? p.status : weft_fail(error, WEFT_UNSUPPORTED, "%s is no fused op", weft_op_name(c->op));
}
