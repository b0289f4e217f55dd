/* A layout of weights ("units"), so that neighbouring invocations read neighbouring 16 bytes. A unit is 16 rows of 256 values. The
 * units of a band of 16 rows lie one after the other, then those of the next band. Zeros fill up the last band and the last unit of
 * a row. After all units comes an F32 number for each row, its power: the largest power of two that is not above the row's largest
 * magnitude, or 1. Codes and scales are those of the file, only moved, so a unit has the file's number of bytes.
 *
 * In a unit, `row` is 0 .. 15, and `group` (0 .. 7) is 32 values. A piece is 16 bytes, four words of 32 bits. `half` is which of
 * two groups: groups 2 * step + half, for steps 0 .. 3, are read by one invocation.
 *
 * nibbles (all types below but Q8_0, F16 and BF16): piece [group][row]. Word w has values 8 w .. 8 w + 7 of the group: value 2 i + h
 * at bits 16 h + 4 i. These are the low four bits of a code.
 * Q6_K: the upper two bits at 2048, piece [group / 4][half][row]: two words for group 4 * (group / 4) + half, then two for the group
 * 2 further on. Word j has values 16 j .. 16 j + 15: value 8 s + 2 i + h of these at bits 16 h + 8 (i / 2) + 4 s + 2 (i % 2). At
 * 3072: 16 bytes of scales a row. At 3328: a half float d a row.
 * Q5_0, Q5_1, Q5_K: the fifth bits at 2048, piece [half][row]: word `step` is that of group 2 * step + half, with value 8 w + 2 i + h
 * at bit 16 h + 8 (i / 2) + 2 w + (i % 2).
 * Q8_0: piece [group][values / 16][row]. Word w has values 4 w .. 4 w + 3 of 16: value 2 i + h at bits 16 h + 8 i, plus 128.
 * F16, BF16: piece [group][values / 8][row] in order.
 *
 * The heads come last: of Q4_K and Q5_K a row's d, minimum d and 12 bytes of scales as in the file, of Q4_0, Q5_0 and Q8_0 a row's
 * 8 scales. Of Q4_1 and Q5_1 a piece [half][row] has word `step`: scale and minimum of group 2 * step + half.
 */
#ifndef WEFT_UNITS_GLSL
#define WEFT_UNITS_GLSL

#include "shaders/common/weights.glsl"

#define UNIT_ROWS 16u
#define UNIT_VALUES 256u
#define UNIT_GROUPS 8u
#define UNIT_STEPS 4u

const bool IS_PLAIN = WEIGHT_TYPE == TYPE_F16 || WEIGHT_TYPE == TYPE_BF16;
const bool HAS_NIBBLES = !IS_PLAIN && WEIGHT_TYPE != TYPE_Q8_0;
const bool HAS_FIFTH_BITS = WEIGHT_TYPE == TYPE_Q5_0 || WEIGHT_TYPE == TYPE_Q5_1 || WEIGHT_TYPE == TYPE_Q5_K;
const bool HAS_K_HEADS = WEIGHT_TYPE == TYPE_Q4_K || WEIGHT_TYPE == TYPE_Q5_K;
const bool HAS_MINIMUMS = WEIGHT_TYPE == TYPE_Q4_1 || WEIGHT_TYPE == TYPE_Q5_1;

/* Where parts of a unit begin, in pieces. */
#define UNIT_MORE 128u /* fifth bits, or the upper two of Q6_K */
#define UNIT_Q6_K_SCALES 192u
#define UNIT_Q6_K_D 208u
const uint UNIT_HEADS = WEIGHT_TYPE == TYPE_Q8_0 ? 256u : HAS_FIFTH_BITS ? 160u : 128u;
const uint UNIT_PIECES = IS_PLAIN                      ? 512u
                         : WEIGHT_TYPE == TYPE_Q6_K    ? 210u
                         : HAS_MINIMUMS                ? UNIT_HEADS + 32u
                                                       : UNIT_HEADS + 16u;

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Vectors { uvec4 at[]; };

/* Unit `unit` of a row of band `band`, where a row has n_units. */
uvec2 unit_address(uvec2 matrix, uint band, uint n_units, uint unit) {
    return address_of(address_of(matrix, band, n_units * UNIT_PIECES * 16u), unit, UNIT_PIECES * 16u);
}

#endif
