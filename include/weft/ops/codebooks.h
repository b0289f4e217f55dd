/* The values that the 4-bit codes 0 .. 15 of some types stand for, as lists of 16 numbers. Each is multiplied with its block's
 * scale.
 */
#ifndef WEFT_OPS_CODEBOOKS_H
#define WEFT_OPS_CODEBOOKS_H

/* IQ4_NL and IQ4_XS (ggml's kvalues_iq4nl). */
#define WEFT_CODEBOOK_IQ4 -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113

/* MXFP4: twice the values of E2M1 (OCP Microscaling Formats 1.0, 5.3.3), so that they are integers. Scales are halved. */
#define WEFT_CODEBOOK_E2M1 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12

#endif
