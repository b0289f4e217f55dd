#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/cost.h"
#include "core/expect.h"
#include "core/kernels.h"
#include "core/layouts.h"
#include "core/slice.h"

typedef struct printer {
    const weft_graph *graph;
    weft_device *device; /* NULL: the graph alone, and nothing is in the next two */
    weft_residents residents;
    weft_kernels kernels;
    bool all_kernels;
    weft_status (*write)(void *user, const char *text, size_t size);
    void *user;
    weft_status status; /* of the first failed write; later writes do nothing */
} printer;

WEFT_PRINTF(2, 3)
static void put(printer *p, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length <= 0 || p->status != WEFT_OK) return;
    size_t size = (size_t)length < sizeof text ? (size_t)length : sizeof text - 1;
    p->status = p->write(p->user, text, size);
}

/* Text as it can stand between quotes. */
static void put_escaped(printer *p, const char *text) {
    char piece[66];
    size_t size = 0;
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') piece[size++] = '\\';
        piece[size++] = (unsigned char)*text < ' ' || *text == 127 ? '?' : *text;
        if (size < sizeof piece - 2 && text[1]) continue;
        piece[size] = 0;
        put(p, "%s", piece);
        size = 0;
    }
}

static void put_tensor(printer *p, weft_value value) {
    char text[128];
    put(p, "%s", weft_tensor_text(&p->graph->values[value].tensor, text, sizeof text));
}

static const char *leaf_text(weft_leaf leaf) {
    static const char *const texts[] = {
        [WEFT_LEAF_NOT] = "", [WEFT_LEAF_WEIGHT] = "weight", [WEFT_LEAF_INPUT] = "input", [WEFT_LEAF_STATE] = "state"};
    return texts[leaf];
}

static void put_params(printer *p, const weft_core_node *node, const char *before) {
    const weft_op_rules *rules = weft_op_get(node->op)->rules;
    if (!rules->describe) return;
    char text[160];
    rules->describe(node->params, text, sizeof text);
    put(p, "%s%s", before, text);
}

/* The kernel that would run the node, or why there is none. */
static void put_kernel(printer *p, const weft_core_node *node, const char *before) {
    if (!p->device) return;
    const weft_support *support = &p->kernels.supports[node - p->graph->nodes];
    put(p, "%s", before);
    if (support->supported) {
        put(p, "kernel %u ", (unsigned)support->kernel);
        put_escaped(p, support->name ? support->name : "");
    } else {
        put(p, "no kernel");
    }
    if (support->reason[0]) put(p, ": ");
    put_escaped(p, support->reason);
}

static weft_status put_row(void *user, const weft_node_support *kernel) {
    printer *p = user;
    put(p, "    kernel %u ", (unsigned)kernel->number);
    put_escaped(p, kernel->kernel);
    put(p, kernel->supported ? ": fits" : ": passed over");
    if (kernel->reason[0]) put(p, ": ");
    put_escaped(p, kernel->reason);
    put(p, "\n");
    return p->status;
}

/* The storage of a value between nodes, if it is not F32. */
static void put_storage(printer *p, weft_value value) {
    char text[64];
    if (!p->device) return;
    const weft_storage *storage = &p->kernels.storages[value];
    if (storage->type == (uint32_t)p->graph->values[value].tensor.type && storage->companion.kind == WEFT_COMPANION_NONE) return;
    put(p, " as %s", weft_storage_text(storage, text, sizeof text));
}

/* The layout of a weight on the device, if it is not the file's. */
static void put_layout(printer *p, const weft_core_node *node, const char *before) {
    if (!p->device || node->leaf != WEFT_LEAF_WEIGHT) return;
    const weft_resident *weight = weft_residents_find(&p->residents, node->name);
    if (weight->layout.id == WEFT_LAYOUT_FILE) return;
    put(p, "%s%" PRIu64 " as ", before, weight->layout.bytes);
    put_escaped(p, weight->layout.name);
    if (weight->n_members > 1) put(p, " %u of %u", (unsigned)weight->member + 1, (unsigned)weight->n_members);
}

/* Where a weight that is a slice lies in the source's tensor. */
static void put_slice(printer *p, const weft_core_node *node, const char *before) {
    char text[WEFT_SLICE_TEXT_SIZE];
    if (!node->slice) return;
    put(p, "%s", before);
    put_escaped(p, weft_slice_text(node->slice, text, sizeof text));
}

static void put_text_leaf(printer *p, const weft_core_node *node) {
    weft_value value = node->outputs[0];
    put(p, "%%%d = %s \"", value, leaf_text(node->leaf));
    put_escaped(p, node->name);
    put(p, "\" ");
    put_tensor(p, value);
    put_slice(p, node, " ");
    put(p, ", %" PRIu64 " bytes", weft_tensor_bytes(&p->graph->values[value].tensor));
    put_layout(p, node, ", ");
    put(p, "\n");
}

static void put_text_node(printer *p, const weft_core_node *node) {
    const weft_op_row *row = weft_op_get(node->op);
    char name[WEFT_NAME_SIZE];
    bool optional;
    const char *separator = "";
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        if (node->outputs[i] == WEFT_NONE) continue;
        put(p, "%s%%%d", separator, node->outputs[i]);
        separator = ", ";
    }
    put(p, " = %s \"", row->name);
    put_escaped(p, node->name);
    put(p, "\" (");
    separator = "";
    for (size_t i = 0; weft_op_port(row->inputs, i, name, sizeof name, &optional); i++) {
        if (node->inputs[i] == WEFT_NONE) continue;
        put(p, "%s%s=%%%d", separator, name, node->inputs[i]);
        separator = ", ";
    }
    put(p, ")");
    put_params(p, node, " ");
    separator = " -> ";
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        if (node->outputs[i] == WEFT_NONE) continue;
        put(p, "%s", separator);
        put_tensor(p, node->outputs[i]);
        put_storage(p, node->outputs[i]);
        separator = ", ";
    }
    uint64_t operations, bytes;
    weft_graph_cost(p->graph, node, &operations, &bytes);
    put(p, ", %" PRIu64 " bytes, %" PRIu64 " operations", bytes, operations);
    put_kernel(p, node, ", ");
    put(p, "\n");
    if (p->device && p->all_kernels && p->status == WEFT_OK) weft_kernels_list(p->device, &p->kernels, node, put_row, p);
}

static void put_text(printer *p) {
    size_t n_phases = 0;
    uint64_t all_operations = 0, all_bytes = 0;
    for (size_t i = 0; i < p->graph->n_nodes; i++) {
        const weft_core_node *node = &p->graph->nodes[i];
        if (node->op == WEFT_OP_NONE) continue;
        uint64_t operations, bytes;
        weft_graph_cost(p->graph, node, &operations, &bytes);
        all_operations = weft_sum(all_operations, operations);
        all_bytes = weft_sum(all_bytes, bytes);
        n_phases++;
    }
    put(p, "graph: %zu leaves, %zu nodes, %zu results, %" PRIu64 " bytes, %" PRIu64 " operations\n", p->graph->n_nodes - n_phases,
        n_phases, p->graph->n_outputs, all_bytes, all_operations);
    for (size_t i = 0; i < p->graph->n_nodes && p->status == WEFT_OK; i++) {
        const weft_core_node *node = &p->graph->nodes[i];
        node->op == WEFT_OP_NONE ? put_text_leaf(p, node) : put_text_node(p, node);
    }
    for (size_t i = 0; i < p->graph->n_outputs; i++) put(p, "result %zu = %%%d\n", i, p->graph->outputs[i]);
}

/* In DOT a backslash and an n in a label begin a new line. */
static void put_dot_node(printer *p, size_t index) {
    const weft_core_node *node = &p->graph->nodes[index];
    bool leaf = node->op == WEFT_OP_NONE;
    put(p, "  n%zu [label=\"%s\\n", index, leaf ? leaf_text(node->leaf) : weft_op_name(node->op));
    put_escaped(p, node->name);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        if (node->outputs[i] == WEFT_NONE) continue;
        put(p, "\\n");
        put_tensor(p, node->outputs[i]);
        put_storage(p, node->outputs[i]);
    }
    if (leaf) {
        put_slice(p, node, "\\n");
        put_layout(p, node, "\\n");
        put(p, "\", style=%s];\n", node->leaf == WEFT_LEAF_STATE ? "bold" : "dashed");
        return;
    }
    put_params(p, node, "\\n");
    uint64_t operations, bytes;
    weft_graph_cost(p->graph, node, &operations, &bytes);
    put(p, "\\n%" PRIu64 " bytes, %" PRIu64 " operations", bytes, operations);
    put_kernel(p, node, "\\n");
    put(p, "\"];\n");
}

static void put_dot_edges(printer *p, size_t index) {
    const weft_core_node *node = &p->graph->nodes[index];
    char name[WEFT_NAME_SIZE];
    bool optional;
    for (size_t i = 0; weft_op_port(weft_op_get(node->op)->inputs, i, name, sizeof name, &optional); i++)
        if (node->inputs[i] != WEFT_NONE)
            put(p, "  n%d -> n%zu [label=\"%s\"];\n", p->graph->values[node->inputs[i]].node, index, name);
}

static void put_dot(printer *p) {
    put(p, "digraph weft {\n  node [shape=box];\n");
    for (size_t i = 0; i < p->graph->n_nodes && p->status == WEFT_OK; i++) put_dot_node(p, i);
    for (size_t i = 0; i < p->graph->n_nodes && p->status == WEFT_OK; i++) put_dot_edges(p, i);
    for (size_t i = 0; i < p->graph->n_outputs; i++) {
        put(p, "  r%zu [label=\"result %zu\", shape=oval];\n", i, i);
        put(p, "  n%d -> r%zu;\n", p->graph->values[p->graph->outputs[i]].node, i);
    }
    put(p, "}\n");
}

static void put_graph(printer *p, weft_graph_format format) {
    if (format == WEFT_GRAPH_TEXT)
        put_text(p);
    else
        put_dot(p);
}

weft_status weft_graph_print(const weft_graph *graph, const weft_graph_print_options *options,
                             weft_status (*write)(void *user, const char *text, size_t size), void *user, weft_error *error) {
    static const weft_graph_print_options defaults = {0};
    if (!options) options = &defaults;
    if (!graph || !write) return weft_fail(error, WEFT_INVALID_ARGUMENT, "printing needs a graph and a function that writes");
    if (options->format != WEFT_GRAPH_TEXT && options->format != WEFT_GRAPH_DOT)
        return weft_fail(error, WEFT_INVALID_ARGUMENT, "there is no graph format %d", (int)options->format);
    weft_status status = weft_require_zero("options.reserved", options->reserved, sizeof options->reserved, error);
    if (status != WEFT_OK) return status;
    printer p = {.graph = graph, .device = options->device, .all_kernels = options->all_kernels, .write = write, .user = user};
    if (p.device) status = weft_layouts_make(p.device, &graph, 1, options->precision, NULL, &p.residents, error);
    if (status != WEFT_OK) return status;
    if (p.device) status = weft_kernels_choose(p.device, graph, options->precision, &p.residents, NULL, &p.kernels, error);
    if (status == WEFT_OK) {
        put_graph(&p, options->format);
        if (p.status != WEFT_OK) status = weft_fail(error, p.status, "the graph was not printed completely");
    }
    if (p.device) weft_residents_release(&p.residents);
    if (p.device && p.kernels.runtime) weft_kernels_release(&p.kernels);
    return status;
}
