/* Columns are sorted by expert, so that each chosen matrix is read once for all columns that choose it. */
#include <string.h>

#include "backends/cpu/product.h"

/* Rows that are unpacked, or multiplied for several columns, together; the largest tile is no larger. */
#define BLOCK_ROWS 32

typedef struct experts {
    weft_backend_device *device;
    weft_cpu_matrix matrix; /* all experts' rows */
    bool fast;
    int64_t unit; /* chunks have a multiple of this many rows */
    int32_t form; /* fast: of the quantised columns */
    int64_t k, n, n_experts, n_columns;
    int64_t per_column; /* columns of y for a column of x */
    const int32_t *ids;
    const float *x;
    float *y;
    /* Scratch: the columns of y in the order of their experts, and where those of each expert begin; the chosen experts. */
    int32_t *order, *first, *chosen;
    int32_t n_chosen_experts;
    char *columns; /* fast: quantised, in that order */
    size_t column_bytes;
    float *blocks;      /* for each thread: unpacked rows, or products of a block of rows */
    int64_t block_size; /* floats */
    int64_t per_chunk;  /* rows */
} experts;

static experts experts_of(const weft_cpu_call *call, weft_cpu_scratch *scratch) {
    const weft_place *weight = &call->phase->inputs[WEFT_MUL_MAT_EXPERTS_WEIGHT], *x = &call->phase->inputs[WEFT_MUL_MAT_EXPERTS_X];
    const weft_place *y = &call->phase->outputs[WEFT_MUL_MAT_EXPERTS_OUT_Y];
    const weft_cpu_kernels *kernels = call->device->kernels;
    experts e = {.device = call->device, .matrix = weft_cpu_matrix_of(weight), .unit = 1};
    e.k = weight->tensor.shape[0];
    e.n = weight->tensor.shape[1];
    e.n_experts = weight->tensor.shape[2];
    e.n_columns = y->tensor.shape[1];
    e.per_column = e.n_columns / x->tensor.shape[1];
    e.ids = weft_cpu_data(&call->phase->inputs[WEFT_MUL_MAT_EXPERTS_IDS]);
    e.x = weft_cpu_data(x);
    e.y = weft_cpu_data(y);
    e.order = weft_cpu_take(scratch, (uint64_t)e.n_columns * sizeof *e.order);
    e.first = weft_cpu_take(scratch, (uint64_t)(e.n_experts + 2) * sizeof *e.first);
    e.chosen = weft_cpu_take(scratch, (uint64_t)e.n_experts * sizeof *e.chosen);
    e.matrix.layout = weft_cpu_layout_of(kernels, weight);
    e.fast = weft_cpu_is_fast(call);
    if (e.fast) {
        e.unit = kernels->tile_rows(e.matrix.type, e.matrix.layout);
        e.form = kernels->form(e.matrix.type, e.matrix.layout);
        e.column_bytes = kernels->columns_bytes(e.form, e.k, 1);
        e.columns = weft_cpu_take(scratch, (uint64_t)e.column_bytes * (uint64_t)e.n_columns);
    }
    e.block_size = BLOCK_ROWS * (e.fast ? e.n_columns : e.k);
    e.blocks = weft_cpu_take(scratch, (uint64_t)e.block_size * sizeof *e.blocks * call->device->n_threads);
    return e;
}

static bool is_expert(const experts *e, int32_t id) {
    return id >= 0 && id < e->n_experts;
}

/* A counting sort. While columns are stored, first[i + 1] is where the next column of expert i goes. Columns without an expert
 * become 0. */
static void sort_columns(experts *e) {
    memset(e->first, 0, (size_t)(e->n_experts + 2) * sizeof *e->first);
    for (int64_t c = 0; c < e->n_columns; c++)
        if (is_expert(e, e->ids[c])) e->first[e->ids[c] + 2]++;
    for (int64_t i = 0; i < e->n_experts; i++) {
        if (e->first[i + 2] > 0) e->chosen[e->n_chosen_experts++] = (int32_t)i;
        e->first[i + 2] += e->first[i + 1];
    }
    for (int64_t c = 0; c < e->n_columns; c++) {
        if (is_expert(e, e->ids[c]))
            e->order[e->first[e->ids[c] + 1]++] = (int32_t)c;
        else
            memset(e->y + c * e->n, 0, (size_t)e->n * sizeof *e->y);
    }
}

static const float *column_of_x(const experts *e, int64_t place) {
    return e->x + e->order[place] / e->per_column * e->k;
}

static void quantise_chunk(void *user, int64_t chunk, uint32_t thread) {
    (void)thread;
    const experts *e = user;
    const int32_t expert = e->chosen[chunk], first = e->first[expert], count = e->first[expert + 1] - first;
    for (int32_t i = 0; i < count; i++)
        e->device->kernels->quantise(e->form, e->k, column_of_x(e, first + i), 0, i, 1, count,
                                     e->columns + (size_t)first * e->column_bytes);
}

/* Rows of one expert, for the columns that choose it; those of `y` are not consecutive. */
static void fast_rows(const experts *e, int32_t expert, int64_t first_row, int64_t n_rows, float *block) {
    const int32_t first = e->first[expert], count = e->first[expert + 1] - first;
    const char *columns = e->columns + (size_t)first * e->column_bytes;
    const int64_t row = expert * e->n + first_row, step = BLOCK_ROWS / e->unit * e->unit;
    if (count == 1) {
        e->device->kernels->multiply(&e->matrix, columns, 1, row, n_rows, e->y + e->order[first] * e->n + first_row, e->n);
        return;
    }
    for (int64_t done = 0; done < n_rows; done += step) {
        int64_t size = weft_cpu_min(step, n_rows - done);
        e->device->kernels->multiply(&e->matrix, columns, count, row + done, size, block, BLOCK_ROWS);
        for (int32_t i = 0; i < count; i++)
            memcpy(e->y + e->order[first + i] * e->n + first_row + done, block + (int64_t)i * BLOCK_ROWS,
                   (size_t)size * sizeof *e->y);
    }
}

static void exact_rows(const experts *e, int32_t expert, int64_t first_row, int64_t n_rows, float *block) {
    const weft_cpu_exact *exact = e->device->exact;
    for (int64_t done = 0; done < n_rows; done += BLOCK_ROWS) {
        int64_t size = weft_cpu_min(BLOCK_ROWS, n_rows - done), row = expert * e->n + first_row + done;
        const float *rows = block;
        if (e->matrix.type == WEFT_F32)
            rows = (const float *)e->matrix.data + row * e->k;
        else
            for (int64_t i = 0; i < size; i++) exact->unpack(e->matrix.type, e->matrix.data, row + i, e->k, block + i * e->k);
        for (int32_t i = e->first[expert]; i < e->first[expert + 1]; i++)
            exact->dots(rows, e->k, size, column_of_x(e, i), e->k, 1, e->k, e->y + e->order[i] * e->n + first_row + done, 1, e->n);
    }
}

static void multiply_chunk(void *user, int64_t chunk, uint32_t thread) {
    const experts *e = user;
    const int64_t chunks = (e->n + e->per_chunk - 1) / e->per_chunk, first_row = chunk % chunks * e->per_chunk;
    const int64_t n_rows = weft_cpu_min(e->per_chunk, e->n - first_row);
    float *block = e->blocks + (int64_t)thread * e->block_size;
    (e->fast ? fast_rows : exact_rows)(e, e->chosen[chunk / chunks], first_row, n_rows, block);
}

static uint64_t scratch_bytes(const weft_cpu_call *call) {
    weft_cpu_scratch scratch = {0};
    experts_of(call, &scratch);
    return scratch.used;
}

static void run(const weft_cpu_call *call) {
    experts e = experts_of(call, &(weft_cpu_scratch){.base = weft_cpu_data(&call->phase->scratch)});
    sort_columns(&e);
    if (e.n_chosen_experts == 0) return;
    if (e.fast) weft_cpu_parallel(call->device->pool, quantise_chunk, &e, e.n_chosen_experts);
    e.per_chunk = weft_cpu_chunk(call->device, e.n, e.unit, e.k * weft_cpu_max(1, e.n_columns / e.n_chosen_experts));
    weft_cpu_parallel(call->device->pool, multiply_chunk, &e, (e.n + e.per_chunk - 1) / e.per_chunk * e.n_chosen_experts);
}

#define MATRICES (WEFT_PORT_BIT(WEFT_MUL_MAT_EXPERTS_WEIGHT))

static const weft_cpu_kernel rows[] = {
    WEFT_CPU_EXACT(WEFT_OP_MUL_MAT_EXPERTS, "mul_mat_experts", .matrices = MATRICES, .run = run, .scratch_bytes = scratch_bytes),
    WEFT_CPU_FAST(WEFT_OP_MUL_MAT_EXPERTS, "mul_mat_experts", MATRICES, .run = run, .scratch_bytes = scratch_bytes),
};
const weft_kernel_rows weft_cpu_op_mul_mat_experts = WEFT_KERNEL_ROWS(rows);
