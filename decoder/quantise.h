/* Quantising: from floats to blocks of a type, with the least sum of squared errors that the searches find. */
#ifndef WEFT_DECODER_QUANTISE_H
#define WEFT_DECODER_QUANTISE_H

#include "weft/weft.h"

#define WEFT_QUANTISE_BLOCK 256 /* values of the largest block */
#define WEFT_QUANTISE_GROUP 32  /* values that share a scale, at most */

/* Writes `n` values, a whole number of blocks, as blocks of a type other than I32. What a block holds depends on its values alone.
 * Returns the index of the first value of a block with a value that the type cannot hold (NaN, infinity, or too large), or n. */
int64_t weft_quantise_values(weft_type type, const float *values, int64_t n, unsigned char *blocks);

/* ---- Searches, in up to 32 values (a multiple of 8) of magnitudes of about 1 ---- */

/* The values that codes stand for, before they are multiplied with a scale: low .. high, or a codebook. */
typedef struct weft_grid {
    int low, high;
    const float *values; /* NULL, or `n_values` in ascending order, with the code of each */
    const unsigned char *codes;
    int n_values;
} weft_grid;

/* The value nearest to each x * inverse. */
void weft_grid_round(const weft_grid *grid, const float *x, int n, float inverse, float *values);

/* A scale, and the values of the grid that it goes with, so that the sum of (x - scale * value)^2 is small. `n_steps`: how many
 * scales to try for each sign. */
float weft_search_scale(const weft_grid *grid, const float *x, int n, int n_steps, float *values);

/* The same for x ~ scale * code + minimum with codes 0 .. levels. `below_zero`: the minimum is 0 or less. */
typedef struct weft_affine {
    float scale, minimum;
} weft_affine;
weft_affine weft_search_affine(const float *x, int n, int levels, bool below_zero, float *codes);

/* Groups of a block of 256 whose scales are whole multiples of one number d: x ~ d * part * value, d a half float. */
typedef struct weft_scaled_groups {
    uint16_t d;
    int parts[16];
    float values[WEFT_QUANTISE_BLOCK];
} weft_scaled_groups;
/* `unit`: the values were divided by it, and d is that of the values before. Parts are in low .. high. False if no half float is
 * as large as d. */
bool weft_search_scaled_groups(const weft_grid *grid, const float *x, int group, int low, int high, float unit,
                               weft_scaled_groups *found);

/* The same with minimums: x ~ d * part * code - d_minimum * minimum. Parts and minimums are in 0 .. most. */
typedef struct weft_affine_groups {
    uint16_t d, d_minimum;
    int parts[16], minimums[16];
    float codes[WEFT_QUANTISE_BLOCK];
} weft_affine_groups;
bool weft_search_affine_groups(const float *x, int group, int levels, int most, float unit, weft_affine_groups *found);

#endif
