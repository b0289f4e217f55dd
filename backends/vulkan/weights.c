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

const weft_kernel_layout weft_vulkan_layouts[WEFT_VULKAN_N_LAYOUTS] = {
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

/* The rows that are in the piece. */
static weft_status pack(weft_backend_device *device, weft_vulkan_piece *piece, const weft_packing *packing, weft_error *error) {
    weft_status status = weft_vulkan_commands_begin(device, piece, error);
    if (status != WEFT_OK) return status;
    weft_vulkan_recorder recorder = {.device = device, .commands = piece->commands, .error = error};
    const weft_type_info *type = device->host->type(packing->weight->type);
    uint64_t bytes = row_bytes(device, packing->weight, true);
    const struct {
        uint64_t control, from, to;
        uint32_t n_rows, n_blocks, block_bytes, row_bytes;
        struct planar planar;
    } push = {0,
              piece->memory->address,
              packing->buffer->address + packing->offset + (uint64_t)packing->first_row * bytes,
              (uint32_t)packing->n_rows,
              (uint32_t)packing->weight->shape[0] / type->block_elements,
              type->block_bytes,
              (uint32_t)bytes,
              planar[packing->layout->id]};
    weft_vulkan_record(&recorder, &(weft_vulkan_dispatch){.shader = WEFT_VULKAN_SHADER_pack_planar,
                                                          .push = &push,
                                                          .push_size = sizeof push,
                                                          .groups_x = weft_vulkan_groups((int64_t)push.row_bytes / 4, 128),
                                                          .groups_y = (uint64_t)push.n_rows});
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
