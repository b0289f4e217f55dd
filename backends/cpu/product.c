/* Products: exact ones unpack a block of rows once for all columns; fast ones quantise the columns once for all rows. */
#include "backends/cpu/product.h"

#include <float.h>
#include <math.h>

/* Rows unpacked together in exact: few enough to stay in the first two levels of cache. */
#define BLOCK_ROWS 16
/* Rows multiplied together where columns are doubled; the largest tile is no larger. */
#define DOUBLED_ROWS 32
#define BLOCK_TINY 1e-36f /* a block of no larger values is left as it is */

uint32_t weft_cpu_layout_of(const weft_cpu_kernels *kernels, const weft_place *matrix) {
    weft_layout packed = {0};
    if (matrix->layout != WEFT_LAYOUT_UNCHOSEN) return matrix->layout;
    kernels->layout(&matrix->tensor, &packed);
    return packed.id;
}

bool weft_cpu_product_is_fast(const weft_cpu_kernels *kernels, const weft_place *matrix) {
    const int64_t *shape = matrix->tensor.shape;
    int64_t tile = kernels->tile_rows(matrix->tensor.type, weft_cpu_layout_of(kernels, matrix));
    bool has_several = shape[2] * shape[3] > 1;
    return tile > 0 && (!has_several || shape[1] % tile == 0); /* no tile has rows of two matrices */
}

/* How a matrix is multiplied: all that does not need memory. */
static weft_cpu_product describe(const weft_cpu_call *call, const weft_place *matrix, int64_t n_columns, bool extra_precision) {
    const weft_cpu_kernels *kernels = call->device->kernels;
    weft_cpu_product product = {.matrix = weft_cpu_matrix_of(matrix), .unit = BLOCK_ROWS, .n_columns = n_columns};
    product.matrix.layout = weft_cpu_layout_of(kernels, matrix);
    product.fast = weft_cpu_is_fast(call) && weft_cpu_product_is_fast(kernels, matrix);
    if (!product.fast) return product;
    product.unit = kernels->tile_rows(product.matrix.type, product.matrix.layout);
    product.form = kernels->form(product.matrix.type, product.matrix.layout);
    if (!extra_precision || product.form == WEFT_CPU_FORM_FLOATS) return product;
    product.has_extra_form = kernels->multiply_extra != NULL;
    product.is_doubled = !product.has_extra_form && product.unit <= DOUBLED_ROWS;
    if (product.has_extra_form) product.form = kernels->extra_form;
    if (product.is_doubled) product.n_columns = 2 * n_columns;
    return product;
}

/* The first fast product that can use the same quantised columns: itself or an earlier one. */
static size_t owner_of_columns(const weft_cpu_products *products, size_t index) {
    const weft_cpu_product *product = &products->products[index];
    for (size_t i = 0; i < index; i++) {
        const weft_cpu_product *other = &products->products[i];
        if (other->fast && other->form == product->form && other->is_doubled == product->is_doubled) return i;
    }
    return index;
}

/* Takes scratch for the columns of the fast products. */
static void take_columns(weft_cpu_products *products, weft_cpu_scratch *scratch) {
    const weft_cpu_kernels *kernels = products->device->kernels;
    for (size_t i = 0; i < products->n_products; i++) {
        weft_cpu_product *product = &products->products[i];
        if (!product->fast) continue;
        size_t owner = owner_of_columns(products, i);
        if (owner == i)
            product->columns = weft_cpu_take(scratch, kernels->columns_bytes(product->form, products->k, product->n_columns));
        else
            product->columns = products->products[owner].columns;
    }
}

void weft_cpu_products_init(weft_cpu_products *products, const weft_cpu_call *call, const uint32_t *inputs, size_t n_inputs,
                            int64_t n_columns, bool has_norm, int32_t extra_precision, weft_cpu_scratch *scratch) {
    *products = (weft_cpu_products){.device = call->device, .n_products = n_inputs, .n_columns = n_columns};
    products->k = call->phase->inputs[inputs[0]].tensor.shape[0];
    products->fast = weft_cpu_is_fast(call);
    if (has_norm) products->normed = weft_cpu_take(scratch, (uint64_t)(products->k * n_columns) * sizeof(float));
    for (size_t i = 0; i < n_inputs; i++)
        products->products[i] = describe(call, &call->phase->inputs[inputs[i]], n_columns, extra_precision >> i & 1);
    take_columns(products, scratch);
    uint64_t column_bytes = (uint64_t)products->k * sizeof(float) * call->device->n_threads;
    products->rows = weft_cpu_take(scratch, column_bytes * BLOCK_ROWS);
    bool is_doubled = false;
    for (size_t i = 0; i < n_inputs; i++) is_doubled = is_doubled || products->products[i].is_doubled;
    if (!is_doubled) return;
    products->split = weft_cpu_take(scratch, column_bytes * 2);
    products->parts = weft_cpu_take(scratch, (uint64_t)(DOUBLED_ROWS * 2 * n_columns) * sizeof(float) * call->device->n_threads);
}

typedef struct prepare_context {
    const weft_cpu_products *products;
    int64_t columns_per_chunk;
} prepare_context;

static void norm_column(const weft_cpu_products *p, int64_t t) {
    const float *x = p->x + t * p->k;
    float *y = p->normed + t * p->k;
    if (p->fast)
        p->device->kernels->rms_norm(x, p->norm, p->k, p->epsilon, y);
    else
        weft_cpu_exact_rms_norm(p->device->exact, x, p->norm, p->k, p->epsilon, y);
}

/* x = coarse + rest. The coarse part is x rounded to int8, the rest is the rounding error. With an infinity or a NaN the rest is 0.
 */
static void split_column(const float *x, int64_t k, float *coarse, float *rest) {
    for (int64_t first = 0; first < k; first += WEFT_CPU_BLOCK) {
        float largest = 0.0f;
        bool finite = true;
        for (int64_t i = first; i < first + WEFT_CPU_BLOCK; i++) {
            float magnitude = fabsf(x[i]);
            finite = finite && magnitude <= FLT_MAX;
            largest = magnitude > largest ? magnitude : largest;
        }
        bool divides = finite && largest > BLOCK_TINY;
        float scale = divides ? largest / 127.0f : 0.0f, inverse = divides ? 127.0f / largest : 0.0f;
        for (int64_t i = first; i < first + WEFT_CPU_BLOCK; i++) {
            /* Adding and subtracting 1.5 * 2^23 rounds to the nearest integer. */
            float rounded = divides ? ((x[i] * inverse + 12582912.0f) - 12582912.0f) * scale : x[i];
            coarse[i] = rounded;
            rest[i] = divides ? x[i] - rounded : 0.0f;
        }
    }
}

static void quantise_twice(const weft_cpu_products *p, const weft_cpu_product *product, const float *x, int64_t t,
                           uint32_t thread) {
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
    if (p->normed != NULL)
        for (int64_t t = first; t < first + count; t++) norm_column(p, t);
    const float *x = p->normed != NULL ? p->normed : p->x;
    for (size_t i = 0; i < p->n_products; i++) {
        const weft_cpu_product *product = &p->products[i];
        if (!product->fast || owner_of_columns(p, i) != i) continue;
        if (product->is_doubled)
            for (int64_t t = first; t < first + count; t++) quantise_twice(p, product, x, t, thread);
        else
            p->device->kernels->quantise(product->form, p->k, x, p->k, first, count, p->n_columns, product->columns);
    }
}

void weft_cpu_products_prepare(weft_cpu_products *products) {
    if (products->normed == NULL && !products->fast) return;
    prepare_context context = {products, weft_cpu_chunk(products->device, products->n_columns, 4, products->k * 4)};
    int64_t n_chunks = (products->n_columns + context.columns_per_chunk - 1) / context.columns_per_chunk;
    weft_cpu_parallel(products->device->pool, prepare_chunk, &context, n_chunks);
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
        if (matrix->type == WEFT_F32)
            rows = (const float *)matrix->data + row * k;
        else
            for (int64_t i = 0; i < count; i++) exact->unpack(matrix->type, matrix->data, row + i, k, unpacked + i * k);
        exact->dots(rows, k, count, x, k, p->n_columns, k, y + row, 1, y_stride);
    }
}

static void doubled_rows(const weft_cpu_products *p, const weft_cpu_product *product, int64_t first_row, int64_t n_rows, float *y,
                         int64_t y_stride, uint32_t thread) {
    float *parts = p->parts + (int64_t)thread * DOUBLED_ROWS * 2 * p->n_columns;
    int64_t step = DOUBLED_ROWS / product->unit * product->unit;
    for (int64_t row = first_row; row < first_row + n_rows; row += step) {
        int64_t count = weft_cpu_min(step, first_row + n_rows - row);
        p->device->kernels->multiply(&product->matrix, product->columns, product->n_columns, row, count, parts, DOUBLED_ROWS);
        for (int64_t t = 0; t < p->n_columns; t++) {
            const float *coarse = parts + t * DOUBLED_ROWS, *rest = coarse + p->n_columns * DOUBLED_ROWS;
            for (int64_t i = 0; i < count; i++) y[row + i + t * y_stride] = coarse[i] + rest[i];
        }
    }
}

void weft_cpu_products_rows(const weft_cpu_products *products, size_t index, int64_t first_row, int64_t n_rows, float *y,
                            int64_t y_stride, uint32_t thread) {
    const weft_cpu_product *product = &products->products[index];
    if (product->is_doubled)
        doubled_rows(products, product, first_row, n_rows, y, y_stride, thread);
    else if (product->has_extra_form)
        products->device->kernels->multiply_extra(&product->matrix, product->columns, products->n_columns, first_row, n_rows,
                                                  y + first_row, y_stride);
    else if (product->fast)
        products->device->kernels->multiply(&product->matrix, product->columns, products->n_columns, first_row, n_rows,
                                            y + first_row, y_stride);
    else
        exact_rows(products, &product->matrix, first_row, n_rows, y, y_stride, thread);
}
