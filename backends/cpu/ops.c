/* The table of ops, and what it tells about nodes and weights. */
#include <stdio.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "backends/cpu/product.h"
#include "weft/ops/params.h"
#include "weft_stems_cpu.h"

_Static_assert(WEFT_MAX_PARAMS_BYTES <= WEFT_CPU_PARAMS_BYTES, "there is room for every op's parameter block");

#define WEFT_OP(number, stem, enum_name, inputs, outputs) WEFT_STEM_CPU_##stem(extern const weft_cpu_op weft_cpu_op_##stem;, )
#include "weft/ops.def"
#undef WEFT_OP

static const weft_cpu_op *const ops[] = {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) [number] = WEFT_STEM_CPU_##stem(&weft_cpu_op_##stem, NULL),
#include "weft/ops.def"
#undef WEFT_OP
};

#define N_OPS (sizeof ops / sizeof ops[0])

/* Names of what runs: column 0 in exact, then one for each kernel set. */
static const char *const set_names[] = {"exact", "none", "avx2", "avx512vnni", "neon"};
#define N_SET_NAMES (sizeof set_names / sizeof set_names[0])

static const char *const kernel_names[][N_SET_NAMES] = {
#define WEFT_OP(number, stem, enum_name, inputs, outputs)                                                                          \
    [number] = {#stem " exact", #stem " fast none", #stem " fast avx2", #stem " fast avx512vnni", #stem " fast neon"},
#include "weft/ops.def"
#undef WEFT_OP
};

const weft_cpu_op *weft_cpu_op_get(weft_op op) {
    return (size_t)op < N_OPS ? ops[op] : NULL;
}

static void tensor_of_query(const weft_query_tensor *from, weft_cpu_tensor *to) {
    to->present = from->present;
    to->type = from->tensor.type;
    to->layout = from->layout;
    memcpy(to->shape, from->tensor.shape, sizeof to->shape);
}

static void phase_of_query(weft_backend_device *device, const weft_query *query, weft_cpu_phase *phase) {
    memset(phase, 0, sizeof *phase);
    phase->device = device;
    phase->op = ops[query->op];
    phase->precision = query->precision;
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) tensor_of_query(&query->inputs[i], &phase->inputs[i]);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) tensor_of_query(&query->outputs[i], &phase->outputs[i]);
    if (query->params_size > 0) memcpy(phase->params, query->params, query->params_size);
}

/* The first matrix that the kernel set cannot multiply, or NULL. `n_matrices` gets how many there are. */
static const weft_cpu_tensor *plain_matrix(const weft_cpu_phase *phase, size_t *n_plain, size_t *n_matrices) {
    const weft_cpu_tensor *found = NULL;
    *n_plain = *n_matrices = 0;
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        if ((phase->op->matrices >> i & 1) == 0 || !phase->inputs[i].present) continue;
        ++*n_matrices;
        if (weft_cpu_product_is_fast(phase->device, phase->precision, &phase->inputs[i])) continue;
        ++*n_plain;
        found = &phase->inputs[i];
    }
    return found;
}

static uint32_t find_set(const char *name) {
    for (uint32_t i = 1; i < N_SET_NAMES; i++)
        if (strcmp(set_names[i], name) == 0) return i;
    return 1;
}

void weft_cpu_supports(weft_backend_device *device, const weft_query *query, weft_support *support) {
    memset(support, 0, sizeof *support);
    const weft_cpu_op *op = weft_cpu_op_get(query->op);
    if (op == NULL) {
        support->name = "";
        snprintf(support->reason, sizeof support->reason, "the cpu backend does not implement this op");
        return;
    }
    weft_cpu_phase phase;
    phase_of_query(device, query, &phase);
    support->supported = true;
    support->kernel = op->has_fast && query->precision == WEFT_FAST ? find_set(device->kernels->name) : 0;
    size_t n_plain, n_matrices;
    const weft_cpu_tensor *plain = plain_matrix(&phase, &n_plain, &n_matrices);
    if (plain != NULL && query->precision == WEFT_FAST) {
        snprintf(support->reason, sizeof support->reason, "%zu of %zu matrices in exact arithmetic: no %s kernel for %s", n_plain,
                 n_matrices, device->kernels->name, device->host->type(plain->type)->name);
        if (n_plain == n_matrices && query->op == WEFT_OP_MUL_MAT) support->kernel = 0;
    }
    support->name = kernel_names[query->op][support->kernel];
    support->scratch_bytes = op->scratch_bytes == NULL ? 0 : op->scratch_bytes(&phase);
    support->in_place = op->in_place != NULL && op->in_place(&phase);
}

void weft_cpu_weight_layout(weft_backend_device *device, const weft_tensor *weight, const weft_use *uses, size_t n_uses,
                            weft_layout *layout) {
    uint64_t elements = 1;
    for (size_t i = 0; i < WEFT_MAX_DIMENSIONS; i++) elements *= (uint64_t)weight->shape[i];
    const weft_type_info *type = device->host->type(weight->type);
    *layout = (weft_layout){.name = "file", .bytes = elements / type->block_elements * type->block_bytes};
    bool multiplied = false;
    for (size_t i = 0; i < n_uses; i++) {
        const weft_cpu_op *op = weft_cpu_op_get(uses[i].op);
        uint32_t bit = UINT32_C(1) << uses[i].input;
        if (op == NULL || uses[i].precision == WEFT_EXACT || ((op->matrices | op->looked_up) & bit) == 0) return;
        multiplied = multiplied || (op->matrices & bit) != 0;
    }
    if (multiplied) device->kernels->layout(weight, layout);
}

int64_t weft_cpu_chunk(const weft_backend_device *device, int64_t n, int64_t unit, int64_t work) {
    const int64_t least = 32768, most = INT64_C(1) << 25, chunks_per_thread = 8;
    int64_t n_units = (n + unit - 1) / unit, unit_work = weft_cpu_max(unit * work, 1);
    int64_t units = (n_units + device->n_threads * chunks_per_thread - 1) / (device->n_threads * chunks_per_thread);
    units = weft_cpu_max(units, least / unit_work);
    units = weft_cpu_min(units, weft_cpu_max(most / unit_work, 1));
    return weft_cpu_max(units, 1) * unit;
}
