/* Fused ops as the graphs of ordinary ops that their headers define them by. What core/ops/ knows of the patterns is not asked: a
 * mistake there shall show.
 */
#include <stdio.h>
#include <string.h>

#include "check/parts.h"
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

#define MOST_INPUTS 5

/* Adds a node whose inputs not listed are left out. */
static weft_value add_node(parts *p, weft_op op, const weft_value given[MOST_INPUTS], const void *params, size_t size,
                           weft_value outputs[WEFT_MAX_OUTPUTS]) {
    weft_value inputs[WEFT_MAX_INPUTS];
    char name[WEFT_NAME_SIZE];
    snprintf(name, sizeof name, "part%d", p->n_nodes++);
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) inputs[i] = i < MOST_INPUTS ? given[i] : WEFT_NONE;
    if (p->status == WEFT_OK) p->status = weft_graph_add(p->graph, op, name, inputs, params, size, outputs, p->error);
    return p->status == WEFT_OK ? outputs[0] : WEFT_NONE;
}

static weft_value binary(parts *p, weft_op op, weft_value a, weft_value b) {
    weft_value outputs[WEFT_MAX_OUTPUTS];
    return add_node(p, op, (weft_value[MOST_INPUTS]){a, b, WEFT_NONE, WEFT_NONE, WEFT_NONE}, NULL, 0, outputs);
}

static weft_value add_if_there(parts *p, weft_value a, weft_value b) {
    return b == WEFT_NONE ? a : binary(p, WEFT_OP_ADD, a, b);
}

static weft_value norm(parts *p, weft_value x, weft_value weight, float epsilon, int32_t n_groups) {
    const weft_rms_norm_params params = {.epsilon = epsilon, .n_groups = n_groups};
    weft_value outputs[WEFT_MAX_OUTPUTS];
    return add_node(p, WEFT_OP_RMS_NORM, (weft_value[MOST_INPUTS]){x, weight, WEFT_NONE, WEFT_NONE, WEFT_NONE}, &params,
                    sizeof params, outputs);
}

static void mul_mat_add(parts *p) {
    weft_value y = binary(p, WEFT_OP_MUL_MAT, p->inputs[0], p->inputs[1]);
    p->outputs[0] = add_if_there(p, add_if_there(p, y, p->inputs[2]), p->inputs[3]);
}

static void norm_gated_mlp(parts *p) {
    weft_norm_gated_mlp_params params;
    memcpy(&params, p->c->params, sizeof params);
    weft_op activation = params.activation == WEFT_ACTIVATION_SILU ? WEFT_OP_SILU : WEFT_OP_GELU;
    weft_value z = norm(p, p->inputs[0], p->inputs[1], params.epsilon, 0);
    weft_value gate = binary(p, WEFT_OP_MUL_MAT, p->inputs[2], z), up = binary(p, WEFT_OP_MUL_MAT, p->inputs[3], z);
    p->outputs[0] = binary(p, WEFT_OP_MUL, binary(p, activation, gate, WEFT_NONE), up);
}

static void norm_head_sample(parts *p) {
    weft_norm_head_sample_params params;
    memcpy(&params, p->c->params, sizeof params);
    const weft_sample_params sample = {.n_top = params.n_top};
    weft_value z = norm(p, p->inputs[0], p->inputs[1], params.epsilon, 0);
    weft_value logits = binary(p, WEFT_OP_MUL_MAT, p->inputs[2], z);
    add_node(p, WEFT_OP_SAMPLE, (weft_value[MOST_INPUTS]){logits, p->inputs[3], p->inputs[4], WEFT_NONE, WEFT_NONE}, &sample,
             sizeof sample, p->outputs);
}

static void norm_qkv(parts *p) {
    enum { X, NORM, Q, K, V, Q_BIAS, K_BIAS, V_BIAS, Q_NORM, K_NORM, TABLE, KV, ROWS, SEQUENCES };
    weft_norm_qkv_params params;
    memcpy(&params, p->c->params, sizeof params);
    const weft_rope_params rope = {.head_dim = params.head_dim, .order = params.order};
    const weft_value *inputs = p->inputs;
    weft_value z = norm(p, inputs[X], inputs[NORM], params.epsilon, 0), y[3], outputs[WEFT_MAX_OUTPUTS];
    for (size_t i = 0; i < 3; i++) {
        y[i] = add_if_there(p, binary(p, WEFT_OP_MUL_MAT, inputs[Q + i], z), inputs[Q_BIAS + i]);
        if (Q + i == V) continue;
        int32_t n_heads = (int32_t)(p->c->inputs[Q + i].tensor.shape[1] / params.head_dim);
        if (inputs[Q_NORM + i] != WEFT_NONE) y[i] = norm(p, y[i], inputs[Q_NORM + i], params.head_epsilon, n_heads);
        y[i] = add_node(p, WEFT_OP_ROPE, (weft_value[MOST_INPUTS]){y[i], inputs[ROWS], inputs[TABLE], WEFT_NONE, WEFT_NONE}, &rope,
                        sizeof rope, outputs);
    }
    p->outputs[0] = y[0];
    p->outputs[1] = add_node(p, WEFT_OP_KV_WRITE,
                             (weft_value[MOST_INPUTS]){y[1], y[2], inputs[KV], inputs[ROWS], inputs[SEQUENCES]}, NULL, 0, outputs);
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
