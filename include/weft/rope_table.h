/* Tables for rotary position embedding (Su et al. 2021, "RoFormer"), with linear scaling or YaRN (Peng et al. 2023). The op `rope`
 * (weft/ops/rope.h) reads such a table. The conventions are those of weft.h. */
#ifndef WEFT_ROPE_TABLE_H
#define WEFT_ROPE_TABLE_H

#include "weft/weft.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How positions beyond those that the model was trained on are fitted in. */
typedef enum weft_rope_scaling { WEFT_ROPE_NONE, WEFT_ROPE_LINEAR, WEFT_ROPE_YARN } weft_rope_scaling;

typedef struct weft_rope_options {
    int32_t n_dims;  /* dimensions of a head that are rotated: even, 2 or more */
    float freq_base; /* theta: pair i of a head rotates by freq_base^(-2 i / n_dims) radians per position, before any scaling */
    weft_rope_scaling scaling;
    float scaling_factor;                 /* context extension factor; 0: 1 */
    int32_t n_ctx_original;               /* YaRN: positions the model was trained on */
    float yarn_beta_fast, yarn_beta_slow; /* YaRN: rotations within n_ctx_original; 0: 32 and 1 */
    float attn_factor;                    /* factor of cos and sin; YaRN multiplies it by 1 + 0.1 ln(scaling_factor); 0: 1 */
    const float *freq_factors;            /* n_dims / 2 divisors of the frequencies, or NULL: all 1. Read only during the call */
    uint64_t reserved[8];
} weft_rope_options;

/* Writes the table of the positions first .. first + n_positions - 1 to `table`: F32 [n_dims, n_positions], for each position
 * n_dims / 2 pairs (cos, sin). `table` is the caller's and has room for n_dims * n_positions floats. Computed in double, then
 * rounded to F32. n_positions may be 0. WEFT_INVALID_ARGUMENT where an option is out of its range, a position is below 0 or above
 * INT32_MAX - 1, or a pointer is NULL; `table` is then as it was. From any thread. */
WEFT_API weft_status weft_rope_table(const weft_rope_options *options, int64_t first, int64_t n_positions, float *table,
                                     weft_error *error);

#ifdef __cplusplus
}
#endif
#endif
