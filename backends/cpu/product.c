/* Products: exact ones unpack a block of rows once for all columns; fast ones quantise the columns once for all rows. */
#include "backends/cpu/product.h"

/* Rows unpacked together in exact: few enough to stay in the first two levels of cache. */
#define BLOCK_ROWS 16

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
                         int64_t n_columns, weft_cpu_scratch *scratch) {
    const weft_cpu_kernels *kernels = products->device->kernels;
    weft_cpu_product *product = &products->products[index];
    product->matrix = (weft_cpu_matrix){matrix->type, matrix->layout, matrix->shape[0], matrix->shape[1], matrix->data};
    product->fast = weft_cpu_product_is_fast(products->device, phase->precision, matrix);
    product->unit = BLOCK_ROWS;
    if (phase->precision == WEFT_FAST) product->columns = weft_cpu_take(scratch, columns_bytes(kernels, matrix, n_columns));
    if (!product->fast || scratch->base == NULL) return;
    product->unit = kernels->tile_rows(matrix->type, matrix->layout);
    product->form = kernels->form(matrix->type, matrix->layout);
    for (size_t i = 0; i < index; i++)
        if (products->products[i].fast && products->products[i].form == product->form)
            product->columns = products->products[i].columns;
}

void weft_cpu_products_init(weft_cpu_products *products, const weft_cpu_phase *phase, const uint32_t *inputs, size_t n_inputs,
                            int64_t n_columns, bool has_norm, weft_cpu_scratch *scratch) {
    *products = (weft_cpu_products){.device = phase->device, .n_products = n_inputs, .n_columns = n_columns};
    products->k = phase->inputs[inputs[0]].shape[0];
    if (has_norm) products->normed = weft_cpu_take(scratch, (uint64_t)(products->k * n_columns) * sizeof(float));
    for (size_t i = 0; i < n_inputs; i++) init_product(products, i, phase, &phase->inputs[inputs[i]], n_columns, scratch);
    uint64_t row_bytes = (uint64_t)products->k * sizeof(float) * BLOCK_ROWS;
    products->rows = weft_cpu_take(scratch, row_bytes * phase->device->n_threads);
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

static void prepare_chunk(void *user, int64_t chunk, uint32_t thread) {
    (void)thread;
    const prepare_context *context = user;
    const weft_cpu_products *p = context->products;
    int64_t first = chunk * context->columns_per_chunk;
    int64_t count = weft_cpu_min(context->columns_per_chunk, p->n_columns - first);
    bool any_fast = false;
    for (size_t i = 0; i < p->n_products; i++) any_fast = any_fast || p->products[i].fast;
    if (p->normed != NULL)
        for (int64_t t = first; t < first + count; t++) norm_column(p, t, !any_fast);
    const float *x = p->normed != NULL ? p->normed : p->x;
    for (size_t i = 0; i < p->n_products; i++)
        if (p->products[i].fast && !shares_columns(p, i))
            p->device->kernels->quantise(p->products[i].form, p->k, x, p->k, first, count, p->n_columns, p->products[i].columns);
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

void weft_cpu_products_rows(const weft_cpu_products *products, size_t index, int64_t first_row, int64_t n_rows, float *y,
                            int64_t y_stride, uint32_t thread) {
    const weft_cpu_product *product = &products->products[index];
    if (product->fast)
        products->device->kernels->multiply(&product->matrix, product->columns, products->n_columns, first_row, n_rows, y,
                                            y_stride);
    else
        exact_rows(products, &product->matrix, first_row, n_rows, y, y_stride, thread);
}
