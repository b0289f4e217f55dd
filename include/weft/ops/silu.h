/* silu: y = x / (1 + exp(-x)). x, y: F32 [n, T]. No parameters. */
#ifndef WEFT_OPS_SILU_H
#define WEFT_OPS_SILU_H
#endif
