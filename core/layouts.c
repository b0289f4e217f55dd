#include "core/layouts.h"

#include <string.h>

#include "core/op.h"

/* One use of a weight: the node and the input, as numbers. */
typedef struct place_of_use {
    uint32_t resident, graph, node, input;
} place_of_use;

/* All uses of all weights, sorted by weight. */
typedef struct all_uses {
    place_of_use *items;
    size_t n;
    size_t *first; /* the first use of each resident, and the number of all uses */
} all_uses;

typedef struct choosing {
    weft_device *device;
    const weft_graph *const *graphs;
    size_t n_graphs;
    weft_precision precision;
    const weft_forced_kernels *forced;
    weft_residents *residents;
    all_uses uses;
    weft_phase *phases; /* the questions about the current weight */
    weft_use *asked;
    size_t capacity;
} choosing;

static weft_status out_of_memory(weft_error *error) {
    return weft_fail(error, WEFT_OUT_OF_MEMORY, "no memory to choose the weights' layouts");
}

static size_t resident_number(const weft_residents *residents, const weft_graph *graph, weft_value value) {
    return (size_t)(weft_residents_of(residents, graph, value) - residents->items);
}

/* Calls `visit` for every use; `visit` counts or stores. */
static void each_use(choosing *c, void (*visit)(choosing *c, place_of_use use)) {
    for (size_t g = 0; g < c->n_graphs; g++) {
        for (size_t i = 0; i < c->graphs[g]->n_nodes; i++) {
            const weft_core_node *node = &c->graphs[g]->nodes[i];
            for (size_t input = 0; node->op != WEFT_OP_NONE && input < WEFT_MAX_INPUTS; input++) {
                weft_value value = node->inputs[input];
                if (value == WEFT_NONE || weft_graph_leaf(c->graphs[g], value) != WEFT_LEAF_WEIGHT) continue;
                visit(c, (place_of_use){(uint32_t)resident_number(c->residents, c->graphs[g], value), (uint32_t)g, (uint32_t)i,
                                        (uint32_t)input});
            }
        }
    }
}

static void count_use(choosing *c, place_of_use use) {
    c->uses.first[use.resident + 1]++;
    c->uses.n++;
}

/* While uses are stored, first[i] is where the next use of resident i goes. Afterwards it is where the uses of resident i + 1
 * begin. */
static void store_use(choosing *c, place_of_use use) {
    c->uses.items[c->uses.first[use.resident]++] = use;
}

static bool list_uses(choosing *c) {
    weft_runtime *runtime = c->device->runtime;
    size_t n = c->residents->n;
    c->uses.first = weft_allocate(runtime, (n + 2) * sizeof *c->uses.first);
    if (!c->uses.first) return false;
    each_use(c, count_use);
    for (size_t i = 0; i < n; i++) c->uses.first[i + 1] += c->uses.first[i];
    c->uses.items = weft_allocate(runtime, (c->uses.n + 1) * sizeof *c->uses.items);
    if (!c->uses.items) return false;
    each_use(c, store_use);
    memmove(c->uses.first + 1, c->uses.first, n * sizeof *c->uses.first);
    c->uses.first[0] = 0;
    return true;
}

static const weft_core_node *node_of(const choosing *c, const place_of_use *use) {
    return &c->graphs[use->graph]->nodes[use->node];
}

/* ---- Weights that are read together ---- */

/* The inputs that the op reads together, if the op names such inputs. */
static size_t members_of(const choosing *c, const place_of_use *use, uint32_t inputs[WEFT_MAX_MEMBERS]) {
    const weft_op_row *row = weft_op_get(node_of(c, use)->op);
    const char *together = row->rules->together;
    char name[WEFT_NAME_SIZE];
    bool optional;
    size_t n = 0;
    for (size_t i = 0; together && weft_op_port(row->inputs, i, name, sizeof name, &optional); i++) {
        if (n < WEFT_MAX_MEMBERS && weft_op_has_port(together, name)) inputs[n++] = (uint32_t)i;
    }
    return n;
}

/* Whether the weights at `inputs` of the first use are at the same inputs, together, in every use of each of them. */
static bool always_together(const choosing *c, const place_of_use *first, const uint32_t *inputs, size_t n, size_t *residents) {
    const weft_core_node *node = node_of(c, first);
    const weft_graph *graph = c->graphs[first->graph];
    for (size_t m = 0; m < n; m++) {
        weft_value value = node->inputs[inputs[m]];
        if (value == WEFT_NONE || weft_graph_leaf(graph, value) != WEFT_LEAF_WEIGHT) return false;
        residents[m] = resident_number(c->residents, graph, value);
        for (size_t other = 0; other < m; other++)
            if (residents[other] == residents[m]) return false;
    }
    for (size_t m = 0; m < n; m++) {
        for (size_t u = c->uses.first[residents[m]]; u < c->uses.first[residents[m] + 1]; u++) {
            const place_of_use *use = &c->uses.items[u];
            const weft_core_node *user = node_of(c, use);
            if (user->op != node->op || use->input != inputs[m]) return false;
            for (size_t other = 0; other < n; other++) {
                weft_value value = user->inputs[inputs[other]];
                if (value == WEFT_NONE || weft_graph_leaf(c->graphs[use->graph], value) != WEFT_LEAF_WEIGHT) return false;
                if (resident_number(c->residents, c->graphs[use->graph], value) != residents[other]) return false;
            }
        }
    }
    return true;
}

/* ---- Asking ---- */

/* Whether a backend cannot distinguish two uses: the same op, inputs and number of columns. */
static bool same_question(const weft_phase *a, const weft_phase *b) {
    return a->op == b->op && memcmp(a->outputs[0].tensor.shape, b->outputs[0].tensor.shape, sizeof b->outputs[0].tensor.shape) == 0;
}

static bool reserve(choosing *c, size_t n) {
    if (n <= c->capacity) return true;
    size_t capacity = c->capacity ? c->capacity * 2 : 16;
    weft_runtime *runtime = c->device->runtime;
    weft_phase *phases = weft_reallocate(runtime, c->phases, c->capacity * sizeof *phases, capacity * sizeof *phases);
    if (phases) c->phases = phases;
    weft_use *asked = phases ? weft_reallocate(runtime, c->asked, c->capacity * sizeof *asked, capacity * sizeof *asked) : NULL;
    if (!asked) return false;
    c->asked = asked;
    c->capacity = capacity;
    return true;
}

/* Collects the questions, each only once. False: no memory. */
static bool make_questions(choosing *c, size_t resident, const uint32_t *inputs, size_t n_members, size_t *n_questions) {
    size_t n = 0;
    for (size_t u = c->uses.first[resident]; u < c->uses.first[resident + 1]; u++) {
        const place_of_use *use = &c->uses.items[u];
        size_t known = 0;
        if (!reserve(c, n + 1)) return false;
        weft_use *asked = &c->asked[n];
        *asked = (weft_use){0};
        for (size_t m = 0; m < n_members; m++) asked->inputs[m] = n_members == 1 ? use->input : inputs[m];
        weft_query_make(c->graphs[use->graph], node_of(c, use), c->precision, &c->phases[n]);
        weft_query_force(c->forced, &c->phases[n]);
        while (known < n && (c->asked[known].inputs[0] != asked->inputs[0] || !same_question(&c->phases[known], &c->phases[n])))
            known++;
        if (known == n) n++;
    }
    for (size_t i = 0; i < n; i++) c->asked[i].phase = &c->phases[i];
    *n_questions = n;
    return true;
}

static weft_status check(const choosing *c, const weft_resident *weight, weft_layout *layout, weft_error *error) {
    const weft_backend *backend = c->device->backend;
    if (layout->id == WEFT_LAYOUT_FILE) {
        layout->bytes = weft_tensor_bytes(&weight->tensor);
    } else if (layout->id == WEFT_LAYOUT_UNCHOSEN || !backend->weight_pack || layout->bytes == 0 || layout->bytes > INT64_MAX / 2) {
        return weft_fail(error, WEFT_FAILED, "the %s backend chose layout %u of %llu bytes for \"%s\" and cannot pack it",
                         backend->name, (unsigned)layout->id, (unsigned long long)layout->bytes, weight->name);
    }
    if (!layout->name) layout->name = "file";
    if (layout->rows_at_once == 0) layout->rows_at_once = 1;
    return WEFT_OK;
}

/* Asks for one layout that `n` residents share; WEFT_LAYOUT_FILE if there is none. */
static weft_status ask(choosing *c, const size_t *residents, const uint32_t *inputs, size_t n, weft_layout *layout,
                       weft_error *error) {
    const weft_tensor *weights[WEFT_MAX_MEMBERS];
    weft_device *device = c->device;
    size_t n_questions = 0;
    *layout = (weft_layout){0};
    if (!make_questions(c, residents[0], inputs, n, &n_questions)) return out_of_memory(error);
    for (size_t m = 0; m < n; m++) weights[m] = &c->residents->items[residents[m]].tensor;
    if (device->backend->weight_layout && n_questions > 0) {
        weft_os_mutex_lock(&device->mutex);
        device->backend->weight_layout(device->handle, weights, n, c->asked, n_questions, layout);
        weft_os_mutex_unlock(&device->mutex);
    }
    return check(c, &c->residents->items[residents[0]], layout, error);
}

static weft_status choose_together(choosing *c, size_t resident, weft_error *error) {
    uint32_t inputs[WEFT_MAX_MEMBERS];
    size_t members[WEFT_MAX_MEMBERS];
    weft_layout layout;
    if (c->uses.first[resident] == c->uses.first[resident + 1]) return WEFT_OK;
    const place_of_use *first = &c->uses.items[c->uses.first[resident]];
    size_t n = members_of(c, first, inputs);
    if (n < 2 || first->input != inputs[0] || !always_together(c, first, inputs, n, members)) return WEFT_OK;
    weft_status status = ask(c, members, inputs, n, &layout, error);
    if (status != WEFT_OK || layout.id == WEFT_LAYOUT_FILE) return status;
    for (size_t m = 0; m < n; m++) {
        weft_resident *member = &c->residents->items[members[m]];
        member->layout = layout;
        member->owner = members[0];
        member->member = (uint32_t)m;
        member->n_members = (uint32_t)n;
    }
    return WEFT_OK;
}

static weft_status choose_all(choosing *c, weft_error *error) {
    weft_residents *residents = c->residents;
    weft_status status = WEFT_OK;
    for (size_t i = 0; i < residents->n && status == WEFT_OK; i++) {
        if (residents->items[i].leaf == WEFT_LEAF_WEIGHT) status = choose_together(c, i, error);
    }
    for (size_t i = 0; i < residents->n && status == WEFT_OK; i++) {
        weft_resident *resident = &residents->items[i];
        if (resident->n_members > 1) continue;
        if (resident->leaf == WEFT_LEAF_WEIGHT) {
            status = ask(c, &i, NULL, 1, &resident->layout, error);
        } else {
            status = check(c, resident, &resident->layout, error);
        }
    }
    return status;
}

weft_status weft_layouts_make(weft_device *device, const weft_graph *const *graphs, size_t n_graphs, weft_precision precision,
                              const weft_forced_kernels *forced, weft_residents *residents, weft_error *error) {
    weft_runtime *runtime = device->runtime;
    choosing c = {
        .device = device, .graphs = graphs, .n_graphs = n_graphs, .precision = precision, .forced = forced, .residents = residents};
    weft_status status = weft_residents_collect(runtime, graphs, n_graphs, residents, error);
    if (status != WEFT_OK) return status;
    status = list_uses(&c) ? choose_all(&c, error) : out_of_memory(error);
    weft_release(runtime, c.uses.first);
    weft_release(runtime, c.uses.items);
    weft_release(runtime, c.phases);
    weft_release(runtime, c.asked);
    if (status != WEFT_OK) weft_residents_release(residents);
    return status;
}
