/* Building graphs: leaves, state versions, results, order, dead nodes, and every allocation failing in turn. */
#include "tests/graph_support.h"

#include "core/graph.h"
#include "core/op.h"
#include "core/order.h"

static void the_op_table(void **state) {
    (void)state;
    /* Plug-ins are compiled against these numbers. Those of ops that came later are not listed. */
    static const char *const names[] = {"none",
                                        "get_rows",
                                        "mul_mat",
                                        "add",
                                        "mul",
                                        "rms_norm",
                                        "rope",
                                        "silu",
                                        "gelu",
                                        "soft_max",
                                        "copy",
                                        "attention",
                                        "sample",
                                        "kv_write",
                                        "scatter",
                                        "norm_qkv",
                                        "mul_mat_add",
                                        "norm_gated_mlp",
                                        "norm_head_sample"};
    assert_in_range(weft_op_count(), COUNT(names), 1000);
    for (size_t i = 0; i < COUNT(names); i++) assert_string_equal(weft_op_name((weft_op)i), names[i]);
    assert_null(weft_op_name((weft_op)weft_op_count()));
    assert_null(weft_op_name((weft_op)-1));
    assert_int_equal(weft_op_input_count((weft_op)99), 0);
    assert_int_equal(weft_op_input_count(WEFT_OP_NORM_QKV), 14);
    assert_int_equal(weft_op_output_count(WEFT_OP_NORM_QKV), 2);
    assert_int_equal(weft_op_input_count(WEFT_OP_NONE), 0);
    assert_int_equal(weft_op_output_count(WEFT_OP_SAMPLE), 3);
    for (size_t i = 0; i < weft_op_count(); i++) {
        if (!weft_op_name((weft_op)i)) continue;
        assert_in_range(weft_op_input_count((weft_op)i), 0, WEFT_MAX_INPUTS);
        assert_in_range(weft_op_output_count((weft_op)i), 1, WEFT_MAX_OUTPUTS);
    }
    char name[WEFT_NAME_SIZE];
    bool optional;
    const weft_op_row *row = weft_op_get(WEFT_OP_SAMPLE);
    assert_true(weft_op_port(row->outputs, 1, name, sizeof name, &optional));
    assert_string_equal(name, "top");
    assert_true(optional);
    assert_false(weft_op_port(row->outputs, 3, name, sizeof name, &optional));
    assert_int_equal(weft_op_state_input(row, 0), -1);
    assert_int_equal(weft_op_state_input(row, 2), 2);
    assert_int_equal(weft_op_state_input(weft_op_get(WEFT_OP_NORM_QKV), WEFT_NORM_QKV_OUT_KV), WEFT_NORM_QKV_KV);
    assert_int_equal(weft_op_state_input(weft_op_get(WEFT_OP_NORM_QKV), 0), -1);
}

static void leaves(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    weft_graph *graph;
    weft_error error;
    assert_int_equal(weft_graph_create(NULL, &graph, NULL), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_create(runtime, &graph, NULL), WEFT_OK);
    weft_value value = 77;
    const weft_tensor matrix = {WEFT_F32, {4, 5, 1, 1}};
    assert_int_equal(weft_graph_weight(graph, "w", &(weft_tensor){WEFT_Q4_0, {64, 5, 1, 1}}, &value, &error), WEFT_OK);
    assert_int_equal(value, 0);
    static const struct {
        leaf_function add;
        const char *name;
        weft_tensor tensor;
        const char *message;
    } wrong[] = {
        {weft_graph_input, "w", {WEFT_F32, {4, 1, 1, 1}}, "a weight of that name"},
        {weft_graph_weight, "w", {WEFT_F32, {4, 1, 1, 1}}, "a weight of that name"},
        {weft_graph_weight, "", {WEFT_F32, {4, 1, 1, 1}}, "needs a name"},
        {weft_graph_weight, NULL, {WEFT_F32, {4, 1, 1, 1}}, "needs a name"},
        {weft_graph_weight,
         "0123456789012345678901234567890123456789012345678901234567890123",
         {WEFT_F32, {4, 1, 1, 1}},
         "63 bytes"},
        {weft_graph_weight, "x", {WEFT_F32, {4, 0, 1, 1}}, "F32 [4, 0]"},
        {weft_graph_weight, "x", {WEFT_F32, {4, 1, 1, -1}}, "F32 [4, 1, 1, -1]"},
        {weft_graph_weight, "x", {WEFT_Q4_0, {33, 1, 1, 1}}, "Q4_0 [33]"},
        {weft_graph_weight, "x", {(weft_type)5, {33, 1, 1, 1}}, "unknown type [33]"},
        {weft_graph_weight, "x", {WEFT_F32, {INT64_MAX, 2, 1, 1}}, "no valid type and shape"},
        {weft_graph_input, "x", {WEFT_F16, {4, 1, 1, 1}}, "must be F32 or I32"},
        {weft_graph_state, "x", {WEFT_BF16, {4, 1, 1, 1}}, "must be F32, F16 or I32"},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        value = 77;
        assert_int_equal(wrong[i].add(graph, wrong[i].name, &wrong[i].tensor, &value, &error), WEFT_INVALID_ARGUMENT);
        if (!strstr(error.message, wrong[i].message)) fail_msg("%zu: %s", i, error.message);
        assert_int_equal(value, 77);
        assert_int_equal(weft_graph_node_count(graph), 1);
    }
    /* Enough that the table of names grows, names that share prefixes. */
    for (int i = 0; i < 500; i++) {
        char name[WEFT_NAME_SIZE];
        snprintf(name, sizeof name, "blk.%d", i);
        assert_int_equal(weft_graph_input(graph, name, &matrix, &value, &error), WEFT_OK);
        assert_int_equal(value, i + 1);
    }
    for (int i = 0; i < 500; i++) {
        char name[WEFT_NAME_SIZE];
        snprintf(name, sizeof name, "blk.%d", i);
        assert_int_equal(weft_graph_state(graph, name, &matrix, &value, &error), WEFT_INVALID_ARGUMENT);
    }
    weft_node node;
    assert_int_equal(weft_graph_node(graph, 500, &node, &error), WEFT_OK);
    assert_int_equal(node.op, WEFT_OP_NONE);
    assert_int_equal(node.leaf, WEFT_LEAF_INPUT);
    assert_string_equal(node.name, "blk.499");
    assert_int_equal(node.outputs[0], 500);
    assert_int_equal(node.inputs[0], WEFT_NONE);
    assert_int_equal(weft_graph_node(graph, 501, &node, &error), WEFT_INVALID_ARGUMENT);
    weft_tensor tensor;
    assert_int_equal(weft_graph_tensor(graph, 500, &tensor, &error), WEFT_OK);
    assert_int_equal(tensor.shape[1], 5);
    assert_int_equal(weft_graph_tensor(graph, 501, &tensor, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_tensor(graph, -1, &tensor, &error), WEFT_INVALID_ARGUMENT);
    weft_graph_destroy(graph);
    weft_graph_destroy(NULL);
    end_runtime(runtime, &c);
}

static void malformed_nodes(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    builder b;
    begin_graph(&b, runtime);
    weft_value x = add_leaf(&b, weft_graph_input, "x", WEFT_F32, 4, 2, 1, 1);
    weft_value outputs[WEFT_MAX_OUTPUTS];
    weft_error error;
    static const struct {
        int op;
        const char *name;
        weft_value inputs[2];
        const char *message;
    } wrong[] = {
        {99, "n", {0, 0}, "there is no op 99"},
        {-1, "n", {0, 0}, "there is no op -1"},
        {WEFT_OP_NONE, "n", {0, 0}, "weft_graph_weight"},
        {WEFT_OP_ADD, "n", {0, 1}, "n: add: input b: there is no value 1"},
        {WEFT_OP_ADD, "n", {0, -2}, "input b: there is no value -2"},
        {WEFT_OP_ADD, "n", {INT32_MAX, 0}, "input a: there is no value 2147483647"},
        {WEFT_OP_ADD, "0123456789012345678901234567890123456789012345678901234567890123", {0, 0}, "63 bytes"},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_int_equal(weft_graph_add(b.graph, (weft_op)wrong[i].op, wrong[i].name, wrong[i].inputs, NULL, 0, outputs, &error),
                         WEFT_INVALID_ARGUMENT);
        if (!strstr(error.message, wrong[i].message)) fail_msg("%zu: %s", i, error.message);
        assert_int_equal(weft_graph_node_count(b.graph), 1);
    }
    assert_int_equal(weft_graph_add(b.graph, WEFT_OP_SILU, NULL, &x, NULL, 0, NULL, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(weft_graph_add(b.graph, WEFT_OP_SILU, NULL, NULL, NULL, 0, outputs, &error), WEFT_INVALID_ARGUMENT);
    /* A node needs no name, and names may repeat. */
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_graph_add(b.graph, WEFT_OP_SILU, i ? NULL : "x", &x, NULL, 0, outputs, &error), WEFT_OK);
    weft_graph_destroy(b.graph);
    end_runtime(runtime, &c);
}

static void state_versions(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    builder b;
    begin_graph(&b, runtime);
    weft_value first = add_leaf(&b, weft_graph_state, "memory", WEFT_I32, 2, 8, 1, 1);
    weft_value updates = add_leaf(&b, weft_graph_input, "updates", WEFT_I32, 2, 3, 1, 1);
    weft_value outputs[WEFT_MAX_OUTPUTS];
    weft_error error;
    /* A state written from itself. */
    assert_int_equal(weft_graph_add(b.graph, WEFT_OP_SCATTER, "s", (weft_value[]){first, first}, NULL, 0, outputs, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "both the state that the op writes"));
    weft_value second = NODE0(&b, WEFT_OP_SCATTER, "s1", first, updates);
    assert_int_equal(b.status, WEFT_OK);
    assert_int_equal(b.graph->values[second].state, first);
    assert_int_equal(b.graph->values[first].superseded, second);
    /* An old version can be neither read nor written any more. */
    assert_int_equal(weft_graph_add(b.graph, WEFT_OP_SCATTER, "s", (weft_value[]){first, updates}, NULL, 0, outputs, &error),
                     WEFT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "old version of state memory"));
    weft_value table = add_leaf(&b, weft_graph_weight, "table", WEFT_F32, 4, 2, 1, 1);
    assert_int_equal(
        weft_graph_add(b.graph, WEFT_OP_GET_ROWS, "g", (weft_value[]){table, updates, first}, NULL, 0, outputs, &error),
        WEFT_INVALID_ARGUMENT);
    NODE0(&b, WEFT_OP_GET_ROWS, "read", table, updates, second);
    weft_value third = NODE0(&b, WEFT_OP_SCATTER, "s2", second, updates);
    assert_int_equal(b.status, WEFT_OK);
    assert_int_equal(b.graph->values[third].state, first);
    /* States and leaves are no results. */
    const weft_value not_results[] = {first, third, updates, table, -1, 99};
    for (size_t i = 0; i < COUNT(not_results); i++)
        assert_int_equal(weft_graph_output(b.graph, not_results[i], &error), WEFT_INVALID_ARGUMENT);
    weft_value y = NODE0(&b, WEFT_OP_COPY, "y", table);
    for (int i = 0; i < 8; i++) assert_int_equal(weft_graph_output(b.graph, y, &error), WEFT_OK);
    assert_int_equal(weft_graph_output(b.graph, y, &error), WEFT_INVALID_ARGUMENT);
    assert_int_equal(b.graph->n_outputs, 8);
    weft_graph_destroy(b.graph);
    end_runtime(runtime, &c);
}

static int find_named(const weft_graph *graph, const char *name) {
    for (size_t i = 0; i < graph->n_nodes; i++)
        if (strcmp(graph->nodes[i].name, name) == 0) return (int)i;
    return -1;
}

/* Node `name` must come after exactly the nodes named in `after`. */
static void assert_after(const weft_graph *graph, const weft_lists *lists, const char *name, size_t n, const char *const *after) {
    int node = find_named(graph, name);
    assert_true(node >= 0);
    uint32_t first = lists->first[node], end = lists->first[node + 1];
    if (end - first != n) fail_msg("%s comes after %u nodes, not %zu", name, end - first, n);
    for (size_t i = 0; i < n; i++) {
        bool found = false;
        for (uint32_t j = first; j < end; j++) found = found || strcmp(graph->nodes[lists->items[j]].name, after[i]) == 0;
        if (!found) fail_msg("%s should come after %s", name, after[i]);
    }
}

#define AFTER(graph, lists, name, ...)                                                                                             \
    assert_after(graph, lists, name, COUNT(((const char *const[]){__VA_ARGS__})), (const char *const[]){__VA_ARGS__})

/* state: a -> (read 1, read 2) -> b -> read 3; dead: a reader of the first version and a chain without a result. */
static builder make_ordered(weft_runtime *runtime) {
    builder b;
    begin_graph(&b, runtime);
    weft_value unused = add_leaf(&b, weft_graph_input, "unused input", WEFT_F32, 4, 1, 1, 1);
    add_leaf(&b, weft_graph_weight, "unused weight", WEFT_F32, 4, 1, 1, 1);
    weft_value state = add_leaf(&b, weft_graph_state, "state", WEFT_I32, 4, 3, 1, 1);
    weft_value updates = add_leaf(&b, weft_graph_input, "updates", WEFT_I32, 2, 3, 1, 1);
    weft_value table = add_leaf(&b, weft_graph_weight, "table", WEFT_F32, 4, 9, 1, 1);
    NODE0(&b, WEFT_OP_GET_ROWS, "dead read", table, updates, state);
    state = NODE0(&b, WEFT_OP_SCATTER, "write a", state, updates);
    weft_value r1 = NODE0(&b, WEFT_OP_GET_ROWS, "read 1", table, updates, state);
    weft_value r2 = NODE0(&b, WEFT_OP_GET_ROWS, "read 2", table, updates, state);
    NODE0(&b, WEFT_OP_SILU, "dead end", NODE0(&b, WEFT_OP_SILU, "dead", unused));
    weft_value sum = NODE0(&b, WEFT_OP_ADD, "twice", r1, r1);
    state = NODE0(&b, WEFT_OP_SCATTER, "write b", state, updates);
    weft_value r3 = NODE0(&b, WEFT_OP_GET_ROWS, "read 3", table, updates, state);
    weft_value all = NODE0(&b, WEFT_OP_ADD, "all", sum, NODE0(&b, WEFT_OP_ADD, "some", r2, r3));
    if (b.status == WEFT_OK) b.status = weft_graph_output(b.graph, all, &b.error);
    if (b.status == WEFT_OK) b.status = weft_graph_output(b.graph, r3, &b.error);
    return b;
}

static void order_and_dead_nodes(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    builder b = make_ordered(runtime);
    if (b.status != WEFT_OK) fail_msg("%s", b.error.message);
    weft_lists lists;
    assert_int_equal(weft_graph_dependencies(b.graph, &lists, NULL), WEFT_OK);
    assert_after(b.graph, &lists, "dead read", 0, NULL);
    AFTER(b.graph, &lists, "write a", "dead read");
    AFTER(b.graph, &lists, "read 1", "write a");
    AFTER(b.graph, &lists, "twice", "read 1");
    AFTER(b.graph, &lists, "write b", "write a", "read 1", "read 2");
    AFTER(b.graph, &lists, "read 3", "write b");
    AFTER(b.graph, &lists, "all", "twice", "some");
    weft_lists_release(runtime, &lists);
    weft_graph *pruned;
    assert_int_equal(weft_graph_prune(b.graph, &pruned, NULL), WEFT_OK);
    assert_int_equal(pruned->n_nodes, b.graph->n_nodes - 4);
    static const char *const gone[] = {"dead read", "dead", "dead end", "unused weight"};
    for (size_t i = 0; i < COUNT(gone); i++) assert_int_equal(find_named(pruned, gone[i]), -1);
    assert_int_equal(find_named(pruned, "unused input"), 0);
    assert_int_equal(pruned->n_outputs, 2);
    assert_string_equal(pruned->nodes[pruned->values[pruned->outputs[0]].node].name, "all");
    assert_string_equal(pruned->nodes[pruned->values[pruned->outputs[1]].node].name, "read 3");
    assert_int_equal(weft_graph_dependencies(pruned, &lists, NULL), WEFT_OK);
    assert_after(pruned, &lists, "write a", 0, NULL);
    AFTER(pruned, &lists, "write b", "write a", "read 1", "read 2");
    weft_lists_release(runtime, &lists);
    weft_graph_destroy(pruned);
    weft_graph_destroy(b.graph);
    end_runtime(runtime, &c);
}

/* Builds a decoder, prunes and orders it, with the n-th request for memory failing. */
static weft_status build_all(weft_runtime *runtime, weft_error *error) {
    builder b;
    begin_graph(&b, runtime);
    if (b.status == WEFT_OK)
        add_decoder(&b, &(decoder_shape){.n_layers = 3, .n_rows = 2, .n_heads_rows = 1, .biases = true, .n_top = 2});
    weft_graph *pruned = NULL;
    if (b.status == WEFT_OK) b.status = weft_graph_prune(b.graph, &pruned, &b.error);
    weft_lists lists = {0};
    if (b.status == WEFT_OK) b.status = weft_graph_dependencies(pruned, &lists, &b.error);
    weft_lists_release(runtime, &lists);
    weft_graph_destroy(pruned);
    weft_graph_destroy(b.graph);
    *error = b.error;
    return b.status;
}

static void every_allocation_failing(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    long blocks = c.n_blocks, bytes = c.n_bytes, failures = 0;
    weft_error error;
    for (long fail_at = 1;; fail_at++) {
        c.n_requests = 0;
        c.fail_at = fail_at;
        weft_status status = build_all(runtime, &error);
        assert_int_equal(c.n_blocks, blocks);
        assert_int_equal(c.n_bytes, bytes);
        if (status == WEFT_OK) break;
        assert_int_equal(status, WEFT_OUT_OF_MEMORY);
        assert_true(error.message[0] != 0);
        failures++;
    }
    assert_true(failures > 50);
    c.fail_at = 0;
    end_runtime(runtime, &c);
}

static void memory(void **state) {
    (void)state;
    counting c;
    weft_runtime *runtime = make_runtime(&c);
    unsigned char *block = weft_allocate(runtime, 100);
    for (int i = 0; i < 100; i++) assert_int_equal(block[i], 0);
    assert_int_equal((uintptr_t)block % _Alignof(max_align_t), 0);
    memset(block, 7, 100);
    c.fail_at = c.n_requests + 1;
    assert_null(weft_reallocate(runtime, block, 100, 200));
    assert_int_equal(block[99], 7);
    c.fail_at = 0;
    block = weft_reallocate(runtime, block, 100, 200);
    for (int i = 0; i < 200; i++) assert_int_equal(block[i], i < 100 ? 7 : 0);
    block = weft_reallocate(runtime, block, 200, 10);
    assert_int_equal(block[9], 7);
    assert_null(weft_allocate(runtime, SIZE_MAX));
    assert_null(weft_allocate(runtime, SIZE_MAX - 8));
    assert_null(weft_reallocate(runtime, block, 10, SIZE_MAX));
    weft_release(runtime, block);
    weft_release(runtime, NULL);
    block = weft_reallocate(runtime, NULL, 0, 0);
    assert_non_null(block);
    weft_release(runtime, block);
    end_runtime(runtime, &c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_op_table),
        cmocka_unit_test(leaves),
        cmocka_unit_test(malformed_nodes),
        cmocka_unit_test(state_versions),
        cmocka_unit_test(order_and_dead_nodes),
        cmocka_unit_test(every_allocation_failing),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
