#include "backends/vulkan/units.h"

#include <stddef.h>
#include <string.h>

#include "weft/ops/rope.h"

#define TILE 8 /* columns, at most */
/* So few bands leave multiprocessors without work: integer products of 8 columns then have four times as many workgroups. */
#define FEW_BANDS 128
#define TILE_OF_FEW_BANDS 2
#define MOST_WARPS 16  /* of 32 invocations in a workgroup */
#define MOST_GATED 4   /* where there is a gate, which keeps twice as many sums */
#define MOST_ROTATED 8 /* with a rotation, likewise */
/* The most columns for which half of the warps have one band, and half the other: with more, each has to stage too much. */
#define SHARED_TILE 2
#define FEWEST_WARPS 4 /* if a row has that many units */
#define ENOUGH_WARPS 4096

/* How many warps share the units of a row. This decides the order of sums, so it depends on the matrices alone. A warp has one unit
 * or several, as long as all of them together fill the largest devices. */
static uint32_t warps_for(uint64_t n_units, uint64_t n_bands, uint64_t most) {
    uint64_t rounds = (n_units + most - 1) / most;
    while ((n_units + rounds - 1) / rounds * n_bands > ENOUGH_WARPS && (n_units + rounds) / (rounds + 1) >= FEWEST_WARPS) rounds++;
    return (uint32_t)((n_units + rounds - 1) / rounds);
}

/* Bands of 16 rows that a workgroup multiplies at once. */
static uint32_t n_together(const weft_vulkan_unit_products *products) {
    return products->end != WEFT_VULKAN_END_PLAIN || products->rotation != NULL ? 2 : 1;
}

/* Vectors of 16 bytes of shared memory: the columns that a step reads, and later the sums. */
static uint32_t shared_vectors(const weft_vulkan_unit_products *products, uint32_t tile, uint32_t warps, uint32_t shares) {
    weft_type type = products->matrices[0].weight->tensor.type;
    uint32_t loaded = type == WEFT_F16 || type == WEFT_BF16 ? 2 : 4, steps = tile <= 2 ? 4 : 8 / tile;
    uint32_t of_floats = (steps < loaded ? steps : loaded) * tile * 16,
             of_dots = tile == 8 ? 112 : 56; /* at least OWN of the shader */
    uint32_t staged = (products->by_dots ? of_dots : of_floats) * shares;
    uint32_t sums = (n_together(products) + (products->norm != 0 ? 1u : 0u)) * tile * 8;
    return (staged > sums ? staged : sums) * warps;
}

/* Which kernel multiplies: [by dots][with a rotation]. */
static const uint32_t shaders[2][2] = {{WEFT_VULKAN_SHADER_mul_mat_units, WEFT_VULKAN_SHADER_mul_mat_units_rotated},
                                       {WEFT_VULKAN_SHADER_mul_mat_dots, WEFT_VULKAN_SHADER_mul_mat_dots_rotated}};

bool weft_vulkan_can_rotate(const weft_vulkan_traits *traits, const weft_vulkan_unit_rotation *rotation) {
    const uint32_t two_bands = 2 * WEFT_VULKAN_UNIT_ROWS, n_dims = rotation->n_dims, head_dim = rotation->shape.head_dim;
    bool fits = n_dims == 0 || rotation->order == WEFT_ROPE_ADJACENT || (n_dims % two_bands == 0 && head_dim % n_dims == 0);
    return fits && head_dim % two_bands == 0 && weft_vulkan_has_more_push_bytes(traits);
}

/* Matrices of one type. */
static void record_alike(weft_vulkan_recorder *recorder, const weft_vulkan_unit_products *products) {
    bool is_gated = products->end != WEFT_VULKAN_END_PLAIN;
    const weft_tensor *weight = &products->matrices[0].weight->tensor;
    struct parameters {
        uint64_t control, x, norm, residual;
        struct {
            uint64_t weight, bias, y;
        } matrices[3];
        uint32_t n[3], k, n_columns;
        float epsilon;
        struct {
            uint64_t rows, table, kv, sequences;
            uint32_t n_kv_heads, n_pages, sequence_words, n_sequences, n_positions, roles;
        } rotation;
    } push = {.x = products->x,
              .norm = products->norm,
              .residual = products->residual,
              .k = (uint32_t)weight->shape[0],
              .n_columns = (uint32_t)products->n_columns,
              .epsilon = products->epsilon};
    const weft_vulkan_unit_rotation *rotation = products->rotation;
    if (rotation != NULL) {
        push.rotation.rows = rotation->rows;
        push.rotation.table = rotation->table;
        push.rotation.kv = rotation->kv;
        push.rotation.sequences = rotation->sequences;
        push.rotation.n_kv_heads = rotation->shape.n_kv_heads;
        push.rotation.n_pages = rotation->shape.n_pages;
        push.rotation.sequence_words = rotation->shape.sequence_words;
        push.rotation.n_sequences = rotation->shape.n_sequences;
        push.rotation.n_positions = rotation->n_positions;
    }
    uint64_t n_bands = 0;
    for (uint32_t i = 0; i < products->n_matrices; i++) {
        const weft_vulkan_unit_matrix *matrix = &products->matrices[i];
        push.matrices[i].weight = matrix->weight->address;
        push.matrices[i].bias = matrix->bias;
        push.matrices[i].y = matrix->y;
        push.n[i] = (uint32_t)matrix->weight->tensor.shape[1];
        push.rotation.roles |= matrix->role << 2 * i;
        if (i == 0 || !is_gated) n_bands += weft_vulkan_groups(matrix->weight->tensor.shape[1], WEFT_VULKAN_UNIT_ROWS);
    }
    uint32_t tile = weft_vulkan_tile(products->n_columns, products->by_dots && n_bands <= FEW_BANDS ? TILE_OF_FEW_BANDS : TILE);
    bool has_subgroups = (weft_vulkan_features_of(&recorder->device->traits) & WEFT_VULKAN_SUBGROUPS_OF_32) != 0;
    uint64_t n_units = weft_vulkan_groups(weight->shape[0], WEFT_VULKAN_UNIT_VALUES);
    uint32_t most = rotation != NULL ? MOST_ROTATED : is_gated ? MOST_GATED : MOST_WARPS;
    uint32_t warps = warps_for(n_units, n_bands, most), shares = rotation != NULL && tile <= SHARED_TILE ? 2 : 1;
    weft_vulkan_dispatch dispatch = {.shader = shaders[products->by_dots][rotation != NULL],
                                     .subgroup_size = has_subgroups ? 32 : 0,
                                     .constants = {(uint32_t)weight->type, tile, warps, products->end, products->norm != 0,
                                                   has_subgroups, shared_vectors(products, tile, warps, shares),
                                                   warps * shares * 32, products->by_dots && n_units > warps, shares},
                                     .push = &push,
                                     .push_size = offsetof(struct parameters, rotation),
                                     /* neighbours read the same weights */
                                     .groups_x = weft_vulkan_groups(products->n_columns, tile),
                                     .groups_y = n_bands};
    if (rotation != NULL) {
        const uint32_t constants[] = {rotation->kv_type, rotation->shape.head_dim, rotation->n_dims, rotation->shape.page_size,
                                      rotation->order == WEFT_ROPE_ADJACENT};
        memcpy(&dispatch.constants[10], constants, sizeof constants);
        dispatch.push_size = sizeof push;
        dispatch.groups_y = n_bands / 2;
    }
    weft_vulkan_record(recorder, &dispatch);
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
    weft_vulkan_unit_matrix matrix = {
        .weight = &inputs[WEFT_MUL_MAT_WEIGHT], .bias = bias, .y = call->phase->outputs[WEFT_MUL_MAT_OUT_Y].address};
    weft_vulkan_record_unit_products(recorder, &(weft_vulkan_unit_products){.matrices = {matrix},
                                                                            .n_matrices = 1,
                                                                            .by_dots = weft_vulkan_by_dots(call),
                                                                            .x = inputs[WEFT_MUL_MAT_X].address,
                                                                            .residual = residual,
                                                                            .n_columns = inputs[WEFT_MUL_MAT_X].tensor.shape[1]});
}
