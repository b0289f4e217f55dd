/* Every op's rules: a node that keeps them with its outputs, and changes that break one rule each. */
#include "tests/graph_support.h"

#include <math.h>

#include "core/graph.h"
#include "core/op.h"
#include "weft/ops/layer_norm.h"
#include "weft/ops/mul_mat_add.h"
#include "weft/ops/route.h"
#include "weft/ops/soft_cap.h"

typedef struct leaf_spec {
    weft_leaf leaf; /* WEFT_LEAF_NOT: left out */
    weft_tensor tensor;
} leaf_spec;

#define W(type, n0, n1) W3(type, n0, n1, 1)
#define W3(type, n0, n1, n2)                                                                                                       \
    {                                                                                                                              \
        WEFT_LEAF_WEIGHT, {                                                                                                        \
            WEFT_##type, {                                                                                                         \
                n0, n1, n2, 1                                                                                                      \
            }                                                                                                                      \
        }                                                                                                                          \
    }
#define A(n0, n1) A3(n0, n1, 1)
#define A3(n0, n1, n2)                                                                                                             \
    {                                                                                                                              \
        WEFT_LEAF_INPUT, {                                                                                                         \
            WEFT_F32, {                                                                                                            \
                n0, n1, n2, 1                                                                                                      \
            }                                                                                                                      \
        }                                                                                                                          \
    }
#define I(n0, n1)                                                                                                                  \
    {                                                                                                                              \
        WEFT_LEAF_INPUT, {                                                                                                         \
            WEFT_I32, {                                                                                                            \
                n0, n1, 1, 1                                                                                                       \
            }                                                                                                                      \
        }                                                                                                                          \
    }
#define S(type, n0, n1)                                                                                                            \
    {                                                                                                                              \
        WEFT_LEAF_STATE, {                                                                                                         \
            WEFT_##type, {                                                                                                         \
                n0, n1, 1, 1                                                                                                       \
            }                                                                                                                      \
        }                                                                                                                          \
    }
#define KV(type, n0, n1, n2, n3)                                                                                                   \
    {                                                                                                                              \
        WEFT_LEAF_STATE, {                                                                                                         \
            WEFT_##type, {                                                                                                         \
                n0, n1, n2, n3                                                                                                     \
            }                                                                                                                      \
        }                                                                                                                          \
    }
#define SEQUENCES S(I32, WEFT_SEQUENCE_PAGES + 6, 3)
#define LEFT_OUT                                                                                                                   \
    {                                                                                                                              \
        WEFT_LEAF_NOT, {                                                                                                           \
            WEFT_F32, {                                                                                                            \
                0                                                                                                                  \
            }                                                                                                                      \
        }                                                                                                                          \
    }
#define F32_OF(n0, n1)                                                                                                             \
    {                                                                                                                              \
        WEFT_F32, {                                                                                                                \
            n0, n1, 1, 1                                                                                                           \
        }                                                                                                                          \
    }
#define I32_OF(n0, n1, n2)                                                                                                         \
    {                                                                                                                              \
        WEFT_I32, {                                                                                                                \
            n0, n1, n2, 1                                                                                                          \
        }                                                                                                                          \
    }
#define KV_OF(type)                                                                                                                \
    {                                                                                                                              \
        WEFT_##type, {                                                                                                             \
            8, 16, 2, 6                                                                                                            \
        }                                                                                                                          \
    }
#define PARAMS(type, ...) &(const type){__VA_ARGS__}, sizeof(type)

typedef struct op_case {
    weft_op op;
    leaf_spec inputs[WEFT_MAX_INPUTS];
    const void *params;
    size_t params_size;
    weft_tensor outputs[WEFT_MAX_OUTPUTS]; /* shape[0] 0: none */
} op_case;

/* head_dim 8, 4 heads, 2 KV heads, n_embd 32, n_ff 64, 50 tokens, T = 7. */
static const op_case cases[] = {
    {WEFT_OP_GET_ROWS, {W(Q4_0, 64, 50), I(4, 7), SEQUENCES}, NULL, 0, {F32_OF(64, 7)}},
    {WEFT_OP_GET_ROWS, {A3(64, 50, 2), I(1, 7), LEFT_OUT}, NULL, 0, {F32_OF(64, 7)}},
    {WEFT_OP_MUL_MAT, {W(Q8_0, 64, 9), A(64, 7)}, PARAMS(weft_mul_mat_params, 1), {F32_OF(9, 7)}},
    {WEFT_OP_ADD, {A(5, 7), A(5, 7)}, NULL, 0, {F32_OF(5, 7)}},
    {WEFT_OP_MUL, {A(5, 7), W(F32, 5, 1)}, NULL, 0, {F32_OF(5, 7)}},
    {WEFT_OP_RMS_NORM, {A(12, 7), W(F32, 3, 1)}, PARAMS(weft_rms_norm_params, 1e-5f, 4), {F32_OF(12, 7)}},
    {WEFT_OP_ROPE, {A(32, 7), I(4, 7), W(F32, 6, 99)}, PARAMS(weft_rope_params, 8, WEFT_ROPE_HALVES), {F32_OF(32, 7)}},
    {WEFT_OP_SILU, {A(5, 7)}, NULL, 0, {F32_OF(5, 7)}},
    {WEFT_OP_GELU, {A(5, 7)}, NULL, 0, {F32_OF(5, 7)}},
    {WEFT_OP_SOFT_MAX, {A(5, 7), A(5, 7)}, PARAMS(weft_soft_max_params, 0.5f), {F32_OF(5, 7)}},
    {WEFT_OP_SOFT_CAP, {A(5, 7)}, PARAMS(weft_soft_cap_params, 30.0f), {F32_OF(5, 7)}},
    {WEFT_OP_LAYER_NORM, {A(12, 7), W(F32, 12, 1), W(F32, 12, 1)}, PARAMS(weft_layer_norm_params, 1e-5f), {F32_OF(12, 7)}},
    {WEFT_OP_ROUTE, {A(5, 7)}, PARAMS(weft_route_params, 3, WEFT_ROUTE_SIGMOID, 1, 2.5f), {I32_OF(3, 7, 1), F32_OF(3, 7)}},
    {WEFT_OP_MUL_MAT_EXPERTS, {W3(Q4_0, 64, 9, 5), A(64, 7), I(3, 7)}, NULL, 0, {F32_OF(9, 21)}},
    {WEFT_OP_MUL_MAT_EXPERTS, {W3(F32, 63, 9, 1), A(63, 21), I(3, 7)}, NULL, 0, {F32_OF(9, 21)}},
    {WEFT_OP_SUM_EXPERTS, {A(9, 21), A(3, 7)}, NULL, 0, {F32_OF(9, 7)}},
    {WEFT_OP_COPY, {W(Q6_K, 256, 3)}, NULL, 0, {F32_OF(256, 3)}},
    {WEFT_OP_COPY, {A3(5, 3, 2)}, NULL, 0, {{WEFT_F32, {5, 3, 2, 1}}}},
    {WEFT_OP_ATTENTION,
     {A(32, 7), KV(F16, 8, 16, 2, 6), I(4, 7), SEQUENCES},
     PARAMS(weft_attention_params, 4, 0.3f, 0, 5.0f),
     {F32_OF(32, 7)}},
    {WEFT_OP_SAMPLE,
     {A(50, 7), I(8, 7), SEQUENCES},
     PARAMS(weft_sample_params, 4),
     {I32_OF(2, 7, 1), I32_OF(2, 4, 7), I32_OF(7, 3, 1)}},
    {WEFT_OP_KV_WRITE, {A(16, 7), A(16, 7), KV(F32, 8, 16, 2, 6), I(4, 7), SEQUENCES}, NULL, 0, {KV_OF(F32)}},
    {WEFT_OP_SCATTER, {SEQUENCES, I(2, 11)}, NULL, 0, {I32_OF(7, 3, 1)}},
    {WEFT_OP_NORM_QKV,
     {A(32, 7), W(F32, 32, 1), W(Q4_0, 32, 32), W(Q4_0, 32, 16), W(Q8_0, 32, 16), W(F32, 32, 1), W(F32, 16, 1), W(F32, 16, 1),
      W(F32, 8, 1), W(F32, 8, 1), W(F32, 8, 99), KV(F16, 8, 16, 2, 6), I(4, 7), SEQUENCES},
     PARAMS(weft_norm_qkv_params, 1e-5f, 1e-6f, 8, WEFT_ROPE_ADJACENT, 6),
     {F32_OF(32, 7), KV_OF(F16)}},
    {WEFT_OP_MUL_MAT_ADD, {W(F16, 64, 9), A(64, 7), W(F32, 9, 1), A(9, 7)}, PARAMS(weft_mul_mat_add_params, 1), {F32_OF(9, 7)}},
    {WEFT_OP_NORM_GATED_MLP,
     {A(32, 7), W(F32, 32, 1), W(Q4_1, 32, 64), W(Q5_0, 32, 64)},
     PARAMS(weft_norm_gated_mlp_params, 1e-5f, WEFT_ACTIVATION_GELU, 3),
     {F32_OF(64, 7)}},
    {WEFT_OP_NORM_HEAD_SAMPLE,
     {A(32, 7), W(F32, 32, 1), W(Q5_1, 32, 50), I(8, 7), SEQUENCES},
     PARAMS(weft_norm_head_sample_params, 1e-5f, 0, 1),
     {I32_OF(2, 7, 1), {WEFT_F32, {0}}, I32_OF(7, 3, 1)}},
};

/* Builds the case's leaves (with input `changed` as `change` says, if that is given) and adds the node. */
static weft_status try_case(weft_graph *graph, const op_case *c, int changed, const leaf_spec *change, const void *params,
                            weft_value *outputs, weft_error *error) {
    weft_value inputs[WEFT_MAX_INPUTS];
    for (int i = 0; i < (int)weft_op_input_count(c->op); i++) {
        const leaf_spec *spec = i == changed && change ? change : &c->inputs[i];
        char name[WEFT_NAME_SIZE];
        snprintf(name, sizeof name, "leaf %zu", graph->n_nodes);
        inputs[i] = WEFT_NONE;
        leaf_function add[] = {NULL, weft_graph_weight, weft_graph_input, weft_graph_state};
        weft_error local;
        if (spec->leaf != WEFT_LEAF_NOT && add[spec->leaf](graph, name, &spec->tensor, &inputs[i], &local) != WEFT_OK)
            fail_msg("%s", local.message);
    }
    size_t n_nodes = graph->n_nodes, n_values = graph->n_values;
    weft_status status = weft_graph_add(graph, c->op, "node", inputs, params, c->params_size, outputs, error);
    if (status != WEFT_OK) {
        assert_int_equal(graph->n_nodes, n_nodes);
        assert_int_equal(graph->n_values, n_values);
        for (size_t i = 0; i < n_values; i++) assert_int_equal(graph->values[i].superseded, WEFT_NONE);
    }
    return status;
}

static void assert_refused(const op_case *c, int changed, const leaf_spec *change, const void *params, const char *message) {
    counting counts;
    weft_runtime *runtime = make_runtime(&counts);
    weft_graph *graph;
    assert_int_equal(weft_graph_create(runtime, &graph, NULL), WEFT_OK);
    weft_value outputs[WEFT_MAX_OUTPUTS] = {55, 55, 55, 55};
    weft_error error = {0};
    weft_status status = try_case(graph, c, changed, change, params, outputs, &error);
    if (status != WEFT_INVALID_ARGUMENT || error.status != status)
        fail_msg("%s, input %d: status %d, message '%s', but should say '%s'", weft_op_name(c->op), changed, status, error.message,
                 message);
    if (!strstr(error.message, message) || !strstr(error.message, weft_op_name(c->op)) || strncmp(error.message, "node: ", 6) != 0)
        fail_msg("%s, input %d: '%s' should say '%s'", weft_op_name(c->op), changed, error.message, message);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) assert_int_equal(outputs[i], 55);
    weft_graph_destroy(graph);
    end_runtime(runtime, &counts);
}

static const op_case *find_case(weft_op op) {
    for (size_t i = 0; i < COUNT(cases); i++)
        if (cases[i].op == op) return &cases[i];
    fail_msg("%s has no case", weft_op_name(op));
    return NULL;
}

/* Ops that came later have their outputs checked by their cases of check/ops. */
static void ops_give_their_outputs(void **state) {
    (void)state;
    for (size_t i_case = 0; i_case < COUNT(cases); i_case++) {
        const op_case *c = &cases[i_case];
        counting counts;
        weft_runtime *runtime = make_runtime(&counts);
        weft_graph *graph;
        assert_int_equal(weft_graph_create(runtime, &graph, NULL), WEFT_OK);
        weft_value outputs[WEFT_MAX_OUTPUTS];
        weft_error error;
        if (try_case(graph, c, -1, NULL, c->params, outputs, &error) != WEFT_OK) fail_msg("%s", error.message);
        for (size_t i = 0; i < weft_op_output_count(c->op); i++) {
            if (c->outputs[i].shape[0] == 0) {
                assert_int_equal(outputs[i], WEFT_NONE);
                continue;
            }
            weft_tensor tensor;
            assert_int_equal(weft_graph_tensor(graph, outputs[i], &tensor, NULL), WEFT_OK);
            assert_int_equal(tensor.type, c->outputs[i].type);
            assert_memory_equal(tensor.shape, c->outputs[i].shape, sizeof tensor.shape);
        }
        weft_graph_destroy(graph);
        end_runtime(runtime, &counts);
    }
}

static void only_optional_inputs_may_be_left_out(void **state) {
    (void)state;
    static const leaf_spec left_out = LEFT_OUT;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const op_case *c = &cases[i];
        char name[WEFT_NAME_SIZE];
        bool optional;
        for (int j = 0; weft_op_port(weft_op_get(c->op)->inputs, (size_t)j, name, sizeof name, &optional); j++) {
            char message[WEFT_NAME_SIZE * 2];
            snprintf(message, sizeof message, "input %s is missing", name);
            if (!optional) {
                assert_refused(c, j, &left_out, c->params, message);
                continue;
            }
            counting counts;
            weft_runtime *runtime = make_runtime(&counts);
            weft_graph *graph;
            assert_int_equal(weft_graph_create(runtime, &graph, NULL), WEFT_OK);
            weft_value outputs[WEFT_MAX_OUTPUTS];
            weft_status status = try_case(graph, c, j, &left_out, c->params, outputs, NULL);
            assert_int_equal(status, WEFT_OK);
            weft_graph_destroy(graph);
            end_runtime(runtime, &counts);
        }
    }
}

/* One input changed so that one rule is broken. */
static const struct {
    weft_op op;
    int input;
    leaf_spec change;
    const char *message;
} wrong_inputs[] = {
    {WEFT_OP_GET_ROWS, 0, I(64, 50), "input table is I32 [64, 50]"},
    {WEFT_OP_GET_ROWS, 1, A(4, 7), "input index is F32 [4, 7]"},
    {WEFT_OP_GET_ROWS, 1, I(1, 7), "2 or more"},
    {WEFT_OP_GET_ROWS, 2, I(7, 3), "input sequences is I32 [7, 3] (a step input)"},
    {WEFT_OP_MUL_MAT, 0, A(64, 9), "input weight is F32 [64, 9] (a step input), but must be a weight"},
    {WEFT_OP_MUL_MAT, 0, W(I32, 64, 9), "input weight is I32 [64, 9]"},
    {WEFT_OP_MUL_MAT, 0, W(Q8_0, 32, 9), "input x is F32 [64, 7] (a step input), but must be F32 [32, any]"},
    {WEFT_OP_MUL_MAT, 1, A(63, 7), "input x is F32 [63, 7]"},
    {WEFT_OP_MUL_MAT, 1, A3(64, 7, 2), "input x is F32 [64, 7, 2]"},
    {WEFT_OP_MUL_MAT, 1, W(F16, 64, 7), "input x is F16 [64, 7]"},
    {WEFT_OP_ADD, 0, I(5, 7), "input a is I32"},
    {WEFT_OP_ADD, 0, A3(5, 7, 2), "input a is F32 [5, 7, 2]"},
    {WEFT_OP_ADD, 1, A(5, 6), "input b is F32 [5, 6]"},
    {WEFT_OP_ADD, 1, A(4, 7), "input b is F32 [4, 7]"},
    {WEFT_OP_ADD, 1, A(1, 1), "input b is F32 [1]"},
    {WEFT_OP_MUL, 0, W(F16, 5, 7), "input a is F16"},
    {WEFT_OP_MUL, 1, W(F32, 6, 1), "input b is F32 [6]"},
    {WEFT_OP_MUL, 1, W(F16, 5, 1), "input b is F16 [5]"},
    {WEFT_OP_RMS_NORM, 0, I(12, 7), "input x is I32"},
    {WEFT_OP_RMS_NORM, 0, A(13, 7), "must divide the 13"},
    {WEFT_OP_RMS_NORM, 1, W(F32, 12, 1), "input weight is F32 [12]"},
    {WEFT_OP_RMS_NORM, 1, W(F32, 3, 2), "input weight is F32 [3, 2]"},
    {WEFT_OP_ROPE, 0, A(33, 7), "must divide the 33"},
    {WEFT_OP_ROPE, 1, I(4, 6), "input rows is I32 [4, 6]"},
    {WEFT_OP_ROPE, 1, I(3, 7), "input rows is I32 [3, 7]"},
    {WEFT_OP_ROPE, 2, W(F32, 7, 99), "rotates 7"},
    {WEFT_OP_ROPE, 2, W(F32, 10, 99), "rotates 10"},
    {WEFT_OP_ROPE, 2, W(F16, 6, 99), "input table is F16"},
    {WEFT_OP_SILU, 0, I(5, 7), "input x is I32"},
    {WEFT_OP_GELU, 0, A3(5, 7, 2), "input x is F32 [5, 7, 2]"},
    {WEFT_OP_SOFT_CAP, 0, I(5, 7), "input x is I32"},
    {WEFT_OP_LAYER_NORM, 0, A3(12, 7, 2), "input x is F32 [12, 7, 2]"},
    {WEFT_OP_LAYER_NORM, 1, W(F32, 3, 1), "input weight is F32 [3]"},
    {WEFT_OP_LAYER_NORM, 2, W(F16, 12, 1), "input bias is F16"},
    {WEFT_OP_SOFT_MAX, 1, A(5, 1), "input mask is F32 [5]"},
    {WEFT_OP_SOFT_MAX, 0, A(6, 7), "input mask is F32 [5, 7]"},
    {WEFT_OP_ROUTE, 0, I(5, 7), "input logits is I32"},
    {WEFT_OP_ROUTE, 0, A3(5, 7, 2), "input logits is F32 [5, 7, 2]"},
    {WEFT_OP_ROUTE, 0, A(2, 7), "n_chosen is 3, but must be from 1 to 2"},
    {WEFT_OP_MUL_MAT_EXPERTS, 0, W3(I32, 64, 9, 5), "input weight is I32"},
    {WEFT_OP_MUL_MAT_EXPERTS, 0, A3(64, 9, 5), "input weight is F32 [64, 9, 5] (a step input)"},
    {WEFT_OP_MUL_MAT_EXPERTS, 0, {WEFT_LEAF_WEIGHT, {WEFT_F16, {64, 9, 5, 2}}}, "fourth dimension is 2"},
    {WEFT_OP_MUL_MAT_EXPERTS, 1, A(65, 7), "input x is F32 [65, 7]"},
    {WEFT_OP_MUL_MAT_EXPERTS, 1, A(64, 14), "input x has 14 columns, but ids [3, 7] need 7 or 21"},
    {WEFT_OP_MUL_MAT_EXPERTS, 2, A(3, 7), "input ids is F32"},
    {WEFT_OP_SUM_EXPERTS, 0, A(9, 7), "input x is F32 [9, 7] (a step input), but must be F32 [any, 21]"},
    {WEFT_OP_SUM_EXPERTS, 1, I(3, 7), "input weights is I32"},
    {WEFT_OP_COPY, 0, I(5, 7), "input x is I32"},
    {WEFT_OP_ATTENTION, 0, A(40, 7), "40 values a column"},
    {WEFT_OP_ATTENTION, 1, KV(I32, 8, 16, 2, 6), "input kv is I32"},
    {WEFT_OP_ATTENTION, 1, {WEFT_LEAF_WEIGHT, {WEFT_F16, {8, 16, 2, 6}}}, "input kv is F16 [8, 16, 2, 6] (a weight)"},
    {WEFT_OP_ATTENTION, 1, KV(F16, 8, 16, 2, 5), "2 * n_pages"},
    {WEFT_OP_ATTENTION, 1, KV(F16, 8, 16, 3, 6), "multiple of the KV state's n_kv_heads 3"},
    {WEFT_OP_ATTENTION, 1, KV(F16, 4, 16, 2, 6), "head_dim 4"},
    {WEFT_OP_ATTENTION, 2, I(4, 8), "input rows is I32 [4, 8]"},
    {WEFT_OP_ATTENTION, 3, S(I32, 1, 3), "with a page or more"},
    {WEFT_OP_SAMPLE, 0, A(50, 6), "input heads is I32 [8, 7] (a step input), but must be I32 [8, 6]"},
    {WEFT_OP_SAMPLE, 0, A(3, 7), "n_top is 4, but must be from 0 to 3"},
    {WEFT_OP_SAMPLE, 1, I(4, 7), "input heads is I32 [4, 7]"},
    {WEFT_OP_SAMPLE, 2, I(7, 3), "input sequences is I32 [7, 3] (a step input)"},
    {WEFT_OP_KV_WRITE, 0, A(17, 7), "input k is F32 [17, 7]"},
    {WEFT_OP_KV_WRITE, 0, A(16, 6), "input v is F32 [16, 7] (a step input), but must be F32 [16, 6]"},
    {WEFT_OP_KV_WRITE, 1, A(8, 7), "input v is F32 [8, 7]"},
    {WEFT_OP_KV_WRITE, 2, A3(8, 16, 2), "input kv is F32 [8, 16, 2] (a step input)"},
    {WEFT_OP_KV_WRITE, 3, I(8, 7), "input rows is I32 [8, 7]"},
    {WEFT_OP_KV_WRITE, 4, S(F32, 7, 3), "input sequences is F32"},
    {WEFT_OP_SCATTER, 0, S(F32, 7, 3), "input state is F32"},
    {WEFT_OP_SCATTER, 0, I(7, 3), "input state is I32 [7, 3] (a step input)"},
    {WEFT_OP_SCATTER, 1, I(3, 11), "input updates is I32 [3, 11]"},
    {WEFT_OP_NORM_QKV, 0, A(64, 7), "input norm is F32 [32]"},
    {WEFT_OP_NORM_QKV, 1, W(F16, 32, 1), "input norm is F16"},
    {WEFT_OP_NORM_QKV, 2, W(Q4_0, 64, 32), "input q is Q4_0 [64, 32]"},
    {WEFT_OP_NORM_QKV, 2, W(Q4_0, 32, 24), "input q_bias is F32 [32]"},
    {WEFT_OP_NORM_QKV, 3, W(Q4_0, 32, 32), "input k is Q4_0 [32, 32]"},
    {WEFT_OP_NORM_QKV, 4, A(32, 16), "input v is F32 [32, 16] (a step input)"},
    {WEFT_OP_NORM_QKV, 6, W(F32, 32, 1), "input k_bias is F32 [32]"},
    {WEFT_OP_NORM_QKV, 7, W(F32, 16, 2), "input v_bias is F32 [16, 2]"},
    {WEFT_OP_NORM_QKV, 8, W(F32, 16, 1), "input q_norm is F32 [16]"},
    {WEFT_OP_NORM_QKV, 9, W(F32, 32, 1), "input k_norm is F32 [32]"},
    {WEFT_OP_NORM_QKV, 10, W(F32, 9, 99), "rotates 9"},
    {WEFT_OP_NORM_QKV, 10, W(F32, 10, 99), "rotates 10"},
    {WEFT_OP_NORM_QKV, 11, KV(F16, 16, 16, 1, 6), "input q_norm is F32 [8]"},
    {WEFT_OP_NORM_QKV, 11, KV(F16, 8, 16, 2, 1), "2 * n_pages"},
    {WEFT_OP_NORM_QKV, 12, I(4, 1), "input rows is I32 [4]"},
    {WEFT_OP_NORM_QKV, 13, S(I32, 1, 3), "with a page or more"},
    {WEFT_OP_MUL_MAT_ADD, 0, A(64, 9), "input weight is F32 [64, 9] (a step input)"},
    {WEFT_OP_MUL_MAT_ADD, 2, W(F32, 9, 7), "input bias is F32 [9, 7]"},
    {WEFT_OP_MUL_MAT_ADD, 3, A(9, 1), "input residual is F32 [9]"},
    {WEFT_OP_NORM_GATED_MLP, 1, W(F32, 64, 1), "input norm is F32 [64]"},
    {WEFT_OP_NORM_GATED_MLP, 2, W(Q4_1, 64, 64), "input gate is Q4_1 [64, 64]"},
    {WEFT_OP_NORM_GATED_MLP, 3, W(Q5_0, 32, 32), "input up is Q5_0 [32, 32]"},
    {WEFT_OP_NORM_HEAD_SAMPLE, 2, W(Q5_1, 64, 50), "input weight is Q5_1 [64, 50]"},
    {WEFT_OP_NORM_HEAD_SAMPLE, 3, I(8, 3), "input heads is I32 [8, 3]"},
};

static void wrong_inputs_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(wrong_inputs); i++) {
        const op_case *c = find_case(wrong_inputs[i].op);
        assert_refused(c, wrong_inputs[i].input, &wrong_inputs[i].change, c->params, wrong_inputs[i].message);
    }
}

/* One word of the parameters changed: to an integer, or to a number where `is_real`. */
static const struct {
    weft_op op;
    int word;
    int32_t integer;
    bool is_real;
    float real;
    const char *message;
} wrong_params[] = {
    {WEFT_OP_RMS_NORM, 0, 0, true, 0.0f, "epsilon is 0"},
    {WEFT_OP_RMS_NORM, 0, 0, true, -1e-5f, "epsilon is -1e-05"},
    {WEFT_OP_RMS_NORM, 0, 0, true, NAN, "epsilon is"},
    {WEFT_OP_RMS_NORM, 0, 0, true, INFINITY, "epsilon is inf"},
    {WEFT_OP_RMS_NORM, 1, -1, false, 0, "n_groups is -1"},
    {WEFT_OP_RMS_NORM, 1, 5, false, 0, "n_groups is 5"},
    {WEFT_OP_RMS_NORM, 1, INT32_MAX, false, 0, "n_groups is"},
    {WEFT_OP_ROPE, 0, 0, false, 0, "head_dim is 0"},
    {WEFT_OP_ROPE, 0, -8, false, 0, "head_dim is -8"},
    {WEFT_OP_ROPE, 0, 4, false, 0, "up to head_dim 4"},
    {WEFT_OP_ROPE, 1, 2, false, 0, "order is 2"},
    {WEFT_OP_ROPE, 1, -1, false, 0, "order is -1"},
    {WEFT_OP_SOFT_MAX, 0, 0, true, NAN, "scale is"},
    {WEFT_OP_ROUTE, 0, 0, false, 0, "n_chosen is 0"},
    {WEFT_OP_ROUTE, 0, 6, false, 0, "n_chosen is 6"},
    {WEFT_OP_ROUTE, 1, 2, false, 0, "function is 2"},
    {WEFT_OP_ROUTE, 2, -1, false, 0, "normalised is -1"},
    {WEFT_OP_ROUTE, 3, 0, true, INFINITY, "scale is inf"},
    {WEFT_OP_ATTENTION, 0, 0, false, 0, "n_heads is 0"},
    {WEFT_OP_ATTENTION, 0, 5, false, 0, "n_heads 5"},
    {WEFT_OP_ATTENTION, 0, 2, false, 0, "n_heads 2"},
    {WEFT_OP_ATTENTION, 1, 0, true, -INFINITY, "scale is -inf"},
    {WEFT_OP_ATTENTION, 2, -1, false, 0, "window is -1"},
    {WEFT_OP_ATTENTION, 3, 0, true, -1.0f, "soft_cap is -1"},
    {WEFT_OP_ATTENTION, 3, 0, true, NAN, "soft_cap is"},
    {WEFT_OP_SOFT_CAP, 0, 0, true, 0.0f, "cap is 0"},
    {WEFT_OP_SOFT_CAP, 0, 0, true, INFINITY, "cap is inf"},
    {WEFT_OP_LAYER_NORM, 0, 0, true, 0.0f, "epsilon is 0"},
    {WEFT_OP_SAMPLE, 0, -1, false, 0, "n_top is -1"},
    {WEFT_OP_SAMPLE, 0, 51, false, 0, "n_top is 51, but must be from 0 to 50"},
    {WEFT_OP_NORM_QKV, 0, 0, true, NAN, "epsilon is"},
    {WEFT_OP_NORM_QKV, 1, 0, true, 0.0f, "head_epsilon is 0"},
    {WEFT_OP_NORM_QKV, 1, 0, true, NAN, "head_epsilon is"},
    {WEFT_OP_NORM_QKV, 2, 4, false, 0, "head_dim is 4"},
    {WEFT_OP_NORM_QKV, 2, 0, false, 0, "head_dim is 0"},
    {WEFT_OP_NORM_QKV, 3, 7, false, 0, "order is 7"},
    {WEFT_OP_NORM_QKV, 4, 8, false, 0, "extra_precision is 8"},
    {WEFT_OP_NORM_QKV, 4, -1, false, 0, "extra_precision is -1"},
    {WEFT_OP_MUL_MAT, 0, 2, false, 0, "extra_precision is 2"},
    {WEFT_OP_MUL_MAT, 0, -1, false, 0, "extra_precision is -1"},
    {WEFT_OP_MUL_MAT_ADD, 0, 2, false, 0, "extra_precision is 2"},
    {WEFT_OP_NORM_GATED_MLP, 2, 4, false, 0, "extra_precision is 4"},
    {WEFT_OP_NORM_HEAD_SAMPLE, 2, 2, false, 0, "extra_precision is 2"},
    {WEFT_OP_NORM_GATED_MLP, 0, 0, true, 0.0f, "epsilon is 0"},
    {WEFT_OP_NORM_GATED_MLP, 1, 2, false, 0, "activation is 2"},
    {WEFT_OP_NORM_HEAD_SAMPLE, 0, 0, true, -NAN, "epsilon is"},
    {WEFT_OP_NORM_HEAD_SAMPLE, 1, WEFT_MAX_TOP + 1, false, 0, "n_top is"},
};

static void wrong_parameters_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(wrong_params); i++) {
        const op_case *c = find_case(wrong_params[i].op);
        int32_t words[16];
        memcpy(words, c->params, c->params_size);
        memcpy(&words[wrong_params[i].word],
               wrong_params[i].is_real ? (const void *)&wrong_params[i].real : &wrong_params[i].integer, sizeof *words);
        assert_refused(c, -1, NULL, words, wrong_params[i].message);
    }
    for (size_t i = 0; i < COUNT(cases); i++) {
        op_case longer = cases[i];
        int32_t words[16] = {0};
        longer.params_size += 4;
        assert_refused(&longer, -1, NULL, words, "bytes of parameters given");
        if (cases[i].params_size == 0) continue;
        longer.params_size -= 8;
        assert_refused(&longer, -1, NULL, words, "bytes of parameters given");
        assert_refused(&cases[i], -1, NULL, NULL, "the parameters are missing");
    }
}

/* A parameter block that is left out means all zeros. */
static void no_parameters_are_zeros(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        static const int32_t zeros[16];
        op_case none = cases[i];
        weft_value outputs[WEFT_MAX_OUTPUTS];
        weft_error error[2] = {{0}};
        weft_status status[2];
        for (int given = 0; given < 2; given++) {
            counting c;
            weft_runtime *runtime = make_runtime(&c);
            weft_graph *graph;
            assert_int_equal(weft_graph_create(runtime, &graph, NULL), WEFT_OK);
            none.params_size = given ? cases[i].params_size : 0;
            status[given] = try_case(graph, &none, -1, NULL, given && none.params_size > 0 ? zeros : NULL, outputs, &error[given]);
            if (status[given] == WEFT_OK) {
                const weft_core_node *node = &graph->nodes[graph->n_nodes - 1];
                assert_int_equal(node->params_size, cases[i].params_size);
                if (node->params_size > 0) assert_memory_equal(node->params, zeros, node->params_size);
            }
            weft_graph_destroy(graph);
            end_runtime(runtime, &c);
        }
        assert_int_equal(status[0], status[1]);
        if (status[0] != WEFT_OK) assert_string_equal(error[0].message, error[1].message);
        if (cases[i].op == WEFT_OP_MUL_MAT || cases[i].op == WEFT_OP_MUL_MAT_ADD) assert_int_equal(status[0], WEFT_OK);
    }
}

/* Each shape is possible, but the shape of the result is not. */
static void results_that_overflow_are_refused(void **state) {
    (void)state;
    const int64_t huge = (int64_t)1 << 40;
    const op_case overflows[] = {
        {WEFT_OP_GET_ROWS, {W(F32, huge, 1), I(1, huge), LEFT_OUT}, NULL, 0, {{WEFT_F32, {0}}}},
        {WEFT_OP_MUL_MAT, {W(F32, 1, huge), A(1, huge)}, NULL, 0, {{WEFT_F32, {0}}}},
        {WEFT_OP_COPY, {W(Q4_0, 32, (int64_t)1 << 57)}, NULL, 0, {{WEFT_F32, {0}}}},
    };
    for (size_t i = 0; i < COUNT(overflows); i++) assert_refused(&overflows[i], -1, NULL, NULL, "too large");
    const op_case vocabulary = {WEFT_OP_SAMPLE, {A(huge, 1), I(8, 1), SEQUENCES}, PARAMS(weft_sample_params, 0), {{WEFT_F32, {0}}}};
    assert_refused(&vocabulary, -1, NULL, vocabulary.params, "the number of logits");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops_give_their_outputs),   cmocka_unit_test(only_optional_inputs_may_be_left_out),
        cmocka_unit_test(wrong_inputs_are_refused), cmocka_unit_test(wrong_parameters_are_refused),
        cmocka_unit_test(no_parameters_are_zeros),  cmocka_unit_test(results_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
