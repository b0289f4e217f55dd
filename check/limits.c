/* How close a device must come to the oracle.
 *
 * Let e be the error of a result whose terms are each off by an independent error of relative variance v. Then NMSE is about v
 * however many terms there are, and the largest of some 10^4 errors is about 4 sqrt(v) of the row's root mean square. Limits are
 * a few times v, and 6 sqrt(limit) or more. An op with limits of its own says in its file how they come about.
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
 *
 * floor: below it int8 scales and their inverses leave F32's normal range; results are then as good as zero.
 */
#include "check/op.h"

const weft_check_op_limits weft_check_copy_limits = {{1e-13, 1e-6, 1e-43}, {1e-13, 1e-6, 1e-43}, {1e-13, 1e-6, 1e-43}};
const weft_check_op_limits weft_check_rounding_limits = {{1e-13, 1e-6, 1e-38}, {1e-13, 1e-6, 1e-38}, {1e-13, 1e-6, 1e-38}};
const weft_check_op_limits weft_check_elementary_limits = {{1e-12, 5e-6, 1e-37}, {1e-12, 5e-6, 1e-37}, {1e-12, 5e-6, 1e-37}};
const weft_check_op_limits weft_check_sum_limits = {WEFT_CHECK_EXACT_SUM, WEFT_CHECK_EXACT_SUM, WEFT_CHECK_EXACT_SUM};
const weft_check_op_limits weft_check_product_limits = {WEFT_CHECK_EXACT_SUM, {1e-5, 2e-2, 1e-30}, {3e-4, 0.11, 1e-30}};

weft_check_limits weft_check_limits_of(weft_op op, weft_type type, weft_precision precision) {
    const weft_check_op_limits *limits = weft_check_op_get(op)->limits;
    const weft_type_info *info = weft_type_get(type);
    if (precision == WEFT_EXACT) return limits->exact;
    return info && info->block_elements > 1 ? limits->fast_quantised : limits->fast;
}
