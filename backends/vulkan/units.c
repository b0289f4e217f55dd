#include "backends/vulkan/units.h"

#include "backends/vulkan/kernels.h"

#define TILE 8        /* columns, at most */
#define MOST_WARPS 16 /* of 32 invocations in a workgroup */
#define MOST_GATED 8  /* which keep twice as many sums */
#define MOST_FEW 12   /* of mul_mat_few.comp */
#define MOST_FEW_UNITS 3500
#define FEWEST_WARPS 4 /* if a row has that many units */
#define ENOUGH_WARPS 4096

/* How many warps share the units of a row. This decides the order of sums, so it depends on the matrices alone. A warp has one unit
 * or several, as long as all of them together fill the largest devices. */
static uint32_t warps_for(uint64_t n_units, uint64_t n_bands, uint64_t most) {
    uint64_t rounds = (n_units + most - 1) / most;
    while ((n_units + rounds - 1) / rounds * n_bands > ENOUGH_WARPS && (n_units + rounds) / (rounds + 1) >= FEWEST_WARPS) rounds++;
    return (uint32_t)((n_units + rounds - 1) / rounds);
}

/* Vectors of 16 bytes of shared memory: the columns that a step reads, and later the sums. */
static uint32_t shared_vectors(const weft_vulkan_unit_products *products, uint32_t tile, uint32_t warps) {
    weft_type type = products->matrices[0].weight->tensor.type;
    uint32_t loaded = type == WEFT_F16 || type == WEFT_BF16 ? 2 : 4, steps = tile <= 2 ? 4 : 8 / tile;
    uint32_t staged = (steps < loaded ? steps : loaded) * tile * warps * 16;
    uint32_t n_sums = (products->end == WEFT_VULKAN_END_PLAIN ? 1u : 2u) + (products->norm != 0 ? 1u : 0u);
    uint32_t sums = n_sums * tile * warps * 8;
    return staged > sums ? staged : sums;
}

/* The most subgroups of a workgroup of mul_mat_few.comp, by its shared memory: the same for any number of columns. */
static uint32_t most_few_warps(const weft_vulkan_traits *traits, bool is_gated) {
    uint32_t vectors = traits->matrices.few_columns == 8 ? 216 : 272; /* at least OWN of the shader, for any TILE */
    uint32_t own = (vectors + TILE) * 16;
    uint32_t most = traits->properties.limits.maxComputeSharedMemorySize / own, limit = is_gated ? MOST_GATED : MOST_FEW;
    return most < limit ? most : limit;
}

/* Matrices of one type. */
static void record_alike(weft_vulkan_recorder *recorder, const weft_vulkan_unit_products *products) {
    bool is_gated = products->end != WEFT_VULKAN_END_PLAIN;
    const weft_tensor *weight = &products->matrices[0].weight->tensor;
    uint32_t tile = weft_vulkan_tile(products->n_columns, TILE);
    struct {
        uint64_t control, x, norm, residual;
        struct {
            uint64_t weight, bias, y;
        } matrices[3];
        uint32_t n[3], k, n_columns;
        float epsilon;
    } push = {.x = products->x,
              .norm = products->norm,
              .residual = products->residual,
              .k = (uint32_t)weight->shape[0],
              .n_columns = (uint32_t)products->n_columns,
              .epsilon = products->epsilon};
    uint64_t n_bands = 0;
    for (uint32_t i = 0; i < products->n_matrices; i++) {
        const weft_vulkan_unit_matrix *matrix = &products->matrices[i];
        push.matrices[i].weight = matrix->weight->address;
        push.matrices[i].bias = matrix->bias;
        push.matrices[i].y = matrix->y;
        push.n[i] = (uint32_t)matrix->weight->tensor.shape[1];
        if (i == 0 || !is_gated) n_bands += weft_vulkan_groups(matrix->weight->tensor.shape[1], WEFT_VULKAN_UNIT_ROWS);
    }
    if (products->by_matrices) {
        uint32_t columns = recorder->device->traits.matrices.few_columns;
        uint32_t warps = warps_for(2 * weft_vulkan_groups(weight->shape[0], WEFT_VULKAN_UNIT_VALUES), n_bands,
                                   most_few_warps(&recorder->device->traits, is_gated));
        weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_mul_mat_few,
                                                             .subgroup_size = 32,
                                                             .constants = {(uint32_t)weight->type, tile, warps, products->end,
                                                                           products->norm != 0, columns, warps * 32},
                                                             .push = &push,
                                                             .push_size = sizeof push,
                                                             .groups_x = n_bands,
                                                             .groups_y = weft_vulkan_groups(products->n_columns, tile)});
        return;
    }
    bool has_subgroups = (weft_vulkan_features_of(&recorder->device->traits) & WEFT_VULKAN_SUBGROUPS_OF_32) != 0;
    uint32_t warps =
        warps_for(weft_vulkan_groups(weight->shape[0], WEFT_VULKAN_UNIT_VALUES), n_bands, is_gated ? MOST_GATED : MOST_WARPS);
    weft_vulkan_record(
        recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_mul_mat_units,
                                          .subgroup_size = has_subgroups ? 32 : 0,
                                          .constants = {(uint32_t)weight->type, tile, warps, products->end, products->norm != 0,
                                                        has_subgroups, shared_vectors(products, tile, warps), warps * 32},
                                          .push = &push,
                                          .push_size = sizeof push,
                                          .groups_x = n_bands,
                                          .groups_y = weft_vulkan_groups(products->n_columns, tile)});
}

void weft_vulkan_record_unit_products(weft_vulkan_recorder *recorder, const weft_vulkan_unit_products *products) {
    bool done[3] = {false};
    for (uint32_t i = 0; i < products->n_matrices; i++) {
        weft_vulkan_unit_products alike = *products;
        alike.n_matrices = 0;
        for (uint32_t j = i; j < products->n_matrices; j++) {
            if (done[j] || products->matrices[j].weight->tensor.type != products->matrices[i].weight->tensor.type) continue;
            alike.matrices[alike.n_matrices++] = products->matrices[j];
            done[j] = true;
        }
        if (alike.n_matrices > 0) record_alike(recorder, &alike);
    }
}

void weft_vulkan_record_units_node(weft_vulkan_recorder *recorder, const weft_vulkan_call *call, uint64_t bias, uint64_t residual) {
    const weft_place *inputs = call->phase->inputs;
    weft_vulkan_unit_matrix matrix = {&inputs[WEFT_MUL_MAT_WEIGHT], bias, call->phase->outputs[WEFT_MUL_MAT_OUT_Y].address};
    weft_vulkan_record_unit_products(recorder, &(weft_vulkan_unit_products){.matrices = {matrix},
                                                                            .n_matrices = 1,
                                                                            .by_matrices = weft_vulkan_by_matrices(call),
                                                                            .x = inputs[WEFT_MUL_MAT_X].address,
                                                                            .residual = residual,
                                                                            .n_columns = inputs[WEFT_MUL_MAT_X].tensor.shape[1]});
}

const char *weft_vulkan_few_refuses(const weft_phase *phase, uint32_t matrices) {
    uint64_t n_units = 0;
    for (uint32_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        if ((matrices & WEFT_PORT_BIT(i)) == 0) continue;
        const int64_t *shape = phase->inputs[i].tensor.shape;
        n_units += weft_vulkan_groups(shape[1], WEFT_VULKAN_UNIT_ROWS) * weft_vulkan_groups(shape[0], WEFT_VULKAN_UNIT_VALUES);
    }
    return n_units > MOST_FEW_UNITS ? "it is slower for large matrices" : NULL;
}
