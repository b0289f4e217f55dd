/* Products: exact ones unpack a block of rows once for all columns; fast ones quantise the columns once for all rows. */
#include "backends/cpu/product.h"

#include <float.h>
#include <math.h>

/* Rows unpacked together in exact: few enough to stay in the first two levels of cache. */
#define BLOCK_ROWS 16
/* Rows multiplied together where columns are fine; the largest tile is no larger. */
#define FINE_ROWS 32
/* Values that share a scale in every quantised form. */
#define BLOCK 32
#define BLOCK_TINY 1e-36f /* a block of no larger values is left as it is */

bool weft_cpu_product_is_fast(const weft_backend_device *device, weft_precision precision, const weft_cpu_tensor *matrix) {
    if (precision == WEFT_EXACT) return false;
    const weft_cpu_kernels *kernels = device->kernels;
    if (kernels->tile_rows(matrix->type, matrix->layout) > 0) return true;
    if (matrix->data != NULL || matrix->layout != 0) return false;
    /* A query before layouts are chosen: as it will be packed. */
    weft_layout layout = {0};
    weft_tensor tensor = {.type = matrix->type};
    for (int i = 0; i < WEFT_MAX_DIMENSIONS; i++) tensor.shape[i] = matrix->shape[i];
    kernels->layout(&tensor, &layout);
    return kernels->tile_rows(matrix->type, layout.id) > 0;
}

/* Room for the columns of a matrix whichever layout it gets. */
static uint64_t columns_bytes(const weft_cpu_kernels *kernels, const weft_cpu_tensor *matrix, int64_t n_columns) {
    weft_layout packed = {0};
    weft_tensor tensor = {.type = matrix->type};
    for (int i = 0; i < WEFT_MAX_DIMENSIONS; i++) tensor.shape[i] = matrix->shape[i];
    kernels->layout(&tensor, &packed);
    uint32_t layouts[] = {0, packed.id};
    uint64_t most = 0;
    for (size_t i = 0; i < 2; i++) {
        if (kernels->tile_rows(matrix->type, layouts[i]) == 0) continue;
        uint64_t bytes = kernels->columns_bytes(kernels->form(matrix->type, layouts[i]), matrix->shape[0], n_columns);
        if (bytes > most) most = bytes;
    }
    return most;
}

static void init_product(weft_cpu_products *products, size_t index, const weft_cpu_phase *phase, const weft_cpu_tensor *matrix,
                         int64_t n_columns, bool fine, weft_cpu_scratch *scratch) {
    const weft_cpu_kernels *kernels = products->device->kernels;
    weft_cpu_product *product = &products->products[index];
    product->matrix = (weft_cpu_matrix){matrix->type, matrix->layout, matrix->shape[0], matrix->shape[1], matrix->data};
    product->fast = weft_cpu_product_is_fast(products->device, phase->precision, matrix);
    product->unit = BLOCK_ROWS;
    product->n_columns = fine ? 2 * n_columns : n_columns;
    if (phase->precision == WEFT_FAST)
        product->columns = weft_cpu_take(scratch, columns_bytes(kernels, matrix, product->n_columns));
    if (!product->fast || scratch->base == NULL) return;
    product->unit = kernels->tile_rows(matrix->type, matrix->layout);
    product->form = kernels->form(matrix->type, matrix->layout);
    product->fine = fine && product->form != WEFT_CPU_FORM_FLOATS && product->unit <= FINE_ROWS;
    if (!product->fine) product->n_columns = n_columns;
    for (size_t i = 0; i < index; i++) {
        const weft_cpu_product *other = &products->products[i];
        if (other->fast && other->form == product->form && other->fine == product->fine) product->columns = other->columns;
    }
}

void weft_cpu_products_init(weft_cpu_products *products, const weft_cpu_phase *phase, const uint32_t *inputs, size_t n_inputs,
                            int64_t n_columns, bool has_norm, uint32_t fine, weft_cpu_scratch *scratch) {
    *products = (weft_cpu_products){.device = phase->device, .n_products = n_inputs, .n_columns = n_columns};
    products->k = phase->inputs[inputs[0]].shape[0];
    if (has_norm) products->normed = weft_cpu_take(scratch, (uint64_t)(products->k * n_columns) * sizeof(float));
    for (size_t i = 0; i < n_inputs; i++)
        init_product(products, i, phase, &phase->inputs[inputs[i]], n_columns, fine >> i & 1, scratch);
    uint64_t column_bytes = (uint64_t)products->k * sizeof(float) * phase->device->n_threads;
    products->rows = weft_cpu_take(scratch, column_bytes * BLOCK_ROWS);
    if (phase->precision == WEFT_EXACT || fine == 0) return;
    products->split = weft_cpu_take(scratch, column_bytes * 2);
    products->parts = weft_cpu_take(scratch, (uint64_t)(FINE_ROWS * 2 * n_columns) * sizeof(float) * phase->device->n_threads);
}

typedef struct prepare_context {
    const weft_cpu_products *products;
    int64_t columns_per_chunk;
} prepare_context;

static bool shares_columns(const weft_cpu_products *products, size_t index) {
    for (size_t i = 0; i < index; i++)
        if (products->products[i].fast && products->products[i].columns == products->products[index].columns) return true;
    return false;
}

static void norm_column(const weft_cpu_products *p, int64_t t, bool exact) {
    const float *x = p->x + t * p->k;
    float *y = p->normed + t * p->k;
    if (exact)
        weft_cpu_exact_rms_norm(p->device->exact, x, p->norm, p->k, p->epsilon, y);
    else
        p->device->kernels->rms_norm(x, p->norm, p->k, p->epsilon, y);
}

/* x = coarse + rest, where the coarse part is what the quantised form holds of x. A block with an infinity or a NaN is all coarse.
 */
static void split_column(const float *x, int64_t k, float *coarse, float *rest) {
    for (int64_t first = 0; first < k; first += BLOCK) {
        float largest = 0.0f;
        bool finite = true;
        for (int64_t i = first; i < first + BLOCK; i++) {
            float magnitude = fabsf(x[i]);
            finite = finite && magnitude <= FLT_MAX;
            largest = magnitude > largest ? magnitude : largest;
        }
        bool divides = finite && largest > BLOCK_TINY;
        float scale = divides ? largest / 127.0f : 0.0f, inverse = divides ? 127.0f / largest : 0.0f;
        for (int64_t i = first; i < first + BLOCK; i++) {
            /* Adding and subtracting 1.5 * 2^23 rounds to the nearest integer. */
            float rounded = divides ? ((x[i] * inverse + 12582912.0f) - 12582912.0f) * scale : x[i];
            coarse[i] = rounded;
            rest[i] = divides ? x[i] - rounded : 0.0f;
        }
    }
}

static void quantise_fine(const weft_cpu_products *p, const weft_cpu_product *product, const float *x, int64_t t, uint32_t thread) {
    const weft_cpu_kernels *kernels = p->device->kernels;
    float *coarse = p->split + (int64_t)thread * 2 * p->k, *rest = coarse + p->k;
    split_column(x + t * p->k, p->k, coarse, rest);
    kernels->quantise(product->form, p->k, coarse, 0, t, 1, product->n_columns, product->columns);
    kernels->quantise(product->form, p->k, rest, 0, p->n_columns + t, 1, product->n_columns, product->columns);
}

static void prepare_chunk(void *user, int64_t chunk, uint32_t thread) {
    const prepare_context *context = user;
    const weft_cpu_products *p = context->products;
    int64_t first = chunk * context->columns_per_chunk;
    int64_t count = weft_cpu_min(context->columns_per_chunk, p->n_columns - first);
    bool any_fast = false;
    for (size_t i = 0; i < p->n_products; i++) any_fast = any_fast || p->products[i].fast;
    if (p->normed != NULL)
        for (int64_t t = first; t < first + count; t++) norm_column(p, t, !any_fast);
    const float *x = p->normed != NULL ? p->normed : p->x;
    for (size_t i = 0; i < p->n_products; i++) {
        const weft_cpu_product *product = &p->products[i];
        if (!product->fast || shares_columns(p, i)) continue;
        if (product->fine)
            for (int64_t t = first; t < first + count; t++) quantise_fine(p, product, x, t, thread);
        else
            p->device->kernels->quantise(product->form, p->k, x, p->k, first, count, p->n_columns, product->columns);
    }
}

void weft_cpu_products_prepare(weft_cpu_products *products) {
    bool any_fast = false;
    for (size_t i = 0; i < products->n_products; i++) any_fast = any_fast || products->products[i].fast;
    if (products->normed == NULL && !any_fast) return;
    prepare_context context = {products, weft_cpu_chunk(products->device, products->n_columns, 4, products->k * 4)};
    int64_t n_chunks = (products->n_columns + context.columns_per_chunk - 1) / context.columns_per_chunk;
    weft_cpu_parallel(products->device->pool, prepare_chunk, &context, n_chunks);
}

static void unpack(const weft_backend_device *device, const weft_cpu_matrix *matrix, int64_t row, float *values) {
    if (matrix->layout == 0)
        device->exact->unpack(matrix->type, matrix->data, row, matrix->k, values);
    else
        device->kernels->unpack_row(matrix, row, values);
}

static void exact_rows(const weft_cpu_products *p, const weft_cpu_matrix *matrix, int64_t first_row, int64_t n_rows, float *y,
                       int64_t y_stride, uint32_t thread) {
    const weft_cpu_exact *exact = p->device->exact;
    const float *x = p->normed != NULL ? p->normed : p->x;
    int64_t k = p->k;
    float *unpacked = p->rows + (int64_t)thread * BLOCK_ROWS * k;
    for (int64_t row = first_row; row < first_row + n_rows; row += BLOCK_ROWS) {
        int64_t count = weft_cpu_min(BLOCK_ROWS, first_row + n_rows - row);
        const float *rows = unpacked;
        if (matrix->type == WEFT_F32 && matrix->layout == 0)
            rows = (const float *)matrix->data + row * k;
        else
            for (int64_t i = 0; i < count; i++) unpack(p->device, matrix, row + i, unpacked + i * k);
        exact->dots(rows, k, count, x, k, p->n_columns, k, y + row, 1, y_stride);
    }
}

static void fine_rows(const weft_cpu_products *p, const weft_cpu_product *product, int64_t first_row, int64_t n_rows, float *y,
                      int64_t y_stride, uint32_t thread) {
    float *parts = p->parts + (int64_t)thread * FINE_ROWS * 2 * p->n_columns;
    int64_t step = FINE_ROWS / product->unit * product->unit;
    for (int64_t row = first_row; row < first_row + n_rows; row += step) {
        int64_t count = weft_cpu_min(step, first_row + n_rows - row);
        p->device->kernels->multiply(&product->matrix, product->columns, product->n_columns, row, count, parts, FINE_ROWS);
        for (int64_t t = 0; t < p->n_columns; t++) {
            const float *coarse = parts + t * FINE_ROWS, *rest = coarse + p->n_columns * FINE_ROWS;
            for (int64_t i = 0; i < count; i++) y[row + i + t * y_stride] = coarse[i] + rest[i];
        }
    }
}

void weft_cpu_products_rows(const weft_cpu_products *products, size_t index, int64_t first_row, int64_t n_rows, float *y,
                            int64_t y_stride, uint32_t thread) {
    const weft_cpu_product *product = &products->products[index];
    if (product->fine)
        fine_rows(products, product, first_row, n_rows, y, y_stride, thread);
    else if (product->fast)
        products->device->kernels->multiply(&product->matrix, product->columns, products->n_columns, first_row, n_rows,
                                            y + first_row, y_stride);
    else
        exact_rows(products, &product->matrix, first_row, n_rows, y, y_stride, thread);
}
