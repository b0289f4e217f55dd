/* get_rows: y[:, i] = table[:, index[0, i]] as F32.
 * table: a weight or an activation of any float type, [n, r, s, t] with m = r * s * t rows in order; index: I32 [w, N]; sequences:
 * I32 state. y: F32 [n, N]. If `sequences` is given and index[1, i] is a sequence, index -1 stands for sequences[LAST_TOKEN,
 * index[1, i]]. Any other index outside of 0 .. m - 1 gives a column of zeros. No parameters.
 */
#ifndef WEFT_OPS_GET_ROWS_H
#define WEFT_OPS_GET_ROWS_H

#include "weft/ops/step.h"

#endif
