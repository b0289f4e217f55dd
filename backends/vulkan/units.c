#include "backends/vulkan/units.h"

#include "backends/vulkan/kernels.h"

#define TILE 8        /* columns, at most */
#define MOST_WARPS 16 /* of 32 invocations in a workgroup */
#define MOST_GATED 8  /* where there is a gate, which keeps twice as many sums */
#define MOST_GATED_DOTS 4
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

/* The same of mul_mat_dots.comp. */
static uint32_t shared_vectors_of_dots(const weft_vulkan_unit_products *products, uint32_t tile, uint32_t warps) {
    uint32_t staged = tile == 8 ? 112 : 56; /* at least OWN of the shader */
    uint32_t n_sums = (products->end == WEFT_VULKAN_END_PLAIN ? 1u : 2u) + (products->norm != 0 ? 1u : 0u);
    uint32_t sums = n_sums * tile * 8;
    return (staged > sums ? staged : sums) * warps;
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
    bool has_subgroups = (weft_vulkan_features_of(&recorder->device->traits) & WEFT_VULKAN_SUBGROUPS_OF_32) != 0;
    uint64_t n_units = weft_vulkan_groups(weight->shape[0], WEFT_VULKAN_UNIT_VALUES);
    uint32_t most_gated = products->by_dots ? MOST_GATED_DOTS : MOST_GATED;
    uint32_t warps = warps_for(n_units, n_bands, is_gated ? most_gated : MOST_WARPS);
    uint32_t vectors = products->by_dots ? shared_vectors_of_dots(products, tile, warps) : shared_vectors(products, tile, warps);
    weft_vulkan_record(
        recorder,
        &(weft_vulkan_dispatch){.shader = products->by_dots ? WEFT_VULKAN_SHADER_mul_mat_dots : WEFT_VULKAN_SHADER_mul_mat_units,
                                .subgroup_size = has_subgroups ? 32 : 0,
                                .constants = {(uint32_t)weight->type, tile, warps, products->end, products->norm != 0,
                                              has_subgroups, vectors, warps * 32, products->by_dots && n_units > warps},
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
                                                                            .by_dots = weft_vulkan_by_dots(call),
                                                                            .x = inputs[WEFT_MUL_MAT_X].address,
                                                                            .residual = residual,
                                                                            .n_columns = inputs[WEFT_MUL_MAT_X].tensor.shape[1]});
}
