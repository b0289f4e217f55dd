/* mul: y = a * b, element by element. a: F32 [n, T]; b: F32 [n, T], or F32 [n] for every column. No parameters. */
#ifndef WEFT_OPS_MUL_H
#define WEFT_OPS_MUL_H
#endif
