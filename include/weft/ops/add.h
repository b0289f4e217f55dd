/* add: y = a + b. a: F32 [n, T]; b: F32 [n, T], or F32 [n] added to every column. No parameters. */
#ifndef WEFT_OPS_ADD_H
#define WEFT_OPS_ADD_H
#endif
