/* The table of ops, and what it tells about nodes. */
#include <stdio.h>
#include <string.h>

#include "backends/vulkan/plan.h"
#include "weft/ops/params.h"
#include "weft_stems_vulkan.h"

_Static_assert(WEFT_MAX_PARAMS_BYTES <= WEFT_VULKAN_PARAMS_BYTES, "there is room for every op's parameter block");

#define WEFT_OP(number, stem, enum_name, inputs, outputs)                                                                          \
    WEFT_STEM_VULKAN_##stem(extern const weft_vulkan_op weft_vulkan_op_##stem;, )
#include "weft/ops.def"
#undef WEFT_OP

static const weft_vulkan_op *const ops[] = {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) [number] = WEFT_STEM_VULKAN_##stem(&weft_vulkan_op_##stem, NULL),
#include "weft/ops.def"
#undef WEFT_OP
};

enum { N_OPS = sizeof ops / sizeof ops[0] };

/* By whether a weight is packed and whether products are of int8. */
static const char *const names[2][2][N_OPS] = {
    {
        {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) [number] = #stem " exact",
#include "weft/ops.def"
#undef WEFT_OP
        },
        {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) [number] = #stem " int8",
#include "weft/ops.def"
#undef WEFT_OP
        },
    },
    {
        {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) [number] = #stem " exact, q6_k planar",
#include "weft/ops.def"
#undef WEFT_OP
        },
        {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) [number] = #stem " int8, q6_k planar",
#include "weft/ops.def"
#undef WEFT_OP
        },
    },
};

/* Shaders count elements and cache rows in 32 bits, with signs; addresses have 64. */
#define MOST_ELEMENTS ((int64_t)1 << 30)
/* A head lies in an invocation's registers. */
#define MOST_HEAD_DIM 512

const weft_vulkan_op *weft_vulkan_op_get(weft_op op) {
    return (size_t)op < N_OPS ? ops[op] : NULL;
}

static void tensor_of_query(const weft_query_tensor *from, weft_vulkan_tensor *to) {
    to->present = from->present;
    to->type = from->tensor.type;
    to->layout = from->layout;
    memcpy(to->shape, from->tensor.shape, sizeof to->shape);
}

static bool is_small(const weft_query_tensor *tensor) {
    int64_t n = 1;
    if (!tensor->present) return true;
    bool is_matrix = tensor->leaf == WEFT_LEAF_WEIGHT; /* whose rows alone are counted, in 32 bits */
    for (size_t i = is_matrix ? 1 : 0; i < WEFT_MAX_DIMENSIONS; i++) {
        if (tensor->tensor.shape[i] > MOST_ELEMENTS / n) return false;
        n *= tensor->tensor.shape[i];
    }
    return tensor->tensor.shape[0] <= MOST_ELEMENTS / 4;
}

/* NULL, or why not. A KV state is counted by its rows as well: it may be as large as memory. */
static const char *obstacle(const weft_query *query) {
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) {
        const weft_query_tensor *input = &query->inputs[i];
        if (!input->present) continue;
        bool is_cache = input->leaf == WEFT_LEAF_STATE && input->tensor.type != WEFT_I32;
        if (is_cache && input->tensor.shape[0] > MOST_HEAD_DIM) return "head sizes above 512 are not supported";
        if (is_cache && (double)input->tensor.shape[1] * (double)input->tensor.shape[2] * (double)input->tensor.shape[3] >
                            (double)UINT32_MAX / 2)
            return "the KV state has more than 2^31 rows";
        if (!is_cache && !is_small(input)) return "a tensor has more than 2^30 elements";
    }
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++)
        if (query->outputs[i].leaf == WEFT_LEAF_NOT && query->outputs[i].tensor.type != WEFT_F16 && !is_small(&query->outputs[i]))
            return "a tensor has more than 2^30 elements";
    return NULL;
}

/* Every shader reads weights through shaders/common/weights.glsl, which knows all layouts: whatever the uses are. A block of Q6_K
 * has 210 bytes; apart, its parts lie where they can be read in words. */
void weft_vulkan_weight_layout(weft_backend_device *device, const weft_tensor *weight, const weft_use *uses, size_t n_uses,
                               weft_layout *layout) {
    (void)uses;
    (void)n_uses;
    if (weight->type != WEFT_Q6_K) return;
    weft_vulkan_tensor packed = {.type = weight->type, .layout = WEFT_VULKAN_Q6_K_PLANAR, .shape = {weight->shape[0]}};
    uint64_t n_rows = (uint64_t)(weight->shape[1] * weight->shape[2] * weight->shape[3]);
    *layout = (weft_layout){
        .id = packed.layout, .rows_at_once = 1, .bytes = n_rows * weft_vulkan_row_bytes(device, &packed), .name = "q6_k planar"};
}

static bool reads_packed(const weft_query *query) {
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++)
        if (query->inputs[i].present && query->inputs[i].layout != WEFT_VULKAN_FILE) return true;
    return false;
}

/* Why a node of `fast` runs in exact arithmetic, wholly or in part. */
static void explain(const weft_backend_device *device, const weft_vulkan_op *op, bool is_int8, weft_support *support) {
    const char *obstacle_to_int8 = weft_vulkan_int8_obstacle(device), *reason = "";
    if (!op->multiplies)
        reason = "no fast kernel yet";
    else if (obstacle_to_int8 != NULL)
        reason = obstacle_to_int8;
    else if (!is_int8)
        reason = "no fast kernel for float matrices yet";
    if (reason[0] != 0) snprintf(support->reason, sizeof support->reason, "%s: exact arithmetic", reason);
}

void weft_vulkan_supports(weft_backend_device *device, const weft_query *query, weft_support *support) {
    *support = (weft_support){.name = ""};
    const weft_vulkan_op *op = weft_vulkan_op_get(query->op);
    const char *why_not = op == NULL ? "the vulkan backend does not implement this op" : obstacle(query);
    if (why_not != NULL) {
        snprintf(support->reason, sizeof support->reason, "%s", why_not);
        return;
    }
    weft_vulkan_node node = {.fast = query->precision == WEFT_FAST};
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) tensor_of_query(&query->inputs[i], &node.inputs[i]);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) tensor_of_query(&query->outputs[i], &node.outputs[i]);
    if (query->params_size > 0) memcpy(node.params, query->params, query->params_size);
    bool is_int8 = op->multiplies && weft_vulkan_is_int8(device, &node);
    support->supported = true;
    support->name = names[reads_packed(query)][is_int8][query->op];
    support->scratch_bytes = op->scratch_bytes == NULL ? 0 : op->scratch_bytes(device, &node);
    support->in_place = op->in_place;
    if (query->precision == WEFT_FAST) explain(device, op, is_int8, support);
}
