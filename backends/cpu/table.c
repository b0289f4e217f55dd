#include "backends/cpu/table.h"

#include <stdio.h>
#include <string.h>

#include "backends/cpu/product.h"
#include "weft_stems_cpu.h"

#define WEFT_OP(number, stem, enum_name, inputs, outputs) WEFT_STEM_CPU_##stem(extern const weft_kernel_rows weft_cpu_op_##stem;, )
#include "weft/ops.def"
#undef WEFT_OP

static const weft_kernel_rows *const ops[] = {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) [number] = WEFT_STEM_CPU_##stem(&weft_cpu_op_##stem, NULL),
#include "weft/ops.def"
#undef WEFT_OP
};

/* ---- Layouts ---- */

static uint64_t measure(const weft_backend_device *device, const weft_tensor *weight, uint32_t id) {
    weft_layout layout = {0};
    device->kernels->layout(weight, &layout);
    return layout.id == id ? layout.bytes : 0;
}

static uint64_t measure_rows_8(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights) {
    (void)n_weights;
    return measure(device, weights[0], WEFT_CPU_ROWS_8);
}

static uint64_t measure_rows_16(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights) {
    (void)n_weights;
    return measure(device, weights[0], WEFT_CPU_ROWS_16);
}

#define QUANTISED                                                                                                                  \
    (WEFT_TYPE_BIT(WEFT_Q4_0) | WEFT_TYPE_BIT(WEFT_Q4_1) | WEFT_TYPE_BIT(WEFT_Q5_0) | WEFT_TYPE_BIT(WEFT_Q5_1) |                   \
     WEFT_TYPE_BIT(WEFT_Q8_0) | WEFT_TYPE_BIT(WEFT_Q2_K) | WEFT_TYPE_BIT(WEFT_Q3_K) | WEFT_TYPE_BIT(WEFT_Q4_K) |                   \
     WEFT_TYPE_BIT(WEFT_Q5_K) | WEFT_TYPE_BIT(WEFT_Q6_K) | WEFT_TYPE_BIT(WEFT_IQ4_NL) | WEFT_TYPE_BIT(WEFT_IQ4_XS) |               \
     WEFT_TYPE_BIT(WEFT_MXFP4))

static const weft_kernel_layout layouts[] = {
    {{.id = WEFT_CPU_ROWS_8, .rows_at_once = 8, .name = "8 rows interleaved"}, QUANTISED, 1, measure_rows_8},
    {{.id = WEFT_CPU_ROWS_16, .rows_at_once = 16, .name = "16 rows interleaved"}, QUANTISED, 1, measure_rows_16},
};

/* ---- Which rows fit ---- */

bool weft_cpu_has_set(const weft_backend_device *device, const weft_cpu_kernel *kernel) {
    return kernel->set == NULL || strcmp(kernel->set, device->kernels->name) == 0;
}

/* A node's matrices, and those that the device's kernel set cannot multiply. */
typedef struct matrix_count {
    size_t n, n_plain, n_chosen, n_chosen_plain; /* chosen: their layout is */
    const weft_place *plain;                     /* the last of them */
} matrix_count;

static matrix_count count_matrices(const weft_backend_device *device, uint32_t matrices, const weft_phase *phase) {
    matrix_count count = {0};
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_place *place = &phase->inputs[i];
        if ((matrices & WEFT_PORT_BIT(i)) == 0 || !place->present) continue;
        bool plain = !weft_cpu_product_is_fast(device->kernels, place), chosen = place->layout != WEFT_LAYOUT_UNCHOSEN;
        count.n++;
        count.n_plain += plain;
        count.n_chosen += chosen;
        count.n_chosen_plain += plain && chosen;
        if (plain) count.plain = place;
    }
    return count;
}

/* Matrices of other types and layouts go along in exact arithmetic, but a row of a kernel set must have something to multiply.
 * While layouts are being chosen, only the matrix at hand decides. */
static bool multiplies_nothing(const matrix_count *count) {
    return count->n_chosen > 0 ? count->n_chosen_plain == count->n_chosen : count->n_plain == count->n;
}

static const char *refuses(weft_backend_device *device, const weft_kernel *row, const weft_phase *phase, char *text, size_t size) {
    const weft_cpu_kernel *kernel = (const void *)row;
    if (!weft_cpu_has_set(device, kernel)) {
        snprintf(text, size, "needs the instruction set %s; this device uses %s", kernel->set, device->kernels->name);
        return text;
    }
    if (kernel->refuses != NULL) return kernel->refuses(phase);
    if (kernel->set == NULL || kernel->matrices == 0) return NULL;
    matrix_count count = count_matrices(device, kernel->matrices, phase);
    if (!multiplies_nothing(&count)) return NULL;
    const char *type = count.plain == NULL ? "no matrix" : device->host->type(count.plain->tensor.type)->name;
    snprintf(text, size, "no %s kernel for %s in this layout", kernel->set, type);
    return text;
}

static void complete(weft_backend_device *device, const weft_kernel *row, const weft_phase *phase, weft_support *support) {
    const weft_cpu_kernel *kernel = (const void *)row;
    const weft_cpu_call call = {device, kernel, phase};
    if (kernel->scratch_bytes != NULL) support->scratch_bytes = kernel->scratch_bytes(&call);
    if (phase->precision == WEFT_EXACT) return;
    matrix_count count = count_matrices(device, kernel->matrices, phase);
    if (count.n_plain > 0)
        snprintf(support->reason, sizeof support->reason, "%zu of %zu matrices in exact arithmetic: no %s kernel for %s",
                 count.n_plain, count.n, device->kernels->name, device->host->type(count.plain->tensor.type)->name);
}

const weft_kernel_table weft_cpu_table = {
    .backend = "cpu",
    .ops = ops,
    .n_ops = sizeof ops / sizeof *ops,
    .row_bytes = sizeof(weft_cpu_kernel),
    .layouts = layouts,
    .n_layouts = sizeof layouts / sizeof *layouts,
    .refuses = refuses,
    .complete = complete,
};
