/* Half floats for products with matrix units: powers of two that values are divided by, and how columns lie in memory
 * (shaders/fast/columns_halves.comp).
 */
#define COLUMN_FACTOR 2048.0     /* the largest magnitude of a column, whose power of two is taken out, times this */
#define COLUMN_BLOCK 16u         /* columns; with 32 values of each */
#define COLUMN_BLOCK_BYTES 1024u

/* The largest power of two that is not above `largest`, but not below 2^-109; 1 for 0, infinity and NaN. */
float power_below(float largest) {
    uint exponent = floatBitsToUint(largest) & 0x7f800000u;
    if (exponent == 0x7f800000u || largest == 0.0) return 1.0;
    return uintBitsToFloat(clamp(exponent, 0x09000000u, 0x7e000000u));
}

/* Of a power of two. */
float inverse_power(float power) {
    return uintBitsToFloat(0x7f000000u - floatBitsToUint(power));
}
