#include "backends/table.h"

#include <stdio.h>

static const weft_kernel *row_of(const weft_kernel_table *table, size_t op, uint32_t index) {
    return (const weft_kernel *)(const void *)((const char *)table->ops[op]->rows + index * table->row_bytes);
}

const weft_kernel *weft_kernel_get(const weft_kernel_table *table, uint32_t number) {
    for (size_t op = 0; op < table->n_ops; op++) {
        uint32_t n = table->ops[op] != NULL ? table->ops[op]->n : 0;
        if (number < n) return row_of(table, op, number);
        number -= n;
    }
    return NULL;
}

/* The number of an op's first row. */
static uint32_t first_number(const weft_kernel_table *table, size_t op) {
    uint32_t number = 0;
    for (size_t i = 0; i < op; i++) number += table->ops[i] != NULL ? table->ops[i]->n : 0;
    return number;
}

bool weft_kernel_describe(const weft_kernel_table *table, uint32_t number, weft_kernel_info *info) {
    const weft_kernel *kernel = weft_kernel_get(table, number);
    if (kernel == NULL) return false;
    *info = (weft_kernel_info){.op = kernel->op, .name = kernel->name};
    return true;
}

/* ---- Whether a row fits ---- */

static int64_t n_columns_of(const weft_phase *phase) {
    return phase->outputs[0].present ? phase->outputs[0].tensor.shape[1] : 1;
}

static const char *weight_misfit(const weft_kernel *kernel, const weft_phase *phase) {
    for (uint32_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_place *place = &phase->inputs[i];
        if (!place->present) continue;
        uint64_t types = UINT64_MAX, layouts = WEFT_LAYOUT_BIT(WEFT_LAYOUT_FILE);
        for (size_t j = 0; j < WEFT_KERNEL_LISTS && kernel->weights[j].inputs != 0; j++) {
            const weft_kernel_weights *weights = &kernel->weights[j];
            if ((weights->inputs & WEFT_PORT_BIT(i)) == 0) continue;
            if (weights->types != 0) types = weights->types;
            if (weights->layouts != 0) layouts = weights->layouts;
        }
        if (place->leaf != WEFT_LEAF_WEIGHT) { /* as in the file, if it is no weight at all */
            if ((layouts & WEFT_LAYOUT_BIT(WEFT_LAYOUT_FILE)) == 0) return "only for packed weights";
            continue;
        }
        if ((types & WEFT_TYPE_BIT(place->tensor.type)) == 0) return "not for this weight type";
        bool open = place->layout == WEFT_LAYOUT_UNCHOSEN;
        if (!open && (place->layout >= 64 || (layouts & WEFT_LAYOUT_BIT(place->layout)) == 0)) return "not for this weight layout";
    }
    return NULL;
}

static weft_storage_set set_of(const weft_kernel_values *values, uint32_t port) {
    for (size_t i = 0; i < WEFT_KERNEL_LISTS && values[i].ports != 0; i++)
        if (values[i].ports & WEFT_PORT_BIT(port)) return values[i].set;
    return (weft_storage_set){0};
}

/* Checks only values whose storage can differ from the graph's type. */
static bool storage_fits(const weft_place *place, const weft_storage_set *set) {
    if (!place->present || place->leaf != WEFT_LEAF_NOT || place->storage.type == WEFT_STORAGE_UNCHOSEN) return true;
    if (place->tensor.type != WEFT_F32) return true;
    uint64_t types = set->types != 0 ? set->types : WEFT_TYPE_BIT(WEFT_F32);
    const weft_companion *companion = &place->storage.companion;
    bool knows = companion->kind == set->companion.kind && companion->group == set->companion.group;
    return (types & WEFT_TYPE_BIT(place->storage.type)) != 0 && (companion->kind != WEFT_COMPANION_SCALE || knows);
}

/* A kernel must be able to write a companion that was chosen. It need not read one. */
static bool companion_fits(const weft_place *place, const weft_storage_set *set) {
    const weft_companion *asked = &place->storage.companion;
    return !place->present || asked->kind == WEFT_COMPANION_NONE ||
           (asked->kind == set->companion.kind && asked->group == set->companion.group);
}

static const char *storage_misfit(const weft_kernel *kernel, const weft_phase *phase) {
    for (uint32_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        weft_storage_set set = set_of(kernel->reads, i);
        if (!storage_fits(&phase->inputs[i], &set)) return "does not read the values as they are stored";
    }
    for (uint32_t i = 0; i < WEFT_MAX_OUTPUTS; i++) {
        weft_storage_set set = set_of(kernel->writes, i);
        if (!storage_fits(&phase->outputs[i], &set) || !companion_fits(&phase->outputs[i], &set))
            return "does not write the values as they are to be stored";
    }
    return NULL;
}

static const char *misfit(const weft_kernel_table *table, weft_backend_device *device, const weft_kernel *kernel,
                          const weft_phase *phase, char *text, size_t size) {
    unsigned precision = phase->precision == WEFT_EXACT ? WEFT_RUNS_EXACT : WEFT_RUNS_FAST;
    int64_t n_columns = n_columns_of(phase);
    const char *why = NULL;
    if ((kernel->precisions & precision) == 0) return "not in this precision";
    if (n_columns < kernel->min_columns) return "for more rows";
    if (kernel->max_columns != 0 && n_columns > kernel->max_columns) return "for fewer rows";
    why = weight_misfit(kernel, phase);
    if (why == NULL) why = storage_misfit(kernel, phase);
    if (why == NULL && table->refuses != NULL) why = table->refuses(device, kernel, phase, text, size);
    return why;
}

/* ---- Choosing ---- */

/* The best row, or NULL with a reason: why the only allowed row does not fit, or else the op's row of the highest rank. The reason
 * is written only then: layouts and kernels are chosen by thousands of such questions, and most of them have an answer. */
static const weft_kernel *choose(const weft_kernel_table *table, weft_backend_device *device, const weft_phase *phase,
                                 uint32_t *number, char *reason, size_t size) {
    const weft_kernel *best = NULL, *highest = NULL;
    size_t op = (size_t)phase->op;
    bool has_rows = op < table->n_ops && table->ops[op] != NULL;
    uint32_t first = has_rows ? first_number(table, op) : 0, n = has_rows ? table->ops[op]->n : 0;
    char text[128] = "";
    for (uint32_t i = 0; i < n; i++) {
        const weft_kernel *kernel = row_of(table, op, i);
        if (phase->kernel != WEFT_KERNEL_ANY && phase->kernel != first + i) continue;
        if (best != NULL && kernel->rank <= best->rank) continue;
        if (misfit(table, device, kernel, phase, text, sizeof text) == NULL) {
            best = kernel;
            *number = first + i;
        } else if (highest == NULL || kernel->rank > highest->rank) {
            highest = kernel;
        }
    }
    if (best == NULL && highest != NULL) snprintf(reason, size, "%s", misfit(table, device, highest, phase, text, sizeof text));
    if (best == NULL && highest == NULL)
        snprintf(reason, size, "the %s backend has no %skernel for this op", table->backend,
                 phase->kernel == WEFT_KERNEL_ANY ? "" : "such ");
    return best;
}

void weft_kernel_supports(const weft_kernel_table *table, weft_backend_device *device, const weft_phase *phase,
                          weft_support *support) {
    *support = (weft_support){.name = ""};
    const weft_kernel *kernel = choose(table, device, phase, &support->kernel, support->reason, sizeof support->reason);
    if (kernel == NULL) return;
    bool has_caveat = kernel->caveat != NULL && phase->precision == WEFT_FAST;
    snprintf(support->reason, sizeof support->reason, "%s", has_caveat ? kernel->caveat : "");
    support->supported = true;
    support->name = kernel->name;
    support->in_place = kernel->in_place;
    for (uint32_t i = 0; i < WEFT_MAX_INPUTS; i++)
        if (phase->inputs[i].present) support->inputs[i] = set_of(kernel->reads, i);
    for (uint32_t i = 0; i < WEFT_MAX_OUTPUTS; i++)
        if (phase->outputs[i].present) support->outputs[i] = set_of(kernel->writes, i);
    if (table->complete != NULL) table->complete(device, kernel, phase, support);
}

/* Adds up the ranks of the kernels that would run the uses. False if a use has no kernel. */
static bool score(const weft_kernel_table *table, weft_backend_device *device, uint32_t layout, const weft_use *uses, size_t n_uses,
                  size_t n_weights, int64_t *sum) {
    *sum = 0;
    for (size_t i = 0; i < n_uses; i++) {
        weft_phase phase = *uses[i].phase;
        uint32_t number = 0;
        char reason[8];
        for (uint32_t member = 0; member < n_weights; member++) {
            phase.inputs[uses[i].inputs[member]].layout = layout;
            phase.inputs[uses[i].inputs[member]].member = member;
        }
        const weft_kernel *kernel = choose(table, device, &phase, &number, reason, sizeof reason);
        if (kernel == NULL) return false;
        *sum += kernel->rank;
    }
    return true;
}

static bool types_fit(const weft_kernel_layout *layout, const weft_tensor *const *weights, size_t n_weights) {
    bool fit = layout->n_weights == n_weights;
    for (size_t i = 0; i < n_weights && fit; i++) fit = (layout->types & WEFT_TYPE_BIT(weights[i]->type)) != 0;
    return fit;
}

void weft_kernel_weight_layout(const weft_kernel_table *table, weft_backend_device *device, const weft_tensor *const *weights,
                               size_t n_weights, const weft_use *uses, size_t n_uses, weft_layout *layout) {
    int64_t best = INT64_MIN, sum;
    weft_layout chosen = {.id = WEFT_LAYOUT_FILE};
    for (size_t i = 0; i < table->n_layouts; i++) {
        const weft_kernel_layout *candidate = &table->layouts[i];
        if (!types_fit(candidate, weights, n_weights)) continue;
        uint64_t bytes = candidate->measure(device, weights, n_weights);
        if (bytes == 0 || !score(table, device, candidate->layout.id, uses, n_uses, n_weights, &sum) || sum <= best) continue;
        best = sum;
        chosen = candidate->layout;
        chosen.bytes = bytes;
    }
    if (score(table, device, WEFT_LAYOUT_FILE, uses, n_uses, n_weights, &sum) && sum > best) return;
    *layout = chosen;
}
