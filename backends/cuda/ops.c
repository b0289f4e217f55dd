/* The table of ops, and what it tells about nodes. */
#include <stdio.h>
#include <string.h>

#include "backends/cuda/cuda.h"
#include "weft/ops/params.h"
#include "weft_stems_cuda.h"

_Static_assert(WEFT_CUDA_INPUTS == WEFT_MAX_INPUTS && WEFT_CUDA_OUTPUTS == WEFT_MAX_OUTPUTS, "a phase has the ABI's tensors");
_Static_assert(WEFT_MAX_PARAMS_BYTES <= sizeof((weft_cuda_phase *)0)->params, "there is room for every op's parameter block");

#define WEFT_OP(number, stem, enum_name, inputs, outputs) WEFT_STEM_CUDA_##stem(extern const weft_cuda_op weft_cuda_op_##stem;, )
#include "weft/ops.def"
#undef WEFT_OP

static const struct {
    const weft_cuda_op *op;
    const char *kernel;
} ops[] = {
#define WEFT_OP(number, stem, enum_name, inputs, outputs)                                                                          \
    [number] = {WEFT_STEM_CUDA_##stem(&weft_cuda_op_##stem, NULL), #stem " exact"},
#include "weft/ops.def"
#undef WEFT_OP
};

const weft_cuda_op *weft_cuda_op_get(weft_op op) {
    return (size_t)op < sizeof ops / sizeof *ops ? ops[op].op : NULL;
}

static weft_cuda_tensor tensor_of(const weft_query_tensor *from) {
    weft_cuda_tensor tensor = {.data = from->present, .type = (int32_t)from->tensor.type, .layout = from->layout};
    memcpy(tensor.shape, from->tensor.shape, sizeof tensor.shape);
    return tensor;
}

void weft_cuda_supports(weft_backend_device *device, const weft_query *query, weft_support *support) {
    (void)device;
    *support = (weft_support){.name = ""};
    const weft_cuda_op *op = weft_cuda_op_get(query->op);
    weft_cuda_phase phase = {0};
    if (op == NULL) {
        snprintf(support->reason, sizeof support->reason, "the cuda backend does not implement this op");
        return;
    }
    for (size_t i = 0; i < WEFT_MAX_INPUTS; i++) phase.inputs[i] = tensor_of(&query->inputs[i]);
    for (size_t i = 0; i < WEFT_MAX_OUTPUTS; i++) phase.outputs[i] = tensor_of(&query->outputs[i]);
    if (query->params_size > 0) memcpy(phase.params, query->params, query->params_size);
    const char *refusal = op->refuses == NULL ? NULL : op->refuses(&phase);
    if (refusal != NULL) {
        snprintf(support->reason, sizeof support->reason, "cuda: %s", refusal);
        return;
    }
    support->supported = true;
    support->name = ops[query->op].kernel;
    support->scratch_bytes = op->scratch_bytes == NULL ? 0 : op->scratch_bytes(&phase);
    support->in_place = op->in_place;
    if (query->precision == WEFT_FAST)
        snprintf(support->reason, sizeof support->reason, "exact arithmetic: there is no fast kernel of this op yet");
}
