#include "backends/vulkan/wide.h"

#include "backends/vulkan/kernels.h"
#include "weft/ops/norm_gated_mlp.h"

enum { COLUMN_BLOCK = 16, BLOCK_VALUES = 32 };
/* The number of workgroups that keeps the largest devices busy. */
enum { ENOUGH_GROUPS = 96 };

/* Rows and columns of a workgroup's tile, the preferred first. A result does not depend on the tile. */
static const struct tile { uint32_t rows, columns, subgroups; } tiles[] = {{128, 128, 8}, {128, 64, 4}, {64, 64, 4}};

static uint32_t shared_bytes(const struct tile *tile) {
    return (tile->rows + tile->columns) * (2 * (BLOCK_VALUES + 8) * 2 + 4);
}

static const struct tile *choose_tile(const weft_vulkan_traits *traits, int64_t n_rows, int64_t n_columns) {
    const size_t n = sizeof tiles / sizeof tiles[0];
    for (size_t i = 0; i + 1 < n; i++) {
        uint64_t n_groups = weft_vulkan_groups(n_rows, tiles[i].rows) * weft_vulkan_groups(n_columns, tiles[i].columns);
        bool fits = shared_bytes(&tiles[i]) <= traits->properties.limits.maxComputeSharedMemorySize &&
                    tiles[i].subgroups * traits->subgroup_size <= traits->properties.limits.maxComputeWorkGroupInvocations;
        if (fits && n_groups >= ENOUGH_GROUPS && n_columns > tiles[i].columns / 2) return &tiles[i];
    }
    return &tiles[n - 1];
}

static uint64_t units_of(int64_t k) {
    return weft_vulkan_groups(k, WEFT_VULKAN_UNIT_VALUES);
}

/* Bytes of the columns as half floats, after which come their scales. */
static uint64_t column_bytes(int64_t k, int64_t n_columns) {
    return weft_vulkan_groups(n_columns, COLUMN_BLOCK) * COLUMN_BLOCK * units_of(k) * WEFT_VULKAN_UNIT_VALUES * 2;
}

uint64_t weft_vulkan_take_halves(weft_vulkan_scratch *scratch, int64_t k, int64_t n_columns) {
    return weft_vulkan_take(scratch, column_bytes(k, n_columns) + (uint64_t)n_columns * sizeof(float));
}

uint64_t weft_vulkan_halves_bytes(const weft_vulkan_call *call, uint32_t x) {
    const int64_t *shape = call->phase->inputs[x].tensor.shape;
    weft_vulkan_scratch scratch = {0};
    weft_vulkan_take_halves(&scratch, shape[0], shape[1]);
    return scratch.used;
}

static void prepare_columns(weft_vulkan_recorder *recorder, const weft_vulkan_unit_products *products, uint64_t halves, int64_t k) {
    const struct {
        uint64_t control, x, norm, halves, scales;
        uint32_t k, n_columns, n_blocks;
        float epsilon;
    } push = {0,
              products->x,
              products->norm,
              halves,
              halves + column_bytes(k, products->n_columns),
              (uint32_t)k,
              (uint32_t)products->n_columns,
              (uint32_t)units_of(k) * (WEFT_VULKAN_UNIT_VALUES / BLOCK_VALUES),
              products->epsilon};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_columns_halves,
                                                         .constants = {products->norm != 0},
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = (uint64_t)products->n_columns});
    weft_vulkan_record_barrier(recorder);
}

/* The product with `matrix`, or with it and `up`. */
static void record_matrix(weft_vulkan_recorder *recorder, const weft_vulkan_unit_products *products, uint64_t halves,
                          const weft_vulkan_unit_matrix *matrix, const weft_vulkan_unit_matrix *up) {
    const weft_vulkan_traits *traits = &recorder->device->traits;
    const int64_t *shape = matrix->weight->tensor.shape;
    const struct tile *tile = choose_tile(traits, up != NULL ? 2 * shape[1] : shape[1], products->n_columns);
    const struct {
        uint64_t control, weight, up, halves, scales, y, bias, residual;
        uint32_t n, n_columns, n_units;
    } push = {0,
              matrix->weight->address,
              up != NULL ? up->weight->address : 0,
              halves,
              halves + column_bytes(shape[0], products->n_columns),
              matrix->y,
              matrix->bias,
              products->residual,
              (uint32_t)shape[1],
              (uint32_t)products->n_columns,
              (uint32_t)units_of(shape[0])};
    uint32_t rows = up != NULL ? tile->rows / 2 : tile->rows;
    uint32_t gated = up == NULL ? 0 : products->end == WEFT_VULKAN_END_GELU ? 1 + WEFT_ACTIVATION_GELU : 1 + WEFT_ACTIVATION_SILU;
    weft_vulkan_record(recorder,
                       &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_mul_mat_wide,
                                               .constants = {(uint32_t)matrix->weight->tensor.type, tile->rows, tile->columns,
                                                             traits->matrices.m, traits->matrices.n, traits->matrices.k,
                                                             tile->subgroups * traits->subgroup_size, gated},
                                               .subgroup_size = weft_vulkan_full_subgroup(traits),
                                               .push = &push,
                                               .push_size = sizeof push,
                                               .groups_x = weft_vulkan_groups(shape[1], rows),
                                               .groups_y = weft_vulkan_groups(products->n_columns, tile->columns)});
}

void weft_vulkan_record_wide_products(weft_vulkan_recorder *recorder, const weft_vulkan_unit_products *products, uint64_t halves) {
    prepare_columns(recorder, products, halves, products->matrices[0].weight->tensor.shape[0]);
    if (products->end != WEFT_VULKAN_END_PLAIN) {
        record_matrix(recorder, products, halves, &products->matrices[0], &products->matrices[1]);
        return;
    }
    for (uint32_t i = 0; i < products->n_matrices; i++) record_matrix(recorder, products, halves, &products->matrices[i], NULL);
}

void weft_vulkan_record_wide_node(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, uint64_t bias, uint64_t residual) {
    const weft_place *inputs = call->phase->inputs;
    weft_vulkan_unit_matrix matrix = {
        .weight = &inputs[WEFT_MUL_MAT_WEIGHT], .bias = bias, .y = call->phase->outputs[WEFT_MUL_MAT_OUT_Y].address};
    weft_vulkan_unit_products products = {.matrices = {matrix},
                                          .n_matrices = 1,
                                          .x = inputs[WEFT_MUL_MAT_X].address,
                                          .residual = residual,
                                          .n_columns = inputs[WEFT_MUL_MAT_X].tensor.shape[1]};
    weft_vulkan_record_wide_products(recorder, &products, call->phase->scratch.address);
}
