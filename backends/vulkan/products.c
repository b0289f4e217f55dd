/* Products of a matrix with columns. If the kernel's table row has int8 matrices and the matrix is quantised, the columns are
 * rounded to int8 first. All other products are in exact arithmetic.
 */
#include "backends/vulkan/kernels.h"

weft_vulkan_columns weft_vulkan_columns_take(const weft_vulkan_call *call, weft_vulkan_scratch *scratch, int64_t k,
                                             int64_t n_columns, bool extra_precision) {
    weft_vulkan_columns columns = {.k = k, .n_columns = n_columns, .is_int8 = call->kernel->int8_matrices != 0};
    if (!columns.is_int8) return columns;
    columns.quants = weft_vulkan_take(scratch, (uint64_t)(k * n_columns));
    columns.scales = weft_vulkan_take(scratch, (uint64_t)(k / 32 * n_columns) * 2 * sizeof(float));
    if (!extra_precision) return columns;
    columns.error_quants = weft_vulkan_take(scratch, (uint64_t)(k * n_columns));
    columns.extra_scales = weft_vulkan_take(scratch, (uint64_t)(k / 32 * n_columns) * 2 * sizeof(float));
    return columns;
}

void weft_vulkan_columns_prepare(weft_vulkan_recorder *recorder, const weft_vulkan_columns *columns) {
    if (!columns->is_int8) return;
    const struct {
        uint64_t control, x, quants, scales, error_quants, extra_scales;
        uint32_t n;
    } push = {0,
              columns->x,
              columns->quants,
              columns->scales,
              columns->error_quants,
              columns->extra_scales,
              (uint32_t)(columns->k / 32 * columns->n_columns)};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_quantise,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups((int64_t)push.n, 64)});
    weft_vulkan_record_barrier(recorder);
}

/* For up to FEW_COLUMNS columns the 32 lanes of a sum are 32 invocations: one invocation for each row would leave most of a GPU
 * idle. A processor is busy either way. There only small matrices take this path, so that tests run its shader on machines without
 * a GPU. */
enum { FEW_COLUMNS = 8, FEW_ROWS = 65 };

static bool has_few_columns(const weft_vulkan_recorder *recorder, const weft_vulkan_product *product) {
    if (recorder->device->traits.is_processor && product->weight->tensor.shape[1] > FEW_ROWS) return false;
    return product->columns->n_columns <= FEW_COLUMNS;
}

uint32_t weft_vulkan_tile(int64_t n_columns, uint32_t largest) {
    uint32_t tile = 1;
    while (tile < n_columns && tile < largest) tile *= 2;
    return tile;
}

/* Some drivers for processors execute the instructions of a workgroup once even if all of its invocations leave at once. So that a
 * step that was stopped is soon over, there are few workgroups, which loop: four for each core. */
static uint64_t row_groups(const weft_vulkan_recorder *recorder, int64_t n_all, int64_t n_rows) {
    const uint64_t groups = weft_vulkan_groups(n_all, n_rows), most = 4 * (uint64_t)recorder->device->traits.n_cores;
    return recorder->device->traits.is_processor && groups > most ? most : groups;
}

/* Records workgroups for `n_rows` rows of the weight each and each tile of up to `n_columns` columns. */
static void record_tiles(weft_vulkan_recorder *recorder, const weft_vulkan_product *product, uint32_t shader, int64_t n_rows,
                         uint32_t n_columns, const void *push, size_t push_size) {
    uint32_t tile = weft_vulkan_tile(product->columns->n_columns, n_columns);
    bool extra_precision = product->extra_precision && shader == WEFT_VULKAN_SHADER_mul_mat_int8;
    weft_vulkan_record(recorder,
                       &(weft_vulkan_dispatch){.shader = shader,
                                               .constants = {weft_vulkan_matrix_type(product->weight), tile, extra_precision},
                                               .push = push,
                                               .push_size = push_size,
                                               .groups_x = row_groups(recorder, product->weight->tensor.shape[1], n_rows),
                                               .groups_y = weft_vulkan_groups(product->columns->n_columns, tile)});
}

static void record_int8(weft_vulkan_recorder *recorder, const weft_vulkan_product *product) {
    const weft_place *weight = product->weight;
    const struct {
        uint64_t control, weight, quants, error_quants, scales, y, bias, residual;
        uint32_t k, n, n_columns, row_bytes;
    } push = {0,
              weight->address,
              product->columns->quants,
              product->columns->error_quants,
              product->extra_precision ? product->columns->extra_scales : product->columns->scales,
              product->y,
              product->bias,
              product->residual,
              (uint32_t)weight->tensor.shape[0],
              (uint32_t)weight->tensor.shape[1],
              (uint32_t)product->columns->n_columns,
              weft_vulkan_row_bytes(recorder->device, weight)};
    record_tiles(recorder, product, WEFT_VULKAN_SHADER_mul_mat_int8, 4, 16, &push, sizeof push);
}

static void record_exact(weft_vulkan_recorder *recorder, const weft_vulkan_product *product) {
    const weft_place *weight = product->weight;
    const struct {
        uint64_t control, weight, x, y, bias, residual;
        uint32_t k, n, n_columns, row_bytes;
    } push = {0,
              weight->address,
              product->columns->x,
              product->y,
              product->bias,
              product->residual,
              (uint32_t)weight->tensor.shape[0],
              (uint32_t)weight->tensor.shape[1],
              (uint32_t)product->columns->n_columns,
              weft_vulkan_row_bytes(recorder->device, weight)};
    if (has_few_columns(recorder, product))
        record_tiles(recorder, product, WEFT_VULKAN_SHADER_mul_mat_lanes, 2, FEW_COLUMNS, &push, sizeof push);
    else
        record_tiles(recorder, product, WEFT_VULKAN_SHADER_mul_mat, 64, 4, &push, sizeof push);
}

static void record_product(weft_vulkan_recorder *recorder, const weft_vulkan_product *product) {
    const int64_t *shape = product->weight->tensor.shape;
    recorder->n_products += shape[0] * shape[1] * product->columns->n_columns;
    if (product->columns->is_int8 && weft_vulkan_is_quantised(recorder->device, product->weight))
        record_int8(recorder, product);
    else
        record_exact(recorder, product);
}

static uint64_t skip_reals(uint64_t address, int64_t n) {
    return address == 0 ? 0 : address + (uint64_t)n * sizeof(float);
}

/* A processor multiplies a large matrix with one column in several dispatches, so that a cancel can come between them. */
static bool record_in_parts(weft_vulkan_recorder *recorder, const weft_vulkan_product *product) {
    const int64_t k = product->weight->tensor.shape[0], n = product->weight->tensor.shape[1];
    const int64_t n_part = WEFT_VULKAN_PRODUCTS_A_LOOK / k / 64 * 64;
    if (!recorder->device->traits.is_processor || product->columns->n_columns > 1 || n_part == 0 || n_part >= n) return false;
    for (int64_t first = 0; first < n; first += n_part) {
        weft_place weight = *product->weight;
        weft_vulkan_product part = *product;
        weight.tensor.shape[1] = n - first < n_part ? n - first : n_part;
        weight.address += (uint64_t)first * weft_vulkan_row_bytes(recorder->device, product->weight);
        part.weight = &weight;
        part.y = skip_reals(product->y, first);
        part.bias = skip_reals(product->bias, first);
        part.residual = skip_reals(product->residual, first);
        weft_vulkan_record_look(recorder);
        record_product(recorder, &part);
    }
    return true;
}

void weft_vulkan_mul_mat(weft_vulkan_recorder *recorder, const weft_vulkan_product *product) {
    if (!record_in_parts(recorder, product)) record_product(recorder, product);
}

_Static_assert((int)WEFT_MUL_MAT_WEIGHT == WEFT_MUL_MAT_ADD_WEIGHT && (int)WEFT_MUL_MAT_X == WEFT_MUL_MAT_ADD_X,
               "mul_mat and mul_mat_add begin with the same inputs");

static weft_vulkan_columns columns_of(const weft_vulkan_call *call, weft_vulkan_scratch *scratch, bool extra_precision) {
    weft_vulkan_columns columns = weft_vulkan_columns_take(call, scratch, call->phase->inputs[WEFT_MUL_MAT_X].tensor.shape[0],
                                                           call->phase->inputs[WEFT_MUL_MAT_X].tensor.shape[1], extra_precision);
    columns.x = call->phase->inputs[WEFT_MUL_MAT_X].address;
    return columns;
}

uint64_t weft_vulkan_mul_mat_bytes(const weft_vulkan_call *call, bool extra_precision) {
    weft_vulkan_scratch scratch = {0};
    columns_of(call, &scratch, extra_precision);
    return scratch.used;
}

void weft_vulkan_mul_mat_node(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, uint64_t bias, uint64_t residual,
                              bool extra_precision) {
    weft_vulkan_columns columns = columns_of(call, &(weft_vulkan_scratch){.base = call->phase->scratch.address}, extra_precision);
    weft_vulkan_columns_prepare(recorder, &columns);
    weft_vulkan_mul_mat(recorder, &(weft_vulkan_product){.weight = &call->phase->inputs[WEFT_MUL_MAT_WEIGHT],
                                                         .columns = &columns,
                                                         .y = call->phase->outputs[WEFT_MUL_MAT_OUT_Y].address,
                                                         .bias = bias,
                                                         .residual = residual,
                                                         .extra_precision = extra_precision});
}
