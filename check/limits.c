/* How close a device must come to the oracle.
 *
 * Let e be the error of a result whose terms are each off by an independent error of relative variance v. Then NMSE is about v
 * however many terms there are, and the largest of some 10^4 errors is about 4 sqrt(v) of the row's root mean square. Limits are
 * a few times v, and 6 sqrt(limit) or more.
 *
 * exact. F32 arithmetic: a term is off by at most 2^-24, a sum of n by less than log2(n) times that where it is a tree. NMSE 1e-10,
 *   1e-5 relative, leaves room for another order of summation, and for an exponential of 1e-7 at arguments up to 100.
 * Elementary ops round once: 2^-24 relative. Those of a few roundings and an exponential of 1e-7 come within 5e-6.
 * fast, float weights. Activations may be rounded to BF16, the coarsest of the half formats: relative error uniform in +-2^-9 at
 *   worst, variance 2^-18 / 3 = 1.3e-6. Limit 1e-5.
 * fast, quantised weights. Activations in int8 blocks with scale max|x| / 127: error variance scale^2 / 12. For normal x the mean
 * of max|x|^2 is 5.5 in blocks of 32 and 9.5 in blocks of 256, so v is 5.5 / (12 * 127^2) = 2.8e-5 and 4.9e-5. Types with a minimum
 *   have terms scale * q, of which the minimum takes the mean away again: their mean square is up to 3.6 times that of the weight,
 *   v up to 1.8e-4 where the sums are those of the unquantised x. Limit 3e-4.
 * fast, attention. Queries and probabilities in F16 (v = 2^-22 / 3 each), scores of up to 10 standard deviations: a score's error
 *   is a relative error of its exponential. Limit 1e-5.
 * fast, a gate. The product of two results of v each, one through an activation with a slope of up to 1.1: twice v. Limit 8e-4.
 *
 * floor: below it int8 scales and their inverses leave F32's normal range; results are then as good as zero.
 */
#include "check/case.h"

#include <stddef.h>

typedef enum type_class { CLASS_ANY, CLASS_FLOAT, CLASS_QUANTISED } type_class;

static const struct limits_row {
    weft_op op; /* WEFT_OP_NONE: every op without a row of its own */
    type_class type;
    weft_check_limits exact, fast;
} limits_table[] = {
    {WEFT_OP_GET_ROWS, CLASS_ANY, {1e-13, 1e-6, 1e-43}, {1e-13, 1e-6, 1e-43}},
    {WEFT_OP_COPY, CLASS_ANY, {1e-13, 1e-6, 1e-43}, {1e-13, 1e-6, 1e-43}},
    {WEFT_OP_ADD, CLASS_ANY, {1e-13, 1e-6, 1e-38}, {1e-13, 1e-6, 1e-38}},
    {WEFT_OP_MUL, CLASS_ANY, {1e-13, 1e-6, 1e-38}, {1e-13, 1e-6, 1e-38}},
    {WEFT_OP_ROPE, CLASS_ANY, {1e-12, 5e-6, 1e-37}, {1e-12, 5e-6, 1e-37}},
    {WEFT_OP_SILU, CLASS_ANY, {1e-12, 5e-6, 1e-37}, {1e-12, 5e-6, 1e-37}},
    {WEFT_OP_GELU, CLASS_ANY, {1e-12, 5e-6, 1e-37}, {1e-12, 5e-6, 1e-37}},
    {WEFT_OP_RMS_NORM, CLASS_ANY, {1e-12, 5e-6, 1e-37}, {1e-12, 5e-6, 1e-37}},
    {WEFT_OP_KV_WRITE, CLASS_ANY, {0, 0, 1e-43}, {0, 0, 1e-43}},
    {WEFT_OP_ATTENTION, CLASS_ANY, {1e-10, 1e-4, 1e-37}, {1e-5, 2e-2, 1e-30}},
    {WEFT_OP_NORM_GATED_MLP, CLASS_FLOAT, {1e-10, 1e-4, 1e-37}, {2e-5, 3e-2, 1e-30}},
    {WEFT_OP_NORM_GATED_MLP, CLASS_QUANTISED, {1e-10, 1e-4, 1e-37}, {8e-4, 0.2, 1e-30}},
    {WEFT_OP_NONE, CLASS_FLOAT, {1e-10, 1e-4, 1e-37}, {1e-5, 2e-2, 1e-30}},
    {WEFT_OP_NONE, CLASS_QUANTISED, {1e-10, 1e-4, 1e-37}, {3e-4, 0.11, 1e-30}},
    {WEFT_OP_NONE, CLASS_ANY, {1e-10, 1e-4, 1e-37}, {1e-10, 1e-4, 1e-37}},
};

weft_check_limits weft_check_limits_of(weft_op op, weft_type type, weft_precision precision) {
    const weft_type_info *info = weft_type_get(type);
    type_class own = !info ? CLASS_ANY : info->block_elements == 1 ? CLASS_FLOAT : CLASS_QUANTISED;
    const struct limits_row *row = limits_table;
    while ((row->op != op && row->op != WEFT_OP_NONE) || (row->type != own && row->type != CLASS_ANY)) row++;
    return precision == WEFT_EXACT ? row->exact : row->fast;
}
