/* The table of what the check knows of each op. */
#include "check/op.h"

#define WEFT_OP(number, stem, enum_name, inputs, outputs) extern const weft_check_op weft_check_op_##stem;
#include "weft/ops.def"
#undef WEFT_OP

static const weft_check_op *const ops[] = {
#define WEFT_OP(number, stem, enum_name, inputs, outputs) [number] = &weft_check_op_##stem,
#include "weft/ops.def"
#undef WEFT_OP
};

size_t weft_check_op_count(void) {
    return sizeof ops / sizeof ops[0];
}

const weft_check_op *weft_check_op_get(weft_op op) {
    size_t index = (size_t)op;
    return index < weft_check_op_count() ? ops[index] : NULL;
}

void weft_check_oracle(weft_check_case *c) {
    if (weft_check_ready(c)) weft_check_op_get(c->op)->oracle(c);
}
