#include "backends/vulkan/weights.h"

#include <string.h>

#include "backends/vulkan/recorder.h"
#include "backends/vulkan/transfer.h"

bool weft_vulkan_is_quantised(const weft_backend_device *device, const weft_place *matrix) {
    const weft_type_info *type = device->host->type(matrix->tensor.type);
    return type != NULL && type->block_elements > 1;
}

/* ---- Layouts ---- */

#define MAX_PARTS 4 /* shaders/parts/pack_planar.comp */

/* How a block of the file is taken apart, so that its parts lie where they can be read in words. */
static const struct planar {
    struct {
        uint32_t bytes, first;
    } parts[MAX_PARTS];
} planar[] = {
    [WEFT_VULKAN_Q6_K_PLANAR] = {{{128, 0}, {64, 128}, {16, 192}, {2, 208}}},
    [WEFT_VULKAN_Q8_0_PLANAR] = {{{32, 2}, {2, 0}}},
};

static uint64_t row_bytes(const weft_backend_device *device, const weft_tensor *matrix, bool is_planar) {
    const weft_type_info *type = device->host->type(matrix->type);
    uint64_t bytes = (uint64_t)matrix->shape[0] / type->block_elements * type->block_bytes;
    return is_planar ? (bytes + 15) / 16 * 16 : bytes;
}

uint32_t weft_vulkan_row_bytes(const weft_backend_device *device, const weft_place *matrix) {
    return (uint32_t)row_bytes(device, &matrix->tensor, matrix->layout != WEFT_LAYOUT_FILE);
}

static uint64_t measure(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights) {
    (void)n_weights;
    const int64_t *shape = weights[0]->shape;
    return (uint64_t)(shape[1] * shape[2] * shape[3]) * row_bytes(device, weights[0], true);
}

/* Bytes of the part of a row that is in one unit. */
static uint32_t unit_row_bytes(const weft_backend_device *device, const weft_tensor *matrix) {
    const weft_type_info *type = device->host->type(matrix->type);
    return WEFT_VULKAN_UNIT_VALUES / type->block_elements * type->block_bytes;
}

/* Bytes of n_rows rows in units, without their powers. */
static uint64_t units_bytes(const weft_backend_device *device, const weft_tensor *matrix, int64_t n_rows) {
    return weft_vulkan_groups(n_rows, WEFT_VULKAN_UNIT_ROWS) * weft_vulkan_groups(matrix->shape[0], WEFT_VULKAN_UNIT_VALUES) *
           WEFT_VULKAN_UNIT_ROWS * unit_row_bytes(device, matrix);
}

static uint64_t measure_units(weft_backend_device *device, const weft_tensor *const *weights, size_t n_weights) {
    (void)n_weights;
    const int64_t *shape = weights[0]->shape;
    if (shape[2] * shape[3] > 1) return 0;
    return units_bytes(device, weights[0], shape[1]) +
           weft_vulkan_groups(shape[1], WEFT_VULKAN_UNIT_ROWS) * WEFT_VULKAN_UNIT_ROWS * sizeof(float);
}

const weft_kernel_layout weft_vulkan_layouts[WEFT_VULKAN_N_LAYOUTS] = {
    {.layout = {.id = WEFT_VULKAN_UNITS, .rows_at_once = WEFT_VULKAN_UNIT_ROWS, .name = "units"},
     .types = WEFT_VULKAN_UNIT_TYPES,
     .n_weights = 1,
     .measure = measure_units},
    {.layout = {.id = WEFT_VULKAN_Q6_K_PLANAR, .rows_at_once = 1, .name = "q6_k planar"},
     .types = WEFT_TYPE_BIT(WEFT_Q6_K),
     .n_weights = 1,
     .measure = measure},
    {.layout = {.id = WEFT_VULKAN_Q8_0_PLANAR, .rows_at_once = 1, .name = "q8_0 planar"},
     .types = WEFT_TYPE_BIT(WEFT_Q8_0),
     .n_weights = 1,
     .measure = measure},
};

/* ---- Packing ---- */

static void pack_planar(weft_vulkan_recorder *recorder, const weft_packing *packing, uint64_t from) {
    const weft_type_info *type = recorder->device->host->type(packing->weight->type);
    uint64_t bytes = row_bytes(recorder->device, packing->weight, true);
    const struct {
        uint64_t control, from, to;
        uint32_t n_rows, n_blocks, block_bytes, row_bytes;
        struct planar planar;
    } push = {0,
              from,
              packing->buffer->address + packing->offset + (uint64_t)packing->first_row * bytes,
              (uint32_t)packing->n_rows,
              (uint32_t)packing->weight->shape[0] / type->block_elements,
              type->block_bytes,
              (uint32_t)bytes,
              planar[packing->layout->id]};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_pack_planar,
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = weft_vulkan_groups((int64_t)push.row_bytes / 4, 128),
                                                         .groups_y = (uint64_t)push.n_rows});
}

static void pack_units(weft_vulkan_recorder *recorder, const weft_packing *packing, uint64_t from) {
    const weft_tensor *weight = packing->weight;
    uint64_t weights = packing->buffer->address + packing->offset,
             n_bands = weft_vulkan_groups(packing->n_rows, WEFT_VULKAN_UNIT_ROWS);
    const struct {
        uint64_t control, from, to;
        uint32_t n_rows, n_units, row_bytes, unit_row_bytes;
    } push = {0,
              from,
              weights + units_bytes(recorder->device, weight, packing->first_row),
              (uint32_t)packing->n_rows,
              (uint32_t)weft_vulkan_groups(weight->shape[0], WEFT_VULKAN_UNIT_VALUES),
              (uint32_t)row_bytes(recorder->device, weight, false),
              unit_row_bytes(recorder->device, weight)};
    const struct {
        uint64_t control, units, powers;
        uint32_t n_rows, n_units;
    } powers = {0, push.to,
                weights + units_bytes(recorder->device, weight, weight->shape[1]) + (uint64_t)packing->first_row * sizeof(float),
                (uint32_t)n_bands * WEFT_VULKAN_UNIT_ROWS, push.n_units};
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_pack_units,
                                                         .constants = {(uint32_t)weight->type},
                                                         .push = &push,
                                                         .push_size = sizeof push,
                                                         .groups_x = push.n_units,
                                                         .groups_y = n_bands});
    weft_vulkan_record_barrier(recorder);
    weft_vulkan_record(recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_unit_powers,
                                                         .constants = {(uint32_t)weight->type},
                                                         .push = &powers,
                                                         .push_size = sizeof powers,
                                                         .groups_x = powers.n_rows});
}

/* The rows that are in the piece. */
static weft_status pack(weft_backend_device *device, weft_vulkan_piece *piece, const weft_packing *packing, weft_error *error) {
    weft_status status = weft_vulkan_commands_begin(device, piece, error);
    if (status != WEFT_OK) return status;
    weft_vulkan_recorder recorder = {.device = device, .commands = piece->commands, .error = error};
    if (packing->layout->id == WEFT_VULKAN_UNITS)
        pack_units(&recorder, packing, piece->memory->address);
    else
        pack_planar(&recorder, packing, piece->memory->address);
    return weft_vulkan_commands_end(device, piece, recorder.status, "packing a weight", error);
}

weft_status weft_vulkan_weight_pack(weft_backend_device *device, const weft_packing *packing, weft_error *error) {
    uint64_t bytes = row_bytes(device, packing->weight, false) * (uint64_t)packing->n_rows;
    weft_vulkan_piece *piece = weft_vulkan_piece_of(device, packing->from);
    if (piece != NULL) return pack(device, piece, packing, error);
    weft_status status = weft_vulkan_piece_take(device, bytes, &piece, error);
    if (status != WEFT_OK) return status;
    memcpy(piece->memory->mapped, packing->from, (size_t)bytes);
    status = pack(device, piece, packing, error);
    return status == WEFT_OK ? weft_vulkan_finish(device, error) : status;
}
